"""kill -9 of the control plane and of the sampler while a tuning job runs: its trials are those that Optuna itself would have made, and no
training job is made twice."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Scene, shim_of, tarball, until
from tests.live import ROLE

from clary.backends import runtimes
from clary.backends.sampler import OptunaSampler
from clary.testing.samplers import search

pytestmark = [pytest.mark.live, pytest.mark.slow]

KILLS = 10
TRIALS = 14  # after ten, Bayesian search no longer draws at random
SEED = 5
MADE = 6  # training jobs of a shorter tuning job
_number = itertools.count()
# The objective of `clary.testing.samplers`.
SCRIPT = """
import sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
x, n, c = float(given["-x"]), int(given["-n"]), given["-c"]
print("loss=%r" % ((x - 1) ** 2 + abs(n - 30) / 50 + "abc".index(c)))
"""
CONFIG: dict[str, Any] = {
    "Strategy": "Bayesian",
    "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
    "ResourceLimits": {"MaxNumberOfTrainingJobs": TRIALS, "MaxParallelTrainingJobs": 1},
    "ParameterRanges": {
        "IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "100", "ScalingType": "Logarithmic"}],
        "ContinuousParameterRanges": [{"Name": "x", "MinValue": "-5", "MaxValue": "5", "ScalingType": "Linear"}],
        "CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b", "c"]}],
    },
    "RandomSeed": SEED,
}


def definition(scene: Scene, script: str) -> dict[str, Any]:
    """Training jobs of this script."""
    return {
        "StaticHyperParameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": scene.put("tuning/source.tar.gz", tarball({"train.py": script})),
        },
        "AlgorithmSpecification": {
            "TrainingImage": PYTHON_IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.e-]+)"}],
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/tuning"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
    }


def test_ten_kills_change_no_trial(scene: Scene) -> None:
    sm, randomness = scene.patient, random.Random(11)
    sm.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="killed",
        HyperParameterTuningJobConfig=CONFIG,
        TrainingJobDefinition=definition(scene, SCRIPT),
    )

    def described() -> dict[str, Any]:
        found: dict[str, Any] = sm.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="killed")
        return found

    until(
        lambda: described()["ObjectiveStatusCounters"]["Succeeded"] >= 1, 180, "the first trial, and its environments"
    )
    for number in range(KILLS):
        time.sleep(randomness.uniform(0.05, 0.8))  # at any moment
        for pid in samplers(scene):
            os.kill(pid, signal.SIGKILL)
        if number % 2 == 0:
            scene.back("control", scene.kill("control"))
    done = until(lambda: (found := described())["HyperParameterTuningJobStatus"] != "InProgress" and found, 180)
    assert done["HyperParameterTuningJobStatus"] == "Completed", done.get("FailureReason")
    pages = sm.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName="killed"
    )
    trials = [entry["TunedHyperParameters"] for page in pages for entry in page["TrainingJobSummaries"]]
    found = [{"n": int(each["n"]), "x": float(each["x"]), "c": each["c"]} for each in trials]
    assert found == expected(scene)
    jobs = sm.get_paginator("list_training_jobs").paginate(NameContains="killed-")
    assert sum(len(page["TrainingJobSummaries"]) for page in jobs) == TRIALS
    sm.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="killed")


def kill_a_shim(scene: Scene) -> None:
    """Of one of the training jobs that run."""
    everyone = scene.everyone()
    shims = [shim_of(seen, everyone) for seen in scene.sandboxed("train.py")]
    os.kill(next(shim.pid for shim in shims if shim is not None), signal.SIGKILL)


@pytest.mark.parametrize(
    ("kill", "failed"),
    [(lambda scene: scene.back("objects", scene.kill("objects")), 0), (kill_a_shim, 1), (Scene.up_again, 0)],
    ids=["objects", "shim-of-a-training-job", "clary-up"],
)
def test_a_tuning_job_ends_as_it_would_have(scene: Scene, kill: Callable[[Scene], None], failed: int) -> None:
    """All its training jobs are made, each once; the one whose own process was killed fails, and is not counted as an attempt more."""
    sm, name = scene.patient, f"hurt-{next(_number)}"
    how = CONFIG | {
        "Strategy": "Random",
        "ResourceLimits": {"MaxNumberOfTrainingJobs": MADE, "MaxParallelTrainingJobs": 2},
    }
    sm.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig=how,
        TrainingJobDefinition=definition(scene, SCRIPT + "import time; time.sleep(2)\n"),
    )
    until(lambda: len(scene.sandboxed("train.py")) >= 2, 180, "training jobs run")
    kill(scene)

    def over() -> Any:
        found = sm.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return found["HyperParameterTuningJobStatus"] != "InProgress" and found

    done = until(over, 180)
    assert done["HyperParameterTuningJobStatus"] == "Completed", done.get("FailureReason")
    counted = done["TrainingJobStatusCounters"]
    assert (counted["Completed"], counted["NonRetryableError"]) == (MADE - failed, failed)
    jobs = sm.get_paginator("list_training_jobs").paginate(NameContains=f"{name}-")
    made = [row["TrainingJobName"] for page in jobs for row in page["TrainingJobSummaries"]]
    assert len(made) == MADE
    said = [line for job in made for line in scene.lines(job) if line.startswith("loss=")]
    assert len(said) == MADE, "each ran once"
    sm.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


def samplers(scene: Scene) -> list[int]:
    """The sampler's processes of this Clary: children of its control plane."""
    return [pid for pid, seen in scene.everyone().items() if "tuning_sampler.py" in seen.command]


def expected(scene: Scene) -> list[dict[str, Any]]:
    """The same search, asked of Optuna one trial after the other."""
    settings = scene.server.settings
    built = runtimes.create(str(settings.environments_folder), None, environment=settings.build_environment())  # type: ignore[arg-type]

    async def ask() -> list[dict[str, Any]]:
        sampler = OptunaSampler(built)
        try:
            return await search(sampler, TRIALS, "tpe", SEED)
        finally:
            await sampler.rest()

    return asyncio.run(ask())
