from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.api.conftest import DIGEST

from clary.api.call import Ports
from clary.domain.endpoints import life
from clary.domain.errors import AlreadyExists, Invalid, LimitExceeded, NotFound
from clary.domain.names import COMPONENT
from clary.domain.resources import Record, Scope

SCOPE = Scope("000000000000", "eu-west-1")
ROLE = "arn:aws:iam::000000000000:role/r"
ARN = "arn:aws:sagemaker:eu-west-1:000000000000:inference-component/one"


def specification(cores: float = 1, image: str = "xgboost:1", **more: Any) -> dict[str, Any]:
    return {
        "Container": {"Image": image, "ArtifactUrl": "s3://b/m.tar.gz"},
        "ComputeResourceRequirements": {"NumberOfCpuCoresRequired": cores, "MinMemoryRequiredInMb": 1024},
        **more,
    }


@pytest.fixture
async def endpoint(ask: Any, ports: Ports) -> str:
    """Two instances of 2 vCPU, up to three."""
    scaling = {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 3}
    row = {
        "VariantName": "A",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 2,
        "ManagedInstanceScaling": scaling,
    }
    await ask("CreateEndpointConfig", EndpointConfigName="hosts", ProductionVariants=[row], ExecutionRoleArn=ROLE)
    await ask("CreateEndpoint", EndpointName="e", EndpointConfigName="hosts")
    await settle(ports, "endpoint", "e")
    return "e"


async def settle(ports: Ports, kind: str, name: str, to: str = "InService") -> Record:
    """What the loop would do."""
    record = await ports.store.get(kind, SCOPE, name)
    assert record is not None
    plant = life.plant_of(record)
    plant = replace(plant, serving=plant.incoming or plant.serving, incoming=None)
    return await ports.store.save(replace(life.with_plant(record, plant), status=to))


async def create(ask: Any, name: str = "one", copies: int = 1, **changes: Any) -> Any:
    request = {
        "EndpointName": "e",
        "VariantName": "A",
        "Specification": specification(),
        "RuntimeConfig": {"CopyCount": copies},
        **changes,
    }
    return await ask("CreateInferenceComponent", InferenceComponentName=name, **request)


async def test_create_describe_list(ask: Any, ports: Ports, endpoint: str, clock: Any) -> None:
    assert await create(ask, copies=2, VariantName="A") == {"InferenceComponentArn": ARN}
    summary = {
        "InferenceComponentName": "one",
        "InferenceComponentArn": ARN,
        "EndpointName": "e",
        "EndpointArn": "arn:aws:sagemaker:eu-west-1:000000000000:endpoint/e",
        "VariantName": "A",
        "InferenceComponentStatus": "Creating",
        "CreationTime": clock.now(),
        "LastModifiedTime": clock.now(),
    }
    image = {"SpecifiedImage": "xgboost:1", "ResolvedImage": f"xgboost@{DIGEST}", "ResolutionTime": clock.now()}
    assert await ask("DescribeInferenceComponent", InferenceComponentName="one") == {
        **summary,
        "Specification": {**specification(), "Container": {"ArtifactUrl": "s3://b/m.tar.gz", "DeployedImage": image}},
        "RuntimeConfig": {"DesiredCopyCount": 2, "CurrentCopyCount": 0},
    }
    for filters, found in (
        ({}, [summary]),
        ({"EndpointNameEquals": "e", "VariantNameEquals": "A", "StatusEquals": "Creating"}, [summary]),
        ({"EndpointNameEquals": "f"}, []),
        ({"StatusEquals": "InService"}, []),
    ):
        assert (await ask("ListInferenceComponents", **filters))["InferenceComponents"] == found
    with pytest.raises(AlreadyExists, match="already existing inference component"):
        await create(ask)


async def test_a_rollback_is_shown_as_an_update(ask: Any, ports: Ports, endpoint: str) -> None:
    await create(ask)
    await settle(ports, COMPONENT, "one", "RollingBack")
    described = await ask("DescribeInferenceComponent", InferenceComponentName="one")
    assert described["InferenceComponentStatus"] == "Updating"
    assert len((await ask("ListInferenceComponents", StatusEquals="Updating"))["InferenceComponents"]) == 1


