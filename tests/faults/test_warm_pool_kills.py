"""kill -9 at what a warm pool keeps, at its shim and at the control plane: the next job runs once and whole, and what waited is gone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Scene, tarball, until
from tests.live import ROLE

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a sandbox another job's folders"),
]
WAITING = "clary.toolkit.standby"
SCRIPT = """
import os, sys
print("begun", "warm" if "numpy" in sys.modules else "cold")
open("/opt/ml/model/made", "w").write(os.environ["TRAINING_JOB_NAME"])
"""


def train(scene: Scene, name: str, keep: int = 300, script: str = SCRIPT) -> None:
    source = scene.put(f"warm/{name}/sourcedir.tar.gz", tarball({"train.py": script}))
    scene.patient.create_training_job(
        TrainingJobName=name,
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": PYTHON_IMAGE, "TrainingInputMode": "File"},
        HyperParameters={
            "sagemaker_program": json.dumps("train.py"),
            "sagemaker_submit_directory": json.dumps(source),
        },
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/output"},
        ResourceConfig={
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 1,
            "KeepAlivePeriodInSeconds": keep,
        },
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )


def pool(scene: Scene, name: str) -> dict[str, Any]:
    return dict(scene.job(name).get("WarmPoolStatus", {}))


def completed(scene: Scene, name: str) -> str:
    """How the job's script found its interpreter; it must have been run once."""
    ended = scene.ended(name)
    assert ended["TrainingJobStatus"] == "Completed", (ended.get("FailureReason"), scene.lines(name)[-10:])
    (begun,) = [line for line in scene.lines(name) if line.startswith("begun")]
    return begun.removeprefix("begun ")


def waiting(scene: Scene) -> set[int]:
    return {seen.pid for seen in scene.sandboxed(WAITING)}


@pytest.fixture
def kept(scene: Scene, request: pytest.FixtureRequest) -> Iterator[str]:
    """A job that has ended, and whose pool has an interpreter that waits. No pool is left by the test."""
    stem = request.node.name.removeprefix("test_")[:24].replace("_", "-").rstrip("-")
    train(scene, f"{stem}-1")
    assert completed(scene, f"{stem}-1") == "cold"
    until(lambda: waiting(scene), 60, "an interpreter waits")
    yield stem
    for name in (f"{stem}-1", f"{stem}-2"):
        if pool(scene, name).get("Status") == "Available":
            scene.patient.update_training_job(TrainingJobName=name, ResourceConfig={"KeepAlivePeriodInSeconds": 0})
    until(lambda: not waiting(scene), 60, "nothing waits any more")


def gone(scene: Scene, name: str) -> None:
    until(lambda: pool(scene, name)["Status"] == "Terminated", 30, "the pool ends with its sandbox")
    until(lambda: not waiting(scene), 30, "no process of the sandbox is left")


def test_a_killed_interpreter_ends_its_pool_and_the_next_job_begins_anew(scene: Scene, kept: str) -> None:
    for pid in waiting(scene):
        os.kill(pid, signal.SIGKILL)
    gone(scene, f"{kept}-1")
    train(scene, f"{kept}-2", keep=0)
    assert completed(scene, f"{kept}-2") == "cold"


def test_a_killed_shim_of_what_waits_ends_it_and_the_next_job_begins_anew(scene: Scene, kept: str) -> None:
    os.kill(scene.shim(WAITING), signal.SIGKILL)
    gone(scene, f"{kept}-1")
    train(scene, f"{kept}-2", keep=0)
    assert completed(scene, f"{kept}-2") == "cold"


def test_a_job_created_just_when_the_interpreter_is_killed_runs_once(scene: Scene, kept: str) -> None:
    """The pool's record still says Available: the job is given nothing, or what is dying under it."""
    victims = waiting(scene)
    train(scene, f"{kept}-2", keep=0)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    ended = scene.ended(f"{kept}-2")
    begun = [line for line in scene.lines(f"{kept}-2") if line.startswith("begun")]
    if ended["TrainingJobStatus"] == "Completed":
        assert len(begun) == 1
    else:  # it was its interpreter by then, as it would be any job's
        assert len(begun) <= 1
        assert ended["FailureReason"]


def test_a_killed_control_plane_finds_its_pool_again(scene: Scene, kept: str) -> None:
    before = waiting(scene)
    scene.back("control", scene.kill("control"))
    assert pool(scene, f"{kept}-1")["Status"] == "Available"
    assert waiting(scene) == before
    train(scene, f"{kept}-2", keep=0)
    assert completed(scene, f"{kept}-2") == "warm"
    assert pool(scene, f"{kept}-1")["ReusedByJob"] == f"{kept}-2"


def test_a_control_plane_killed_while_a_pool_is_handed_over_starts_the_job_once(scene: Scene, kept: str) -> None:
    train(scene, f"{kept}-2", keep=0)
    for _ in range(2):
        scene.back("control", scene.kill("control"))
    assert completed(scene, f"{kept}-2") in ("warm", "cold")
    until(lambda: pool(scene, f"{kept}-1")["Status"] in ("Reused", "Terminated", "Available"), 60)


def test_a_control_plane_killed_as_a_job_ends_makes_one_pool(scene: Scene) -> None:
    train(scene, "pool-once", keep=300)
    until(lambda: any(line.startswith("begun") for line in scene.lines("pool-once")), 60)
    scene.back("control", scene.kill("control"))
    assert completed(scene, "pool-once") == "cold"
    until(lambda: pool(scene, "pool-once").get("Status") == "Available" and waiting(scene), 60)
    scene.back("control", scene.kill("control"))
    assert len(waiting(scene)) == 1
    scene.patient.update_training_job(TrainingJobName="pool-once", ResourceConfig={"KeepAlivePeriodInSeconds": 0})
    gone(scene, "pool-once")
