"""The system's clock jumps by an hour and by a day, forth and back: nothing is restarted, fails, alarms or fires twice (faults.md 38).

Clary and its client run on a preloaded clock (libfaketime); where that is not installed the parts' own tests remain (`docs/faults.md`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.faults.scene import BUCKET, Scene, until
from tests.live import Server

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.waits]

HOUR, DAY = 3600, 86400
RESOURCE = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/timeless/variant/AllTraffic"}
DIMENSION = {"ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
CLIENT = """
import json, sys, time
import boto3
from botocore.config import Config

clients = {}
for line in sys.stdin:
    ask = json.loads(line)
    try:
        name = ask["service"]
        if name == "time":
            print(json.dumps({"answer": {"now": time.time()}}), flush=True)
            continue
        if name not in clients:
            clients[name] = boto3.client(name, config=Config(retries={"total_max_attempts": 1}))
        answer = getattr(clients[name], ask["operation"])(**ask["params"])
        if hasattr(answer.get("Body"), "read"):
            answer["Body"] = answer["Body"].read().decode()
        told = {"answer": answer}
    except Exception as error:
        told = {"error": str(error)}
    print(json.dumps(told, default=str), flush=True)
"""


class Clock:
    """The clock of every process that is started with it."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "offset"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_CACHE_DURATION": "1",  # seconds
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as when somebody sets the clock
            "FAKETIME_DISABLE_SHM": "1",  # its semaphores are not there in a sandbox, which would wait for them
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds: int) -> None:
        """So much before (-) or after (+) the real time."""
        fresh = self._offset.with_name("fresh")
        fresh.write_text(f"{seconds:+d}")
        fresh.replace(self._offset)


def library() -> Path | None:
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


