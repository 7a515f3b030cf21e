"""Serverless endpoints through unmodified boto3: limits, sleep in all its depths, waking without an error, concurrency."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User, unique, until
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

CODE = """
import os, time

def model_fn(model_dir):
    return os.environ.get("COLOUR", "")

def predict_fn(data, model):
    time.sleep(float(data))
    return {"pid": os.getpid(), "parent": os.getppid(), "colour": model}

def input_fn(body, content_type):
    return body.decode()
"""


@pytest.fixture(scope="module")
def sleepy(start: Callable[..., Server]) -> User:
    """A Clary whose serverless endpoints fall asleep soon; between the two depths `clary top` has time for several looks of a second."""
    return User(start(serverless_rest=1, serverless_stop=10))


def serverless(memory: int = 1024, most: int = 3, **more: Any) -> dict[str, Any]:
    return {"ServerlessConfig": {"MemorySizeInMB": memory, "MaxConcurrency": most, **more}}


def create(user: User, **more: Any) -> str:
    model = user.scripted({"code/inference.py": CODE}, {"COLOUR": "blue"}, PYTHON)
    name = unique("config")
    variant = {"VariantName": "v1", "ModelName": model, **serverless(**more)}
    user.sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    user.sm.create_endpoint(EndpointName=name, EndpointConfigName=name)
    user.settled(name, "InService")
    return name


def ask(user: User, endpoint: str, seconds: float = 0.0) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(user.ask(endpoint, str(seconds)))
    return answer


def test_it_is_described_as_serverless(sleepy: User) -> None:
    endpoint = create(sleepy, ProvisionedConcurrency=1)
    (variant,) = sleepy.sm.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    wanted = {"MemorySizeInMB": 1024, "MaxConcurrency": 3, "ProvisionedConcurrency": 1}
    assert variant["CurrentServerlessConfig"] == variant["DesiredServerlessConfig"] == wanted
    assert (variant["CurrentInstanceCount"], "DesiredInstanceCount" in variant) == (0, False)
    change = {"MaxConcurrency": 5, "ProvisionedConcurrency": 2}
    sleepy.sm.update_endpoint_weights_and_capacities(
        EndpointName=endpoint,
        DesiredWeightsAndCapacities=[{"VariantName": "v1", "ServerlessUpdateConfig": change}],
    )
    (variant,) = sleepy.settled(endpoint, "InService")["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 1024, **change}
    instances = sleepy.config({"ModelName": sleepy.scripted({"code/inference.py": CODE}, {}, PYTHON)})
    with pytest.raises(ClientError, match="cannot be updated to an instance-based one"):
        sleepy.sm.update_endpoint(EndpointName=endpoint, EndpointConfigName=instances)
    sleepy.sm.delete_endpoint(EndpointName=endpoint)


def test_requests_beyond_its_concurrency_are_throttled(sleepy: User) -> None:
    endpoint = create(sleepy, most=2)

    def call(_: int) -> tuple[int, str]:
        try:
            answer = sleepy.runtime.invoke_endpoint(EndpointName=endpoint, Body="3")
        except ClientError as error:
            answer = error.response
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer.get("Error", {}).get("Code", "")

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        began = time.monotonic()
        seen = sorted(pool.map(call, range(6)))
    assert seen == [(200, "")] * 2 + [(429, "ThrottlingException")] * 4
    assert time.monotonic() - began < 5.8, "two at once, each with a worker of its own"
    sleepy.sm.delete_endpoint(EndpointName=endpoint)


def test_it_sleeps_in_two_depths_and_wakes_from_both(sleepy: User) -> None:
    endpoint = create(sleepy)
    first = ask(sleepy, endpoint)
    until(lambda: workers(sleepy, endpoint) == 0, seconds=20)
    second = ask(sleepy, endpoint)
    assert second["parent"] == first["parent"], "the same zygote"
    assert second["pid"] != first["pid"]
    until(lambda: replicas(sleepy, endpoint) == 0, seconds=30)
    assert sleepy.status(endpoint) == "InService"
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        woken = list(pool.map(lambda _: ask(sleepy, endpoint), range(3)))
    assert [answer["colour"] for answer in woken] == ["blue"] * 3
    assert replicas(sleepy, endpoint) == 1
    sleepy.sm.delete_endpoint(EndpointName=endpoint)


def look(user: User, endpoint: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "clary.app.cli", "top", "--once", "--json", "--dir", user.server.settings.dir]
    figures = json.loads(user.server.run(argv).stdout)
    (row,) = [row for row in figures["endpoints"] if row["endpoint"] == endpoint]
    return dict(row)


def workers(user: User, endpoint: str) -> int:
    return int(look(user, endpoint)["workers"])


def replicas(user: User, endpoint: str) -> int:
    return int(look(user, endpoint)["wanted"])


def killed(user: User, process: str) -> None:
    """kill -9 of one of Clary's own processes, as the supervisor notes them."""
    noted = json.loads((user.server.settings.run / "processes.json").read_text())
    os.kill(noted[process]["pid"], signal.SIGKILL)


