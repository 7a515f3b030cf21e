"""Whole lives of plain records through their handlers: what AWS answers at each step."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.api.world import World

from clary.api import handlers, registry
from clary.api.call import Call
from clary.api.plain.noun import NOUNS
from clary.api.plain.operations import create, merged, sentence
from clary.domain.errors import AlreadyExists, InUse, Invalid, NotFound
from clary.domain.resources import Query, Record, Scope
from clary.testing.clock import FakeClock
from clary.testing.store import MemoryStore

handlers.load()
HERE = "arn:aws:sagemaker:eu-west-1:000000000000"
SCOPE = Scope("000000000000", "eu-west-1")
ROLE = "arn:aws:iam::000000000000:role/R"
SETTINGS = {"ExecutionRole": ROLE, "SecurityGroups": ["sg-1"]}


@pytest.fixture
def world() -> World:
    return World()


async def domain(world: World, name: str = "team", **more: Any) -> str:
    made = await world(
        "sagemaker", "CreateDomain", DomainName=name, AuthMode="IAM", DefaultUserSettings=SETTINGS, **more
    )
    return str(made["DomainArn"].rpartition("/")[2])


async def test_a_domain_has_an_id_an_address_and_a_file_system_of_awss_form(world: World) -> None:
    made = await world(
        "sagemaker", "CreateDomain", DomainName="team", AuthMode="IAM", DefaultUserSettings=SETTINGS, VpcId="vpc-1"
    )
    which = made["DomainId"]
    assert re.fullmatch(r"d-[a-z0-9]{12}", which)
    assert made == {
        "DomainArn": f"{HERE}:domain/{which}",
        "DomainId": which,
        "Url": f"https://{which}.studio.eu-west-1.sagemaker.aws",
    }
    seen = await world("sagemaker", "DescribeDomain", DomainId=which)
    assert re.fullmatch(r"fs-[0-9a-f]{17}", seen.pop("HomeEfsFileSystemId"))
    assert seen == {
        **made,
        "DomainName": "team",
        "AuthMode": "IAM",
        "DefaultUserSettings": SETTINGS,
        "VpcId": "vpc-1",
        "AppNetworkAccessType": "PublicInternetOnly",
        "Status": "InService",
        "CreationTime": world.now,
        "LastModifiedTime": world.now,
    }


async def test_a_domain_without_a_file_system_shows_none(world: World) -> None:
    which = await domain(world, HomeEfsFileSystemCreation="Disabled")
    assert "HomeEfsFileSystemId" not in await world("sagemaker", "DescribeDomain", DomainId=which)


async def test_a_name_is_taken_once(world: World) -> None:
    which = await domain(world)
    assert await domain(world, "other") != which
    code, words = await world.refused(
        "sagemaker", "CreateDomain", DomainName="team", AuthMode="IAM", DefaultUserSettings={}
    )
    assert (code, words) == ("ResourceInUse", "Cannot create already existing domain: DomainName 'team' is taken.")
    assert await world(
        "sagemaker", "CreateDomain", DomainName="team", AuthMode="IAM", DefaultUserSettings={}, _region="us-east-1"
    )
    await world("sagemaker", "CreateUserProfile", DomainId=which, UserProfileName="ada")
    code, words = await world.refused("sagemaker", "CreateUserProfile", DomainId=which, UserProfileName="ada")
    assert code == "ResourceInUse"
    assert words == f'Cannot create already existing user profile "{HERE}:user-profile/{which}/ada".'


class Slower(MemoryStore):
    """Answers a count when all that is asked at the same moment was counted."""

    async def count(self, query: Query) -> int:
        found = await super().count(query)
        await asyncio.sleep(0)
        return found


async def test_of_many_at_once_one_gets_the_name() -> None:
    world = World(store=Slower())
    wanted = {"DomainName": "team", "AuthMode": "IAM", "DefaultUserSettings": {}}
    made = await asyncio.gather(
        *(world("sagemaker", "CreateDomain", **wanted) for _ in range(10)), return_exceptions=True
    )
    refused = [str(each) for each in made if isinstance(each, AlreadyExists)]
    assert refused == ["Cannot create already existing domain: DomainName 'team' is taken."] * 9
    assert len((await world("sagemaker", "ListDomains"))["Domains"]) == 1


async def test_an_update_changes_what_it_names_and_leaves_the_rest(world: World) -> None:
    which = await domain(world, DomainSettings={"DockerSettings": {"EnableDockerAccess": "ENABLED"}})
    clock = world.ports.clock
    assert isinstance(clock, FakeClock)
    born = world.now
    clock.advance(5)
    changed = await world(
        "sagemaker",
        "UpdateDomain",
        DomainId=which,
        DefaultUserSettings={"SecurityGroups": []},
        DomainSettingsForUpdate={"SecurityGroupIds": ["sg-2"]},
    )
    assert changed == {"DomainArn": f"{HERE}:domain/{which}"}
    seen = await world("sagemaker", "DescribeDomain", DomainId=which)
    assert seen["DefaultUserSettings"] == {"ExecutionRole": ROLE, "SecurityGroups": []}
    assert seen["DomainSettings"] == {"DockerSettings": {"EnableDockerAccess": "ENABLED"}, "SecurityGroupIds": ["sg-2"]}
    assert (seen["CreationTime"], seen["LastModifiedTime"]) == (born, world.now)


def test_structures_merge_one_deep() -> None:
    old = {"A": {"x": 1, "y": {"p": 1}}, "B": [1], "C": 1}
    assert merged(old, {"AForUpdate": {"y": {"q": 2}}, "B": [], "D": {"z": 1}}) == {
        "A": {"x": 1, "y": {"q": 2}},
        "B": [],
        "C": 1,
        "D": {"z": 1},
    }


async def test_a_parent_must_exist_and_stays_while_it_holds_children(world: World) -> None:
    code, words = await world.refused("sagemaker", "CreateSpace", DomainId="d-none", SpaceName="s")
    assert (code, words) == ("ValidationException", f'Could not find domain "{HERE}:domain/d-none": it does not exist.')
    which = await domain(world)
    await world("sagemaker", "CreateUserProfile", DomainId=which, UserProfileName="ada")
    await world("sagemaker", "CreateSpace", DomainId=which, SpaceName="s")
    for what, drop in (
        ("User Profile", {"operation": "DeleteUserProfile", "UserProfileName": "ada"}),
        ("Space", {"operation": "DeleteSpace", "SpaceName": "s"}),
    ):
        code, words = await world.refused("sagemaker", "DeleteDomain", DomainId=which)
        assert (code, words) == (
            "ResourceInUse",
            f"Cannot delete Domain {HERE}:domain/{which}: it contains 1 {what}(s). Delete these first.",
        )
        assert await world("sagemaker", drop.pop("operation"), DomainId=which, **drop) == {}
    assert await world("sagemaker", "DeleteDomain", DomainId=which) == {}
    assert (await world.refused("sagemaker", "DescribeDomain", DomainId=which))[0] == "ResourceNotFound"


class Between:
    """A store in which something happens just before a record of a kind is stored (`add`) or removed."""

    def __init__(self, world: World, method: str, kind: str, first: Callable[[], Any]) -> None:
        self._store, self._method, self._kind, self._first, self._done = world.store, method, kind, first, False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name != self._method:
            return found

        async def with_first(record: Record, *more: Any) -> Any:
            if record.kind == self._kind and not self._done:
                self._done = True
                await self._first()
            return await found(record, *more)

        return with_first


async def test_a_child_that_comes_between_count_and_removal_keeps_its_parent(world: World) -> None:
    which = await domain(world)
    calm = world.ports
    other = World(store=world.store)
    between: Any = Between(
        world, "remove", "domain", lambda: other("sagemaker", "CreateSpace", DomainId=which, SpaceName="s")
    )
    world.ports = replace(calm, store=between)
    with pytest.raises(InUse):
        await world("sagemaker", "DeleteDomain", DomainId=which)
    assert await world("sagemaker", "DescribeSpace", DomainId=which, SpaceName="s")


async def test_a_child_whose_parent_goes_meanwhile_is_taken_back(world: World) -> None:
    which = await domain(world)
    other = World(store=world.store)
    between: Any = Between(world, "add", "space", lambda: other("sagemaker", "DeleteDomain", DomainId=which))
    world.ports = replace(world.ports, store=between)
    with pytest.raises(NotFound, match="Could not find domain"):
        await world("sagemaker", "CreateSpace", DomainId=which, SpaceName="s")
    assert await world.store.page(Query("space", SCOPE)) == []


async def test_a_child_does_not_change_when_its_parent_was_modified(world: World) -> None:
    which = await domain(world)
    before = await world("sagemaker", "DescribeDomain", DomainId=which)
    assert isinstance(world.ports.clock, FakeClock)
    world.ports.clock.advance(5)
    await world("sagemaker", "CreateSpace", DomainId=which, SpaceName="s")
    assert await world("sagemaker", "DescribeDomain", DomainId=which) == before


async def test_tags_are_those_of_every_record(world: World) -> None:
    which = await domain(world, Tags=[{"Key": "k", "Value": "v"}])
    assert (await world("sagemaker", "ListTags", ResourceArn=f"{HERE}:domain/{which}"))["Tags"] == [
        {"Key": "k", "Value": "v"}
    ]
    with pytest.raises(Invalid, match="reserved"):
        await domain(world, "other", Tags=[{"Key": "aws:k", "Value": "v"}])


async def test_an_arn_is_as_good_as_a_name_where_aws_takes_one(world: World) -> None:
    await world("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName="Churn")
    arn = f"{HERE}:model-package-group/churn"
    seen = await world("sagemaker", "DescribeModelPackageGroup", ModelPackageGroupName=arn)
    assert seen["ModelPackageGroupName"] == "Churn"
    which = await domain(world)
    with pytest.raises(NotFound, match="Could not find model package group"):
        await world("sagemaker", "DescribeModelPackageGroup", ModelPackageGroupName=f"{HERE}:domain/{which}")


async def test_a_group_that_was_stored_before_plain_records_is_read(world: World) -> None:
    document = {
        "request": {"ModelPackageGroupName": "Old", "ModelPackageGroupDescription": "d"},
        "tags": [],
        "versions": 3,
        "by": "arn:aws:iam::000000000000:user/clary",
    }
    old = Record("model-package-group", SCOPE, "Old", f"{HERE}:model-package-group/old", "", 1.0, 1.0, document)
    await world.store.add(old)
    seen = await world("sagemaker", "DescribeModelPackageGroup", ModelPackageGroupName="Old")
    assert (seen["ModelPackageGroupDescription"], seen["ModelPackageGroupStatus"]) == ("d", "Completed")
    listed = await world("sagemaker", "ListModelPackageGroups", NameContains="ol")
    assert [group["ModelPackageGroupName"] for group in listed["ModelPackageGroupSummaryList"]] == ["Old"]
    await world("sagemaker", "DeleteModelPackageGroup", ModelPackageGroupName="Old")


async def test_nothing_is_shared_between_accounts_and_regions(world: World) -> None:
    which = await domain(world)
    for where in ({"_account": "111111111111"}, {"_region": "us-east-1"}):
        with pytest.raises(NotFound):
            await world("sagemaker", "DescribeDomain", DomainId=which, **where)
        assert await world("sagemaker", "ListDomains", **where) == {"Domains": []}


async def test_strict_fields_lets_a_record_keep_its_fields(world: World) -> None:
    world.ports = replace(world.ports, settings=replace(world.ports.settings, strict_fields=True))
    which = await domain(world, KmsKeyId="k")
    with pytest.raises(Invalid, match="strict_fields"):
        await world("sagemaker", "DeleteDomain", DomainId=which, RetentionPolicy={"HomeEfsFileSystem": "Delete"})


async def test_a_role_of_somebody_elses_is_not_taken(world: World) -> None:
    row = replace(NOUNS["domain"], roles=("RoleArn",))
    call = Call(world.ports, "sagemaker", "CreateDomain", SCOPE, "p")
    with pytest.raises(Invalid, match="Could not assume role"):
        await create(call, row, {"DomainName": "n", "RoleArn": "arn:aws:iam::111111111111:role/R"})


def test_each_operation_says_what_it_does() -> None:
    said = {name: registry.find("sagemaker", name) for name in ("DeleteDomain", "DeleteSpace", "CreateSpace")}
    assert [each.handler.__doc__ for each in said.values() if each is not None] == [
        "Delete a domain; refused while it holds any user profile or space.",
        "Delete a space.",
        "Record a space: the record is all there is, nothing is started.",
    ]
    cascade = replace(NOUNS["domain"], cascade=True, verbs=())
    assert sentence(cascade, "Delete") == "Delete a domain, and every user profile and space of it."
