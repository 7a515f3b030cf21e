"""An experiment changes its endpoint through the API, and only when its phase asks for it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.house import _serve
from tests.api.world import World

from clary.app.operations import OwnOperations
from clary.domain.endpoints import life
from clary.domain.errors import Invalid
from clary.domain.resources import Record, Scope
from clary.loops.core.loop import Loop
from clary.loops.endpoints.inference_experiments import InferenceExperimentSubject

SCOPE = Scope("000000000000", "eu-west-1")
ARN = "arn:aws:sagemaker:eu-west-1:000000000000:inference-experiment/try"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ROLE = "arn:aws:iam::000000000000:role/R"


def variant(model: str, name: str, count: int = 1) -> dict[str, Any]:
    size = {"InstanceType": "ml.m5.large", "InstanceCount": count}
    infrastructure = {"InfrastructureType": "RealTimeInference", "RealTimeInferenceConfig": size}
    return {"ModelName": model, "VariantName": name, "InfrastructureConfig": infrastructure}


REQUEST: dict[str, Any] = {
    "Name": "try",
    "Type": "ShadowMode",
    "RoleArn": ROLE,
    "EndpointName": "live",
    "ModelVariants": [variant("m1", "now"), variant("m2", "next", 2)],
    "ShadowModeConfig": {
        "SourceModelVariantName": "now",
        "ShadowModelVariants": [{"ShadowModelVariantName": "next", "SamplingPercentage": 50}],
    },
}
OVER = {"now": "Retain", "next": "Remove"}


class Scene:
    """Two models, an experiment of `changes`, its loop, and how often the API was asked for what."""

    def __init__(self) -> None:
        self.world = World({"b": {"m.tar.gz": b""}})
        self.operations = Counting(self.world)
        self.clock = self.world.ports.clock
        self.subject = InferenceExperimentSubject(self.world.store, self.operations, self.clock)
        self.loop = Loop(self.subject, self.world.store, self.clock, "owner")

    async def ask(self, operation: str, **params: Any) -> dict[str, Any]:
        return await self.world("sagemaker", operation, **params)

    async def made(self, **changes: Any) -> Scene:
        for model in ("m1", "m2"):
            await self.ask(
                "CreateModel", ModelName=model, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"}
            )
        await self.ask("CreateInferenceExperiment", **{**REQUEST, **changes})
        return self

    async def served(self) -> Scene:
        """An endpoint `live` with one variant `now` of model m1, as a user makes it."""
        for model in ("m1", "m2"):
            await self.ask(
                "CreateModel", ModelName=model, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"}
            )
        row = {"VariantName": "now", "ModelName": "m1", "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
        await self.ask("CreateEndpointConfig", EndpointConfigName="own", ProductionVariants=[row])
        await self.ask("CreateEndpoint", EndpointName="live", EndpointConfigName="own")
        await _serve(self.world, "endpoint", "live")
        return self

    async def turns(self) -> str:
        """Until nothing changes; the status."""
        for _ in range(9):
            before = await self.record()
            await self.loop.turn(ARN)
            if (await self.record()) == before:
                break
        return before.status

    async def record(self) -> Record:
        found = await self.world.store.get("inference-experiment", SCOPE, "try")
        assert found is not None
        return found

    async def fleet(self) -> dict[str, tuple[str, int, bool, float]]:
        """What the endpoint is to serve: by variant its model's name, count, whether it is a shadow, weight."""
        endpoint = await self.world.store.get("endpoint", SCOPE, "live")
        assert endpoint is not None
        plant = life.plant_of(endpoint)
        fleet = plant.incoming or plant.serving
        assert fleet is not None
        return {v.name: (v.container.model, v.count, v.shadow, v.weight) for v in fleet.variants}

    async def running(self) -> None:
        assert await self.turns() == "Starting"
        await _serve(self.world, "endpoint", "live")
        assert await self.turns() == "Running"


class Counting(OwnOperations):
    """Counts calls."""

    def __init__(self, world: World) -> None:
        super().__init__(world.ports)
        self.asked: list[str] = []

    async def call(self, service: str, operation: str, *given: Any, **more: Any) -> dict[str, Any]:
        self.asked.append(operation)
        return await super().call(service, operation, *given, **more)


