"""The 60-second wall, in real time and in one test: everything that must wait does so at the same time."""

from __future__ import annotations

import concurrent.futures
import json
import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

SLEEPS = """
import json, os, time

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    order = json.loads(body)
    with open("/tmp/begun", "a") as file:
        file.write(order.get("name", "") + "\\n")
    if order.get("pieces"):
        return words(order)
    time.sleep(order.get("sleep", 0))
    with open("/tmp/begun") as file:
        return json.dumps(file.read().split())

def words(order):
    for number in range(order["pieces"]):
        yield str(number)
        time.sleep(order["sleep"])
"""
WALL = (
    'Received server error (0) from primary with message "Your invocation timed out while waiting for a response from container '
    'primary. Review the latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again.". See '
    "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logEventViewer:group=/aws/sagemaker/Endpoints/{name} "
    "in account 000000000000 for more information."
)


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def unconfigured(server: Server) -> tuple[Any, list[str]]:
    """The client that `boto3.client("sagemaker-runtime")` is, and a list that gets the number of each attempt it makes."""
    client = boto3.client(
        "sagemaker-runtime",
        region_name="us-east-1",
        endpoint_url=server.settings.endpoint,
        aws_access_key_id=server.key.access_key_id,
        aws_secret_access_key=server.key.secret,
    )
    attempts: list[str] = []
    client.meta.events.register(
        "before-send.sagemaker-runtime.*", lambda request, **_: attempts.append(str(request.headers["amz-sdk-request"]))
    )
    return client, attempts


def order(name: str, **more: Any) -> dict[str, Any]:
    return {"Body": json.dumps({"name": name, **more}), "ContentType": "application/json"}


def long_by_timeout(server: Server, name: str) -> None:
    """125 s by SAGEMAKER_MODEL_SERVER_TIMEOUT, asked by an unconfigured client: three requests, one execution."""
    client, attempts = unconfigured(server)
    answer = client.invoke_endpoint(EndpointName=name, **order("long", sleep=125))
    assert json.loads(answer["Body"].read()).count("long") == 1
    assert len(attempts) == 3, attempts
    again = client.invoke_endpoint(EndpointName=name, **order("after"))
    assert json.loads(again["Body"].read()).count("long") == 1


def long_by_streaming(server: Server, name: str) -> None:
    """70 s in pieces, of a model with the default timeout, asked by an unconfigured client."""
    client, attempts = unconfigured(server)
    began = time.monotonic()
    answer = client.invoke_endpoint_with_response_stream(EndpointName=name, **order("pieces", pieces=5, sleep=14))
    assert [event["PayloadPart"]["Bytes"] for event in answer["Body"]] == [b"0", b"1", b"2", b"3", b"4"]
    assert time.monotonic() - began > 65
    assert len(attempts) == 1


def the_wall(server: Server, name: str) -> None:
    """A model with the default timeout: AWS's answer at 60 s, and the worker is free again."""
    patient = server.client("sagemaker-runtime", read_timeout=100)
    began = time.monotonic()
    with pytest.raises(ClientError) as caught:
        patient.invoke_endpoint(EndpointName=name, **order("wall", sleep=600))
    assert 60 <= time.monotonic() - began < 70
    said = caught.value.response
    assert said["Error"] == {"Code": "ModelError", "Message": WALL.format(name=name)}
    assert said["OriginalStatusCode"] == 0
    assert said["ResponseMetadata"]["HTTPStatusCode"] == 424
    soon = time.monotonic()
    patient.invoke_endpoint(EndpointName=name, **order("after"))
    assert time.monotonic() - soon < 10


@pytest.mark.waits
@pytest.mark.timeout(400)
def test_the_60_second_wall_and_the_ways_over_it(server: Server, user: User) -> None:
    def deployed(timeout: str = "") -> str:
        environment = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
        if timeout:
            environment["SAGEMAKER_MODEL_SERVER_TIMEOUT"] = timeout
        return user.endpoint({"ModelName": user.scripted({"code/inference.py": SLEEPS}, environment, PYTHON)})

    plain, streaming, patient = deployed(), deployed(), deployed("300")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        waits = [
            pool.submit(the_wall, server, plain),
            pool.submit(long_by_streaming, server, streaming),
            pool.submit(long_by_timeout, server, patient),
        ]
        for wait in waits:
            wait.result()
    for name in (plain, streaming, patient):
        user.sm.delete_endpoint(EndpointName=name)
