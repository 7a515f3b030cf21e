"""Processing job operations against records: texts, codes, defaults, lists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.api.call import Ports
from clary.api.dispatch import answer
from clary.api.errors import translate
from clary.domain.errors import ClaryError
from clary.domain.lifecycle import JobStatus
from clary.domain.resources import Record, Scope
from clary.testing.memory_artifacts import MemoryArtifacts

ACCOUNT, REGION = "000000000000", "eu-west-1"
REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
IMAGE = f"{REGISTRY}/sagemaker-xgboost:1.7-1"
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:processing-job/my-job"
INPUT = {"S3Uri": "s3://b/d", "LocalPath": "/opt/ml/processing/input", "S3DataType": "S3Prefix"}
OUTPUT = {"S3Uri": "s3://out/x", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}


@pytest.fixture
def ports(ports: Ports) -> Ports:
    return replace(ports, artifacts=MemoryArtifacts({"b": {"d/x.csv": b"1"}, "out": {}}))


def request(name: str = "My-Job", **changes: Any) -> dict[str, Any]:
    return {
        "ProcessingJobName": name,
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r",
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "x.py"]},
        "ProcessingInputs": [{"InputName": "in", "S3Input": INPUT}],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": OUTPUT}]},
        "ProcessingResources": {"ClusterConfig": CLUSTER},
        **changes,
    }


def given(**changes: Any) -> dict[str, Any]:
    return {"ProcessingInputs": [{"InputName": "in", "S3Input": {**INPUT, **changes}}]}


def stored(**changes: Any) -> dict[str, Any]:
    return {"ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": {**OUTPUT, **changes}}]}}


async def refused(ask: Any, operation: str, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClaryError) as caught:
        await ask(operation, **params)
    code, message, status, _ = translate("sagemaker", operation, caught.value)
    assert status == 400
    return code, message


async def settle(ports: Ports, status: JobStatus, name: str = "My-Job", **document: Any) -> Record:
    record = await ports.store.get("processing-job", Scope(ACCOUNT, REGION), name)
    assert record is not None
    return await ports.store.save(replace(record, status=status, document={**record.document, **document}))


async def test_a_new_job_is_described_with_every_default_that_clients_read(ask: Any) -> None:
    assert await ask("CreateProcessingJob", **request()) == {"ProcessingJobArn": ARN}
    job = await ask("DescribeProcessingJob", ProcessingJobName="My-Job")
    assert (job["ProcessingJobArn"], job["ProcessingJobStatus"]) == (ARN, "InProgress")
    assert job["ProcessingInputs"] == [
        {
            "InputName": "in",
            "AppManaged": False,
            "S3Input": {
                **INPUT,
                "S3InputMode": "File",
                "S3DataDistributionType": "FullyReplicated",
                "S3CompressionType": "None",
            },
        }
    ]
    assert job["ProcessingOutputConfig"]["Outputs"] == [{"OutputName": "out", "AppManaged": False, "S3Output": OUTPUT}]
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    assert "ProcessingStartTime" not in job
    assert "FailureReason" not in job


async def test_what_became_of_a_job_is_told(ask: Any, ports: Ports) -> None:
    await ask("CreateProcessingJob", **request())
    parent = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:monitoring-schedule/s"
    told = {"started": 5.0, "ended": 9.0, "failure": "why", "message": "words", "parent": parent}
    await settle(ports, JobStatus.FAILED, **told)
    job = await ask("DescribeProcessingJob", ProcessingJobName="My-Job")
    assert (job["ProcessingStartTime"], job["ProcessingEndTime"]) == (5.0, 9.0)
    assert (job["FailureReason"], job["ExitMessage"], job["MonitoringScheduleArn"]) == ("why", "words", parent)
    (summary,) = (await ask("ListProcessingJobs", StatusEquals="Failed"))["ProcessingJobSummaries"]
    assert (summary["ExitMessage"], summary["FailureReason"]) == ("words", "why")


async def test_names_are_taken_once_and_free_after_the_deletion_of_an_ended_job(ask: Any, ports: Ports) -> None:
    await ask("CreateProcessingJob", **request())
    code, message = await refused(ask, "CreateProcessingJob", **request())
    assert code == "ResourceInUse"
    assert ARN in message
    assert (await refused(ask, "DeleteProcessingJob", ProcessingJobName="My-Job"))[0] == "ResourceInUse"
    await settle(ports, JobStatus.COMPLETED)
    assert await ask("DeleteProcessingJob", ProcessingJobName="My-Job") == {}
    await ask("CreateProcessingJob", **request())


async def test_a_job_is_stopped_once_and_an_ended_one_not_at_all(ask: Any, ports: Ports) -> None:
    await ask("CreateProcessingJob", **request())
    for _ in range(2):
        assert await ask("StopProcessingJob", ProcessingJobName="My-Job") == {}
    job = await ask("DescribeProcessingJob", ProcessingJobName="My-Job")
    assert job["ProcessingJobStatus"] == "Stopping"
    await settle(ports, JobStatus.STOPPED)
    code, message = await refused(ask, "StopProcessingJob", ProcessingJobName="My-Job")
    assert (code, "Stopped" in message) == ("ValidationException", True)


@pytest.mark.parametrize("operation", ["DescribeProcessingJob", "StopProcessingJob", "DeleteProcessingJob"])
async def test_a_job_that_is_not_there(ask: Any, operation: str) -> None:
    _, message = await refused(ask, operation, ProcessingJobName="none")
    assert message == "Could not find requested job with name: none"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (given(LocalPath="/tmp/x"), "below /opt/ml/processing/"),
        (given(LocalPath="/opt/ml/processing/../model"), "below /opt/ml/processing/"),
        (given(LocalPath="/opt/ml/processing"), "below /opt/ml/processing/"),
        (given(LocalPath=""), "needs S3Input.LocalPath"),
        (given(S3CompressionType="Gzip"), "supported in Pipe input mode only"),
        (given(S3Uri="s3://none/x"), 'No S3 objects found under S3 URL "s3://none/x"'),
        (given(LocalPath="/opt/ml/processing/out"), "Duplicate LocalPath"),
        (stored(S3Uri="s3://none/x"), 'The bucket "none" of ProcessingOutputConfig does not exist'),
        (stored(LocalPath="out"), "below /opt/ml/processing/"),
        ({"ProcessingInputs": [{"InputName": "in", "S3Input": INPUT}] * 2}, "Duplicate InputName 'in'"),
        (
            {"ProcessingInputs": [{"InputName": "in", "DatasetDefinition": {"LocalPath": "/opt/ml/processing/x"}}]},
            "needs RedshiftDatasetDefinition",
        ),
        (
            {
                "ProcessingOutputConfig": {
                    "Outputs": [{"OutputName": "o", "FeatureStoreOutput": {"FeatureGroupName": "g"}}]
                }
            },
            "needs AppManaged true",
        ),
        ({"AppSpecification": {"ImageUri": IMAGE}}, "no program of its own for processing jobs"),
        ({"AppSpecification": {"ImageUri": f"{REGISTRY}/sagemaker-spark-processing:3.1-cpu"}}, "Spark"),
        ({"AppSpecification": {"ImageUri": "x/none:1"}}, "stands for no runtime"),
        ({"RoleArn": "arn:aws:iam::111111111111:role/r"}, "Could not assume role"),
        ({"ProcessingResources": {"ClusterConfig": {"VolumeSizeInGB": 1}}}, "needs InstanceType"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_recorded(ask: Any, changes: dict[str, Any], words: str) -> None:
    code, message = await refused(ask, "CreateProcessingJob", **request(**changes))
    assert code == "ValidationException"
    assert words in message
    assert await ask("ListProcessingJobs") == {"ProcessingJobSummaries": []}


async def test_lists_are_sorted_filtered_and_paged(ask: Any, clock: Any) -> None:
    for name in ("b", "a", "c"):
        await ask("CreateProcessingJob", **request(name))
        clock.advance(1)
    first = await ask("ListProcessingJobs", MaxResults=2)
    assert [job["ProcessingJobName"] for job in first["ProcessingJobSummaries"]] == ["b", "a"]
    rest = await ask("ListProcessingJobs", MaxResults=2, NextToken=first["NextToken"])
    assert [job["ProcessingJobName"] for job in rest["ProcessingJobSummaries"]] == ["c"]
    named = await ask("ListProcessingJobs", SortBy="Name", SortOrder="Descending", NameContains="b")
    assert [job["ProcessingJobName"] for job in named["ProcessingJobSummaries"]] == ["b"]


async def test_another_account_sees_nothing(ports: Ports, ask: Any) -> None:
    await ask("CreateProcessingJob", **request())
    other = await answer(
        ports, "sagemaker", "ListProcessingJobs", {}, account="111111111111", region=REGION, principal="p"
    )
    assert other == {"ProcessingJobSummaries": []}
