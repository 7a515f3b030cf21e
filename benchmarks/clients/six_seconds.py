"""Run with SageMaker SDK v2: how long fit() and boto3's waiter take for a job that trains for 6 s. Prints both, in seconds."""

import os
import pathlib
import sys
import tempfile
import time

import boto3
import sagemaker
from sagemaker.sklearn import SKLearn

source = tempfile.mkdtemp()
pathlib.Path(source, "train.py").write_text("import time\ntime.sleep(6)\n")
session = sagemaker.Session(default_bucket=os.environ["BUCKET"])


def estimator(stem):
    return SKLearn(
        entry_point="train.py", source_dir=source, framework_version="1.2-1", role=os.environ["ROLE"],
        instance_type="ml.m5.large", sagemaker_session=session, base_job_name=stem,
    )  # fmt: skip


estimator("warm").fit(logs=False)
began = time.perf_counter()
estimator("fit").fit()
fit = time.perf_counter() - began

waited = estimator("wait")
waited.fit(wait=False)
began = time.perf_counter()
boto3.client("sagemaker").get_waiter("training_job_completed_or_stopped").wait(
    TrainingJobName=waited.latest_training_job.name
)
print(fit, time.perf_counter() - began, file=sys.stdout)
