from __future__ import annotations

from typing import Any

import pytest

from clary.domain.errors import AlreadyExists, Invalid, NotFound

VARIANT = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


async def test_create_describe_list_delete(ask: Any, config: str, clock: Any) -> None:
    described = await ask("DescribeEndpointConfig", EndpointConfigName=config)
    assert described["EndpointConfigArn"].endswith(":endpoint-config/c")
    assert described["ProductionVariants"][0]["InitialVariantWeight"] == 1.0
    assert described["CreationTime"] == clock.now()
    with pytest.raises(AlreadyExists, match='Cannot create already existing endpoint configuration "arn:'):
        await ask("CreateEndpointConfig", EndpointConfigName=config, ProductionVariants=[VARIANT])
    assert [c["EndpointConfigName"] for c in (await ask("ListEndpointConfigs"))["EndpointConfigs"]] == ["c"]
    await ask("DeleteEndpointConfig", EndpointConfigName=config)
    with pytest.raises(NotFound, match='Could not find endpoint configuration "arn:'):
        await ask("DescribeEndpointConfig", EndpointConfigName=config)


SUCCESS = "SUCCESS_NOTIFICATION_TOPIC"
CAPTURE = {"InitialSamplingPercentage": 5, "CaptureOptions": [{"CaptureMode": "Input"}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"InstanceType": None}, "needs InstanceType"),
        ({"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}, "ServerlessConfig and InstanceType"),
        (
            {"ManagedInstanceScaling": {"Status": "ENABLED"}},
            "is for variants that host inference components",
        ),
        ({"InitialInstanceCount": None}, "needs InitialInstanceCount"),
    ],
)
async def test_variants_that_are_refused(ask: Any, config: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await ask("CreateEndpointConfig", EndpointConfigName="x", ProductionVariants=[VARIANT | changes])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"DataCaptureConfig": {**CAPTURE, "DestinationS3Uri": "https://example.com/o"}}, "not an S3 URI"),
        ({"ShadowProductionVariants": [VARIANT]}, "must be unique; 'A'"),
        (
            {"ShadowProductionVariants": [{**VARIANT, "VariantName": name} for name in "ST"]},
            "exactly one production and one shadow variant; 1 and 2 are given",
        ),
        (
            {
                "ProductionVariants": [{**VARIANT, "InitialVariantWeight": 0}],
                "ShadowProductionVariants": [{**VARIANT, "VariantName": "S"}],
            },
            "needs an InitialVariantWeight above 0",
        ),
        (
            {"ShadowProductionVariants": [{"VariantName": "S", "ModelName": "m"}]},
            "Production variant 'S' needs InstanceType",
        ),
        ({"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "https://example.com/o"}}}, "not an S3 URI"),
        (
            {
                "AsyncInferenceConfig": {
                    "OutputConfig": {"NotificationConfig": {"IncludeInferenceResponseIn": [SUCCESS]}}
                }
            },
            "has no SuccessTopic",
        ),
        ({"ProductionVariants": [VARIANT, VARIANT]}, "must be unique"),
    ],
)
async def test_configs_that_are_refused(ask: Any, config: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await ask("CreateEndpointConfig", **{"EndpointConfigName": "x", "ProductionVariants": [VARIANT]} | params)


async def test_its_models_must_be_there(ask: Any, config: str) -> None:
    with pytest.raises(NotFound, match=r'Could not find model "arn:.*:model/none"'):
        await ask("CreateEndpointConfig", EndpointConfigName="x", ProductionVariants=[VARIANT | {"ModelName": "None"}])
