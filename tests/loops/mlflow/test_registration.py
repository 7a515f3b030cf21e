"""New versions become model packages, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.api.world import World
from tests.domain.mlflow.test_servers import server
from tests.loops.mlflow.mlflow_fake import FakeMlflow, version

from clary.app.operations import OwnOperations
from clary.domain.errors import Unavailable
from clary.domain.mlflow import servers
from clary.domain.resources import Record, Scope
from clary.loops.mlflow.registration import register


class Site:
    def __init__(self, socket: Path) -> None:
        self.world, self.mlflow, self.socket = World({}), FakeMlflow(), str(socket)
        self.record = server("Created", AutomaticModelRegistration=True)

    async def look(self, record: Record | None = None) -> tuple[int, list[str]] | None:
        return await register(record or self.record, self.socket, OwnOperations(self.world.ports))

    async def packages(self, group: str) -> list[str]:
        listed = await self.world("sagemaker", "ListModelPackages", ModelPackageGroupName=group, _region="us-east-1")
        found = []
        for each in listed["ModelPackageSummaryList"]:
            arn = each["ModelPackageArn"]
            told = await self.world("sagemaker", "DescribeModelPackage", ModelPackageName=arn, _region="us-east-1")
            found.append(told["SourceUri"])
        return sorted(found)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path / "s")
    async with made.mlflow.at(tmp_path / "s"):
        yield made


async def test_all_pages_are_read_and_each_version_is_made_once(site: Site) -> None:
    assert await site.look() is None
    site.mlflow.pages = [[version("m", 2, 7)], [version("m", 1, 5), version("n x", 1, 5)]]
    assert await site.look() == (7, ["m/2"])
    assert await site.look() == (7, ["m/2"])  # what was made was not written down: the same is made no second time
    assert await site.packages("m") == ["s3://b/m/1", "s3://b/m/2"]
    assert await site.packages("n-x") == ["s3://b/n x/1"]


async def test_only_what_is_new_is_asked_for(site: Site) -> None:
    site.mlflow.pages = [[version("m", 3, 9)], [version("m", 2, 7), version("m", 1, 5)], [version("old", 1, 1)]]
    known = servers.put(site.record, registered=7, registered_keys=["m/2"])
    assert await site.look(known) == (9, ["m/3"])
    assert await site.packages("m") == ["s3://b/m/3"]
    assert sum(path.endswith("search") for path in site.mlflow.asked) == 2


async def test_a_group_that_is_there_is_used(site: Site) -> None:
    await site.world("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName="m", _region="us-east-1")
    site.mlflow.pages = [[version("m", 1, 5)]]
    assert await site.look() == (5, ["m/1"])
    assert await site.packages("m") == ["s3://b/m/1"]


async def test_what_the_registry_refuses_keeps_no_other_back(site: Site) -> None:
    site.mlflow.pages = [[{**version("m", 1, 5), "description": "\x00"}, version("n", 1, 6)]]
    assert await site.look() == (6, ["n/1"])
    assert await site.packages("n") == ["s3://b/n/1"]


async def test_an_mlflow_that_is_broken_is_asked_again(site: Site) -> None:
    site.mlflow.broken = 500
    with pytest.raises(Unavailable, match="500"):
        await site.look()
    assert Scope("000000000000", "us-east-1") == site.record.scope
