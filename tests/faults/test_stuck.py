"""User code that does not come back: it spins, holds the interpreter, stops itself, hears no signal (faults.md 31)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.faults.scene import Asked, Scene, until

pytestmark = [pytest.mark.live, pytest.mark.slow]

STUCK = """
import json, os, signal, time
def model_fn(model_dir):
    return None
def transform_fn(model, body, content_type, accept):
    do = json.loads(body)["do"]
    if do == "spin":
        while True:
            pass
    if do == "native loop":
        sum(range(10 ** 15))  # in C: the interpreter's lock is never let go, and no signal is looked at
    if do == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if do == "deaf":
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(1)
    if do == "alarm":
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        while True:
            time.sleep(1)
    return json.dumps({"pid": os.getpid()})
"""
WAYS = ("spin", "native loop", "stop", "deaf", "alarm")


@pytest.fixture(scope="module")
def neighbour(scene: Scene) -> Iterator[str]:
    scene.deploy("stuck-neighbour")
    yield "stuck-neighbour"
    scene.delete("stuck-neighbour")


def workers(scene: Scene, version: str) -> set[int]:
    found = set()
    for seen in scene.sandboxed("clary.toolkit.zygote", "/own/replica-"):
        with suppress(OSError):
            if Path(f"/proc/{seen.pid}/root/opt/ml/model/version").read_text() == version:
                found.add(seen.pid)
    return found


def test_what_does_not_come_back_is_killed_at_its_deadline_and_costs_its_own_request(
    scene: Scene, neighbour: str
) -> None:
    """Two workers: while one is stuck the other answers; after the deadline there are two again, and nothing is left of the stuck one."""
    environment = {"SAGEMAKER_MODEL_SERVER_TIMEOUT": "2", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}
    scene.deploy("stuck", script=STUCK, Environment=environment)
    until(lambda: len(workers(scene, "stuck")) == 3, 20, "a zygote and two workers")
    with scene.load(neighbour, connections=4, pause=0.005) as load:
        for do in WAYS:
            before = workers(scene, "stuck")
            began = time.monotonic()
            asked = Asked(lambda do=do: scene.invoke("stuck", do=do))  # type: ignore[misc]
            while asked.thread.is_alive():
                assert scene.invoke("stuck", do="answer")["pid"]
                time.sleep(0.1)  # between questions: the deadline of the stuck one is what is waited for
            assert asked.wait().error["Error"]["Code"] == "ModelError", do
            assert 1.5 < time.monotonic() - began < 15, do
            until(lambda before=before: len(workers(scene, "stuck") - before) == 1, 20, f"{do}: another worker")  # type: ignore[misc]
            assert len(workers(scene, "stuck")) == 3, do
        load.more(100)
    assert load.failed == {}
    assert load.dropped == 0
    scene.delete("stuck")
    until(lambda: not workers(scene, "stuck"), 30, "nothing is left of it")


@pytest.mark.waits
def test_a_stuck_model_goes_with_its_endpoint(scene: Scene, neighbour: str) -> None:
    """Deleted while a worker is stuck, with the deadline far away: the sandbox ends whole, within the grace that workers have."""
    scene.deploy("stuck-deleted", script=STUCK, Environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "2"})
    until(lambda: len(workers(scene, "stuck-deleted")) == 3, 20, "a zygote and two workers")
    asked = [Asked(lambda do=do: scene.invoke("stuck-deleted", do=do)) for do in ("stop", "deaf")]  # type: ignore[misc]
    until(lambda: sum(busy(scene, "stuck-deleted")) == 2, 20, "both are stuck")
    scene.delete("stuck-deleted")
    until(lambda: not workers(scene, "stuck-deleted"), 60, "nothing is left of it")
    for one in asked:
        assert one.wait().error["Error"]["Code"] in ("ModelError", "ValidationError")
    assert scene.invoke(neighbour, text="x")["echo"] == "x"


def busy(scene: Scene, version: str) -> list[bool]:
    """Of each process, whether it is stopped or sleeps by itself."""
    found = []
    for pid in workers(scene, version):
        with suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            found.append(state == "T" or "nanosleep" in Path(f"/proc/{pid}/wchan").read_text())
    return found


DEAF = """for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)
    ctypes.PyDLL(None).sleep(3600)"""  # holds the interpreter's lock as a loop in C does, at no cost for the tests beside


@pytest.mark.waits
def test_a_model_that_is_stuck_while_it_loads_fails_its_endpoint(scene: Scene, neighbour: str) -> None:
    """The time that ContainerStartupHealthCheckTimeoutInSeconds gives it (60 s at least, as in AWS), and no more."""
    names = {}
    for number, do in enumerate((DEAF, "os.kill(os.getpid(), signal.SIGSTOP)")):
        name = names[do] = f"stuck-loading-{number}"
        scene.model(name, f"import ctypes, os, signal\ndef model_fn(model_dir):\n    {do}\n")
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InitialInstanceCount": 1,
            "InstanceType": "ml.t2.medium",
            "ContainerStartupHealthCheckTimeoutInSeconds": 60,
        }
        scene.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        scene.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    with scene.load(neighbour, connections=2, pause=0.2) as load:
        for do, name in names.items():
            found = scene.settled(name, 150)
            assert found["EndpointStatus"] == "Failed", do
            assert "not loaded within 60 s" in found["FailureReason"], do
    assert load.failed == {}
    until(lambda: not any(workers(scene, name) for name in names.values()), 60, "nothing is left of them")
    for name in names.values():
        scene.delete(name)
