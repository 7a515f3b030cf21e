"""Pipelines and their versions as a client meets them, over the ports in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.api.requests import ROLE
from tests.api.world import World

END = {"Name": "End", "Type": "Fail", "Arguments": {"ErrorMessage": "e"}}


def definition(*steps: Any) -> str:
    return json.dumps({"Version": "2020-12-01", "Steps": list(steps or [END])})


@pytest.fixture
def world() -> World:
    return World({"b": {"pipe.json": definition().encode(), "bad.json": b"\xff"}})


async def create(world: World, token: str = "a" * 32, **more: Any) -> str:
    asked = {
        "PipelineName": "p",
        "RoleArn": ROLE,
        "ClientRequestToken": token,
        "PipelineDefinition": definition(),
        **more,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    return str((await world("sagemaker", "CreatePipeline", **asked))["PipelineArn"])


async def refused(world: World, operation: str, **asked: Any) -> tuple[str, str]:
    found: tuple[str, str] = await world.refused("sagemaker", operation, **asked)
    return found


async def test_the_same_token_is_the_same_pipeline_and_another_one_is_refused(world: World) -> None:
    arn = await create(world)
    assert await create(world) == arn
    asked = {"PipelineName": "p", "RoleArn": ROLE, "PipelineDefinition": definition()}
    code, words = await refused(world, "CreatePipeline", ClientRequestToken="b" * 32, **asked)
    assert code == "ValidationException"  # upsert of the SDKs looks for this code and the last words
    assert words.endswith("Pipeline with name p already exists.")


async def test_every_new_definition_is_a_version_and_an_alias_has_one(world: World) -> None:
    await create(world, PipelineVersionAliases=["live"])
    changed = await world(
        "sagemaker", "UpdatePipeline", PipelineName="p", PipelineDefinition=definition({**END, "Name": "Z"})
    )
    assert changed["PipelineVersionId"] == 2
    told = await world("sagemaker", "DescribePipeline", PipelineName="p")
    assert json.loads(told["PipelineDefinition"])["Steps"][0]["Name"] == "Z"
    told = await world("sagemaker", "DescribePipeline", PipelineName="p", PipelineVersionId=1)
    assert json.loads(told["PipelineDefinition"])["Steps"][0]["Name"] == "End"
    with_alias = {"PipelineName": "p", "PipelineDefinition": definition(), "PipelineVersionAliases": ["live"]}
    assert "already one of version 1" in (await refused(world, "UpdatePipeline", **with_alias))[1]


async def test_a_definition_may_stand_in_s3(world: World) -> None:
    where = {"Bucket": "b", "ObjectKey": "pipe.json"}
    await create(world, PipelineDefinition=None, PipelineDefinitionS3Location=where)
    both = {"PipelineName": "q", "RoleArn": ROLE, "ClientRequestToken": "q" * 32}
    for key, words in (("nothing.json", "does not exist"), ("bad.json", "is not text in UTF-8")):
        gone = {"PipelineDefinitionS3Location": {"Bucket": "b", "ObjectKey": key}}
        assert words in (await refused(world, "CreatePipeline", **both, **gone))[1]
    assert "either PipelineDefinition or" in (await refused(world, "CreatePipeline", **both))[1]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"Name": "E", "Type": "EMR", "Arguments": {}}, "Clary has no EMR clusters"),
        ({"Name": "E", "Type": "Endpoint"}, "Step 'E' needs Arguments"),
        ({"Name": "E", "Type": "QualityCheck", "Arguments": {}}, "it must be of DATA_QUALITY, MODEL_QUALITY"),
        ({"Name": "E", "Type": "Lineage", "Arguments": {}}, "needs at least one of Actions"),
    ],
)
async def test_a_step_that_cannot_run_is_refused_when_the_pipeline_is_made(world: World, step: Any, words: str) -> None:
    asked = {"PipelineName": "p", "RoleArn": ROLE, "ClientRequestToken": "a" * 32}
    code, told = await refused(world, "CreatePipeline", PipelineDefinition=definition(step), **asked)
    assert code == "ValidationException"
    assert words in told


async def test_what_is_not_there_is_told_by_its_arn(world: World) -> None:
    code, words = await refused(world, "DescribePipeline", PipelineName="nothing")
    assert code == "ResourceNotFound"
    assert words == "Pipeline 'arn:aws:sagemaker:eu-west-1:000000000000:pipeline/nothing' does not exist."
