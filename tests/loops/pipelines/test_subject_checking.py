"""QualityCheck steps over the handlers and a store in memory: jobs that the test ends."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.api.requests import ROLE
from tests.loops.pipelines.test_subject import Scene

from clary.domain.resources import Query, Record, Scope
from clary.testing.memory_artifacts import MemoryArtifacts

SCOPE = Scope("000000000000", "eu-west-1")
ANALYZER = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"
REPORT = "constraint_violations.json"
DRIFT = {"feature_name": "age", "constraint_check_type": "baseline_drift_check", "description": "D"}


def check(**more: Any) -> dict[str, Any]:
    out = {"S3Uri": "s3://b/out", "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"}
    arguments = {
        "AppSpecification": {"ImageUri": ANALYZER},
        "RoleArn": ROLE,
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "monitoring_output", "S3Output": out}]},
        "Environment": {"dataset_source": "/opt/ml/processing/input"},
    }
    return {
        "Name": "Check",
        "Type": "QualityCheck",
        "Arguments": arguments,
        "CheckType": "DATA_QUALITY",
        "SuppliedBaselineConstraints": "s3://b/old/constraints.json",
        "SuppliedBaselineStatistics": None,
        **more,
    }


END = {
    "Name": "End",
    "Type": "Fail",
    "Arguments": {"ErrorMessage": {"Get": "Steps.Check.BaselineUsedForDriftCheckConstraints"}},
}


class Checking(Scene):
    async def job(self) -> Record:
        [found] = await self.world.store.page(Query("processing-job", SCOPE, statuses=("InProgress",)))
        return found

    async def ends(self, arn: str, *violations: Any) -> None:
        """The job ends, with that report."""
        artifacts = self.world.ports.artifacts
        assert isinstance(artifacts, MemoryArtifacts)
        artifacts.buckets["b"][f"out/{REPORT}"] = json.dumps({"violations": violations}).encode()
        await self.world.store.save(replace(await self.job(), status="Completed"))
        await self.turns(arn)

    async def state(self, arn: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.record(arn)).document["steps"]["Check"]
        return found

    async def told(self, arn: str) -> dict[str, Any]:
        shown = await self.world("sagemaker", "ListPipelineExecutionSteps", PipelineExecutionArn=arn)
        [found] = [each for each in shown["PipelineExecutionSteps"] if each["StepName"] == "Check"]
        return {**found, **found["Metadata"]["QualityCheck"]}


@pytest.fixture
def scene() -> Checking:
    return Checking()


async def test_a_check_without_violations_hands_on_the_baseline_that_was_used(scene: Checking) -> None:
    await scene.create(check(), END)
    arn = await scene.start()
    request = (await scene.job()).document["request"]
    assert request["Environment"]["baseline_constraints"].endswith("/constraints/constraints.json")
    await scene.ends(arn)
    assert (await scene.record(arn)).document["steps"]["End"]["failure"] == "s3://b/old/constraints.json"
    told = await scene.told(arn)
    assert told["StepStatus"] == "Succeeded"
    assert told["CheckJobArn"].startswith("arn:aws:sagemaker:eu-west-1:000000000000:processing-job/pipelines-")
    assert told["CalculatedBaselineConstraints"] == "s3://b/out/constraints.json"
    assert "ViolationReport" not in told


async def test_violations_fail_the_step_unless_they_may_be(scene: Checking) -> None:
    await scene.create(check(), END)
    arn = await scene.start()
    await scene.ends(arn, DRIFT)
    told = await scene.told(arn)
    assert told["StepStatus"] == "Failed"
    assert told["ViolationReport"] == f"s3://b/out/{REPORT}"
    assert told["FailureReason"].endswith(
        "found 1 violations (s3://b/out/constraint_violations.json). The first: age: D"
    )
    await scene.create(check(FailOnViolation=False), name="pipe2")
    arn = await scene.start(PipelineName="pipe2")
    await scene.ends(arn, DRIFT)
    told = await scene.told(arn)
    assert (told["StepStatus"], told["ViolationReport"]) == ("Succeeded", f"s3://b/out/{REPORT}")


async def test_a_report_that_is_not_there_fails_the_step(scene: Checking) -> None:
    await scene.create(check())
    arn = await scene.start()
    await scene.world.store.save(replace(await scene.job(), status="Completed"))
    await scene.turns(arn)
    assert (
        "The report of violations s3://b/out/constraint_violations.json cannot be read"
        in (await scene.state(arn))["failure"]
    )


async def test_the_baseline_of_the_latest_approved_version_is_checked_against(scene: Checking) -> None:
    grouped = {"ModelPackageGroupName": "g", "SuppliedBaselineConstraints": None}
    await scene.create(check(**grouped))
    reason = (await scene.state(await scene.start()))["failure"]
    assert "the latest approved version of the model package group g has none" in reason
    world = scene.world
    await world("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName="g")
    for status, name in (("Approved", "first"), ("Approved", "second"), ("Rejected", "third")):
        constraints = {"Constraints": {"ContentType": "application/json", "S3Uri": f"s3://b/{name}.json"}}
        await world(
            "sagemaker",
            "CreateModelPackage",
            ModelPackageGroupName="g",
            ModelApprovalStatus=status,
            DriftCheckBaselines={"ModelDataQuality": constraints},
            ClientToken=name,
        )
        scene.advance(1)
    arn = await scene.start()
    assert (await scene.state(arn))["check"]["BaselineUsedForDriftCheckConstraints"] == "s3://b/second.json"


async def test_a_cached_check_tells_what_the_old_one_told(scene: Checking) -> None:
    await scene.create(check(CacheConfig={"Enabled": True}), END)
    await scene.ends(await scene.start())
    second = await scene.start()
    assert (await scene.record(second)).document["steps"]["End"]["failure"] == "s3://b/old/constraints.json"
    assert (await scene.told(second))["CalculatedBaselineConstraints"] == "s3://b/out/constraints.json"
    await scene.create(check(CacheConfig={"Enabled": True}, RegisterNewBaseline=True), name="pipe3")
    other = await scene.start(PipelineName="pipe3")
    assert (await scene.state(other))["status"] == "Executing"
