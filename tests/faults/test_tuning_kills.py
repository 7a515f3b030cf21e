"""kill -9 of the control plane and of the sampler while a tuning job runs: its trials are those that Optuna itself would have made, and no
training job is made twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from typing import Any

import pytest
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Scene, tarball, until
from tests.live import ROLE

from clary.backends import runtimes
from clary.backends.sampler import OptunaSampler
from clary.testing.samplers import search

pytestmark = [pytest.mark.live, pytest.mark.slow]

KILLS = 10
TRIALS = 14  # after ten, Bayesian search no longer draws at random
SEED = 5
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


def test_ten_kills_change_no_trial(scene: Scene) -> None:
    sm, randomness = scene.patient, random.Random(11)
    definition = {
        "StaticHyperParameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": scene.put("tuning/source.tar.gz", tarball({"train.py": SCRIPT})),
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
    sm.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="killed", HyperParameterTuningJobConfig=CONFIG, TrainingJobDefinition=definition
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
