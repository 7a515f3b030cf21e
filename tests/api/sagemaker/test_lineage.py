"""Artifacts, actions, contexts, associations, and QueryLineage over them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.api.world import ACCOUNT, REGION, World

ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"


@pytest.fixture
async def world() -> World:
    """data -> component -> model -> deployment -> endpoint."""
    made = World()
    made.names = {}  # type: ignore[attr-defined]
    data = await made(
        "sagemaker", "CreateArtifact", ArtifactName="d", ArtifactType="DataSet", Source={"SourceUri": "s3://b/data"}
    )
    model = await made(
        "sagemaker",
        "CreateArtifact",
        ArtifactType="Model",
        Source={"SourceUri": "s3://b/model", "SourceTypes": [{"SourceIdType": "S3ETag", "Value": "1"}]},
        Properties={"a": "1", "b": "2"},
    )
    component = await made("sagemaker", "CreateTrialComponent", TrialComponentName="c")
    action = await made(
        "sagemaker", "CreateAction", ActionName="act", ActionType="ModelDeployment", Source={"SourceUri": "x"}
    )
    context = await made(
        "sagemaker",
        "CreateContext",
        ContextName="con",
        ContextType="Endpoint",
        Source={"SourceUri": f"{ARN}:endpoint/e"},
    )
    chain = [
        data["ArtifactArn"],
        component["TrialComponentArn"],
        model["ArtifactArn"],
        action["ActionArn"],
        context["ContextArn"],
    ]
    made.chain = chain  # type: ignore[attr-defined]
    for source, destination in itertools.pairwise(chain):
        await made(
            "sagemaker", "AddAssociation", SourceArn=source, DestinationArn=destination, AssociationType="ContributedTo"
        )
    return made


def chain(world: World) -> list[str]:
    return list(world.chain)  # type: ignore[attr-defined]


async def query(world: World, start: str, **more: Any) -> dict[str, Any]:
    return await world("sagemaker", "QueryLineage", StartArns=[start], **more)


async def arns(world: World, start: str, **more: Any) -> list[str]:
    return [each["Arn"] for each in (await query(world, start, **more))["Vertices"]]


async def test_an_artifact_is_its_source(world: World) -> None:
    code, message = await world.refused(
        "sagemaker", "CreateArtifact", ArtifactType="Other", Source={"SourceUri": "s3://b/data"}
    )
    assert (code, "already exists" in message) == ("ValidationException", True)
    other = {"SourceUri": "s3://b/data", "SourceTypes": [{"SourceIdType": "S3ETag", "Value": "2"}]}
    assert await world("sagemaker", "CreateArtifact", ArtifactType="DataSet", Source=other)


async def test_directions_depths_and_filters(world: World) -> None:
    data, component, model, action, context = chain(world)
    assert await arns(world, context, Direction="Ascendants") == [action, model, component, data]
    assert await arns(world, data, Direction="Descendants", MaxDepth=2) == [component, model]
    assert set(await arns(world, model)) == {data, component, action, context}
    assert await arns(world, context, Filters={"LineageTypes": ["Artifact"], "Types": ["DataSet"]}) == [data]
    assert await arns(world, context, Filters={"Properties": {"b": "2"}}) == [model]
    assert await arns(world, context, Filters={"Properties": {"b": "3"}}) == []
    assert await arns(world, data, Direction="Ascendants") == []
    assert await arns(world, context, Filters={"CreatedAfter": world.now + 1}) == []


async def test_vertices_and_edges(world: World) -> None:
    data, component, *_ = chain(world)
    answer = await query(world, data, MaxDepth=1)
    assert answer["Vertices"] == [{"Arn": component, "Type": "TrialComponent", "LineageType": "TrialComponent"}]
    assert answer["Edges"] == [{"SourceArn": data, "DestinationArn": component, "AssociationType": "ContributedTo"}]
    assert (await query(world, data, IncludeEdges=False))["Edges"] == []


async def test_pages_join(world: World) -> None:
    context = chain(world)[-1]
    found: list[str] = []
    more: dict[str, str] = {}
    while True:
        page = await query(world, context, MaxResults=2, **more)
        found += [each["Arn"] for each in page["Vertices"]]
        if "NextToken" not in page:
            break
        more = {"NextToken": page["NextToken"]}
    assert found == chain(world)[-2::-1]


async def test_a_walk_begins_at_what_is_there(world: World) -> None:
    code, _ = await world.refused("sagemaker", "QueryLineage", StartArns=[f"{ARN}:context/none"])
    assert code == "ResourceNotFound"
    assert (await world.refused("sagemaker", "QueryLineage"))[0] == "ValidationException"


async def test_no_circle_can_be_made(world: World) -> None:
    ends = {"SourceArn": chain(world)[-1], "DestinationArn": chain(world)[0]}
    code, message = await world.refused("sagemaker", "AddAssociation", **ends)
    assert (code, "would make a circle" in message) == ("ValidationException", True)
    data = chain(world)[0]
    assert (await world.refused("sagemaker", "AddAssociation", SourceArn=data, DestinationArn=data))[
        0
    ] == "ValidationException"


async def test_associations(world: World) -> None:
    data, component, model, action, context = chain(world)
    code, message = await world.refused("sagemaker", "AddAssociation", SourceArn=data, DestinationArn=component)
    assert (code, "already exists" in message) == ("ValidationException", True)
    code, _ = await world.refused("sagemaker", "AddAssociation", SourceArn=data, DestinationArn=f"{ARN}:context/none")
    assert code == "ResourceNotFound"

    async def listed(**params: Any) -> list[str]:
        answer = await world("sagemaker", "ListAssociations", **params)
        return [each["DestinationArn"] for each in answer["AssociationSummaries"]]

    assert await listed(SourceArn=data) == [component]
    assert await listed(DestinationArn=context, SourceType="ModelDeployment") == [context]
    assert await listed(DestinationType="Context") == [context]  # by LineageType
    assert await listed(SourceArn=model, AssociationType="Produced") == []
    by_type = await listed(SortBy="DestinationType", SortOrder="Ascending")
    assert by_type == [context, model, action, component]
    first = await world("sagemaker", "ListAssociations", SortBy="SourceArn", MaxResults=3)
    rest = await world("sagemaker", "ListAssociations", SortBy="SourceArn", MaxResults=3, NextToken=first["NextToken"])
    assert (len(first["AssociationSummaries"]), len(rest["AssociationSummaries"])) == (3, 1)
    await world("sagemaker", "DeleteAssociation", SourceArn=data, DestinationArn=component)
    assert await listed(SourceArn=data) == []
    assert (await world.refused("sagemaker", "DeleteAssociation", SourceArn=data, DestinationArn=component))[
        0
    ] == "ResourceNotFound"


async def test_entities_are_described_listed_changed_and_deleted(world: World) -> None:
    model, action = chain(world)[2], chain(world)[3]
    await world(
        "sagemaker",
        "UpdateArtifact",
        ArtifactArn=model,
        ArtifactName="named",
        Properties={"c": "3"},
        PropertiesToRemove=["a"],
    )
    shown = await world("sagemaker", "DescribeArtifact", ArtifactArn=model)
    assert (shown["ArtifactName"], shown["Properties"]) == ("named", {"b": "2", "c": "3"})
    assert shown["LineageGroupArn"].endswith(":lineage-group/sagemaker-default-lineage-group")
    await world("sagemaker", "UpdateAction", ActionName="act", Status="Completed")
    assert (await world("sagemaker", "DescribeAction", ActionName="act"))["Status"] == "Completed"
    assert (await world("sagemaker", "DescribeContext", ContextName=chain(world)[4]))["ContextName"] == "con"
    found = await world("sagemaker", "ListArtifacts", SourceUri="s3://b/model", ArtifactType="Model")
    assert [each["ArtifactArn"] for each in found["ArtifactSummaries"]] == [model]
    assert (await world("sagemaker", "ListArtifacts", ArtifactType="Nothing"))["ArtifactSummaries"] == []
    contexts = await world("sagemaker", "ListContexts", SourceUri=f"{ARN}:endpoint/e")
    assert [each["ContextName"] for each in contexts["ContextSummaries"]] == ["con"]
    code, message = await world.refused("sagemaker", "DeleteAction", ActionName="act")
    assert (code, "has 2 association(s)" in message) == ("ValidationException", True)
    for source, destination in ((model, action), (action, chain(world)[4])):
        await world("sagemaker", "DeleteAssociation", SourceArn=source, DestinationArn=destination)
    await world("sagemaker", "DeleteAction", ActionName="act")
    assert (await world.refused("sagemaker", "DescribeAction", ActionName="act"))[0] == "ResourceNotFound"


async def test_other_accounts_see_nothing(world: World) -> None:
    other = {"_account": "111111111111"}
    assert (await world("sagemaker", "ListArtifacts", **other))["ArtifactSummaries"] == []
    code, _ = await world.refused("sagemaker", "QueryLineage", StartArns=[chain(world)[0]], **other)
    assert code == "ResourceNotFound"
