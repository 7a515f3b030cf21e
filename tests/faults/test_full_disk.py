"""The disk is full in the middle of a processing, a transform and a tuning job. While not a byte can be written no status can change
either; when there is room each job ends: what could not be written is its FailureReason, and no output is there half."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.faults import test_processing_kills as processing
from tests.faults import test_tuning_kills as tuning
from tests.faults.scene import BUCKET, Scene, fill, until
from tests.faults.test_transform_kills import OBJECTS, Batch
from tests.live import Server

from clary.app import up

pytestmark = [pytest.mark.live, pytest.mark.slow]

LONGER = 2.0  # seconds for which the disk stays full after the processing job has felt it
TOLD = "no room on the disk|[Nn]o space left"
WRITES = """
import os, time
print("begun")
here = "/opt/ml/processing/out/"
for _ in range(600):
    if os.statvfs(here).f_bavail * os.statvfs(here).f_frsize < 8 << 20:
        break
    time.sleep(0.1)
for number in range(8):
    with open(here + str(number), "wb") as file:
        file.write(bytes(8 << 20))
"""


def described(scene: Scene, name: str) -> dict[str, Any]:
    return dict(scene.patient.describe_transform_job(TransformJobName=name))


def tuned(scene: Scene, name: str) -> dict[str, Any]:
    return dict(scene.patient.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name))


def tune(scene: Scene, name: str, jobs: int) -> None:
    how = tuning.CONFIG | {
        "Strategy": "Random",
        "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": 1},
    }
    scene.patient.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig=how,
        TrainingJobDefinition=tuning.definition(scene, tuning.SCRIPT + "import time; time.sleep(2)\n"),
    )


def trained(scene: Scene, name: str) -> list[str]:
    """Names of the training jobs of a tuning job."""
    rows = scene.patient.list_training_jobs(NameContains=f"{name}-")["TrainingJobSummaries"]
    return [row["TrainingJobName"] for row in rows]


def check_outputs(scene: Scene, batch: Batch) -> None:
    """What is there is whole, and all of it is there where the job completed."""
    keys = batch.versions()
    assert len(keys) == len(set(keys)), "each output was written once"
    for key in keys:
        number = int(key.rpartition("/")[2].partition(".")[0])
        body = scene.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        assert body == batch.content(number, ",done"), key
    done = described(scene, batch.name)
    if done["TransformJobStatus"] == "Completed":
        assert len(keys) == OBJECTS
    else:
        assert re.search(TOLD, done["FailureReason"]), done["FailureReason"]


def test_jobs_end_when_a_full_disk_has_room_again(start: Callable[..., Server], small_disk: Path) -> None:
    scene = Scene(start(dir=str(small_disk / "state"), low_water=2 << 20))
    tune(scene, "warm", 1)  # its environment and the sampler are there
    until(lambda: tuned(scene, "warm")["HyperParameterTuningJobStatus"] != "InProgress", 300)
    batch = Batch(scene)
    batch.middle()
    processing.create(scene, "full", WRITES)
    until(lambda: processing.described(scene, "full").get("ProcessingStartTime"), 60)
    until(lambda: "begun" in processing.lines(scene, "full"), 60)
    tune(scene, "tuned-full", 3)
    until(lambda: [line for job in trained(scene, "tuned-full") for line in scene.lines(job)], 60, "a trial runs")
    filler = fill(small_disk, 0)
    try:
        runs = "/opt/ml/processing/code/main.py"
        until(lambda: not [p for p in scene.everyone().values() if runs in p.command], 60, "it could not write")
        time.sleep(LONGER)
        assert processing.described(scene, "full")["ProcessingJobStatus"] in ("InProgress", "Failed"), (
            "reads are answered"
        )
    finally:
        filler.unlink()

    told = processing.ended(scene, "full")
    assert told["ProcessingJobStatus"] == "Failed"
    assert re.search(TOLD, told["FailureReason"]), told["FailureReason"]

    until(lambda: described(scene, batch.name)["TransformJobStatus"] != "InProgress", 120)
    check_outputs(scene, batch)

    until(lambda: tuned(scene, "tuned-full")["HyperParameterTuningJobStatus"] != "InProgress", 120)
    done = tuned(scene, "tuned-full")
    assert done["HyperParameterTuningJobStatus"] == "Completed", done.get("FailureReason")
    jobs = trained(scene, "tuned-full")
    assert len(jobs) == 3
    for job in jobs:
        found = scene.job(job)
        assert found["TrainingJobStatus"] == "Completed" or re.search(TOLD, found["FailureReason"]), found
        assert len([line for line in scene.lines(job) if line.startswith("loss=")]) <= 1

    processing.create(scene, "after", "open('/opt/ml/processing/out/a', 'w').write('x')")
    after = processing.ended(scene, "after")
    assert after["ProcessingJobStatus"] == "Completed", after.get("FailureReason")
    assert processing.stored(scene, "after", "out") == {"a": b"x"}
    up.down(scene.server.settings)
