"""`clary demo`: the main job with unmodified clients. Upload, train, read the logs, deploy, predict, accuracy; nothing is left running.

Knows Clary only as a user does: an endpoint URL and a key pair. The data is the Breast Cancer Wisconsin (Diagnostic) set
(W. Wolberg, O. Mangasarian, N. Street, W. Street; UCI Machine Learning Repository, CC BY 4.0): 569 rows, 30 features, label first.
"""

from __future__ import annotations

import importlib.resources
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import WaiterError

IMAGE = "683313688378.dkr.ecr.{region}.amazonaws.com/sagemaker-xgboost:1.7-1"
PARAMETERS = {
    "objective": "binary:logistic",
    "num_round": "40",
    "max_depth": "4",
    "eta": "0.3",
    "eval_metric": "logloss",
}


class Demo:
    """The steps, each timed. `clients` makes a boto3 client by service name; `say` prints a line."""

    def __init__(self, clients: Callable[[str], Any], region: str, bucket: str, role: str, say: Callable[[str], None]):
        self.s3, self.sagemaker = clients("s3"), clients("sagemaker")
        self.runtime, self.logs = clients("sagemaker-runtime"), clients("logs")
        self.region, self.bucket, self.role, self.say = region, bucket, role, say
        self.image = IMAGE.format(region=region)
        # Nothing of the user's is called so, nor of another demo that began in the same second.
        self.name = f"demo-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        self.seconds: dict[str, float] = {}
        self.undo: list[Callable[[], Any]] = []  # what removes that which was made, in the order of making

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began

    def run(self) -> Mapping[str, Any]:
        """All steps; {"accuracy", "seconds": {step: s}, "log": last lines}."""
        train, held_back = split()
        try:
            with self.step("upload to S3"):
                self.upload(train)
            with self.step("train XGBoost"):
                artifact = self.train()
            with self.step("read the training logs"):
                lines = self.read_logs()
            with self.step("deploy an endpoint"):
                self.deploy(artifact)
            with self.step("predict"):
                accuracy = self.predict(held_back)
        finally:
            with self.step("clean up"):
                self.clean()
        return {"accuracy": accuracy, "seconds": self.seconds, "log": lines}

    def upload(self, rows: list[str]) -> None:
        if self.bucket not in {bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]}:
            where = {"LocationConstraint": self.region}
            options = {} if self.region == "us-east-1" else {"CreateBucketConfiguration": where}
            self.s3.create_bucket(Bucket=self.bucket, **options)
            self.undo.append(lambda: self.s3.delete_bucket(Bucket=self.bucket))
        self.undo.append(self.remove_objects)
        cut = len(rows) * 4 // 5
        for channel, part in (("train", rows[:cut]), ("validation", rows[cut:])):
            self.s3.put_object(Bucket=self.bucket, Key=f"{self.name}/{channel}/data.csv", Body="".join(part).encode())
        self.say(f"{len(rows)} rows are in s3://{self.bucket}/{self.name}/")

    def train(self) -> str:
        def channel(name: str) -> dict[str, Any]:
            source = {
                "S3DataType": "S3Prefix",
                "S3Uri": f"s3://{self.bucket}/{self.name}/{name}",
                "S3DataDistributionType": "FullyReplicated",
            }
            return {"ChannelName": name, "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}

        self.sagemaker.create_training_job(
            TrainingJobName=self.name,
            RoleArn=self.role,
            HyperParameters=PARAMETERS,
            AlgorithmSpecification={"TrainingImage": self.image, "TrainingInputMode": "File"},
            InputDataConfig=[channel("train"), channel("validation")],
            OutputDataConfig={"S3OutputPath": f"s3://{self.bucket}/{self.name}/output"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            StoppingCondition={"MaxRuntimeInSeconds": 600},
        )
        self.undo.append(self.remove_job)
        self.wait_for_job()
        job = self.sagemaker.describe_training_job(TrainingJobName=self.name)
        metrics = ", ".join(f"{m['MetricName']} {m['Value']:.4f}" for m in job.get("FinalMetricDataList", []))
        self.say(f"{job['TrainingJobStatus']}; {metrics}")
        return str(job["ModelArtifacts"]["S3ModelArtifacts"])

    def read_logs(self) -> list[str]:
        group = "/aws/sagemaker/TrainingJobs"
        streams = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{self.name}/")["logStreams"]
        events = self.logs.get_log_events(
            logGroupName=group, logStreamName=streams[0]["logStreamName"], startFromHead=True
        )["events"]
        lines = [str(event["message"]).replace("#011", "  ") for event in events]
        for line in lines[-3:]:
            self.say(f"| {line}")
        return lines

    def deploy(self, artifact: str) -> None:
        container = {"Image": self.image, "ModelDataUrl": artifact}
        self.sagemaker.create_model(ModelName=self.name, ExecutionRoleArn=self.role, PrimaryContainer=container)
        self.undo.append(lambda: self.sagemaker.delete_model(ModelName=self.name))
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": self.name,
            "InitialInstanceCount": 1,
            "InstanceType": "ml.m5.large",
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=self.name, ProductionVariants=[variant])
        self.undo.append(lambda: self.sagemaker.delete_endpoint_config(EndpointConfigName=self.name))
        self.sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=self.name)
        self.undo.append(self.remove_endpoint)
        self.wait_for_endpoint()
        self.say(f"endpoint {self.name} is InService")

    def predict(self, rows: list[str]) -> float:
        truth = [row.partition(",")[0] for row in rows]
        body = "".join(row.partition(",")[2] for row in rows)
        answer = self.runtime.invoke_endpoint(
            EndpointName=self.name, ContentType="text/csv", Accept="text/csv", Body=body
        )
        scores = [float(word) for word in answer["Body"].read().decode().replace("\n", ",").split(",") if word]
        right = sum((score > 0.5) == (label == "1") for score, label in zip(scores, truth, strict=True))
        self.say(f"{right} of {len(rows)} held-back rows predicted right: accuracy {right / len(rows):.3f}")
        return right / len(rows)

    def clean(self) -> None:
        while self.undo:
            self.undo.pop()()

    def remove_objects(self) -> None:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{self.name}/").get("Contents", [])
        for item in listed:
            self.s3.delete_object(Bucket=self.bucket, Key=item["Key"])

    def wait_for_job(self) -> None:
        self.sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=self.name)

    def remove_job(self) -> None:
        job = self.sagemaker.describe_training_job(TrainingJobName=self.name)
        if job["TrainingJobStatus"] == "InProgress":  # somebody gave up waiting
            self.sagemaker.stop_training_job(TrainingJobName=self.name)
            self.wait_for_job()
        self.sagemaker.delete_training_job(TrainingJobName=self.name)

    def wait_for_endpoint(self) -> None:
        self.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=self.name)

    def remove_endpoint(self) -> None:
        with suppress(WaiterError):  # one that is still Creating cannot be deleted yet; one that Failed can
            self.wait_for_endpoint()
        self.sagemaker.delete_endpoint(EndpointName=self.name)
        self.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=self.name)


def split() -> tuple[list[str], list[str]]:
    """The data set's rows, shuffled the same way each time: (three quarters, one quarter)."""
    text = importlib.resources.files("clary.app").joinpath("data/breast_cancer.csv").read_text()
    rows = text.splitlines(keepends=True)
    random.Random(7).shuffle(rows)
    cut = len(rows) * 3 // 4
    return rows[:cut], rows[cut:]
