"""A latency objective through unmodified boto3 and AWS CLI: workers, sizes and replicas follow the load, without a failed request."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User, until
from tests.sdk.conftest import ROOT, Server

from clary.backends.own_limits import cpus

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
                assert self.user.ask(self.endpoint, "0.3", ContentType="text/plain") == b"slept"
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
    made = scaling.put_scaling_policy(**target(endpoint, INSTANCES), **objective(1500, ScaleInCooldown=5))
    assert made["Alarms"] == []
    with load(user, endpoint, 12, 0.05) as sent, load(user, endpoint, 1, 0.01) as thin:
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
    assert {"from", "to", "saw", "candidates", "won", "why"} <= set(told[0])
    assert [each["to"]["count"] for each in told if each["level"] == "fleet"][-1] == 1


def clary(server: Server, *argv: str) -> str:
    done = server.run([sys.executable, "-m", "clary.app.cli", *argv, "--dir", str(server.settings.root)])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_aws_cli_sets_an_objective_and_clary_why_tells_the_story(user: User, server: Server, endpoint: str) -> None:
    where = ["--service-namespace", "sagemaker", "--resource-id", f"endpoint/{endpoint}/variant/v1"]
    for dimension, least, most in ((INSTANCES, 1, 2), (MILLICPU, 500, 1000)):
        words = [*where, "--scalable-dimension", dimension, "--min-capacity", str(least), "--max-capacity", str(most)]
        done = server.run([str(AWS), "application-autoscaling", "register-scalable-target", *words])
        assert done.returncode == 0, done.stderr
    put = ["put-scaling-policy", *where, "--scalable-dimension", MILLICPU, "--policy-name", "p99"]
    config = json.dumps(objective(1200)["TargetTrackingScalingPolicyConfiguration"])
    put += ["--policy-type", "TargetTrackingScaling", "--target-tracking-scaling-policy-configuration", config]
    done = server.run([str(AWS), "application-autoscaling", *put])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Alarms"] == []
    with load(user, endpoint, 6, 0.1) as sent:
        until(lambda: shape(user, endpoint), lambda seen: seen == (2, 2, "1000"), 60)
    assert sent.failed == []
    story = clary(server, "why", endpoint)
    assert f"{endpoint}, v1:" in story
    assert "Add 1, to 2 replicas:" in story
    assert "; chosen: " in story
    assert "[p99]" in story
    told = json.loads(clary(server, "why", endpoint, "--variant", "v1", "--json"))
    assert told == [{"variant": "v1", **each} for each in decisions(user, endpoint)][: len(told)]


def test_an_endpoint_config_that_says_so_scales_by_itself(user: User, scaling: Any) -> None:
    managed = {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 2}
    model = user.scripted({"code/inference.py": SLEEPS}, {}, PYTHON)
    variant = {"ModelName": model, "InstanceType": "ml.m5.large", "ManagedInstanceScaling": managed}
    tags = [{"Key": "clary:latency-objective-ms", "Value": "1200"}]
    endpoint = user.endpoint(variant, Tags=tags)
    with load(user, endpoint, 12, 0.05) as sent:
        until(lambda: shape(user, endpoint), lambda seen: seen[:2] == (2, 2), 60)
    assert sent.failed == []
    until(lambda: user.status(endpoint), lambda status: status == "InService")
    own = [f"endpoint/{endpoint}/variant/v1"]  # others' endpoints may be there
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=own)["ScalableTargets"] == []
    assert {each["policy"] for each in decisions(user, endpoint)} == {"clary:latency-objective-ms"}
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_a_variant_goes_to_zero_and_the_next_request_wakes_it(user: User, scaling: Any) -> None:
    model = user.scripted({"code/inference.py": SLEEPS}, {}, PYTHON)
    tags = [{"Key": "clary:latency-objective-ms", "Value": "30000"}]
    endpoint = user.endpoint({"ModelName": model}, Tags=tags)
    scaling.register_scalable_target(**target(endpoint, INSTANCES), MinCapacity=1, MaxCapacity=2)
    scaling.put_scaling_policy(**target(endpoint, INSTANCES), **objective(30_000, ScaleInCooldown=1))
    scaling.register_scalable_target(**target(endpoint, INSTANCES), MinCapacity=0)
    assert user.ask(endpoint, "0.01", ContentType="text/plain") == b"slept"
    until(lambda: shape(user, endpoint)[:2], lambda seen: seen == (0, 0), 120)
    assert user.status(endpoint) == "InService"
    began = time.monotonic()
    assert user.ask(endpoint, "0.01", ContentType="text/plain") == b"slept"
    assert time.monotonic() - began < 30.0
    assert shape(user, endpoint)[0] == 1
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_a_size_that_the_machine_has_not_got_makes_more_replicas(user: User, scaling: Any, endpoint: str) -> None:
    here = cpus()
    if here > 4:
        pytest.skip(f"needs more requests at once than this machine's {here} CPUs, from few clients")
    scaling.register_scalable_target(**target(endpoint, INSTANCES), MinCapacity=1, MaxCapacity=3)
    scaling.register_scalable_target(**target(endpoint, MILLICPU), MinCapacity=500, MaxCapacity=16_000)
    scaling.put_scaling_policy(**target(endpoint, MILLICPU), **objective(1500))
    with load(user, endpoint, 12, 0.05) as sent:
        until(lambda: shape(user, endpoint)[:2], lambda seen: seen == (3, 3), 60)
    assert sent.failed == []
    told = [each["why"] for each in decisions(user, endpoint)]
    assert any("there is no room on this machine for more: 16 vCPU are needed" in why for why in told), told
    assert int(shape(user, endpoint)[2]) <= 1000 * here
    asked = {**target(endpoint, MILLICPU), "IncludeNotScaledActivities": True}
    found = scaling.describe_scaling_activities(**asked)["ScalingActivities"]
    assert any(each.get("NotScaledReasons") for each in found), found
