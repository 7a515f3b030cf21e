"""The dimension `clary:variant:DesiredMillicpuPerInstance` through unmodified boto3 and AWS CLI: replicas are resized while they serve."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User, until
from tests.sdk.conftest import ROOT, Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

AWS = ROOT / ".venv-cli" / "bin" / "aws"
MILLICPU = "clary:variant:DesiredMillicpuPerInstance"
COUNT = "sagemaker:variant:DesiredInstanceCount"
TELLS = """
import json, os, time

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    time.sleep(float(body))
    return json.dumps({"worker": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")})
"""


EATS = """
held = []

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    held.append(b"x" * (int(body) << 20))
    return str(sum(map(len, held)) >> 20)
"""
SMALL = {"InstanceType": "ml.c4.large"}  # 3,840 MiB
NEEDED = 12 << 30  # bytes that are free on the machine, or tests of memory do not run


@pytest.fixture
def endpoint(user: User) -> Iterator[str]:
    name = user.endpoint({"ModelName": user.scripted({"code/inference.py": TELLS}, {}, PYTHON)})
    yield name
    user.sm.delete_endpoint(EndpointName=name)


def target_of(endpoint: str) -> dict[str, str]:
    resource = f"endpoint/{endpoint}/variant/v1"
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": MILLICPU}


def sizes(user: User, endpoint: str) -> str:
    arn = user.sm.describe_endpoint(EndpointName=endpoint)["EndpointArn"]
    tags = {tag["Key"]: tag["Value"] for tag in user.sm.list_tags(ResourceArn=arn)["Tags"]}
    return tags.get("aws:clary:sizes", "")


def workers(user: User, endpoint: str) -> int:
    """How many workers predict at once, when six requests come together."""
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda _: user.ask(endpoint, "0.2", ContentType="text/plain"), range(6))
        return len({json.loads(answer)["worker"] for answer in answers})


def config_of(user: User, endpoint: str) -> str:
    return str(user.sm.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"])


def streams(user: User, endpoint: str) -> set[str]:
    """Each replica has a log stream of its own."""
    found = user.logs.describe_log_streams(logGroupName=f"/aws/sagemaker/Endpoints/{endpoint}")["logStreams"]
    return {stream["logStreamName"] for stream in found if stream["logStreamName"].startswith("v1/")}


@dataclass
class Sent:
    """What came of the load."""

    answered: int = 0
    failed: list[Exception] = field(default_factory=list)


@contextmanager
def load(user: User, endpoint: str, clients: int = 3) -> Iterator[Sent]:
    """Requests of 10 ms each, one after another from each client."""
    stop, sent = threading.Event(), Sent()

    def send() -> None:
        while not stop.is_set():
            try:
                user.ask(endpoint, "0.01", ContentType="text/plain")
                sent.answered += 1
            except ClientError as error:
                sent.failed.append(error)

    sending = [threading.Thread(target=send) for _ in range(clients)]
    for each in sending:
        each.start()
    try:
        yield sent
    finally:
        stop.set()
        for each in sending:
            each.join()


def last(scaling: Any, endpoint: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = scaling.describe_scaling_activities(**target_of(endpoint))["ScalingActivities"]
    return found[0] if found else {"StatusCode": ""}


def test_a_size_acts_on_running_replicas_without_a_failed_request(user: User, scaling: Any, endpoint: str) -> None:
    """The size of the type is two vCPU; half of one and back, with requests under way all the time."""
    assert (sizes(user, endpoint), workers(user, endpoint)) == ("", 2)
    statuses = set[str]()
    with load(user, endpoint) as sent:
        scaling.register_scalable_target(**target_of(endpoint), MinCapacity=500, MaxCapacity=500)
        began = time.monotonic()
        while sizes(user, endpoint) != "v1=at 500 millicpu" and time.monotonic() < began + 30:
            statuses.add(user.status(endpoint))
        until(lambda: last(scaling, endpoint)["StatusCode"] == "Successful", seconds=30)
    assert sent.failed == []
    assert statuses == {"InService"}
    assert last(scaling, endpoint)["Description"] == "Setting desired millicpu to 500."
    assert (sizes(user, endpoint), workers(user, endpoint)) == ("v1=at 500 millicpu", 1)
    scaling.register_scalable_target(**target_of(endpoint), MinCapacity=1500, MaxCapacity=2000)
    until(lambda: workers(user, endpoint) == 2, seconds=30)


@pytest.mark.parametrize("dimension", [COUNT, MILLICPU])
def test_another_instance_type_by_hand_while_a_target_is_registered(
    user: User, scaling: Any, endpoint: str, dimension: str
) -> None:
    """AWS refuses it. Here the replica that runs gets the size, in under a second, and no request of those under way fails."""
    target = {**target_of(endpoint), "ScalableDimension": dimension}
    low, high = (1, 2) if dimension == COUNT else (500, 2000)
    scaling.register_scalable_target(**target, MinCapacity=low, MaxCapacity=high)
    model = user.sm.describe_endpoint_config(EndpointConfigName=config_of(user, endpoint))["ProductionVariants"][0][
        "ModelName"
    ]
    replica = user.sm.describe_endpoint(EndpointName=endpoint)["ProductionVariants"][0]
    before = streams(user, endpoint)
    took = []
    with load(user, endpoint) as sent:
        while len(took) < 2 or (min(took) >= 1.0 and len(took) < 8):  # others may be at work on this machine
            kind = ("ml.m5.xlarge", "ml.m5.large")[len(took) % 2]
            wanted = user.config({"ModelName": model, "InstanceType": kind})
            began = time.monotonic()
            user.sm.update_endpoint(EndpointName=endpoint, EndpointConfigName=wanted)
            user.settled(endpoint, "InService", seconds=60)
            took.append(time.monotonic() - began)
            assert config_of(user, endpoint) == wanted
    assert sent.failed == []
    assert sent.answered > 20
    assert min(took) < 1.0, took
    assert streams(user, endpoint) == before, "a replica was started beside or instead of the one that ran"
    after = user.sm.describe_endpoint(EndpointName=endpoint)["ProductionVariants"][0]
    assert after["CurrentInstanceCount"] == replica["CurrentInstanceCount"] == 1
    scaling.deregister_scalable_target(**target)


def test_more_than_the_machine_has_is_a_failed_activity_that_says_so(user: User, scaling: Any, endpoint: str) -> None:
    scaling.register_scalable_target(**target_of(endpoint), MinCapacity=900_000, MaxCapacity=900_000)
    until(lambda: last(scaling, endpoint)["StatusCode"] == "Failed", seconds=30)
    assert "and 900 are requested" in last(scaling, endpoint)["StatusMessage"]
    assert (user.status(endpoint), sizes(user, endpoint)) == ("InService", "")
    scaling.deregister_scalable_target(**target_of(endpoint))


def test_what_is_refused(user: User, scaling: Any, endpoint: str) -> None:
    with pytest.raises(ClientError, match=r"ValidationException.*9 thousandths of a vCPU are too few for variant v1"):
        scaling.register_scalable_target(**target_of(endpoint), MinCapacity=9, MaxCapacity=1000)


def test_the_aws_cli_sets_a_size(user: User, server: Server, endpoint: str) -> None:
    where = ["--service-namespace", "sagemaker", "--scalable-dimension", MILLICPU]
    where += ["--resource-id", target_of(endpoint)["ResourceId"]]
    words = ["register-scalable-target", *where, "--min-capacity", "250", "--max-capacity", "1000"]
    done = server.run([str(AWS), "application-autoscaling", *words])
    assert done.returncode == 0, done.stderr
    until(lambda: sizes(user, endpoint) == "v1=at 1000 millicpu", seconds=30)


def eater(user: User) -> str:
    free = next(
        int(line.split()[1]) << 10
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable")
    )
    if free < NEEDED:
        pytest.skip(f"needs {NEEDED >> 30} GiB of free memory, and {free >> 30} are free")
    one = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    return user.endpoint({"ModelName": user.scripted({"code/inference.py": EATS}, one, PYTHON), **SMALL})


def history(user: User, endpoint: str) -> list[str]:
    group = f"/clary/Endpoints/{endpoint}"
    events = user.logs.get_log_events(logGroupName=group, logStreamName="history", startFromHead=True)["events"]
    steps = [json.loads(event["message"]) for event in events]
    return [step["why"] for step in steps if step["what"] == "memory grown"]


def test_a_replica_that_fills_its_memory_is_grown_before_it_is_killed(user: User) -> None:
    """More than its instance type has, in steps, and all of it is still there in the end: nothing was ended."""
    endpoint = eater(user)
    eaten = 0
    while eaten < 4300:
        eaten += 100
        assert int(user.ask(endpoint, "100", ContentType="text/plain")) == eaten
        time.sleep(0.25)  # how fast a model fills its memory is what decides whether it can be grown in time
    assert sizes(user, endpoint) == "v1=with 7680 MB"
    [why] = history(user, endpoint)
    assert "MiB are used at a limit of 3840 MiB; it gets 7680 MiB" in why
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_a_model_that_was_killed_for_memory_gets_more_and_says_so(user: User) -> None:
    endpoint = eater(user)
    with pytest.raises(ClientError, match="ModelError"):
        user.ask(endpoint, "5000", ContentType="text/plain")
    until(lambda: sizes(user, endpoint) == "v1=with 7680 MB", seconds=30)
    assert (
        "it gets 7680 MiB" in history(user, endpoint)[0] or "its successor gets 7680 MiB" in history(user, endpoint)[0]
    )
    until(lambda: user.status(endpoint) == "InService", seconds=30)
    assert user.ask(endpoint, "5000", ContentType="text/plain") == b"5000"
    user.sm.delete_endpoint(EndpointName=endpoint)
