from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.api.conftest import DIGEST, IMAGE

from clary.api.call import Ports
from clary.domain.endpoints import life
from clary.domain.errors import AlreadyExists, IllegalTransition, Invalid, LimitExceeded, NotFound
from clary.domain.resources import Record, Scope

ARN = "arn:aws:sagemaker:eu-west-1:000000000000:endpoint/e"
SCOPE = Scope("000000000000", "eu-west-1")
SDK = "Boto3/1.42 lib/AWS-SageMaker-Python-SDK#2.257.7"


@pytest.fixture
async def endpoint(ask: Any, config: str) -> str:
    await ask("CreateEndpoint", EndpointName="e", EndpointConfigName=config)
    return "e"


async def status(ports: Ports, to: str) -> None:
    """What the loop would do: the first fleet takes over and the status moves."""
    record = await ports.store.get("endpoint", SCOPE, "e")
    assert record is not None
    plant = life.plant_of(record)
    plant = replace(plant, serving=plant.serving or plant.incoming, incoming=None)
    await ports.store.save(replace(life.with_plant(record, plant), status=to))


async def test_a_new_endpoint(ask: Any, endpoint: str, clock: Any) -> None:
    described = await ask("DescribeEndpoint", EndpointName=endpoint)
    variant = described.pop("ProductionVariants")[0]
    assert described == {
        "EndpointName": "e",
        "EndpointArn": ARN,
        "EndpointConfigName": "c",
        "EndpointStatus": "Creating",
        "CreationTime": clock.now(),
        "LastModifiedTime": clock.now(),
    }
    resolved = f"683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost@{DIGEST}"
    assert variant["DeployedImages"] == [
        {"SpecifiedImage": IMAGE, "ResolvedImage": resolved, "ResolutionTime": clock.now()}
    ]
    assert variant["CurrentInstanceCount"] == 0
    assert variant["DesiredInstanceCount"] == 1
    assert variant["VariantStatus"][0]["Status"] == "Creating"
    with pytest.raises(AlreadyExists, match=f'Cannot create already existing endpoint "{ARN}".'):
        await ask("CreateEndpoint", EndpointName="e", EndpointConfigName="c")
    assert (await ask("ListEndpoints", StatusEquals="Creating"))["Endpoints"][0]["EndpointName"] == "e"
    assert (await ask("ListEndpoints", StatusEquals="InService"))["Endpoints"] == []


