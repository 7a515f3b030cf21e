"""Answers that are too large to be held: one model must not take the front's memory and time from everybody else's (faults.md 12)."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.faults.raw import Wire
from tests.faults.scene import BUCKET, Asked, Load, Scene, until
from tests.faults.test_doors import good_head

pytestmark = [pytest.mark.live, pytest.mark.slow]

GIB = 1 << 30
MODEL = """
import json, sys
def model_fn(model_dir):
    return None
def transform_fn(model, body, content_type, accept):
    ask = json.loads(body)
    if ask.get("unbound"):  # a model that talks its own worker out of its limit
        frame = sys._getframe()
        while frame is not None:
            me = frame.f_locals.get("self")
            if type(me).__name__ == "Worker":
                me._most = 1 << 40
            frame = frame.f_back
    return bytes(ask["size"]), "application/octet-stream"
"""


@pytest.fixture(scope="module")
def large(scene: Scene) -> Iterator[str]:
    scene.deploy("large-answers", script=MODEL)
    yield "large-answers"
    scene.delete("large-answers")


@pytest.fixture(scope="module")
def neighbour(scene: Scene) -> Iterator[str]:
    scene.deploy("large-neighbour")
    yield "large-neighbour"
    scene.delete("large-neighbour")


def peaks(scene: Scene) -> dict[str, int]:
    """The largest resident size that each front and the control plane had since `forget`, in MiB."""
    found = {}
    for name, row in scene.pids().items():
        if name.startswith("front") or name == "control":
            with open(f"/proc/{row['pid']}/status") as file:
                [line] = [line for line in file if line.startswith("VmHWM")]
            found[name] = int(line.split()[1]) >> 10
    return found


def forget(scene: Scene) -> dict[str, int]:
    for name, row in scene.pids().items():
        if name.startswith("front") or name == "control":
            with open(f"/proc/{row['pid']}/clear_refs", "w") as file:
                file.write("5")
    return peaks(scene)


@contextlib.contextmanager
def unharmed(scene: Scene, neighbour: str, growth: int = 160) -> Iterator[Load]:
    """No process grows by more than so many MiB meanwhile, and no request of the neighbour fails or waits for seconds."""
    before = forget(scene)
    with scene.load(neighbour, connections=4, pause=0.005) as load:
        load.more(200)
        mark = time.monotonic()
        yield load
        load.more(100)
    after = peaks(scene)
    grown = {name: after[name] - size for name, size in before.items()}
    print("grown", grown, "slowest", load.slowest(mark))
    assert max(grown.values()) < growth, grown
    assert load.failed == {}
    assert load.dropped == 0
    assert load.slowest(mark) < 2.0  # 9.5 s where the whole was copied several times at once


def test_a_gigabyte_is_an_error_that_names_size_and_setting(scene: Scene, large: str, neighbour: str) -> None:
    for more in ({}, {"unbound": True}):
        before = read(scene)
        with unharmed(scene, neighbour), pytest.raises(ClientError) as caught:
            body(scene, large, size=GIB - (1 << 20), **more)
        if more:  # what a model sends all the same is thrown away piece by piece
            until(lambda before=before: read(scene) - before > GIB - (1 << 20), 60, "all of it")  # type: ignore[misc]
        else:
            assert read(scene) - before < 100 << 20  # the worker does not send it
        error = caught.value.response
        assert (error["Error"]["Code"], error["OriginalStatusCode"]) == ("ModelError", 413)
        for part in (str(GIB - (1 << 20)), str(scene.server.settings.max_answer), "max_answer"):
            assert part in error["Error"]["Message"]
    assert len(body(scene, large, size=10)) == 10


def read(scene: Scene) -> int:
    """Bytes that the fronts have read."""
    total = 0
    for name, row in scene.pids().items():
        if name.startswith("front"):
            with open(f"/proc/{row['pid']}/io") as file:
                total += int(file.readline().split()[1])
    return total


def body(scene: Scene, name: str, **ask: Any) -> bytes:
    answer = scene.runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body=json.dumps(ask))
    found: bytes = answer["Body"].read()
    return found


def test_answers_up_to_the_limit_arrive_and_take_no_memory(scene: Scene, large: str, neighbour: str) -> None:
    most = int(scene.server.settings.max_answer)
    assert len(body(scene, large, size=most)) == most
    with unharmed(scene, neighbour):
        asked = [Asked(lambda: {"size": len(body(scene, large, size=most))}) for _ in range(8)]
        assert [one.wait().answer for one in asked] == [{"size": most}] * 8


def test_clients_that_do_not_read_hold_no_worker_and_no_memory(scene: Scene, large: str, neighbour: str) -> None:
    """Each of them asks for 20 MB and reads none of it; there are two workers."""
    ask = json.dumps({"size": 20 << 20}).encode()
    head = good_head(scene, large, f"Content-Length: {len(ask)}\r\n", ask)
    with unharmed(scene, neighbour), contextlib.ExitStack() as stack:
        for _ in range(12):
            wire = stack.enter_context(Wire(scene.server.settings.port))
            assert wire.send(head + ask)
        began = time.monotonic()
        assert len(body(scene, large, size=1000)) == 1000
        assert time.monotonic() - began < 15


def test_the_answer_of_an_asynchronous_call_goes_to_s3_as_large_as_it_is(scene: Scene, neighbour: str) -> None:
    name, size = "large-async", 500_000_000
    scene.model(name, MODEL)
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    scene.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variant],
        AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/{name}/out"}},
    )
    scene.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    scene.in_service(name)
    with unharmed(scene, neighbour):
        asked = scene.runtime.invoke_endpoint_async(
            EndpointName=name, Body=json.dumps({"size": size}), ContentType="application/json"
        )
        key = asked["OutputLocation"].partition(f"{BUCKET}/")[2]
        until(lambda: stored(scene, key) == size, 120, "the answer is in S3")
    scene.s3.delete_object(Bucket=BUCKET, Key=key)
    scene.delete(name)


def stored(scene: Scene, key: str) -> int:
    try:
        return int(scene.s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"])
    except ClientError:
        return -1