def test_a_request_at_a_sleeper_outlives_the_control_plane(sleepy: User) -> None:
    endpoint = create(sleepy)
    ask(sleepy, endpoint)
    until(lambda: replicas(sleepy, endpoint) == 0, seconds=30)
    killed(sleepy, "control")
    assert ask(sleepy, endpoint)["colour"] == "blue", "held until somebody could start a replica"
    patient = sleepy.server.client("sagemaker", retries={"mode": "standard", "total_max_attempts": 10})
    patient.delete_endpoint(EndpointName=endpoint)


def test_a_front_that_starts_anew_knows_that_it_sleeps(sleepy: User) -> None:
    endpoint = create(sleepy)
    ask(sleepy, endpoint)
    until(lambda: replicas(sleepy, endpoint) == 0, seconds=30)
    killed(sleepy, "front-0")
    assert ask(sleepy, endpoint)["colour"] == "blue"
    sleepy.sm.delete_endpoint(EndpointName=endpoint)


def test_a_model_that_breaks_in_its_sleep_says_so_and_recovers(sleepy: User) -> None:
    """Its code reads a switch in the object store whenever it is loaded."""
    code = 'import os, boto3\nbody = boto3.client("s3").get_object(Bucket=os.environ["BUCKET"], Key="switch")["Body"].read()\n'
    code += 'def model_fn(model_dir):\n    assert body == b"on", "switched off"\n    return None\n'
    code += "def transform_fn(model, data, content_type, accept):\n    return b'fine'\n"
    sleepy.put("switch", "on")
    model = sleepy.scripted(
        {"code/inference.py": code, "code/requirements.txt": "boto3"}, {"BUCKET": sleepy.bucket}, PYTHON
    )
    name = unique("switched")
    variant = {"VariantName": "v1", "ModelName": model, **serverless()}
    sleepy.sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sleepy.sm.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sleepy.settled(name, "InService")
    until(lambda: replicas(sleepy, name) == 0, seconds=30)
    sleepy.put("switch", "off")
    with pytest.raises(ClientError) as caught:
        sleepy.ask(name)
    assert caught.value.response["Error"]["Code"] == "ModelError"
    sleepy.put("switch", "on")
    until(lambda: answers(sleepy, name), seconds=60)
    sleepy.sm.delete_endpoint(EndpointName=name)


def answers(user: User, endpoint: str) -> bool:
    try:
        return user.ask(endpoint) == b"fine"
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ServiceUnavailable", "ModelError"):
            raise
        return False


def test_two_hundred_requests_at_a_sleeper_are_all_answered(sleepy: User) -> None:
    """From no replica at all: they wait for it together (faults.md 44)."""
    endpoint = create(sleepy, memory=6144, most=200)
    ask(sleepy, endpoint)
    until(lambda: replicas(sleepy, endpoint) == 0, seconds=40)
    runtime = sleepy.server.client("sagemaker-runtime", read_timeout=70, max_pool_connections=200)

    def call(_: int) -> str:
        answer = runtime.invoke_endpoint(EndpointName=endpoint, Body="0")["Body"].read()
        return str(json.loads(answer)["colour"])

    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        assert list(pool.map(call, range(200))) == ["blue"] * 200
    sleepy.sm.delete_endpoint(EndpointName=endpoint)
