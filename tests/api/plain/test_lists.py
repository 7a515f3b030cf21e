"""Lists of plain records: pages, filters and sorts."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest
from tests.api.world import World

from clary.api import handlers
from clary.api.plain.lists import default, listing, sort_of
from clary.api.plain.noun import NOUNS
from clary.testing.clock import FakeClock

handlers.load()
NAMES = ("ada", "bob", "carol", "dan", "eve")


@pytest.fixture
async def world() -> World:
    """Two domains, five profiles in the first, five seconds apart; one in the second."""
    made = World()
    clock = made.ports.clock
    assert isinstance(clock, FakeClock)
    for name in ("one", "two"):
        await made("sagemaker", "CreateDomain", DomainName=name, AuthMode="IAM", DefaultUserSettings={})
        clock.advance(5)
    domains = await ids(made)
    for name in NAMES:
        await made("sagemaker", "CreateUserProfile", DomainId=domains["one"], UserProfileName=name)
        clock.advance(5)
    await made("sagemaker", "CreateUserProfile", DomainId=domains["two"], UserProfileName="ada")
    return made


async def ids(world: World) -> dict[str, str]:
    return {each["DomainName"]: each["DomainId"] for each in (await world("sagemaker", "ListDomains"))["Domains"]}


async def names(world: World, **params: Any) -> list[str]:
    found = await world("sagemaker", "ListUserProfiles", **params)
    return [profile["UserProfileName"] for profile in found["UserProfiles"]]


async def test_pages_are_whole_and_in_order(world: World) -> None:
    one = (await ids(world))["one"]
    seen: list[str] = []
    token: dict[str, str] = {}
    for _ in range(3):
        page = await world("sagemaker", "ListUserProfiles", DomainIdEquals=one, MaxResults=2, **token)
        seen += [profile["UserProfileName"] for profile in page["UserProfiles"]]
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else {}
    assert (seen, token) == (list(NAMES), {})


async def test_filters(world: World) -> None:
    two = (await ids(world))["two"]
    assert await names(world) == [*NAMES, "ada"]
    assert await names(world, DomainIdEquals=two) == ["ada"]
    assert await names(world, DomainIdEquals="d-none") == []
    assert await names(world, UserProfileNameContains="A", SortOrder="Descending") == ["ada", "dan", "carol", "ada"]


async def test_a_name_filter_does_not_look_at_the_parents_name(world: World) -> None:
    assert await names(world, UserProfileNameContains="d-") == []


async def test_a_filter_that_the_store_lacks_fills_its_pages(world: World) -> None:
    """`d` is in every record's name, because domain ids begin with it: the pages are those of the names alone."""
    first = await world("sagemaker", "ListUserProfiles", UserProfileNameContains="d", MaxResults=2)
    assert [each["UserProfileName"] for each in first["UserProfiles"]] == ["ada", "dan"]
    rest = await world(
        "sagemaker", "ListUserProfiles", UserProfileNameContains="d", MaxResults=2, NextToken=first["NextToken"]
    )
    assert [each["UserProfileName"] for each in rest["UserProfiles"]] == ["ada"]
    assert "NextToken" not in rest


async def test_sorts(world: World) -> None:
    one = (await ids(world))["one"]
    await world(
        "sagemaker", "UpdateUserProfile", DomainId=one, UserProfileName="bob", UserSettings={"SecurityGroups": ["sg-1"]}
    )
    changed = await names(world, DomainIdEquals=one, SortBy="LastModifiedTime", SortOrder="Descending")
    assert changed == ["bob", "eve", "dan", "carol", "ada"]


async def test_times(world: World) -> None:
    for name in "xy":
        await world("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName=name)
        assert isinstance(world.ports.clock, FakeClock)
        world.ports.clock.advance(10)
    between = datetime.datetime.fromtimestamp(world.now - 15, datetime.UTC)
    for filters, wanted in (({"CreationTimeAfter": between}, ["y"]), ({"CreationTimeBefore": between}, ["x"])):
        found = await world("sagemaker", "ListModelPackageGroups", **filters)
        assert [group["ModelPackageGroupName"] for group in found["ModelPackageGroupSummaryList"]] == wanted


def test_a_member_that_nobody_looks_at_fails_at_import() -> None:
    row = replace(NOUNS["model-package-group"], filters={})
    with pytest.raises(ValueError, match="nobody looks at CrossAccountFilterOption"):
        listing(row, "ListModelPackageGroups")


def test_names_of_sorts() -> None:
    given = ("CREATION_TIME", "LastModifiedTime", "IMAGE_NAME", "HubStatus", "VERSION")
    assert [sort_of(value) for value in given] == ["CreationTime", "LastModifiedTime", "Name", "Status", "CreationTime"]


def test_defaults_are_read_from_the_reference() -> None:
    class Shape:
        documentation = "<p>The sort order. The default value is <code>DESCENDING</code>. </p>"

    assert default(Shape(), "Ascending") == "DESCENDING"
    assert default(None, "Ascending") == "Ascending"
