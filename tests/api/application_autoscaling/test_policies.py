"""A latency objective as the API takes it: a policy without alarms, a tag of an endpoint config, a setting; and who cannot have one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.api.application_autoscaling.test_targets import SCOPE, WHERE, Scaling
from tests.api.conftest import Ask

from clary.api.call import Ports
from clary.domain.endpoints.life import plant_of
from clary.domain.errors import Invalid

MILLICPU = {**WHERE, "ScalableDimension": "clary:variant:DesiredMillicpuPerInstance"}
TAG = "clary:latency-objective-ms"
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
MANAGED = {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 4}


@pytest.fixture
def scaling(ports: Ports) -> Scaling:
    return Scaling(ports)


def policy(value: float = 250.0, **config: Any) -> dict[str, Any]:
    metric = {"PredefinedMetricType": "ClaryLatencyObjective"}
    config = {"TargetValue": value, "PredefinedMetricSpecification": metric, **config}
    kind = {"PolicyName": "p99", "PolicyType": "TargetTrackingScaling"}
    return {**kind, "TargetTrackingScalingPolicyConfiguration": config}


@pytest.mark.parametrize("where", [WHERE, MILLICPU])
async def test_a_policy_makes_no_alarms(scaling: Scaling, where: dict[str, Any]) -> None:
    await scaling.endpoint()
    await scaling("RegisterScalableTarget", **where, MinCapacity=10, MaxCapacity=40)
    made = await scaling("PutScalingPolicy", **where, **policy())
    assert made["Alarms"] == []
    assert (await scaling("DescribeAlarms", _service="cloudwatch"))["MetricAlarms"] == []
    [told] = (await scaling("DescribeScalingPolicies", ServiceNamespace="sagemaker"))["ScalingPolicies"]
    assert told["Alarms"] == []
    assert told["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 250.0
    await scaling("DeleteScalingPolicy", **where, PolicyName="p99")


async def test_a_variant_with_an_objective_may_go_to_zero(scaling: Scaling) -> None:
    await scaling.registered()
    code, message = await scaling.refused("RegisterScalableTarget", **WHERE, MinCapacity=0, MaxCapacity=4)
    assert (code, "put its policy first" in message) == ("ValidationException", True)
    await scaling("PutScalingPolicy", **WHERE, **policy())
    await scaling("RegisterScalableTarget", **WHERE, MinCapacity=0, MaxCapacity=4)


@pytest.mark.parametrize("value", [0.0, -5.0, 1e18, float("nan"), float("inf")])
async def test_objectives_that_cannot_be(scaling: Scaling, value: float) -> None:
    await scaling.registered()
    code, message = await scaling.refused("PutScalingPolicy", **WHERE, **policy(value))
    assert code == "ValidationException"
    assert "TargetValue" in message


async def test_dimensions_without_an_objective(scaling: Scaling) -> None:
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    await scaling.endpoint(ServerlessConfig=serverless, InstanceType=None, InitialInstanceCount=None)
    where = {**WHERE, "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency"}
    await scaling("RegisterScalableTarget", **where, MinCapacity=0, MaxCapacity=4)
    code, message = await scaling.refused("PutScalingPolicy", **where, **policy())
    assert (code, "is for the scalable dimensions" in message) == ("ValidationException", True)


async def test_variants_that_cannot_have_one(scaling: Scaling) -> None:
    await scaling.registered()
    record = await scaling.ports.store.get("endpoint", SCOPE, "e")
    assert record is not None
    plant = plant_of(record)
    assert plant.serving is not None
    serving = replace(plant.serving, asynchronous={"OutputConfig": {}})
    document = {**record.document, "plant": replace(plant, serving=serving).to_json()}
    await scaling.ports.store.save(replace(record, document=document))
    code, message = await scaling.refused("PutScalingPolicy", **WHERE, **policy())
    assert code == "ValidationException"
    assert message.startswith("Variant v cannot have a latency objective: it is of an asynchronous endpoint")


async def objective(ask: Ask, ports: Ports, config: str) -> float:
    await ask("CreateEndpoint", EndpointName="e", EndpointConfigName=config)
    record = await ports.store.get("endpoint", SCOPE, "e")
    assert record is not None
    fleet = plant_of(record).incoming
    assert fleet is not None
    return fleet.objective


async def tagged(ask: Ask, value: str, **variant: Any) -> str:
    rows, tags = [VARIANT | variant], [{"Key": TAG, "Value": value}]
    await ask("CreateEndpointConfig", EndpointConfigName="t", ProductionVariants=rows, Tags=tags)
    return "t"


async def test_a_tag_gives_an_objective_and_a_range(ask: Ask, ports: Ports, config: str) -> None:
    assert await objective(ask, ports, await tagged(ask, "250", ManagedInstanceScaling=MANAGED)) == 0.25


async def test_the_setting_counts_where_there_is_no_tag(ask: Ask, ports: Ports, config: str) -> None:
    object.__setattr__(ports, "settings", replace(ports.settings, latency_objective=0.4))
    assert await objective(ask, ports, config) == 0.4


async def test_without_either_there_is_none(ask: Ask, ports: Ports, config: str) -> None:
    assert await objective(ask, ports, config) == 0.0


@pytest.mark.parametrize("value", ["fast", "-1", "0", "nan", "1e18"])
async def test_tags_that_are_no_objective(ask: Ask, config: str, value: str) -> None:
    with pytest.raises(Invalid, match=f"The tag {TAG} must be a p99 in milliseconds"):
        await tagged(ask, value)


@pytest.mark.parametrize(
    ("scaling", "words"),
    [
        ({**MANAGED, "MinInstanceCount": 5}, "MinInstanceCount 5 is above MaxInstanceCount 4"),
    ],
)
async def test_ranges_that_cannot_be(ask: Ask, config: str, scaling: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await tagged(ask, "250", ManagedInstanceScaling=scaling)


async def test_a_tagged_config_of_a_variant_that_cannot_have_one(ask: Ask, config: str) -> None:
    await ask("CreateModel", ModelName="many", PrimaryContainer={
        "Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
        "Mode": "MultiModel", "ModelDataUrl": "s3://b/models/"})  # fmt: skip
    name = await tagged(ask, "250", ModelName="many")
    with pytest.raises(Invalid, match="Variant v cannot have a latency objective: it serves many models"):
        await ask("CreateEndpoint", EndpointName="e", EndpointConfigName=name)
