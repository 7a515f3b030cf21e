"""A training job of a tuning job beyond its script, and a transform job beyond its prediction, for `start`. The bounds are the issue's."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from benchmarks.common import Row

CHILD, TRANSFORM = 0.25, 1.0  # seconds
SCRIPT = b"import time\ntime.sleep(1)\nprint('loss=1')\n"
ECHO = b"""
def model_fn(folder):
    return None
def transform_fn(model, body, content_type, accept):
    return body, accept
"""
Archive = Callable[[dict[str, bytes]], bytes]


def rows_of_tuning(
    sagemaker: Any,
    s3: Any,
    bucket: str,
    image: str,
    role: str,
    name: Callable[[str], str],
    archive: Archive,
    rounds: int,
) -> list[Row]:
    """Training jobs one after the other, each of which sleeps for a second: from one's creation to the next one's."""
    job = name("tuned")[:32]
    s3.put_object(Bucket=bucket, Key=f"{job}/sourcedir.tar.gz", Body=archive({"train.py": SCRIPT}))
    sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=job,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": rounds + 2, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]},
        },
        TrainingJobDefinition={
            "StaticHyperParameters": {
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": f"s3://{bucket}/{job}/sourcedir.tar.gz",
            },
            "AlgorithmSpecification": {
                "TrainingImage": image,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.e-]+)"}],
            },
            "RoleArn": role,
            "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
    )
    _ended(
        lambda: sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=job),
        "HyperParameterTuningJobStatus",
    )
    listed = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=job, MaxResults=100
    )
    created = sorted(each["CreationTime"].timestamp() for each in listed["TrainingJobSummaries"])
    best = min(later - earlier for earlier, later in pairwise(created)) - 1.0
    return [_row("a training job of a tuning job beyond its script", best, CHILD)]


def rows_of_transform(
    sagemaker: Any,
    s3: Any,
    bucket: str,
    image: str,
    role: str,
    name: Callable[[str], str],
    archive: Archive,
    rounds: int,
) -> list[Row]:
    """A job over one small object, by a model that does nothing."""
    s3.put_object(Bucket=bucket, Key="transform/model.tar.gz", Body=archive({"code/inference.py": ECHO}))
    s3.put_object(Bucket=bucket, Key="transform/in/a.csv", Body=b"1\n")
    model = name("echo")
    container = {"Image": image, "ModelDataUrl": f"s3://{bucket}/transform/model.tar.gz"}
    sagemaker.create_model(ModelName=model, ExecutionRoleArn=role, PrimaryContainer=container)

    def took() -> float:
        job = name("transform")
        began = time.perf_counter()
        sagemaker.create_transform_job(
            TransformJobName=job,
            ModelName=model,
            TransformInput={
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/transform/in"}},
                "ContentType": "text/csv",
                "SplitType": "Line",
            },
            TransformOutput={"S3OutputPath": f"s3://{bucket}/transform/{job}", "Accept": "text/csv"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        _ended(lambda: sagemaker.describe_transform_job(TransformJobName=job), "TransformJobStatus")
        return time.perf_counter() - began

    took()  # builds the environment
    return [_row("transform job beyond its prediction", min(took() for _ in range(rounds)), TRANSFORM)]


def _ended(describe: Callable[[], dict[str, Any]], status: str) -> None:
    while (seen := describe())[status] in ("InProgress", "Stopping"):
        time.sleep(0.01)
    if seen[status] != "Completed":
        raise SystemExit(str(seen.get("FailureReason")))


def _row(what: str, seconds: float, limit: float) -> Row:
    return Row(what, seconds, "s", "bound", seconds / limit, f"<= {limit:g}", seconds <= limit)
