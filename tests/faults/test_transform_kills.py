"""kill -9 in the middle of a transform job, of each process that has to do with it: the job ends as it would have, no output is lost,
doubled or mixed up."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable

import pytest
from tests.faults.scene import BUCKET, Scene, until

pytestmark = [pytest.mark.live, pytest.mark.slow]

OBJECTS, ROWS = 24, 40
SLOW = """
import time
def model_fn(folder):
    return None
def transform_fn(model, body, content_type, accept):
    text = body.decode() if isinstance(body, bytes) else body
    time.sleep(0.4)  # the job takes five seconds: its outputs are stored each second, and the kill comes behind the first ones
    return "".join(f"{line},done\\n" for line in text.splitlines()), accept
"""
_number = itertools.count()


class Batch:
    """A job over objects of a known content."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.name = scene, f"batch-{next(_number)}-{os.getpid()}"
        scene.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        scene.model(self.name, SLOW)
        for number in range(OBJECTS):
            scene.put(f"{self.name}/in/{number:02d}.csv", self.content(number, ""))
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{self.name}/in"}
        scene.sagemaker.create_transform_job(
            TransformJobName=self.name,
            ModelName=self.name,
            MaxConcurrentTransforms=2,
            BatchStrategy="MultiRecord",
            TransformInput={"DataSource": {"S3DataSource": source}, "ContentType": "text/csv", "SplitType": "Line"},
            TransformOutput={
                "S3OutputPath": f"s3://{BUCKET}/{self.name}/out",
                "Accept": "text/csv",
                "AssembleWith": "Line",
            },
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )

    @staticmethod
    def content(number: int, end: str) -> bytes:
        return "".join(f"{number}-{row}{end}\n" for row in range(ROWS)).encode()

    def versions(self) -> list[str]:
        """Keys of all versions of outputs."""
        pages = self.scene.s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET, Prefix=f"{self.name}/out/")
        return sorted(row["Key"] for page in pages for row in page.get("Versions", []))

    def middle(self) -> None:
        """Return once some outputs are there, and others are not."""
        until(lambda: len(self.versions()) >= 2, 60, "the first outputs")

    def check(self) -> None:
        """It completes, with each output once and whole."""

        def status() -> str:
            found = self.scene.patient.describe_transform_job(TransformJobName=self.name)
            return (
                ""
                if found["TransformJobStatus"] == "InProgress"
                else f"{found['TransformJobStatus']} {found.get('FailureReason', '')}"
            )

        assert until(status, 120, "the job ends").strip() == "Completed"
        names = [f"{self.name}/out/{number:02d}.csv.out" for number in range(OBJECTS)]
        assert self.versions() == names, "each output was written once"
        for number, key in enumerate(names):
            body = self.scene.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            assert body == self.content(number, ",done")
        until(
            lambda: not self.scene.sandboxed("clary.toolkit.", self.scene.root), 30, "nothing of the job runs any more"
        )
        until(lambda: not os.listdir(f"{self.scene.root}/transforms"), 10, "nothing of it lies around")


def kill_process(of: str) -> Callable[[Scene], None]:
    def kill(scene: Scene) -> None:
        scene.back(of, scene.kill(of))

    return kill


def kill_sandboxed(what: str) -> Callable[[Scene], None]:
    def kill(scene: Scene) -> None:
        os.kill(scene.sandboxed(what)[-1].pid, signal.SIGKILL)

    return kill


def kill_shim(above: str) -> Callable[[Scene], None]:
    def kill(scene: Scene) -> None:
        os.kill(scene.shim(above), signal.SIGKILL)

    return kill


@pytest.mark.parametrize(
    "kill",
    [
        kill_process("control"),
        kill_process("front-0"),
        kill_process("objects"),
        kill_sandboxed("clary.toolkit.transform.driver"),
        kill_sandboxed("clary.toolkit.zygote"),
        kill_shim("clary.toolkit.transform.driver"),
        kill_shim("clary.toolkit.zygote"),
        Scene.up_again,
    ],
    ids=["control", "front", "objects", "driver", "replica", "shim-of-the-driver", "shim-of-the-replica", "clary-up"],
)
def test_a_job_ends_as_it_would_have(scene: Scene, kill: Callable[[Scene], None]) -> None:
    batch = Batch(scene)
    batch.middle()
    kill(scene)
    batch.check()
    scene.patient.delete_model(ModelName=batch.name)
