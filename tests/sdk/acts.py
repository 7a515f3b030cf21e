"""What a user's boto3 does to train and deploy, in as few words as tests want: upload, create, wait, read back. Knows nothing of Clary."""

from __future__ import annotations

import functools
import io
import json
import tarfile
import textwrap
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from tests.live import ROLE, Server

REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
XGBOOST = f"{REGISTRY}/sagemaker-xgboost:1.7-1"
SKLEARN = f"{REGISTRY}/sagemaker-scikit-learn:1.2-1-cpu-py3"
PYTHON = f"{REGISTRY}/sagemaker-base-python-310:latest"
ENDED = ("Completed", "Failed", "Stopped")


def unique(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def until(probe: Callable[[], Any], wanted: Callable[[Any], bool] = bool, seconds: float = 90) -> Any:
    """The first answer of `probe` that is wanted; an AssertionError that shows the last one when the time is up."""
    deadline = time.monotonic() + seconds
    while not wanted(seen := probe()):
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds} s"
        time.sleep(0.1)
    return seen


def targz(files: Mapping[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, body in files.items():
            data = textwrap.dedent(body).encode() if isinstance(body, str) else body
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def channel(
    name: str, uri: str, kind: str = "S3Prefix", spread: str = "FullyReplicated", **more: Any
) -> dict[str, Any]:
    source = {"S3DataType": kind, "S3Uri": uri, "S3DataDistributionType": spread, **more.pop("source", {})}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **more}


class User:
    """Somebody with a bucket, a role and boto3."""

    def __init__(self, server: Server, region: str = "us-east-1") -> None:
        self.server, self.region = server, region
        self.bucket = unique("user")
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self.s3.create_bucket(Bucket=self.bucket, **where)

    @functools.cached_property
    def s3(self) -> Any:
        return self.server.client("s3", self.region)

    @functools.cached_property
    def sm(self) -> Any:
        return self.server.client("sagemaker", self.region)

    @functools.cached_property
    def runtime(self) -> Any:
        return self.server.client("sagemaker-runtime", self.region, max_pool_connections=32)

    @functools.cached_property
    def logs(self) -> Any:
        return self.server.client("logs", self.region)

    # -- S3

    def put(self, key: str, body: str | bytes) -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def get(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def keys(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def untar(self, uri: str) -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(self.get(uri)), mode="r:gz") as tar:
            return {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]

    # -- training

    def job(self, image: str = PYTHON, files: Mapping[str, str] | None = None, **changes: Any) -> str:
        """Create a training job; its name. With `files` in script mode (train.py runs). `changes` replace whole members."""
        name = changes.pop("TrainingJobName", None) or unique("job")
        spec = {"TrainingImage": image, "TrainingInputMode": "File", **changes.pop("AlgorithmSpecification", {})}
        parameters = dict(changes.pop("HyperParameters", {}))
        if files is not None:
            source = self.put(f"{name}/source/sourcedir.tar.gz", targz(files))
            parameters |= {
                "sagemaker_program": json.dumps("train.py"),
                "sagemaker_submit_directory": json.dumps(source),
            }
        request: dict[str, Any] = {
            "TrainingJobName": name,
            "RoleArn": ROLE,
            "AlgorithmSpecification": spec,
            "HyperParameters": parameters,
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 300},
            **changes,
        }
        self.sm.create_training_job(**{name: value for name, value in request.items() if value is not None})
        return name

    def describe(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sm.describe_training_job(TrainingJobName=name)
        return answer

    def ended(self, name: str, seconds: float = 120) -> dict[str, Any]:
        done: dict[str, Any] = until(lambda: self.describe(name), lambda d: d["TrainingJobStatus"] in ENDED, seconds)
        return done

    def train(self, *args: Any, **changes: Any) -> dict[str, Any]:
        """A job that must complete."""
        done = self.ended(self.job(*args, **changes))
        assert done["TrainingJobStatus"] == "Completed", (
            done.get("FailureReason"),
            self.lines(done["TrainingJobName"]),
        )
        return done

    def report(self, done: Mapping[str, Any]) -> Any:
        """What the job's script wrote as report.json into its model."""
        return json.loads(self.untar(done["ModelArtifacts"]["S3ModelArtifacts"])["report.json"])

    def lines(self, job: str) -> list[str]:
        group = "/aws/sagemaker/TrainingJobs"
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=group, logStreamNamePrefix=f"{job}/")
        return [event["message"] for page in pages for event in page["events"]]

    # -- serving

    def model(self, image: str, data: str | None, environment: Mapping[str, str] | None = None, **more: Any) -> str:
        name = unique("model")
        container = {"Image": image, "Environment": dict(environment or {}), **more}
        if data is not None:
            container["ModelDataUrl"] = data
        self.sm.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        return name

    def scripted(
        self, files: Mapping[str, str | bytes], environment: Mapping[str, str] | None = None, image: str = SKLEARN
    ) -> str:
        """A model whose archive holds `files` (code/inference.py and what it loads)."""
        return self.model(image, self.put(f"{unique('models')}/model.tar.gz", targz(files)), environment)

    def config(self, *variants: Mapping[str, Any], **more: Any) -> str:
        name = unique("config")
        defaults = {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        full = [{"VariantName": f"v{n}", **defaults, **variant} for n, variant in enumerate(variants, 1)]
        self.sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=full, **more)
        return name

    def endpoint(self, *variants: Mapping[str, Any], wait: bool = True, seconds: float = 90, **more: Any) -> str:
        name = unique("endpoint")
        self.sm.create_endpoint(EndpointName=name, EndpointConfigName=self.config(*variants, **more))
        if wait:
            self.settled(name, "InService", seconds)
        return name

    def status(self, endpoint: str) -> str:
        return str(self.sm.describe_endpoint(EndpointName=endpoint)["EndpointStatus"])

    def settled(self, endpoint: str, wanted: str, seconds: float = 90) -> dict[str, Any]:
        """The endpoint's description once it moves no more; it must be as wanted."""
        moving = ("Creating", "Updating", "RollingBack", "Deleting")
        probe = functools.partial(self.sm.describe_endpoint, EndpointName=endpoint)
        seen: dict[str, Any] = until(probe, lambda d: d["EndpointStatus"] not in moving, seconds)
        assert seen["EndpointStatus"] == wanted, seen.get("FailureReason")
        return seen

    def ask(self, endpoint: str, body: str | bytes = b"1", **more: Any) -> bytes:
        answer: bytes = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, **more)["Body"].read()
        return answer
