"""A machine that is full, through unmodified boto3: who gets a place, who waits, and what each is told. Sizes are reserved here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.sdk.acts import PYTHON, User, until
from tests.sdk.conftest import Server

from clary.app.machine import measure

pytestmark = [pytest.mark.live, pytest.mark.slow]

MODEL = "def model_fn(model_dir):\n    return None\n\ndef predict_fn(body, model):\n    return body\n"
KIND, JOB = "ml.c5.large", "ml.t3.medium"  # 2 vCPU, 4 GiB
CPUS, MEMORY = measure().cpus, measure().memory
ALL = CPUS // 2  # so many are the machine


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Server:
    if ALL < 1 or MEMORY < ALL * (4 << 30):
        pytest.skip(f"{CPUS} vCPU and {MEMORY >> 30} GiB cannot be filled with {KIND}")
    return start(capacity="strict")


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def model(user: User) -> str:
    return user.scripted({"code/inference.py": MODEL}, {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}, PYTHON)


@pytest.fixture
def full(user: User, model: str) -> Iterator[str]:
    """An endpoint that has all whole places of the machine."""
    name = user.endpoint({"ModelName": model, "InstanceType": KIND, "InitialInstanceCount": ALL})
    yield name
    if name in {found["EndpointName"] for found in user.sm.list_endpoints()["Endpoints"]}:
        gone(user, name)


def gone(user: User, endpoint: str) -> None:
    user.sm.delete_endpoint(EndpointName=endpoint)
    user.sm.get_waiter("endpoint_deleted").wait(EndpointName=endpoint, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def account(server: Server) -> dict[str, Any]:
    done = server.run([sys.executable, "-m", "clary.app.cli", "capacity", "--json", "--dir", server.settings.dir])
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def job(user: User, seconds: float = 0.0) -> str:
    script = f"import time\ntime.sleep({seconds})\n"
    return user.job(
        files={"train.py": script}, ResourceConfig={"InstanceType": JOB, "InstanceCount": 1, "VolumeSizeInGB": 1}
    )


def test_an_endpoint_for_which_there_is_no_room_fails_and_names_who_has_it(user: User, model: str, full: str) -> None:
    name = user.endpoint({"ModelName": model, "InstanceType": KIND}, wait=False)
    failed = user.settled(name, "Failed")
    reason = failed["FailureReason"]
    assert "InsufficientInstanceCapacity" in reason
    assert f"held by endpoint {full} ({2 * ALL} vCPU)" in reason
    assert user.settled(full, "InService")["ProductionVariants"][0]["CurrentInstanceCount"] == ALL
    gone(user, name)


def test_a_job_waits_says_why_and_starts_when_there_is_room(user: User, server: Server, full: str) -> None:
    name = job(user)
    waiting = until(lambda: user.describe(name), lambda seen: seen["SecondaryStatus"] == "Pending", seconds=30)
    assert f"held by endpoint {full} ({2 * ALL} vCPU)" in waiting["SecondaryStatusTransitions"][-1]["StatusMessage"]
    seen = account(server)
    [holder] = seen["holders"]
    assert (holder["kind"], holder["name"], holder["places"], holder["cpu"]) == ("endpoint", full, ALL, 2.0 * ALL)
    assert seen["free"]["cpu"] == CPUS - 2 * ALL
    [row] = seen["waiting"]
    assert (row["kind"], row["name"]) == ("training job", name)
    assert "2 vCPU are needed" in row["why"]
    gone(user, full)
    assert user.ended(name)["TrainingJobStatus"] == "Completed"
    assert account(server)["holders"] == []


def test_scaling_without_room_asks_for_nothing_and_says_why(user: User, server: Server, full: str) -> None:
    scaling, watch = server.client("application-autoscaling"), server.client("cloudwatch")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{full}/variant/v1",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=ALL + 2)
    step = {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}
    config = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [step]}
    policy = scaling.put_scaling_policy(
        **target, PolicyName="more", PolicyType="StepScaling", StepScalingPolicyConfiguration=config
    )["PolicyARN"]
    metric = {"Namespace": "Measured", "MetricName": "Load", "Dimensions": [{"Name": "EndpointName", "Value": full}]}
    watch.put_metric_alarm(
        **metric, AlarmName=f"{full}-high", Statistic="Maximum", Period=10, EvaluationPeriods=1, Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold", AlarmActions=[policy],
    )  # fmt: skip
    point = {"MetricName": "Load", "Dimensions": metric["Dimensions"], "Value": 9.0, "StorageResolution": 1}
    statuses = set()

    def told() -> list[dict[str, Any]]:
        watch.put_metric_data(Namespace="Measured", MetricData=[point])
        statuses.add(user.status(full))
        found = scaling.describe_scaling_activities(**target, IncludeNotScaledActivities=True)["ScalingActivities"]
        return [each for each in found if each.get("NotScaledReasons")]

    [activity] = until(told, seconds=60)
    assert activity["NotScaledReasons"] == [{"Code": "TargetServicePutResourceAsUnscalable"}]
    assert f"2 vCPU are needed, {2 * ALL} of {CPUS} are reserved, held by endpoint {full}" in activity["Details"]
    assert statuses == {"InService"}, "nothing was asked that could only be refused"
    history = user.logs.get_log_events(logGroupName=f"/clary/Endpoints/{full}", logStreamName="history")["events"]
    assert [json.loads(e["message"])["what"] for e in history].count("not scaled") == 1
    # What it waits for is kept for it: no job that comes may have it.
    assert ("endpoint", full) in {(row["kind"], row["name"]) for row in account(server)["waiting"]}
    watch.delete_alarms(AlarmNames=[f"{full}-high"])
    scaling.deregister_scalable_target(**target)
