"""The one lineage group of an account."""

from __future__ import annotations

import pytest
from tests.api.world import World

from clary.domain.errors import NotFound

NAME = "sagemaker-default-lineage-group"
ARTIFACT = {"ArtifactType": "DataSet", "Source": {"SourceUri": "s3://b/data"}}


@pytest.fixture
def world() -> World:
    return World()


async def test_there_is_none_before_there_is_lineage(world: World) -> None:
    assert (await world("sagemaker", "ListLineageGroups"))["LineageGroupSummaries"] == []
    with pytest.raises(NotFound, match=f"lineage-group/{NAME}"):
        await world("sagemaker", "DescribeLineageGroup", LineageGroupName=NAME)


async def test_it_is_as_old_as_the_first_entity(world: World) -> None:
    await world("sagemaker", "CreateArtifact", **ARTIFACT)
    first = world.now
    world.ports.clock.advance(10)  # type: ignore[attr-defined]
    await world("sagemaker", "CreateContext", ContextName="c", ContextType="t", Source={"SourceUri": "s3://b/c"})
    told = await world("sagemaker", "DescribeLineageGroup", LineageGroupName=NAME)
    assert told["CreationTime"] == first
    (listed,) = (await world("sagemaker", "ListLineageGroups", MaxResults=1))["LineageGroupSummaries"]
    assert listed == told
    for filtered in ({"CreatedAfter": first}, {"CreatedBefore": first}):
        assert (await world("sagemaker", "ListLineageGroups", **filtered))["LineageGroupSummaries"] == []


async def test_there_is_no_other(world: World) -> None:
    await world("sagemaker", "CreateArtifact", **ARTIFACT)
    with pytest.raises(NotFound):
        await world("sagemaker", "DescribeLineageGroup", LineageGroupName="mine")
