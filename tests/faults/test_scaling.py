"""Faults in the middle of scaling, on a real server: the control plane goes, a replica goes, the metric goes, the samples are absurd."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from tests.faults.scene import Scene, until
from tests.faults.test_kills import zygotes

pytestmark = [pytest.mark.live, pytest.mark.slow]

TARGET = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
NAMESPACE = "Faults"


class Scaled:
    """An endpoint of 1 to 3 replicas, one more for as long as a metric that the tests put is above 70 (so says a policy of steps)."""

    def __init__(self, scene: Scene, name: str, most: int = 3, by: int = 2, cooldown: int = 600) -> None:
        self.scene, self.name = scene, name
        patient = {"retries": {"mode": "standard", "total_max_attempts": 10}}
        self.scaling = scene.server.client("application-autoscaling", **patient)
        self.watch = scene.server.client("cloudwatch", **patient)
        self.target = {**TARGET, "ResourceId": f"endpoint/{name}/variant/AllTraffic"}
        scene.deploy(name)
        self.register(1, most)
        policy = self.scaling.put_scaling_policy(
            **self.target,
            PolicyName="out",
            PolicyType="StepScaling",
            StepScalingPolicyConfiguration={
                "AdjustmentType": "ChangeInCapacity",
                "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": by}],
                "Cooldown": cooldown,
            },
        )
        self.watch.put_metric_alarm(
            AlarmName=name,
            Namespace=NAMESPACE,
            MetricName=name,
            Statistic="Maximum",
            Period=10,
            EvaluationPeriods=1,
            Threshold=70.0,
            ComparisonOperator="GreaterThanThreshold",
            AlarmActions=[policy["PolicyARN"]],
        )

    def register(self, least: int, most: int) -> None:
        self.scaling.register_scalable_target(**self.target, MinCapacity=least, MaxCapacity=most)

    def put(self, value: float) -> None:
        row = {"MetricName": self.name, "Value": value, "StorageResolution": 1}
        self.watch.put_metric_data(Namespace=NAMESPACE, MetricData=[row])

    @contextmanager
    def measured(self, value: float) -> Iterator[None]:
        """This value each half second, whatever becomes of the control plane meanwhile."""
        stop = threading.Event()

        def put() -> None:
            while not stop.is_set():
                with suppress(ClientError, EndpointConnectionError):
                    self.put(value)
                stop.wait(0.5)

        putting = threading.Thread(target=put)
        putting.start()
        try:
            yield
        finally:
            stop.set()
            putting.join()

    def counts(self) -> tuple[int, int]:
        """(desired, current)"""
        [variant] = self.scene.status(self.name)["ProductionVariants"]
        return int(variant["DesiredInstanceCount"]), int(variant["CurrentInstanceCount"])

    def activities(self, scaled: bool = True) -> list[dict[str, Any]]:
        """Oldest first."""
        found = self.scaling.describe_scaling_activities(**self.target, IncludeNotScaledActivities=not scaled)
        return list(reversed(found["ScalingActivities"]))

    def ended(self, description: str) -> dict[str, Any]:
        """The activity of that description, when it is over."""

        def over() -> dict[str, Any] | None:
            found = [each for each in self.activities() if each["Description"] == description]
            return found[-1] if found and "EndTime" in found[-1] else None

        return dict(until(over, 60, description))

    def replicas(self) -> list[int]:
        """First processes of the replicas that live."""
        return [pid for pid in zygotes(self.scene) if serves(pid) == self.name]

    def drop(self) -> None:
        self.watch.delete_alarms(AlarmNames=[self.name])
        self.scaling.deregister_scalable_target(**self.target)
        self.scene.in_service(self.name)
        self.scene.delete(self.name)


def serves(pid: int) -> str:
    """The version of the model that a process has mounted; nothing when it is gone."""
    with suppress(OSError):
        return Path("/proc", str(pid), "root", "opt/ml/model/version").read_text()
    return ""


@pytest.fixture
def scaled(scene: Scene, request: pytest.FixtureRequest) -> Iterator[Scaled]:
    made = Scaled(scene, re.sub("[^a-z]+", "-", request.node.name.removeprefix("test_")).strip("-"))
    yield made
    made.drop()


@pytest.mark.parametrize("moment", ["alarm", "pending", "starting"])
def test_a_scale_out_goes_on(scaled: Scaled, moment: str) -> None:
    """The control plane is killed when the alarm has been told, when the change was decided, when replicas start."""
    scene = scaled.scene
    with scene.load(scaled.name, 8, pause=0.02) as load, scaled.measured(1e18):
        if moment == "alarm":
            alarms = lambda: scaled.watch.describe_alarms(AlarmNames=[scaled.name])["MetricAlarms"]  # noqa: E731
            until(lambda: alarms()[0]["StateValue"] == "ALARM", 60)
        elif moment == "pending":
            until(scaled.activities, 60)
        else:
            until(lambda: len(scaled.replicas()) > 1, 60)
        scene.back("control", scene.kill("control"))
        done = scaled.ended("Setting desired instance count to 3.")
    assert done["StatusCode"] == "Successful", done
    assert scaled.counts() == (3, 3), "an absurd value adds what a step says, and no more than the range has"
    assert [each["Description"] for each in scaled.activities()] == ["Setting desired instance count to 3."]
    assert len(scaled.replicas()) == 3, "no replica was started twice"
    assert (load.failed, load.dropped) == ({}, 0)


@pytest.mark.parametrize("which", [0, -1], ids=["oldest", "youngest"])
def test_a_replica_dies_while_scaling_in(scaled: Scaled, which: int) -> None:
    """One that leaves or the one that stays."""
    scene = scaled.scene
    scaled.register(3, 3)
    until(lambda: scaled.counts() == (3, 3), 60)
    scene.in_service(scaled.name)
    with scene.load(scaled.name, 4, pause=0.02) as load:
        scaled.register(1, 1)
        until(lambda: scaled.counts()[0] == 1, 60)
        victim = scaled.replicas()[which]
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        done = scaled.ended("Setting desired instance count to 1.")
        scene.in_service(scaled.name)
        until(lambda: len(scaled.replicas()) == 1 and scaled.counts() == (1, 1), 60)
        load.more(40)
    assert done["StatusCode"] == "Successful", done
    assert load.dropped == 0
    assert sum(load.failed.values()) <= 4, (
        load.failed
    )  # what was in the replica that died: one for each connection at most


@pytest.mark.waits
def test_a_metric_that_stops_arriving(scaled: Scaled) -> None:
    """Capacity is held, and an activity says why. What makes no sense is refused before."""
    for value in (float("nan"), float("inf"), float("-inf"), 1e200):
        with pytest.raises(ClientError, match="InvalidParameterValue"):
            scaled.put(value)
    with scaled.measured(90.0):
        scaled.ended("Setting desired instance count to 3.")
    silent = until(
        lambda: [each for each in scaled.activities(scaled=False) if "no datapoints" in each["StatusMessage"]], 90
    )
    assert silent[0]["Cause"] == f"monitor alarm {scaled.name} in state INSUFFICIENT_DATA"
    assert silent[0]["StatusMessage"] == "Nothing was changed: the metric has no datapoints: capacity stays."
    assert scaled.counts() == (3, 3)


@pytest.mark.waits
def test_a_datapoint_after_which_none_comes_is_answered_once(scene: Scene) -> None:
    """The alarm stays in ALARM for half a minute by what came before, longer than the cooldown: no reason to add still more."""
    made = Scaled(scene, "answered-once", most=4, by=1, cooldown=1)
    made.put(90.0)
    made.ended("Setting desired instance count to 2.")
    alarms = lambda: made.watch.describe_alarms(AlarmNames=[made.name])["MetricAlarms"]  # noqa: E731
    until(lambda: alarms()[0]["StateValue"] == "INSUFFICIENT_DATA", 90)
    assert [each["Description"] for each in made.activities()] == ["Setting desired instance count to 2."]
    assert made.counts() == (2, 2)
    made.drop()


def test_what_goes_in_the_middle_of_a_scale_out(scene: Scene) -> None:
    """The alarm first, then the endpoint: the change goes to its end, and nothing is left of either."""
    made = Scaled(scene, "goes-away")
    with made.measured(90.0):
        until(made.activities, 60)
        made.watch.delete_alarms(AlarmNames=[made.name])
    assert made.ended("Setting desired instance count to 3.")["StatusCode"] == "Successful"
    made.register(1, 2)  # below what there is

    def asked() -> bool:
        with suppress(scene.patient.exceptions.ClientError):
            scene.patient.delete_endpoint(EndpointName=made.name)
            return True
        return False

    until(asked, 60, "the endpoint takes its deletion")
    until(lambda: not made.replicas(), 60, "its replicas are gone")
    where = {"ServiceNamespace": "sagemaker", "ResourceIds": [made.target["ResourceId"]]}
    until(lambda: not made.scaling.describe_scalable_targets(**where)["ScalableTargets"], 30)
    policies = {"ServiceNamespace": "sagemaker", "ResourceId": made.target["ResourceId"]}
    until(lambda: not made.scaling.describe_scaling_policies(**policies)["ScalingPolicies"], 30)
    scene.patient.delete_endpoint_config(EndpointConfigName=made.name)
    scene.patient.delete_model(ModelName=made.name)