class Client:
    """boto3 on the same clock: what it signs has its time."""

    def __init__(self, server: Server) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLIENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **server.environment},
            text=True,
        )

    def told(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"service": service, "operation": operation, "params": params}) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def __call__(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        told = self.told(service, operation, **params)
        assert "answer" in told, (operation, told)
        return dict(told["answer"])

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    if library() is None:
        pytest.skip(
            "libfaketime is not installed (Debian: apt install libfaketime): the clock of a process cannot be set alone"
        )
    clock = Clock(tmp_path)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    return clock


@pytest.fixture
def scene(clock: Clock, start: Callable[..., Server]) -> Scene:
    return Scene(start())


@pytest.fixture
def client(scene: Scene) -> Iterator[Client]:
    client = Client(scene.server)
    yield client
    client.close()


def alarm(client: Client, name: str, threshold: float) -> None:
    client(
        "cloudwatch",
        "put_metric_alarm",
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[
            {"Name": "EndpointName", "Value": "timeless"},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        Statistic="Sum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=threshold,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )


def state(client: Client, name: str) -> str:
    (found,) = client("cloudwatch", "describe_alarms", AlarmNames=[name])["MetricAlarms"]
    return str(found["StateValue"])


def invoke(client: Client, times: int = 1) -> None:
    for number in range(times):
        answer = client(
            "sagemaker-runtime",
            "invoke_endpoint",
            EndpointName="timeless",
            ContentType="application/json",
            Body=json.dumps({"text": str(number)}),
        )
        assert json.loads(answer["Body"])["echo"] == str(number)


def count(client: Client) -> int:
    found = client("sagemaker", "describe_endpoint", EndpointName="timeless")
    return int(found["ProductionVariants"][0]["CurrentInstanceCount"]) if found["EndpointStatus"] == "InService" else 0


def fired(client: Client, action: str) -> int:
    """How often the scheduled action set its range."""
    activities = client("application-autoscaling", "describe_scaling_activities", **RESOURCE, **DIMENSION)
    told = [(each["Cause"], each["Description"][:11]) for each in activities["ScalingActivities"]]
    return sum(
        told.count((f"scheduled action name {action} was triggered", f"Setting {end}")) for end in ("min", "max")
    )


def schedule(client: Client, name: str, expression: str, **range_: int) -> None:
    client(
        "application-autoscaling",
        "put_scheduled_action",
        **RESOURCE,
        **DIMENSION,
        ScheduledActionName=name,
        Schedule=expression,
        ScalableTargetAction=range_,
    )


def test_a_clock_that_jumps(scene: Scene, clock: Clock, client: Client) -> None:
    scene.deploy("timeless")
    scene.train("runs-on", "import time\nfor n in range(10000): print('line', n); time.sleep(0.2)\n", runtime=1800)
    scaling = "application-autoscaling"
    client(scaling, "register_scalable_target", **RESOURCE, **DIMENSION, MinCapacity=1, MaxCapacity=3)
    soon = datetime.now(UTC) + timedelta(minutes=30)
    schedule(client, "once", f"at({soon:%Y-%m-%dT%H:%M:%S})", MinCapacity=2, MaxCapacity=3)
    schedule(client, "often", "rate(12 hours)", MaxCapacity=3)
    alarm(client, "never", 1e9)
    alarm(client, "asked", 1.0)
    pids = {name: row["pid"] for name, row in scene.pids().items()}
    (first,) = zygotes(scene)
    # The hour of `once` comes with the first jump, and again with each later one: it ran. `often` is due a day ahead only, each time.
    for offset, expected, often in ((HOUR, 2, 0), (0, 2, 0), (DAY, 2, 1), (0, 2, 1), (DAY, 2, 2), (0, 2, 2)):
        client("cloudwatch", "set_alarm_state", AlarmName="asked", StateValue="OK", StateReason="test")
        clock.set(offset)
        doors(client, offset)
        until(lambda offset=offset: noticed(scene) == offset, 60, f"the scaling loop sees {offset:+d} s")
        invoke(client, 20)
        until(lambda expected=expected: count(client) == expected, 60, f"{expected} replicas at {offset:+d} s")
        until(lambda: invoke(client) or state(client, "asked") == "ALARM", 90, f"alarms go on at {offset:+d} s")
        assert state(client, "never") != "ALARM"
        until(lambda often=often: fired(client, "often") == often, 60, f"what is due at {offset:+d} s")
        assert fired(client, "once") == 1
        assert first in zygotes(scene)
        assert len(zygotes(scene)) == expected
        assert (
            client("sagemaker", "describe_training_job", TrainingJobName="runs-on")["TrainingJobStatus"] == "InProgress"
        )
    assert {name: row["pid"] for name, row in scene.pids().items()} == pids
    before = len(scene.lines("runs-on"))
    until(lambda: len(scene.lines("runs-on")) > before, 30, "the job goes on")
    client("sagemaker", "stop_training_job", TrainingJobName="runs-on")
    assert scene.ended("runs-on", 150)["TrainingJobStatus"] == "Stopped"


def noticed(scene: Scene) -> int:
    """The seconds by which the scaling loop has seen its clock set by now; what is due then is looked at with it."""
    log = (scene.server.settings.root / "logs" / "clary" / "control.log").read_text()
    return sum(int(step) for step in re.findall(r"scalable-target loop: the clock was set by ([+-]\d+) s", log))


def zygotes(scene: Scene) -> list[int]:
    """The first process of each replica: it has no zygote for a parent."""
    found = scene.sandboxed("clary.toolkit.zygote")
    pids = {p.pid for p in found}
    return [p.pid for p in found if p.parent not in pids]


def doors(client: Client, offset: int) -> None:
    """Every process has seen the new time, the client first: the others take what is signed with it."""
    until(lambda: abs(client("time", "now")["now"] - time.time() - offset) < 60, 30, "the client sees the new time")
    asks: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("s3", "list_objects_v2", {"Bucket": BUCKET, "MaxKeys": 1}),
        ("sagemaker", "list_endpoints", {}),
        ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "timeless", "Body": '{"text": "x"}'}),
    )
    for ask in asks:
        until(lambda ask=ask: "answer" in client.told(*ask[:2], **ask[2]), 30, f"{ask[0]} takes the new time")