async def test_a_failed_endpoint_shows_its_variants(ask: Any, ports: Ports, endpoint: str) -> None:
    record = await ports.store.get("endpoint", SCOPE, "e")
    assert record is not None
    plant = life.plant_of(record)
    assert plant.incoming is not None
    plant = replace(plant, incoming=None, failed=plant.incoming, failure="no room")
    await ports.store.save(replace(life.with_plant(record, plant), status="Failed"))
    described = await ask("DescribeEndpoint", EndpointName=endpoint)
    assert (described["EndpointStatus"], described["FailureReason"]) == ("Failed", "no room")
    (variant,) = described["ProductionVariants"]
    assert (variant["VariantName"], variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (
        "AllTraffic",
        0,
        1,
    )
    assert "VariantStatus" not in variant


async def test_a_serverless_variant_has_no_instances(ask: Any, config: str) -> None:
    """As AWS answers it: a current count of 0 beside the current configuration, and no desired count."""
    row = {"VariantName": "A", "ModelName": "m", "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    await ask("CreateEndpointConfig", EndpointConfigName="s", ProductionVariants=[row])
    await ask("CreateEndpoint", EndpointName="e", EndpointConfigName="s")
    (variant,) = (await ask("DescribeEndpoint", EndpointName="e"))["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == row["ServerlessConfig"]
    assert variant["CurrentInstanceCount"] == 0
    assert "DesiredInstanceCount" not in variant


async def test_many_models_are_not_asked_asynchronously(ask: Any) -> None:
    many = {"Image": "xgboost:1", "Mode": "MultiModel", "ModelDataUrl": "s3://b/models/"}
    await ask("CreateModel", ModelName="many", PrimaryContainer=many)
    variant = {"VariantName": "A", "ModelName": "many", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    output = {"OutputConfig": {"S3OutputPath": "s3://b/out"}}
    await ask(
        "CreateEndpointConfig", EndpointConfigName="many", ProductionVariants=[variant], AsyncInferenceConfig=output
    )
    with pytest.raises(Invalid, match="'many' has Mode MultiModel, which is not supported for asynchronous inference"):
        await ask("CreateEndpoint", EndpointName="many", EndpointConfigName="many")


async def test_missing_things(ask: Any, config: str) -> None:
    with pytest.raises(NotFound, match=r'Could not find endpoint configuration "arn:.*/x"'):
        await ask("CreateEndpoint", EndpointName="e", EndpointConfigName="x")
    for operation, further in (
        ("DescribeEndpoint", {}),
        ("DeleteEndpoint", {}),
        ("UpdateEndpoint", {"EndpointConfigName": "c"}),
        ("UpdateEndpointWeightsAndCapacities", {"DesiredWeightsAndCapacities": [{"VariantName": "AllTraffic"}]}),
    ):
        with pytest.raises(NotFound, match=f'Could not find endpoint "{ARN}".'):
            await ask(operation, EndpointName="e", **further)


async def test_nothing_changes_an_endpoint_in_progress(ask: Any, ports: Ports, endpoint: str) -> None:
    for now in ("Creating", "Updating", "RollingBack", "Deleting"):
        await status(ports, now)
        for operation, further in (
            ("DeleteEndpoint", {}),
            ("UpdateEndpoint", {"EndpointConfigName": "c"}),
            ("UpdateEndpointWeightsAndCapacities", {"DesiredWeightsAndCapacities": [{"VariantName": "AllTraffic"}]}),
        ):
            with pytest.raises(IllegalTransition, match=f'Cannot update in-progress endpoint "{ARN}".'):
                await ask(operation, EndpointName="e", **further)


async def test_update_keeps_the_old_config_in_sight_until_it_is_done(ask: Any, ports: Ports, endpoint: str) -> None:
    await status(ports, "InService")
    rows = (await ask("DescribeEndpointConfig", EndpointConfigName="c"))["ProductionVariants"]
    rows[0]["InitialInstanceCount"] = 3
    await ask("CreateEndpointConfig", EndpointConfigName="c2", ProductionVariants=rows)
    assert await ask("UpdateEndpoint", EndpointName="e", EndpointConfigName="c2") == {"EndpointArn": ARN}
    described = await ask("DescribeEndpoint", EndpointName="e")
    assert described["EndpointStatus"] == "Updating"
    assert described["EndpointConfigName"] == "c"
    assert described["PendingDeploymentSummary"]["EndpointConfigName"] == "c2"
    assert described["PendingDeploymentSummary"]["ProductionVariants"][0]["DesiredInstanceCount"] == 3


async def test_retained_properties(ask: Any, ports: Ports, endpoint: str) -> None:
    await status(ports, "InService")
    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": 4, "DesiredWeight": 0.5}
    await ask("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=[change])
    await status(ports, "InService")
    await ask(
        "UpdateEndpoint",
        EndpointName="e",
        EndpointConfigName="c",
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}],
    )
    pending = (await ask("DescribeEndpoint", EndpointName="e"))["PendingDeploymentSummary"]["ProductionVariants"][0]
    assert (pending["DesiredInstanceCount"], pending["DesiredWeight"]) == (4, 1.0)


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        (
            {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "CANARY", "WaitIntervalInSeconds": 0}}},
            "CanarySize is required when Type is CANARY",
        ),
        (
            {
                "RollingUpdatePolicy": {
                    "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 51},
                    "WaitIntervalInSeconds": 0,
                }
            },
            "must be between 5% and 50%",
        ),
        (
            {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "lost-alarm"}]}},
            r"Could not find CloudWatch alarm\(s\) lost-alarm .*PutMetricAlarm",
        ),
    ],
)
async def test_deployments_that_are_refused(ask: Any, ports: Ports, endpoint: str, deployment: Any, words: str) -> None:
    await status(ports, "InService")
    with pytest.raises(Invalid, match=words):
        await ask("UpdateEndpoint", EndpointName="e", EndpointConfigName="c", DeploymentConfig=deployment)


