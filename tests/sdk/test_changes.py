"""Changes of a live endpoint as clients see them: statuses at each moment, alarms, regressions, the history."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.faults.scene import Scene, until
from tests.faults.test_kills import zygotes
from tests.live import Server
from tests.sdk.acts import SKLEARN, User

from clary.backends.own_limits import cpus

pytestmark = [pytest.mark.live, pytest.mark.slow]

FLAWED = """
import random
def model_fn(model_dir):
    return None
def transform_fn(model, body, content_type, accept):
    if random.random() < 0.3:
        raise ValueError("a flaw")
    return "flawed"
"""


SLOW = """
import json, time
def model_fn(model_dir):
    return None
def transform_fn(model, body, content_type, accept):
    time.sleep(0.5)
    return json.dumps({"echo": json.loads(body).get("text"), "version": "slow"})
"""


def policy(kind: str, wait: int, keep: int = 0, **sizes: Any) -> dict[str, Any]:
    shift = {"Type": kind, "WaitIntervalInSeconds": wait, **sizes}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": shift, "TerminationWaitInSeconds": keep}}


CANARY = policy("CANARY", 3, 1, CanarySize={"Type": "INSTANCE_COUNT", "Value": 1})


@pytest.fixture(scope="module")
def scene(server: Server) -> Scene:
    return Scene(server)


@pytest.fixture(scope="module")
def live(scene: Scene) -> Iterator[str]:
    scene.deploy("steps", count=2)
    scene.model("steps-next")
    yield "steps"
    scene.in_service("steps")
    scene.patient.delete_endpoint(EndpointName="steps")


_number = iter(range(1000))


def config(scene: Scene, model: str, count: int = 2, **more: Any) -> str:
    name = f"steps-config-{next(_number)}"
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model,
        "InitialInstanceCount": count,
        "InstanceType": "ml.m5.large",
    }
    scene.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **more)
    return name


def other(scene: Scene, live: str) -> str:
    now = scene.invoke(live, text="x")["version"]
    return "steps" if now == "steps-next" else "steps-next"


def watch(scene: Scene, live: str, seconds: float = 60) -> list[dict[str, Any]]:
    """Every different description until the endpoint is settled."""
    seen: list[dict[str, Any]] = []

    def settled() -> bool:
        found = scene.status(live)
        if not seen or found != seen[-1]:
            seen.append(found)
        return found["EndpointStatus"] in ("InService", "UpdateRollbackFailed")

    until(settled, seconds, "it settles")
    return seen


def clary(scene: Scene, *arguments: str) -> str:
    argv = [sys.executable, "-m", "clary.app.cli", *arguments, "--dir", scene.root]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def alarm(scene: Scene, name: str, state: str = "OK") -> Any:
    watcher = scene.server.client("cloudwatch")
    watcher.put_metric_alarm(
        AlarmName=name,
        Namespace="Mine",
        MetricName="Bad",
        Statistic="Sum",
        Period=3600,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )
    watcher.set_alarm_state(AlarmName=name, StateValue=state, StateReason="a test")
    return watcher


def test_every_moment_of_a_canary_is_described_as_it_is(scene: Scene, live: str) -> None:
    old = scene.status(live)["EndpointConfigName"]
    wanted = config(scene, other(scene, live))
    began = time.time()
    scene.sagemaker.update_endpoint(EndpointName=live, EndpointConfigName=wanted, DeploymentConfig=CANARY)
    seen = watch(scene, live)
    changing, after = seen[:-1], seen[-1]
    pending = [d["PendingDeploymentSummary"] for d in changing if "PendingDeploymentSummary" in d]
    assert {p["EndpointConfigName"] for p in pending} == {wanted}
    assert all(abs(p["StartTime"].timestamp() - began) < 5 for p in pending)
    first = [p["ProductionVariants"][0] for p in pending]
    assert {v["DesiredInstanceCount"] for v in first} == {2}
    assert {v["InstanceType"] for v in first} == {"ml.m5.large"}
    states = list(dict.fromkeys((v["VariantStatus"][0]["Status"], v["CurrentWeight"]) for v in first))
    baking = [state for state in states if state[0] == "Baking"]
    assert baking == [("Baking", 0.5), ("Baking", 1.0)]
    assert states[0] == ("Creating", 0.0)
    for found in changing:
        if "PendingDeploymentSummary" in found:
            assert found["EndpointConfigName"] == old, "the old fleet's, until the end"
            weights = [d["ProductionVariants"][0]["CurrentWeight"] for d in (found, found["PendingDeploymentSummary"])]
            assert sum(weights) == 1.0
    assert after["EndpointConfigName"] == wanted
    assert after["LastDeploymentConfig"] == CANARY
    assert "PendingDeploymentSummary" not in after
    assert "VariantStatus" not in after["ProductionVariants"][0]


def test_an_alarm_in_a_bake_rolls_back_long_before_its_end(scene: Scene, live: str) -> None:
    watcher = alarm(scene, "steps-alarm")
    old = scene.status(live)["EndpointConfigName"]
    guarded = {
        **policy("CANARY", 300, CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}),
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "steps-alarm"}]},
    }
    with scene.load(live, connections=8, pause=0.005) as load:
        scene.sagemaker.update_endpoint(
            EndpointName=live,
            EndpointConfigName=config(scene, other(scene, live)),
            DeploymentConfig=guarded,
        )
        until(lambda: len(load.versions) == 2, 30, "the canary gets its share")
        watcher.set_alarm_state(AlarmName="steps-alarm", StateValue="ALARM", StateReason="a test")
        began = time.monotonic()
        until(lambda: scene.status(live)["EndpointStatus"] != "Updating", 60)
        assert time.monotonic() - began < 60  # of the 300 s that the canary would have
        scene.in_service(live)
        load.more(50)
    assert load.failed == {}
    found = scene.status(live)
    assert found["EndpointConfigName"] == old
    assert found["FailureReason"] == "The CloudWatch alarm steps-alarm is in state ALARM."
    watcher.delete_alarms(AlarmNames=["steps-alarm"])


def test_an_alarm_that_is_not_there_is_refused(scene: Scene, live: str) -> None:
    guarded = {**CANARY, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "no-such"}]}}
    with pytest.raises(ClientError, match="no-such") as caught:
        scene.sagemaker.update_endpoint(
            EndpointName=live, EndpointConfigName=config(scene, "steps"), DeploymentConfig=guarded
        )
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert scene.status(live)["EndpointStatus"] == "InService"


def test_a_regression_that_no_alarm_watches_rolls_back(scene: Scene, live: str) -> None:
    scene.model("steps-flawed", script=FLAWED)
    old = scene.status(live)["EndpointConfigName"]
    wanted = config(scene, "steps-flawed", Tags=[{"Key": "clary:rollback-on-regression", "Value": "0.01"}])
    slow = policy("CANARY", 300, CanarySize={"Type": "CAPACITY_PERCENT", "Value": 20})
    with scene.load(live, connections=8, pause=0.005) as load:
        scene.sagemaker.update_endpoint(EndpointName=live, EndpointConfigName=wanted, DeploymentConfig=slow)
        scene.in_service(live, 60)
        load.more(50)
    assert set(load.failed) <= {(424, "ModelError")}
    found = scene.status(live)
    assert found["EndpointConfigName"] == old
    assert "requests to the new fleet failed" in found["FailureReason"]
    assert "false alarm rate 0.01" in found["FailureReason"]


def test_a_slower_model_rolls_back_too(scene: Scene, live: str) -> None:
    scene.model("steps-slow", script=SLOW)
    old = scene.status(live)["EndpointConfigName"]
    wanted = config(scene, "steps-slow", Tags=[{"Key": "clary:rollback-on-regression", "Value": "0.01"}])
    with scene.load(live, connections=2, pause=0.01) as load:
        load.more(200)  # what the old fleet's p99 is
        scene.sagemaker.update_endpoint(
            EndpointName=live,
            EndpointConfigName=wanted,
            DeploymentConfig=policy("CANARY", 300, CanarySize={"Type": "CAPACITY_PERCENT", "Value": 50}),
        )
        scene.in_service(live, 120)
    assert load.failed == {}
    found = scene.status(live)
    assert found["EndpointConfigName"] == old
    assert "took longer than 1.2 times the old fleet's p99" in found["FailureReason"]


def test_a_tag_that_is_no_rate_is_refused(scene: Scene, live: str) -> None:
    with pytest.raises(ClientError, match="must be a false alarm rate above 0") as caught:
        config(scene, "steps", Tags=[{"Key": "clary:rollback-on-regression", "Value": "often"}])
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_the_last_deployment_is_retained_when_asked(scene: Scene, live: str) -> None:
    shape = policy("ALL_AT_ONCE", 1)
    for more in ({"DeploymentConfig": shape}, {"RetainDeploymentConfig": True}):
        scene.sagemaker.update_endpoint(EndpointName=live, EndpointConfigName=config(scene, other(scene, live)), **more)
        scene.in_service(live)
        assert scene.status(live)["LastDeploymentConfig"] == shape
    scene.sagemaker.update_endpoint(EndpointName=live, EndpointConfigName=config(scene, other(scene, live)))
    scene.in_service(live)
    assert "LastDeploymentConfig" not in scene.status(live)


def test_the_story_is_told_by_commands_tags_and_logs(scene: Scene, live: str) -> None:
    wanted = config(scene, other(scene, live))
    scene.sagemaker.update_endpoint(
        EndpointName=live,
        EndpointConfigName=wanted,
        DeploymentConfig=policy("ALL_AT_ONCE", 8),  # two commands begin in it
    )
    shown = json.loads(clary(scene, "rollout", live, "--json"))
    assert shown["status"] == "Updating"
    assert [fleet["role"] for fleet in shown["fleets"]] == ["serving", "coming"]
    text = clary(scene, "rollout", live)  # until it is done
    assert f"coming {wanted}" in text
    assert "taken over" in text
    assert scene.status(live)["EndpointStatus"] == "InService"
    steps = json.loads(clary(scene, "history", live, "--json"))
    assert [step["what"] for step in steps][-6:] == [
        "update asked",
        "traffic moved",
        "baking",
        "baked",
        "taken over",
        "in service",
    ]
    assert {"rolling back", "rolled back"} <= {step["what"] for step in steps}
    bake = {step["what"]: step["at"] for step in steps[-6:]}
    assert 7.9 < bake["baked"] - bake["baking"] < 30
    assert "rolling back" in clary(scene, "history", live)
    arn = scene.status(live)["EndpointArn"]
    tags = {tag["Key"]: tag["Value"] for tag in scene.sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert tags["aws:clary:last-change"].endswith("in service: AllTraffic: 2 x ml.m5.large")


def test_workers_follow_another_instance_type(scene: Scene) -> None:
    """ml.r8g.medium has one vCPU, ml.m5.large two."""
    scene.deploy("sized", kind="ml.r8g.medium", Environment={})

    def workers() -> int:
        figures = json.loads(clary(scene, "top", "--once", "--json"))
        return int(next(row["workers"] for row in figures["endpoints"] if row["endpoint"] == "sized"))

    assert workers() == 1
    before = zygotes(scene)
    scene.config("sized-large", "sized", kind="ml.m5.large")
    began = time.monotonic()
    scene.sagemaker.update_endpoint(EndpointName="sized", EndpointConfigName="sized-large")
    scene.in_service("sized")
    assert time.monotonic() - began < 10
    until(lambda: workers() == min(2, cpus()), 30, "a worker was forked")
    assert zygotes(scene) == before, "nothing was started anew"
    assert scene.status("sized")["EndpointConfigName"] == "sized-large"
    scene.delete("sized")


COUNTS = """
import json, os
import numpy, threadpoolctl

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    threads = {pool["user_api"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
    return json.dumps({"worker": os.getpid(), "threads": threads})
"""


@pytest.mark.skipif(cpus() < 2, reason="a size of two vCPU is clamped to this machine's one")
def test_threads_inside_a_models_libraries_follow_another_instance_type(user: User) -> None:
    """One worker: all vCPU of the size are its threads, up and down, in the process that runs."""
    one = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    model = user.scripted({"code/inference.py": COUNTS}, one, SKLEARN)
    endpoint = user.endpoint({"ModelName": model, "InstanceType": "ml.r8g.medium"})

    def told() -> tuple[int, int]:
        answer = json.loads(user.ask(endpoint, "x", ContentType="text/plain"))
        return answer["worker"], answer["threads"]["blas"]

    worker, threads = told()
    assert threads == 1
    for kind, expected in (("ml.m5.large", 2), ("ml.r8g.medium", 1)):
        wanted = user.config({"ModelName": model, "InstanceType": kind})
        user.sm.update_endpoint(EndpointName=endpoint, EndpointConfigName=wanted)
        user.settled(endpoint, "InService")
        until(lambda expected=expected: told() == (worker, expected), 10, f"{expected} threads")  # type: ignore[misc]
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_no_history_is_an_error_with_advice(scene: Scene) -> None:
    argv = [sys.executable, "-m", "clary.app.cli", "history", "never-was", "--dir", scene.root]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "clary ps" in done.stderr
