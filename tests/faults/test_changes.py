"""Every way to change a live endpoint, under 64 connections: no request fails, also not when the control plane is killed on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.faults.scene import Load, Scene, until
from tests.faults.test_kills import zygotes

pytestmark = [pytest.mark.live, pytest.mark.slow]

PERCENT = "CAPACITY_PERCENT"


def blue_green(kind: str, wait: int = 2, keep: int = 1, **sizes: Any) -> dict[str, Any]:
    shift = {"Type": kind, "WaitIntervalInSeconds": wait, **sizes}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": shift, "TerminationWaitInSeconds": keep}}


CHANGES: dict[str, dict[str, Any]] = {
    "at-once": {},
    "at-once-baked": blue_green("ALL_AT_ONCE"),
    "canary": blue_green("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}),
    "linear": blue_green("LINEAR", wait=1, LinearStepSize={"Type": PERCENT, "Value": 34}),
    "rolling": {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
            "WaitIntervalInSeconds": 2,
        }
    },
}
BROKEN = "def model_fn(model_dir):\n    raise RuntimeError('this model is broken')\n"


@pytest.fixture(scope="module")
def live(scene: Scene) -> Iterator[str]:
    """An endpoint with two replicas; the models `change-0`, `change-1` ... say who answers."""
    scene.deploy("changing", count=2)
    for number in range(4):
        scene.model(f"change-{number}")
    yield "changing"
    scene.patient.delete_endpoint(EndpointName="changing")


_number = iter(range(1000))


def config(scene: Scene, model: str, count: int = 2, kind: str = "ml.m5.large") -> str:
    name = f"changing-{next(_number)}"
    scene.config(name, model, count, kind)
    return name


def served(scene: Scene, endpoint: str) -> str:
    return str(scene.invoke(endpoint, text="x")["version"])


def another(scene: Scene, endpoint: str) -> str:
    """A model that does not serve now."""
    now = served(scene, endpoint)
    return next(f"change-{n}" for n in range(4) if f"change-{n}" != now)


def clean(load: Load) -> None:
    assert load.failed == {}
    assert load.dropped == 0
    assert load.wrong == []


def update(scene: Scene, endpoint: str, wanted: str, policy: dict[str, Any] | None = None) -> None:
    more = {"DeploymentConfig": policy} if policy else {}
    scene.patient.update_endpoint(EndpointName=endpoint, EndpointConfigName=wanted, **more)


@pytest.mark.parametrize("change", CHANGES)
def test_no_request_fails_while_a_new_fleet_takes_over(scene: Scene, live: str, change: str) -> None:
    old, new = served(scene, live), another(scene, live)
    wanted = config(scene, new)
    with scene.load(live) as load:
        update(scene, live, wanted, CHANGES[change])
        scene.in_service(live, 60)
        load.more(500)
    clean(load)
    assert set(load.versions) == {old, new}
    assert served(scene, live) == new
    assert scene.status(live)["EndpointConfigName"] == wanted
    assert scene.status(live).get("LastDeploymentConfig", {}) == CHANGES[change]


@pytest.mark.parametrize("change", CHANGES)
def test_a_killed_control_plane_goes_on_with_the_change(scene: Scene, live: str, change: str) -> None:
    old, new = served(scene, live), another(scene, live)
    wanted, replicas = config(scene, new), len(zygotes(scene))
    with scene.load(live, pause=0.01) as load:
        update(scene, live, wanted, CHANGES[change])
        for pause in (0.0, 0.5, 1.0):
            time.sleep(pause)  # another place of the change each time
            scene.back("control", scene.kill("control"))
        scene.in_service(live, 60)
        load.more(200)
    clean(load)
    assert set(load.versions) == {old, new}
    assert served(scene, live) == new
    until(lambda: len(zygotes(scene)) == replicas, 30, "only the new fleet is left")


@pytest.mark.parametrize("change", CHANGES)
def test_a_killed_control_plane_rolls_back_as_recorded(scene: Scene, live: str, change: str) -> None:
    """A model that does not load, under a policy that would wait: back to the old fleet, whenever the kill came."""
    old = served(scene, live)
    name = f"broken-{change}"
    scene.model(name, script=BROKEN)
    with scene.load(live, pause=0.01) as load:
        update(scene, live, config(scene, name), CHANGES[change])
        scene.back("control", scene.kill("control"))
        scene.in_service(live, 60)
        load.more(200)
    clean(load)
    assert set(load.versions) == {old}
    found = scene.status(live)
    assert "this model is broken" in found["FailureReason"]
    assert "PendingDeploymentSummary" not in found


def alarm(scene: Scene, name: str) -> Any:
    """An alarm in state OK that no metric moves; the client that made it."""
    watcher = scene.server.client("cloudwatch", retries={"mode": "standard", "total_max_attempts": 10})
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
    watcher.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="a test")
    return watcher


def taken_back(scene: Scene, endpoint: str, guard: str, before: str, old: str, replicas: int) -> None:
    """That alarm ended the update: config, model and number of replicas are what they were."""
    found = scene.status(endpoint)
    assert found["EndpointConfigName"] == before
    assert f"alarm {guard} is in state ALARM" in found["FailureReason"]
    assert served(scene, endpoint) == old
    until(lambda: len(zygotes(scene)) == replicas, 30, "only the old fleet is left")


TAKEN_BACK = {
    "at-once-baked": (1.0, blue_green("ALL_AT_ONCE", wait=60)),
    "canary": (0.5, blue_green("CANARY", wait=60, CanarySize={"Type": "INSTANCE_COUNT", "Value": 1})),
    "linear": (0.34, blue_green("LINEAR", wait=60, LinearStepSize={"Type": PERCENT, "Value": 34})),
}


@pytest.mark.parametrize("change", TAKEN_BACK)
def test_a_killed_control_plane_takes_traffic_back_on_an_alarm(scene: Scene, live: str, change: str) -> None:
    """The new fleet serves already when the alarm goes off, while nobody looks: the next control plane takes its traffic back."""
    share, policy = TAKEN_BACK[change]
    old, new = served(scene, live), another(scene, live)
    watcher = alarm(scene, "guard")
    before, replicas = scene.status(live)["EndpointConfigName"], len(zygotes(scene))

    def baking() -> bool:
        pending = scene.status(live)["PendingDeploymentSummary"]["ProductionVariants"][0]
        return bool(pending["VariantStatus"][0]["Status"] == "Baking" and pending["CurrentWeight"] == share)

    with scene.load(live, pause=0.01) as load:
        guarded = {**policy, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "guard"}]}}
        update(scene, live, config(scene, new), guarded)
        until(baking, 30, "the first step bakes")
        load.more(200)
        watcher.set_alarm_state(AlarmName="guard", StateValue="ALARM", StateReason="a test")
        scene.back("control", scene.kill("control"))
        scene.in_service(live, 40)  # less than the bake: it did not wait for its end
        load.more(200)
    clean(load)
    assert set(load.versions) == {old, new}
    taken_back(scene, live, "guard", before, old, replicas)
    watcher.delete_alarms(AlarmNames=["guard"])


def test_a_killed_control_plane_rolls_a_half_rolled_update_back_on_an_alarm(scene: Scene, live: str) -> None:
    """Part of the old fleet has gone already: it comes back, batch by batch, and no request is lost on the way."""
    old, new = served(scene, live), another(scene, live)
    watcher = alarm(scene, "half")
    guarded = {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
            "RollbackMaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
            "WaitIntervalInSeconds": 3,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "half"}]},
    }
    before, replicas = scene.status(live)["EndpointConfigName"], len(zygotes(scene))
    with scene.load(live, pause=0.01) as load:
        update(scene, live, config(scene, new), guarded)
        until(
            lambda: scene.status(live)["ProductionVariants"][0]["CurrentInstanceCount"] == 1, 60, "one old one is gone"
        )
        watcher.set_alarm_state(AlarmName="half", StateValue="ALARM", StateReason="a test")
        scene.back("control", scene.kill("control"))
        scene.in_service(live, 60)
        load.more(200)
    clean(load)
    taken_back(scene, live, "half", before, old, replicas)
    watcher.delete_alarms(AlarmNames=["half"])


def test_a_killed_control_plane_goes_on_with_a_change_in_place(scene: Scene, live: str) -> None:
    now = served(scene, live)
    before = zygotes(scene)
    with scene.load(live, pause=0.01) as load:
        for count, kind in ((3, "ml.c5.xlarge"), (2, "ml.m5.large")):
            wanted = config(scene, now, count, kind)
            update(scene, live, wanted)
            scene.back("control", scene.kill("control"))
            scene.in_service(live, 60)
            assert scene.status(live)["EndpointConfigName"] == wanted
            if count == 3:
                grown = zygotes(scene)
        load.more(200)
    clean(load)
    assert set(before) < set(grown), "one came to those that serve"
    assert set(zygotes(scene)) <= {*before, *grown}, "no process but those that were there, and the third"


def test_a_killed_control_plane_goes_on_with_weights_and_counts(scene: Scene, live: str) -> None:
    """UpdateEndpointWeightsAndCapacities was answered: it comes true whatever dies then."""
    with scene.load(live, pause=0.01) as load:
        for count, weight in ((3, 5.0), (2, 1.0)):
            wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": count, "DesiredWeight": weight}]
            scene.patient.update_endpoint_weights_and_capacities(EndpointName=live, DesiredWeightsAndCapacities=wanted)
            scene.back("control", scene.kill("control"))
            scene.in_service(live, 60)
            variant = scene.status(live)["ProductionVariants"][0]
            assert (variant["CurrentInstanceCount"], variant["CurrentWeight"]) == (count, weight)
        load.more(200)
    clean(load)


def test_sizes_and_counts_change_in_place_within_a_second(scene: Scene, live: str) -> None:
    now = served(scene, live)
    if not now.startswith("change-"):
        update(scene, live, config(scene, "change-0"))
        scene.in_service(live)
        now = "change-0"
    update(scene, live, config(scene, now, 2, "ml.m5.xlarge"))
    scene.in_service(live)
    there = [zygotes(scene)]
    took = []
    with scene.load(live, pause=0.005) as load:
        for count, kind in ((2, "ml.m5.large"), (2, "ml.c5.xlarge"), (3, "ml.c5.xlarge"), (2, "ml.m5.large")):
            wanted = config(scene, now, count, kind)
            began = time.monotonic()
            update(scene, live, wanted)
            until(lambda: scene.status(live)["EndpointStatus"] == "InService", 20)
            took.append(time.monotonic() - began)
            assert scene.status(live)["EndpointConfigName"] == wanted, scene.status(live).get("FailureReason")
            load.more(100)
            until(lambda count=count: len(zygotes(scene)) == count, 20, f"{count} replicas")  # type: ignore[misc]
            there.append(zygotes(scene))
    clean(load)
    first, smaller, larger, grown, left = map(set, there)
    assert first == smaller == larger, "the same processes, in other sizes"
    assert first < grown, "one came to those that serve"
    assert left < grown, "the least busy one went, which may be any"
    assert min(took[:2]) < 5.0, took  # 0.3 s on a quiet machine: tests/sdk/test_sizes.py looks closer


def test_two_changes_at_once_and_deletes_get_awss_answer(scene: Scene, live: str) -> None:
    wanted = config(scene, another(scene, live))
    update(scene, live, wanted, blue_green("ALL_AT_ONCE", wait=3))
    arn = scene.status(live)["EndpointArn"]
    weights = [{"VariantName": "AllTraffic", "DesiredWeight": 2.0}]
    for ask in (
        lambda: update(scene, live, wanted),
        lambda: scene.sagemaker.delete_endpoint(EndpointName=live),
        lambda: scene.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=live, DesiredWeightsAndCapacities=weights
        ),
    ):
        with pytest.raises(ClientError) as caught:
            ask()
        assert caught.value.response["Error"] == {
            "Code": "ValidationException",
            "Message": f'Cannot update in-progress endpoint "{arn}".',
        }
    scene.in_service(live, 60)


def test_an_update_while_it_is_created_gets_awss_answer(scene: Scene) -> None:
    scene.model("early")
    scene.config("early", "early")
    scene.sagemaker.create_endpoint(EndpointName="early", EndpointConfigName="early")
    with pytest.raises(ClientError, match='Cannot update in-progress endpoint "arn'):
        scene.sagemaker.update_endpoint(EndpointName="early", EndpointConfigName="early")
    scene.in_service("early")
    scene.delete("early")