async def test_an_unknown_variant(ask: Any, ports: Ports, endpoint: str) -> None:
    await status(ports, "InService")
    with pytest.raises(Invalid, match='variant name "Other"'):
        await ask(
            "UpdateEndpointWeightsAndCapacities",
            EndpointName="e",
            DesiredWeightsAndCapacities=[{"VariantName": "Other"}],
        )


async def test_its_history_begins_with_what_was_asked(ports: Ports, endpoint: str) -> None:
    record = await ports.store.get("endpoint", SCOPE, endpoint)
    assert record is not None
    (note,) = life.plant_of(record).notes
    assert (note.what, note.why, note.config) == ("create asked", "endpoint config c", "c")


async def test_weights_that_contradict_themselves(ask: Any, ports: Ports, endpoint: str) -> None:
    await status(ports, "InService")
    rows = [{"VariantName": "AllTraffic", "DesiredWeight": weight} for weight in (1.0, 2.0)]
    with pytest.raises(Invalid, match='names the variant "AllTraffic" more than once'):
        await ask("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=rows)
    alone = [{"VariantName": "AllTraffic", "DesiredWeight": 0.0}]
    await ask("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=alone)


async def test_some_variant_must_have_traffic(ask: Any, ports: Ports, config: str) -> None:
    found = await ask("DescribeEndpointConfig", EndpointConfigName=config)
    rows = [{**found["ProductionVariants"][0], "VariantName": name} for name in "AB"]
    await ask("CreateEndpointConfig", EndpointConfigName="two", ProductionVariants=rows)
    await ask("CreateEndpoint", EndpointName="e", EndpointConfigName="two")
    await status(ports, "InService")
    wanted = [{"VariantName": name, "DesiredWeight": 0.0} for name in "AB"]
    with pytest.raises(Invalid, match="must have a DesiredWeight above 0"):
        await ask("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wanted)
    described = await ask("DescribeEndpoint", EndpointName="e")
    assert described["EndpointStatus"] == "InService"
    assert [v["DesiredWeight"] for v in described["ProductionVariants"]] == [1.0, 1.0]


async def test_a_count_that_nobody_means(ask: Any, ports: Ports, endpoint: str) -> None:
    """It would keep the control plane busy for everybody (measured: for minutes at 100,000)."""
    await status(ports, "InService")
    asked = {
        "EndpointName": "e",
        "DesiredWeightsAndCapacities": [{"VariantName": "AllTraffic", "DesiredInstanceCount": 10**9}],
    }
    with pytest.raises(LimitExceeded, match="1000000000 are asked for"):
        await ask("UpdateEndpointWeightsAndCapacities", **asked)
    described = await ask("DescribeEndpoint", EndpointName="e")
    assert (described["EndpointStatus"], described["ProductionVariants"][0]["DesiredInstanceCount"]) == ("InService", 1)
    row = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1001}
    await ask("CreateEndpointConfig", EndpointConfigName="many", ProductionVariants=[row])
    with pytest.raises(LimitExceeded, match=r"'ml.m5.large for endpoint usage' is 1000 Instances"):
        await ask("CreateEndpoint", EndpointName="many", EndpointConfigName="many")


async def test_a_waiting_client_hears_at_once_when_the_state_changes(ask: Any, ports: Ports, endpoint: str) -> None:
    waiting = asyncio.create_task(ask("DescribeEndpoint", EndpointName="e", _agent=SDK))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await status(ports, "InService")
    async with asyncio.timeout(1):
        assert (await waiting)["EndpointStatus"] == "InService"


async def test_a_waiting_client_hears_of_a_deletion(ask: Any, ports: Ports, endpoint: str) -> None:
    await status(ports, "Deleting")
    waiting = asyncio.create_task(ask("DescribeEndpoint", EndpointName="e", _agent="aws-cli/2 m/B,E"))
    await asyncio.sleep(0.02)
    record: Record | None = await ports.store.get("endpoint", SCOPE, "e")
    assert record is not None
    await ports.store.remove(record)
    with pytest.raises(NotFound):
        await waiting
