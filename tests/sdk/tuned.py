"""Tuning jobs as tests want them: a script whose objective is a function of its hyperparameters, in as few words as possible."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.live import ROLE
from tests.sdk.acts import ENDED, PYTHON, User, targz, unique, until

# Prints `loss=...`, once or for each of `epochs`.
SCRIPT = """
import argparse, os, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--depth", type=int, default=3)
parser.add_argument("--kind", default="a")
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--momentum", type=float, default=0.0)
parser.add_argument("--pause", type=float, default=0.0)
args = parser.parse_args()
loss = (args.lr - 0.3) ** 2 + abs(args.depth - 4) + (args.kind == "b")
for epoch in range(args.epochs):
    print("epoch %d loss=%r" % (epoch, loss + 1.0 / (epoch + 1)), flush=True)
    time.sleep(args.pause)
open(os.path.join(os.environ["SM_MODEL_DIR"], "model.txt"), "w").write(repr(loss))
"""
LOSS = [{"Name": "loss", "Regex": "loss=([0-9.e-]+)"}]
RANGES: dict[str, Any] = {
    "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0.0001", "MaxValue": "1", "ScalingType": "Auto"}],
    "IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "8", "ScalingType": "Linear"}],
    "CategoricalParameterRanges": [{"Name": "kind", "Values": ['"a"', '"b"']}],
}


def definition(user: User, name: str, static: Mapping[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    script = changes.pop("script", SCRIPT)
    source = user.put(f"{name}/source/sourcedir.tar.gz", targz({"train.py": script}))
    return {
        "StaticHyperParameters": {
            "sagemaker_program": json.dumps("train.py"),
            "sagemaker_submit_directory": json.dumps(source),
            **(static or {}),
        },
        "AlgorithmSpecification": {"TrainingImage": PYTHON, "TrainingInputMode": "File", "MetricDefinitions": LOSS},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{user.bucket}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
        **changes,
    }


def config(
    jobs: int | None = 4, parallel: int = 2, ranges: Mapping[str, Any] = RANGES, **changes: Any
) -> dict[str, Any]:
    limits = {"MaxParallelTrainingJobs": parallel, **({"MaxNumberOfTrainingJobs": jobs} if jobs else {})}
    return {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
        "ResourceLimits": limits,
        "ParameterRanges": dict(ranges),
        **changes,
    }


def begin(user: User, how: Mapping[str, Any], static: Mapping[str, str] | None = None, **changes: Any) -> str:
    """Create a tuning job; its name. `definition` holds changes of the definition; the others are of the request."""
    name = unique("tune")
    what = definition(user, name, static, **changes.pop("definition", {}))
    user.sm.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig=dict(how),
        TrainingJobDefinition=what,
        **changes,
    )
    return name


def describe(user: User, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = user.sm.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    return answer


def ended(user: User, name: str, seconds: float = 120) -> dict[str, Any]:
    done: dict[str, Any] = until(
        lambda: describe(user, name), lambda d: d["HyperParameterTuningJobStatus"] in ENDED, seconds
    )
    return done


def trials(user: User, name: str, **how: Any) -> list[dict[str, Any]]:
    pages = user.sm.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=name, **how
    )
    return [entry for page in pages for entry in page["TrainingJobSummaries"]]