async def test_copies_need_a_place(ask: Any, ports: Ports, endpoint: str) -> None:
    await create(ask, copies=4)
    await create(ask, "two", VariantName="", Specification=specification(2))
    with pytest.raises(LimitExceeded, match="Insufficient capacity: variant 'A' has 3 instance"):
        await create(ask, "three")
    with pytest.raises(NotFound):
        await ask("DescribeInferenceComponent", InferenceComponentName="three")
    await settle(ports, COMPONENT, "one")
    with pytest.raises(LimitExceeded, match="5 copies"):
        await ask(
            "UpdateInferenceComponentRuntimeConfig", InferenceComponentName="one", DesiredRuntimeConfig={"CopyCount": 5}
        )
    with pytest.raises(Invalid, match="A copy requires 8 CPU cores"):
        await ask("UpdateInferenceComponent", InferenceComponentName="one", Specification=specification(8))
    [variant] = (await ask("DescribeEndpoint", EndpointName="e"))["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (3, 3)
    assert variant["DeployedImages"] == []


async def test_a_failed_component_holds_no_place(ask: Any, ports: Ports, endpoint: str) -> None:
    await create(ask, copies=6)
    await settle(ports, COMPONENT, "one", "Failed")
    await create(ask, "two", copies=6)


async def test_updates(ask: Any, ports: Ports, endpoint: str) -> None:
    await create(ask, copies=1)
    await settle(ports, COMPONENT, "one")
    await ask(
        "UpdateInferenceComponentRuntimeConfig", InferenceComponentName="one", DesiredRuntimeConfig={"CopyCount": 3}
    )
    described = await ask("DescribeInferenceComponent", InferenceComponentName="one")
    assert (described["InferenceComponentStatus"], described["RuntimeConfig"]["DesiredCopyCount"]) == ("Updating", 3)
    await settle(ports, COMPONENT, "one")
    rolling = {
        "RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1}, "WaitIntervalInSeconds": 0}
    }
    await ask(
        "UpdateInferenceComponent",
        InferenceComponentName="one",
        Specification={"Container": {"Environment": {"A": "1"}}},
        DeploymentConfig=rolling,
    )
    described = await ask("DescribeInferenceComponent", InferenceComponentName="one")
    assert described["LastDeploymentConfig"] == rolling
    assert "Environment" not in described["Specification"]["Container"], "what serves, until the change is through"
    record = await ports.store.get(COMPONENT, SCOPE, "one")
    assert record is not None
    incoming = life.plant_of(record).incoming
    assert incoming is not None
    [variant] = incoming.variants
    assert (variant.count, dict(variant.container.environment), variant.container.role) == (3, {"A": "1"}, ROLE)
    await settle(ports, COMPONENT, "one")
    described = await ask("DescribeInferenceComponent", InferenceComponentName="one")
    assert described["Specification"]["Container"]["Environment"] == {"A": "1"}
    with pytest.raises(Invalid, match="provide Specification or RuntimeConfig"):
        await ask("UpdateInferenceComponent", InferenceComponentName="one")


async def test_an_update_that_failed_is_neither_shown_nor_counted(ask: Any, ports: Ports, endpoint: str) -> None:
    await create(ask, copies=2)
    await settle(ports, COMPONENT, "one")
    before = await ask("DescribeInferenceComponent", InferenceComponentName="one")
    await ask(
        "UpdateInferenceComponent",
        InferenceComponentName="one",
        Specification=specification(2, image="sagemaker-xgboost:1"),
        RuntimeConfig={"CopyCount": 3},
    )
    with pytest.raises(LimitExceeded, match="Insufficient capacity"):
        await create(ask, "two", copies=4)  # either may serve in the end
    record = await ports.store.get(COMPONENT, SCOPE, "one")
    assert record is not None
    plant = replace(life.plant_of(record), incoming=None, rollout=None, failure="it does not load")
    await ports.store.save(replace(life.with_plant(record, plant), status="InService"))
    described = await ask("DescribeInferenceComponent", InferenceComponentName="one")
    assert described.pop("FailureReason") == "it does not load"
    assert described == {**before, "LastModifiedTime": described["LastModifiedTime"]}
    await create(ask, "two", copies=4)
    await ask("UpdateInferenceComponent", InferenceComponentName="one", RuntimeConfig={"CopyCount": 1})
    record = await ports.store.get(COMPONENT, SCOPE, "one")
    assert record is not None
    incoming = life.plant_of(record).incoming
    assert incoming is not None
    assert incoming.variants[0].container.image == "xgboost:1", "what the next change leaves out is what serves"


async def test_a_component_of_a_model(ask: Any, ports: Ports, endpoint: str, config: str) -> None:
    given = {name: value for name, value in specification().items() if name != "Container"}
    await create(ask, Specification={**given, "ModelName": "m"})
    record = await ports.store.get(COMPONENT, SCOPE, "one")
    assert record is not None
    incoming = life.plant_of(record).incoming
    assert incoming is not None
    assert incoming.variants[0].container.model == "m"
    await ask("CreateModel", ModelName="several", Containers=[{"Image": "xgboost:1"}, {"Image": "xgboost:1"}])
    with pytest.raises(Invalid, match="Model several has 2 containers; an inference component has one"):
        await create(ask, "two", Specification={**given, "ModelName": "several"})
    many = {"Image": "xgboost:1", "Mode": "MultiModel", "ModelDataUrl": "s3://b/models/"}
    await ask("CreateModel", ModelName="many", PrimaryContainer=many)
    with pytest.raises(Invalid, match="Model many has Mode MultiModel; an inference component has one model"):
        await create(ask, "three", Specification={**given, "ModelName": "many"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Specification": {"ModelName": "m"}}, "Specification.ComputeResourceRequirements"),
        ({"Specification": specification(ModelName="m")}, "either Specification.ModelName or Specification.Container"),
        ({"Specification": specification(image="my/own:1")}, "stands for no runtime"),
        ({"Specification": specification(BaseInferenceComponentName="base")}, "BaseInferenceComponentName"),
        ({"RuntimeConfig": None}, "RuntimeConfig.CopyCount"),
        ({"VariantName": "B"}, "Variant B of endpoint e hosts no inference components"),
    ],
)
async def test_refusals_name_their_reason(ask: Any, endpoint: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await create(ask, **changes)


async def test_components_need_an_endpoint_without_models(ask: Any, ports: Ports, config: str) -> None:
    with pytest.raises(NotFound, match="Could not find endpoint"):
        await create(ask)
    await ask("CreateEndpoint", EndpointName="e", EndpointConfigName=config)
    with pytest.raises(Invalid, match="Endpoint e cannot host inference components: its variants have models"):
        await create(ask, VariantName="")


async def test_an_endpoint_goes_after_its_components(ask: Any, ports: Ports, endpoint: str) -> None:
    await create(ask)
    with pytest.raises(Invalid, match=r"while it has inference components: one\. Delete them first"):
        await ask("DeleteEndpoint", EndpointName="e")
    record = await settle(ports, COMPONENT, "one")
    await ask("DeleteInferenceComponent", InferenceComponentName="one")
    deleting = await ports.store.get(COMPONENT, SCOPE, record.name)
    assert deleting is not None
    assert deleting.status == "Deleting"
    await ports.store.remove(deleting)
    await ask("DeleteEndpoint", EndpointName="e")


async def test_an_update_of_the_endpoint_keeps_a_place_for_its_components(ask: Any, endpoint: str, config: str) -> None:
    await create(ask)
    with pytest.raises(Invalid, match="cannot host inference components"):
        await ask("UpdateEndpoint", EndpointName="e", EndpointConfigName=config)


@pytest.mark.parametrize(
    ("row", "more", "words"),
    [
        ({}, {}, "needs ExecutionRoleArn"),
        (
            {"ManagedInstanceScaling": {"MinInstanceCount": 3, "MaxInstanceCount": 2}},
            {"ExecutionRoleArn": ROLE},
            "is above MaxInstanceCount 2",
        ),
        ({"InstanceType": None}, {"ExecutionRoleArn": ROLE}, "needs InstanceType"),
    ],
)  # fmt: skip
async def test_a_config_for_components(ask: Any, row: dict[str, Any], more: dict[str, Any], words: str) -> None:
    given = {"VariantName": "A", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1, **row}
    with pytest.raises(Invalid, match=words):
        await ask("CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[given], **more)
