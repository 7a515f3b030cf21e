"""A latency objective through unmodified boto3 and AWS CLI: workers, sizes and replicas follow the load, without a failed request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User, until
from tests.sdk.conftest import ROOT, Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

AWS = ROOT / ".venv-cli" / "bin" / "aws"
INSTANCES, MILLICPU = "sagemaker:variant:DesiredInstanceCount", "clary:variant:DesiredMillicpuPerInstance"
OWN = "2000"  # millicpu of ml.m5.large
SLEEPS = """
import time

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    time.sleep(float(body))
    return "slept"
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def scaling(server: Server) -> Any:
    return server.client("application-autoscaling")


@pytest.fixture
def endpoint(user: User) -> Iterator[str]:
    name = user.endpoint({"ModelName": user.scripted({"code/inference.py": SLEEPS}, {}, PYTHON)})
    yield name
    user.sm.delete_endpoint(EndpointName=name)


def target(endpoint: str, dimension: str) -> dict[str, str]:
    resource = f"endpoint/{endpoint}/variant/v1"
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": dimension}


def objective(milliseconds: float, **config: Any) -> dict[str, Any]:
    metric = {"PredefinedMetricType": "ClaryLatencyObjective"}
    return {
        "PolicyName": "p99",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": milliseconds,
            "PredefinedMetricSpecification": metric,
            **config,
        },
    }


def decisions(user: User, endpoint: str) -> list[dict[str, Any]]:
    try:
        answer = user.logs.get_log_events(
            logGroupName=f"/clary/Scaling/{endpoint}", logStreamName="v1", startFromHead=True
        )
    except user.logs.exceptions.ResourceNotFoundException:
        return []
    return [json.loads(event["message"]) for event in answer["events"]]


def shape(user: User, endpoint: str) -> tuple[int, int, str]:
    """Replicas that are wanted and that serve, and the size of each."""
    answer = user.sm.describe_endpoint(EndpointName=endpoint)
    row = answer["ProductionVariants"][0]
    tags = {tag["Key"]: tag["Value"] for tag in user.sm.list_tags(ResourceArn=answer["EndpointArn"])["Tags"]}
    size = tags.get("aws:clary:sizes", "").partition("at ")[2].partition(" millicpu")[0] or OWN
    return row["DesiredInstanceCount"], row["CurrentInstanceCount"], size


class Load:
    """So many clients, each of which asks again a while after its answer."""

    def __init__(self, user: User, endpoint: str) -> None:
        self.user, self.endpoint = user, endpoint
        self.answered, self.failed = 0, list[Exception]()
        self.stop = threading.Event()

    def ask(self, pause: float) -> None:
        while not self.stop.wait(pause):
            try:
                assert self.user.ask(self.endpoint, "0.1", ContentType="text/plain") == b"slept"
                self.answered += 1
            except (ClientError, AssertionError) as error:
                self.failed.append(error)


@contextmanager
def load(user: User, endpoint: str, clients: int, pause: float) -> Iterator[Load]:
    made = Load(user, endpoint)
    threads = [threading.Thread(target=made.ask, args=(pause,)) for _ in range(clients)]
    for each in threads:
        each.start()
    try:
        yield made
    finally:
        made.stop.set()
        for each in threads:
            each.join()


def test_both_dimensions_follow_the_load_without_a_failed_request(user: User, scaling: Any, endpoint: str) -> None:
    scaling.register_scalable_target(**target(endpoint, INSTANCES), MinCapacity=1, MaxCapacity=3)
    scaling.register_scalable_target(**target(endpoint, MILLICPU), MinCapacity=500, MaxCapacity=2000)
    made = scaling.put_scaling_policy(**target(endpoint, INSTANCES), **objective(500, ScaleInCooldown=5))
    assert made["Alarms"] == []
    with load(user, endpoint, 12, 0.2) as sent, load(user, endpoint, 1, 0.01) as thin:
        until(lambda: shape(user, endpoint), lambda seen: seen == (3, 3, "2000"), 60)
        assert user.status(endpoint) == "InService"
    assert (sent.failed, thin.failed) == ([], [])
    assert sent.answered > 20
    with load(user, endpoint, 1, 0.5) as rest:
        until(lambda: shape(user, endpoint), lambda seen: seen == (1, 1, "1000"), 120)
    assert rest.failed == []
    found = scaling.describe_scaling_activities(**target(endpoint, INSTANCES))["ScalingActivities"]
    assert {each["Cause"] for each in found} == {"latency objective of policy p99"}
    told = decisions(user, endpoint)
    for each in told:
        print(json.dumps(each))
    assert {"from", "to", "saw", "candidates", "won", "why"} <= set(told[0])
    assert [each["to"]["count"] for each in told if each["level"] == "fleet"][-1] == 1