async def test_without_an_endpoint_it_makes_one_and_leaves_the_source_there() -> None:
    scene = await Scene().made()
    await scene.running()
    assert scene.operations.asked == ["CreateEndpointConfig", "CreateEndpoint"]
    fleet = await scene.fleet()
    assert {name: seen[1:] for name, seen in fleet.items()} == {"now": (1, False, 1.0), "next": (2, True, 0.5)}
    await scene.ask("StopInferenceExperiment", Name="try", ModelVariantActions=OVER, Reason="seen enough")
    assert await scene.turns() == "Stopping"
    assert set(await scene.fleet()) == {"now"}
    await _serve(scene.world, "endpoint", "live")
    assert await scene.turns() == "Completed"
    told = await scene.ask("DescribeInferenceExperiment", Name="try")
    assert told["StatusReason"] == "seen enough"
    assert told["CompletionTime"] >= told["CreationTime"]
    assert {v["VariantName"]: v["Status"] for v in told["ModelVariants"]} == {"now": "InService", "next": "Deleted"}


async def test_an_endpoint_that_is_there_keeps_its_other_settings() -> None:
    scene = await Scene().served()
    await scene.ask("CreateInferenceExperiment", **REQUEST)
    await scene.running()
    assert scene.operations.asked == ["CreateEndpointConfig", "UpdateEndpoint"]
    told = await scene.ask("DescribeInferenceExperiment", Name="try")
    assert told["EndpointMetadata"]["EndpointStatus"] == "InService"
    assert told["EndpointMetadata"]["EndpointConfigName"].startswith("try-")


async def test_a_promoted_shadow_takes_the_place_of_the_source() -> None:
    scene = await Scene().made()
    await scene.running()
    desired = [variant("m2", "next", 3)]
    actions = {"now": "Remove", "next": "Promote"}
    await scene.ask("StopInferenceExperiment", Name="try", ModelVariantActions=actions, DesiredModelVariants=desired)
    await scene.turns()
    assert {name: seen[1:] for name, seen in (await scene.fleet()).items()} == {"next": (3, False, 1.0)}


async def test_sampling_changes_while_it_runs_and_nothing_else_does() -> None:
    scene = await Scene().made()
    await scene.running()
    less = [{"ShadowModelVariantName": "next", "SamplingPercentage": 10}]
    config = {"SourceModelVariantName": "now", "ShadowModelVariants": less}
    await scene.ask("UpdateInferenceExperiment", Name="try", ShadowModeConfig=config, Description="less")
    assert await scene.turns() == "Updating"
    assert (await scene.fleet())["next"][3] == 0.1
    await _serve(scene.world, "endpoint", "live")
    assert await scene.turns() == "Running"
    with pytest.raises(Invalid, match="Stop it to change its variants"):
        await scene.ask(
            "UpdateInferenceExperiment", Name="try", ModelVariants=[variant("m1", "now"), variant("m1", "next")]
        )


async def test_it_waits_for_its_start_and_ends_with_its_time() -> None:
    scene = Scene()
    begin = scene.clock.now() + 100
    await scene.made(Schedule={"StartTime": begin, "EndTime": begin + 1000})
    assert await scene.turns() == "Created"
    scene.world.ports.clock.advance(101)
    await scene.running()
    scene.world.ports.clock.advance(1000)
    assert await scene.turns() == "Stopping"
    await _serve(scene.world, "endpoint", "live")
    assert await scene.turns() == "Completed"


async def test_an_endpoint_that_is_deleted_ends_it_with_the_reason() -> None:
    scene = await Scene().made()
    await scene.running()
    endpoint = await scene.world.store.get("endpoint", SCOPE, "live")
    assert endpoint is not None
    await scene.world.store.remove(endpoint)
    assert await scene.turns() == "Cancelled"
    assert (
        "The endpoint live was deleted" in (await scene.ask("DescribeInferenceExperiment", Name="try"))["StatusReason"]
    )
    await scene.ask("DeleteInferenceExperiment", Name="try")


async def test_two_turns_that_know_nothing_of_each_other_ask_once() -> None:
    """The first one's save was lost after its commands."""
    scene = await Scene().made()
    await scene.loop.turn(ARN)
    record = await scene.record()
    served = await scene.subject.observe(record)
    (command,) = scene.subject.decide(record, served, scene.clock.now()).commands
    await scene.subject.run(command, record)
    await scene.turns()
    assert scene.operations.asked == ["CreateEndpointConfig", "CreateEndpoint"]
