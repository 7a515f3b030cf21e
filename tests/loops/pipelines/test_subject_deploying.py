"""Steps whose child keeps its name, and Lineage steps: over the handlers and a store in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.api.requests import IMAGE, ROLE
from tests.loops.pipelines.test_subject import Killed, Mortal, Scene

from clary.domain.endpoints import life
from clary.domain.resources import Query, Record, Scope
from clary.loops.pipelines.subject import attach

SCOPE = Scope("000000000000", "eu-west-1")
N = {"Std:Join": {"On": "-", "Values": ["config", {"Get": "Parameters.N"}]}}


def step(name: str, kind: str, arguments: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": kind, "Arguments": arguments, **more}


def config(**more: Any) -> dict[str, Any]:
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    return step("Config", "EndpointConfig", {"EndpointConfigName": N, "ProductionVariants": [variant]}, **more)


def endpoint(**more: Any) -> dict[str, Any]:
    wanted = {"EndpointName": "live", "EndpointConfigName": {"Get": "Steps.Config.EndpointConfigName"}}
    return step("Deploy", "Endpoint", {**wanted, **more})


class Deploying(Scene):
    """A scene with a model, whose endpoints the test moves."""

    async def model(self) -> None:
        container = {"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"}
        await self.world("sagemaker", "CreateModel", ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE)

    async def found(self, kind: str, name: str) -> Record:
        found = await self.world.store.get(kind, SCOPE, name)
        assert found is not None
        return found

    async def settle(
        self,
        arn: str,
        *,
        rolled_back: bool = False,
        failure: str = "",
        kind: str = "endpoint",
        name: str = "live",
    ) -> None:
        """The change of the endpoint, or of the component, ends."""
        current = await self.found(kind, name)
        plant = life.plant_of(current)
        serving = plant.serving if rolled_back else plant.incoming
        plant = replace(plant, serving=serving, incoming=None, failure=failure)
        await self.world.store.save(replace(life.with_plant(current, plant), status="InService"))
        await self.turns(arn)

    async def step(self, arn: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.record(arn)).document["steps"][name]
        return found


@pytest.fixture
async def scene() -> Deploying:
    found = Deploying()
    await found.model()
    return found


async def test_an_endpoint_is_created_once_and_updated_after_that(scene: Deploying) -> None:
    await scene.create(config(), endpoint(Tags=[{"Key": "team", "Value": "a"}]))
    first = await scene.start()
    assert await scene.statuses(first) == {"Config": "Succeeded", "Deploy": "Executing"}
    await scene.settle(first)
    assert await scene.statuses(first) == {"Config": "Succeeded", "Deploy": "Succeeded"}
    second = await scene.start(PipelineParameters=[{"Name": "N", "Value": "4"}])
    assert (await scene.found("endpoint", "live")).status == "Updating"
    await scene.settle(second)
    assert (await scene.record(second)).status == "Succeeded"
    plant = life.plant_of(await scene.found("endpoint", "live"))
    assert plant.serving is not None
    assert plant.serving.config == "config-4"
    shown = await scene.world("sagemaker", "ListPipelineExecutionSteps", PipelineExecutionArn=second)
    metadata = {each["StepName"]: each["Metadata"] for each in shown["PipelineExecutionSteps"]}
    assert metadata["Deploy"]["Endpoint"]["Arn"].endswith(":endpoint/live")
    assert metadata["Config"]["EndpointConfig"]["Arn"].endswith(":endpoint-config/config-4")


async def test_an_update_that_was_rolled_back_fails_its_step(scene: Deploying) -> None:
    await scene.create(config(), endpoint())
    await scene.settle(await scene.start())
    arn = await scene.start(PipelineParameters=[{"Name": "N", "Value": "4"}])
    await scene.settle(arn, rolled_back=True, failure="An alarm went off.")
    state = await scene.step(arn, "Deploy")
    assert state["status"] == "Failed"
    assert state["failure"].endswith(
        "endpoint/live serves config-3, not config-4: the update was rolled back, or another came after it. "
        "An alarm went off."
    )


async def test_a_rollout_that_others_began_refuses_the_steps_update(scene: Deploying) -> None:
    await scene.create(config(), endpoint())
    first = await scene.start()
    second = await scene.start(PipelineParameters=[{"Name": "N", "Value": "4"}])
    assert "Cannot update in-progress endpoint" in (await scene.step(second, "Deploy"))["failure"]
    await scene.settle(first)
    assert (await scene.record(first)).status == "Succeeded"


async def test_a_config_that_is_there_is_used_if_it_is_the_same(scene: Deploying) -> None:
    await scene.create(config())
    assert (await scene.record(await scene.start())).status == "Succeeded"
    assert (await scene.record(await scene.start())).status == "Succeeded"
    other = {"VariantName": "other", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    await scene.create(
        step("Config", "EndpointConfig", {"EndpointConfigName": N, "ProductionVariants": [other]}), name="pipe2"
    )
    arn = await scene.start(PipelineName="pipe2")
    reason = (await scene.step(arn, "Config"))["failure"]
    assert reason.startswith("Cannot create already existing endpoint configuration")
    assert reason.endswith("Its ProductionVariants is not what the step asks for.")


async def test_the_end_of_a_change_to_an_endpoint_that_was_there_wakes_the_execution(scene: Deploying) -> None:
    woken: list[str] = []

    class Ears:
        def wake(self, who: str) -> None:
            woken.append(who)

    leave = attach(scene.subject, Ears(), scene.world.store)  # type: ignore[arg-type]
    await scene.create(config(), endpoint())
    await scene.settle(await scene.start())
    arn = await scene.start(PipelineParameters=[{"Name": "N", "Value": "4"}])
    assert arn not in woken
    await scene.settle(arn)
    assert arn in woken
    assert scene.subject.waiting((await scene.found("endpoint", "live")).arn) == ()
    leave()


@pytest.mark.parametrize("after", [False, True])
async def test_a_kill_at_any_write_deploys_once(after: bool) -> None:
    deaths = 0
    for at in range(1, 10):
        store = Mortal()
        scene = Deploying(store)
        await scene.model()
        await scene.create(config(), endpoint())
        await scene.settle(await scene.start())
        store.after, killed = after, 0
        asked = {"PipelineName": "pipe", "ClientRequestToken": scene.token()}
        changed = {"PipelineParameters": [{"Name": "N", "Value": "4"}]}
        arn = str(
            (await scene.world("sagemaker", "StartPipelineExecution", **asked, **changed))["PipelineExecutionArn"]
        )
        store.left = at
        while (await scene.record(arn)).status == "Executing":
            try:
                await scene.turns(arn)
                if (await scene.found("endpoint", "live")).status == "Updating":
                    await scene.settle(arn)
            except Killed:
                killed += 1
                scene.again()
        deaths += killed
        assert (await scene.record(arn)).status == "Succeeded", await scene.step(arn, "Deploy")
        notes = [each for each in life.plant_of(await scene.found("endpoint", "live")).notes if "asked" in str(each)]
        assert len(notes) == 2  # the creation, and one update
    assert deaths >= 4  # a write that was refused, as that of a name that is taken, kills nobody


async def test_a_cached_endpoint_that_serves_something_else_is_no_hit(scene: Deploying) -> None:
    cache = {"CacheConfig": {"Enabled": True}}
    await scene.create(config(**cache), {**endpoint(), **cache})
    first = await scene.start()
    await scene.settle(first)
    second = await scene.start()
    assert (await scene.record(second)).status == "Succeeded"
    assert (await scene.step(second, "Deploy"))["origin"]["execution"] == first
    await scene.settle(await scene.start(PipelineParameters=[{"Name": "N", "Value": "4"}]))
    third = await scene.start()
    assert (await scene.step(third, "Deploy"))["status"] == "Executing"
    assert "serves config-4, not config-3" in (await scene.step(third, "Deploy"))["miss"]


async def test_an_inference_component_is_created_once_and_updated_after_that(scene: Deploying) -> None:
    host = {
        "VariantName": "v",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 2,
        "ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 3},
    }
    world = scene.world
    await world(
        "sagemaker", "CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[host], ExecutionRoleArn=ROLE
    )
    await world("sagemaker", "CreateEndpoint", EndpointName="live", EndpointConfigName="c")
    needs = {"NumberOfCpuCoresRequired": 1, "MinMemoryRequiredInMb": 1024}
    arguments = {
        "InferenceComponentName": "one",
        "EndpointName": "live",
        "VariantName": "v",
        "Specification": {"ModelName": "m", "ComputeResourceRequirements": needs},
        "RuntimeConfig": {"CopyCount": {"Get": "Parameters.N"}},
    }
    await scene.create(step("Component", "InferenceComponent", arguments))
    first = await scene.start(PipelineParameters=[{"Name": "N", "Value": "1"}])
    await scene.settle(first)
    assert await scene.statuses(first) == {"Component": "Executing"}
    await scene.settle(first, kind="inference-component", name="one")
    assert (await scene.record(first)).status == "Succeeded"
    second = await scene.start(PipelineParameters=[{"Name": "N", "Value": "2"}])
    assert (await scene.found("inference-component", "one")).status == "Updating"
    await scene.settle(second, kind="inference-component", name="one", rolled_back=True, failure="No room.")
    failed = await scene.step(second, "Component")
    assert failed["failure"].endswith("inference-component/one was rolled back to what it was before. No room.")
    third = await scene.start(PipelineParameters=[{"Name": "N", "Value": "2"}])
    await scene.settle(third, kind="inference-component", name="one")
    assert (await scene.record(third)).status == "Succeeded"
    await scene.create(step("Component", "InferenceComponent", {**arguments, "EndpointName": "other"}), name="pipe2")
    elsewhere = await scene.start(PipelineName="pipe2")
    assert "failure" in await scene.step(elsewhere, "Component")


def lineage(**more: Any) -> dict[str, Any]:
    named = {"Name": "run", "Type": "Action"}
    return step(
        "Record",
        "Lineage",
        {
            "Actions": [
                {
                    "ActionName": "run",
                    "ActionType": "Training",
                    "Source": {"SourceUri": "s3://b/run"},
                    "Status": "InProgress",
                }
            ],
            "Artifacts": [{"ArtifactName": "model", "ArtifactType": "Model", "Source": {"SourceUri": "s3://b/m"}}],
            "Associations": [
                {"Source": named, "Destination": {"Name": "model", "Type": "Artifact"}, "AssociationType": "Produced"}
            ],
            **more,
        },
    )


async def test_a_lineage_step_records_each_thing_once(scene: Deploying) -> None:
    await scene.create(lineage(), step("End", "Fail", {"ErrorMessage": {"Get": "Steps.Record.ArtifactArns['model']"}}))
    for _ in range(2):  # the second execution finds all of it there
        arn = await scene.start()
        shown = await scene.world("sagemaker", "ListPipelineExecutionSteps", PipelineExecutionArn=arn)
        found = {each["StepName"]: each for each in shown["PipelineExecutionSteps"]}
        told = found["Record"]["Metadata"]["Lineage"]
        assert told["ActionArns"]["run"].endswith(":action/run")
        assert told["Associations"] == [
            {"SourceArn": told["ActionArns"]["run"], "DestinationArn": told["ArtifactArns"]["model"]}
        ]
        assert found["End"]["FailureReason"] == told["ArtifactArns"]["model"]
    for kind, count in (("action", 1), ("artifact", 1), ("association", 1)):
        assert await scene.world.store.count(Query(kind, SCOPE)) == count


async def test_an_association_with_what_is_not_there_fails_its_step(scene: Deploying) -> None:
    nothing = "arn:aws:sagemaker:eu-west-1:000000000000:artifact/nothing"
    rows = [{"Source": {"Arn": nothing}, "Destination": {"Name": "model", "Type": "Artifact"}}]
    await scene.create(lineage(Associations=rows))
    arn = await scene.start()
    assert (await scene.step(arn, "Record"))["failure"] == f"Lineage entity {nothing} does not exist."
