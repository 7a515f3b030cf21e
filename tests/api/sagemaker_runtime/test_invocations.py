from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.api.conftest import ACCOUNT, IMAGE, REGION

from clary.api.call import Ports
from clary.api.dispatch import answer
from clary.api.errors import code_of
from clary.domain import errors
from clary.domain.endpoints import life
from clary.domain.resources import Query, Scope

SCOPE = Scope(ACCOUNT, REGION)
VARIANT = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
CONFIG = {"OutputConfig": {"S3OutputPath": "s3://b/out", "S3FailurePath": "s3://b/failed"}}


@pytest.fixture
async def deployed(ask: Any, ports: Ports) -> None:
    """The endpoints `e` (asynchronous) and `plain`, in service."""
    await ask("CreateModel", ModelName="m", PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"})
    for name, more in (("e", {"AsyncInferenceConfig": CONFIG}), ("plain", {})):
        await ask("CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=[VARIANT], **more)
        await ask("CreateEndpoint", EndpointName=name, EndpointConfigName=name)
        record = await ports.store.get("endpoint", SCOPE, name)
        assert record is not None
        plant = life.plant_of(record)
        plant = replace(plant, serving=plant.incoming, incoming=None)
        await ports.store.save(replace(life.with_plant(record, plant), status="InService"))


async def invoke(ports: Ports, token: str = "", name: str = "e", **params: Any) -> dict[str, Any]:
    return await answer(
        ports,
        "sagemaker-runtime",
        "InvokeEndpointAsync",
        {"EndpointName": name, **params},
        account=ACCOUNT,
        region=REGION,
        principal=f"arn:aws:iam::{ACCOUNT}:user/clary",
        retry_token=token,
    )


async def queued(ports: Ports) -> int:
    return await ports.store.count(Query("async-invocation", SCOPE))


async def test_a_call_is_recorded_and_told_where_its_answer_will_be(ports: Ports, deployed: None) -> None:
    told = await invoke(ports, Body=b"1", InferenceId="mine")
    assert told["InferenceId"] == "mine"
    assert told["OutputLocation"].startswith("s3://b/out/")
    assert told["FailureLocation"].startswith("s3://b/failed/")
    [record] = await ports.store.page(Query("async-invocation", SCOPE))
    assert (record.status, record.document["endpoint"]) == ("Queued", "e")
    assert told["OutputLocation"] == f"s3://b/out/{record.name}.out"


async def test_a_clients_retry_is_not_queued_again(ports: Ports, deployed: None) -> None:
    first = await invoke(ports, "token", Body=b"1")
    assert await invoke(ports, "token", Body=b"1") == first
    assert await queued(ports) == 1
    assert await invoke(ports, "token", Body=b"2") != first
    assert await invoke(ports, "other", Body=b"1") != first
    assert await queued(ports) == 3


async def test_a_retry_of_one_that_was_answered_meanwhile_gets_its_answer_too(ports: Ports, deployed: None) -> None:
    first = await invoke(ports, "token", Body=b"1")
    [record] = await ports.store.page(Query("async-invocation", SCOPE))
    await ports.store.save(replace(record, status="Completed"))
    assert await invoke(ports, "token", Body=b"1") == first
    assert await queued(ports) == 1


@pytest.mark.parametrize(
    ("name", "params", "error", "words"),
    [
        ("nobody", {"Body": b"1"}, errors.NotFound, "Endpoint nobody of account 000000000000 not found."),
        ("plain", {"Body": b"1"}, errors.Invalid, "Endpoint plain is not asynchronous"),
        ("e", {}, errors.Invalid, "either InputLocation"),
        ("e", {"Body": b"x" * 128_001}, errors.Invalid, "at most 128000"),
    ],
)
async def test_calls_that_are_refused(
    ports: Ports, deployed: None, name: str, params: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        await invoke(ports, name=name, **params)
    assert await queued(ports) == 0
    assert code_of("sagemaker-runtime", "InvokeEndpointAsync", error) == ("ValidationError", 400)  # type: ignore[arg-type]


async def test_an_endpoint_that_is_only_being_created_is_not_there(ask: Any, ports: Ports, deployed: None) -> None:
    await ask("CreateEndpoint", EndpointName="young", EndpointConfigName="e")
    with pytest.raises(errors.NotFound):
        await invoke(ports, name="young", Body=b"1")


async def test_the_config_is_shown_by_both_describes(ask: Any, deployed: None) -> None:
    assert (await ask("DescribeEndpointConfig", EndpointConfigName="e"))["AsyncInferenceConfig"] == CONFIG
    assert (await ask("DescribeEndpoint", EndpointName="e"))["AsyncInferenceConfig"] == CONFIG
    assert "AsyncInferenceConfig" not in await ask("DescribeEndpoint", EndpointName="plain")


async def test_an_asynchronous_endpoint_may_go_to_zero_replicas(ask: Any, ports: Ports, deployed: None) -> None:
    wanted = [{"VariantName": "A", "DesiredInstanceCount": 0}]
    await ask("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wanted)
    await invoke(ports, Body=b"1")
    assert await queued(ports) == 1
