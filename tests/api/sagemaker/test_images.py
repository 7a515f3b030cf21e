"""Versions of images and their aliases."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.world import World

from clary.domain.errors import InUse, Invalid, NotFound

ROLE = "arn:aws:iam::000000000000:role/R"
HERE = "arn:aws:sagemaker:eu-west-1:000000000000"


@pytest.fixture
async def world() -> World:
    world = World()
    await world("sagemaker", "CreateImage", ImageName="Ours", RoleArn=ROLE)
    return world


async def version(world: World, token: str, *aliases: str, **more: Any) -> str:
    made = await world(
        "sagemaker",
        "CreateImageVersion",
        ImageName="Ours",
        BaseImage="base:1",
        ClientToken=token,
        Aliases=list(aliases),
        **more,
    )
    return str(made["ImageVersionArn"])


async def aliases(world: World, **which: Any) -> list[str]:
    return list((await world("sagemaker", "ListAliases", ImageName="Ours", **which))["SageMakerImageVersionAliases"])


async def number(world: World, **which: Any) -> int:
    return int((await world("sagemaker", "DescribeImageVersion", ImageName="Ours", **which))["Version"])


async def test_versions_count_up_and_a_client_token_makes_one(world: World) -> None:
    assert await version(world, "a", "first", JobType="TRAINING") == f"{HERE}:image-version/ours/1"
    assert await version(world, "a", "first") == f"{HERE}:image-version/ours/1"
    world.ports.clock.advance(1)  # type: ignore[attr-defined]
    assert await version(world, "b") == f"{HERE}:image-version/ours/2"
    seen = await world("sagemaker", "DescribeImageVersion", ImageName="Ours", Version=1)
    assert seen["ImageArn"] == f"{HERE}:image/ours"
    assert (seen["BaseImage"], seen["ContainerImage"], seen["JobType"]) == ("base:1", "base:1", "TRAINING")
    assert (seen["ImageVersionStatus"], "ClientToken" in seen) == ("CREATED", False)
    assert await number(world) == 2
    await world("sagemaker", "DeleteImageVersion", ImageName="Ours", Version=2)
    assert await number(world) == 1
    assert (await version(world, "c")).endswith("/3")
    listed = await world("sagemaker", "ListImageVersions", ImageName="Ours", SortBy="VERSION", SortOrder="ASCENDING")
    assert [each["Version"] for each in listed["ImageVersions"]] == [1, 3]


async def test_an_alias_names_one_version_until_it_is_free(world: World) -> None:
    await version(world, "a", "good", "old")
    with pytest.raises(InUse, match="'good' is used by version 1"):
        await version(world, "b", "good")
    await version(world, "c", "new")
    assert await aliases(world) == ["good", "new", "old"]
    with pytest.raises(InUse, match="'good' is used by version 1"):
        await world("sagemaker", "UpdateImageVersion", ImageName="Ours", Alias="new", AliasesToAdd=["good"])
    await world("sagemaker", "UpdateImageVersion", ImageName="Ours", Alias="old", AliasesToDelete=["good", "new"])
    assert await number(world, Alias="new") == 2  # another version's alias is not taken from it
    await world(
        "sagemaker", "UpdateImageVersion", ImageName="Ours", Version=2, AliasesToAdd=["good"], ReleaseNotes="better"
    )
    seen = await world("sagemaker", "DescribeImageVersion", ImageName="Ours", Alias="good")
    assert (seen["Version"], seen["ReleaseNotes"]) == (2, "better")
    assert (await aliases(world, Version=2), await aliases(world, Alias="old")) == (["good", "new"], ["old"])
    await world("sagemaker", "DeleteImageVersion", ImageName="Ours", Alias="good")
    assert await aliases(world) == ["old"]
    await version(world, "d", "good")
    assert await number(world, Alias="good") == 3


async def test_pages_of_aliases(world: World) -> None:
    await version(world, "a", *"edcba")
    first = await world("sagemaker", "ListAliases", ImageName="Ours", MaxResults=3)
    assert first["SageMakerImageVersionAliases"] == ["a", "b", "c"]
    rest = await world("sagemaker", "ListAliases", ImageName="Ours", MaxResults=3, NextToken=first["NextToken"])
    assert rest == {"SageMakerImageVersionAliases": ["d", "e"]}


async def test_what_is_not_there(world: World) -> None:
    for which, words in (
        ({"Version": 7}, f"No version with the ARN {HERE}:image-version/ours/7 exists"),
        ({"Alias": "none"}, "no alias 'none'"),
        ({}, "has no versions"),
    ):
        with pytest.raises(NotFound, match=words):
            await world("sagemaker", "DescribeImageVersion", ImageName="Ours", **which)
    with pytest.raises(Invalid, match="provide Version or Alias"):
        await world("sagemaker", "DeleteImageVersion", ImageName="Ours")
    await version(world, "a", "one")
    with pytest.raises(NotFound, match="no alias 'one' for version 2"):
        await world("sagemaker", "DescribeImageVersion", ImageName="Ours", Alias="one", Version=2)
    with pytest.raises(Invalid, match="both name one"):
        await world(
            "sagemaker",
            "UpdateImageVersion",
            ImageName="Ours",
            Version=1,
            AliasesToAdd=["one"],
            AliasesToDelete=["one"],
        )


async def test_an_image_takes_its_versions_along(world: World) -> None:
    await version(world, "a", "one")
    await world("sagemaker", "DeleteImage", ImageName="Ours")
    await world("sagemaker", "CreateImage", ImageName="Ours", RoleArn=ROLE)
    assert (await world("sagemaker", "ListImageVersions", ImageName="Ours"))["ImageVersions"] == []
    assert await aliases(world) == []
