"""A processing job beyond its command, for `start`: from CreateProcessingJob until Describe says that it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.common import Row

LIMIT = 0.5  # seconds


def rows_of_processing(
    sagemaker: Any, s3: Any, bucket: str, image: str, role: str, name: Callable[[str], str], rounds: int
) -> list[Row]:
    """An input of one script, which sleeps for a second, and an output. The bound is the issue's."""
    s3.put_object(
        Bucket=bucket, Key="processing/code/main.sh", Body=b"echo done > /opt/ml/processing/out/done; sleep 1"
    )
    _took(sagemaker, bucket, image, role, name("warm"))  # builds the environment
    best = min(_took(sagemaker, bucket, image, role, name("processing")) for _ in range(rounds)) - 1.0
    return [Row("processing job beyond its command", best, "s", "bound", best / LIMIT, f"<= {LIMIT:g}", best <= LIMIT)]


def _took(sagemaker: Any, bucket: str, image: str, role: str, job: str) -> float:
    began = time.perf_counter()
    sagemaker.create_processing_job(
        ProcessingJobName=job,
        RoleArn=role,
        AppSpecification={"ImageUri": image, "ContainerEntrypoint": ["sh", "/opt/ml/processing/code/main.sh"]},
        ProcessingInputs=[
            {
                "InputName": "code",
                "S3Input": {
                    "S3Uri": f"s3://{bucket}/processing/code",
                    "LocalPath": "/opt/ml/processing/code",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": f"s3://{bucket}/processing/{job}",
                        "LocalPath": "/opt/ml/processing/out",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}},
    )
    while True:
        seen = sagemaker.describe_processing_job(ProcessingJobName=job)
        if seen["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped"):
            took = time.perf_counter() - began
            if seen["ProcessingJobStatus"] != "Completed":
                raise SystemExit(f"{job}: {seen.get('FailureReason')}")
            return took
        time.sleep(0.01)
