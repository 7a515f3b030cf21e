"""A disk, and an object store, that take seconds for what takes milliseconds: no prediction waits for either (faults.md 40)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Asked, Load, Scene, until
from tests.live import ROLE, Server

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.waits]

SLOW = 5.0  # seconds of an fsync
CALM = 1.5  # seconds that any prediction may take meanwhile, on a machine that has other work


@pytest.fixture
def slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set how many seconds every fsync takes, of a Clary that is started from now on."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler: a slow disk is made by a preloaded fsync")
    library, delay = tmp_path / "slow_disk.so", tmp_path / "delay"
    source = Path(__file__).with_name("slow_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    delay.write_text("0")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("SLOW_DISK", str(delay))

    def set_to(seconds: float) -> None:
        fresh = delay.with_name("fresh")
        fresh.write_text(str(int(seconds * 1000)))
        fresh.replace(delay)

    return set_to


def captured(scene: Scene, name: str) -> None:
    """An endpoint whose every request and answer is kept."""
    scene.model(name)
    scene.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        ],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{BUCKET}/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        },
    )
    scene.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    scene.in_service(name)


def unharmed(load: Load, since: float) -> None:
    assert load.failed == {}
    assert load.dropped == 0
    assert load.wrong == []
    assert load.slowest(since) < CALM


def test_no_prediction_waits_for_a_slow_disk(start: Callable[..., Server], slow_disk: Callable[[float], None]) -> None:
    scene = Scene(start())
    captured(scene, "unhurried")
    calls = {
        "model": scene.server.client("sagemaker", read_timeout=120).create_model,
        "weights": scene.server.client("sagemaker", read_timeout=120).update_endpoint_weights_and_capacities,
        "object": scene.server.client("s3", read_timeout=120).put_object,
    }
    with scene.load("unhurried", connections=8, pause=0.02) as load:
        slow_disk(SLOW)
        began = time.monotonic()
        try:
            writes = [
                Asked(
                    lambda: calls["model"](
                        ModelName="written", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": PYTHON_IMAGE}
                    )
                ),
                Asked(lambda: calls["object"](Bucket=BUCKET, Key="written", Body=b"x" * 300_000)),
                # its front is told a new route, which it writes down
                Asked(
                    lambda: calls["weights"](
                        EndpointName="unhurried",
                        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredWeight": 2}],
                    )
                ),
            ]
            for write in writes:
                assert write.wait(110).answer, write.error or write.broken
            assert time.monotonic() - began >= SLOW  # they did wait: what was answered is on the disk
            load.more(200)
        finally:
            slow_disk(0)
        until(lambda: scene.status("unhurried")["EndpointStatus"] == "InService", 60)
    unharmed(load, began)
    assert scene.s3.get_object(Bucket=BUCKET, Key="written")["ContentLength"] == 300_000


def test_no_prediction_waits_for_an_object_store_that_hangs(scene: Scene) -> None:
    """Stopped, as one over a network filesystem that is gone would be; captures go there later."""
    captured(scene, "unbothered")
    store = scene.pid("objects")
    with scene.load("unbothered", connections=8, pause=0.02) as load:
        os.kill(store, signal.SIGSTOP)
        began = time.monotonic()
        try:
            put = Asked(lambda: scene.s3.put_object(Bucket=BUCKET, Key="hangs", Body=b"x"))
            load.more(300)
            assert put.thread.is_alive()
        finally:
            os.kill(store, signal.SIGCONT)
        assert put.wait(60).answer, put.error or put.broken
    unharmed(load, began)

    def kept() -> bool:
        return bool(scene.s3.list_objects_v2(Bucket=BUCKET, Prefix="captured/unbothered/").get("Contents"))

    until(kept, 120, "what was captured meanwhile is there")
    scene.delete("unbothered")
