"""Training job operations against records: texts, codes, defaults, lists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.api.call import Ports
from clary.api.dispatch import answer
from clary.api.errors import translate
from clary.domain.costs import kept
from clary.domain.errors import ClaryError
from clary.domain.jobs import pools
from clary.domain.lifecycle import JobStatus
from clary.domain.machine.capacity import Machine
from clary.domain.machine.instances import GIB
from clary.domain.resources import Query, Record, Scope
from clary.testing.clock import FakeClock
from clary.testing.memory_artifacts import MemoryArtifacts

ACCOUNT, REGION = "000000000000", "eu-west-1"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/my-job"


@pytest.fixture
def ports(ports: Ports) -> Ports:
    return replace(ports, artifacts=MemoryArtifacts({"b": {"d/x.csv": b"1"}, "out": {}}))


def request(name: str = "My-Job", **changes: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r",
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "InputDataConfig": [
            {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/d"}}}
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://out/x"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **changes,
    }


async def refused(ask: Any, operation: str, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClaryError) as caught:
        await ask(operation, **params)
    code, message, status, _ = translate("sagemaker", operation, caught.value)
    assert status == 400
    return code, message


async def settle(ports: Ports, status: JobStatus, name: str = "My-Job", **document: Any) -> Record:
    record = await ports.store.get("training-job", Scope(ACCOUNT, REGION), name)
    assert record is not None
    return await ports.store.save(replace(record, status=status, document={**record.document, **document}))


async def test_a_new_job_is_described_with_every_default_that_clients_read(ask: Any, clock: FakeClock) -> None:
    assert await ask("CreateTrainingJob", **request(HyperParameters={"a": "1"})) == {"TrainingJobArn": ARN}
    job = await ask("DescribeTrainingJob", TrainingJobName="My-Job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("InProgress", "Starting")
    assert job["OutputDataConfig"] == {"S3OutputPath": "s3://out/x", "KmsKeyId": "", "CompressionType": "GZIP"}
    assert "ModelArtifacts" not in job
    assert "TrainingStartTime" not in job
    assert job["SecondaryStatusTransitions"] == [
        {"Status": "Starting", "StartTime": clock.now(), "StatusMessage": "Starting the training job"}
    ]
    channel = job["InputDataConfig"][0]
    assert (channel["CompressionType"], channel["RecordWrapperType"]) == ("None", "None")
    assert channel["DataSource"]["S3DataSource"]["S3DataDistributionType"] == "FullyReplicated"
    assert job["EnableNetworkIsolation"] is False
    assert job["HyperParameters"] == {"a": "1"}
    assert "Tags" not in job


async def test_checkpoints_are_described_with_the_folder_where_they_lie(ask: Any) -> None:
    await ask("CreateTrainingJob", **request(CheckpointConfig={"S3Uri": "s3://out/c"}))
    job = await ask("DescribeTrainingJob", TrainingJobName="My-Job")
    assert job["CheckpointConfig"] == {"S3Uri": "s3://out/c", "LocalPath": "/opt/ml/checkpoints"}


async def test_an_ended_job_tells_what_became_of_it(ask: Any, ports: Ports) -> None:
    await ask("CreateTrainingJob", **request())
    metrics = [{"MetricName": "m", "Value": 1.0, "Timestamp": 5.0}]
    await settle(ports, JobStatus.COMPLETED, started=100.0, ended=107.4, artifacts="s3://out/m", metrics=metrics)
    job = await ask("DescribeTrainingJob", TrainingJobName="My-Job")
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": "s3://out/m"}
    assert (job["TrainingTimeInSeconds"], job["BillableTimeInSeconds"]) == (7, 7)
    assert job["FinalMetricDataList"] == metrics


async def test_names_are_unique_whatever_their_case(ask: Any) -> None:
    await ask("CreateTrainingJob", **request())
    for name in ("My-Job", "my-job"):
        assert await refused(ask, "CreateTrainingJob", **request(name)) == (
            "ResourceInUse",
            "Training job names must be unique within an AWS account and region, and a training job with this name already "
            f"exists ({ARN})",
        )
    await ask("CreateTrainingJob", **request(), _region="us-east-1")


@pytest.mark.parametrize("operation", ["DescribeTrainingJob", "StopTrainingJob", "DeleteTrainingJob"])
async def test_a_missing_job_is_answered_as_the_service_does(ask: Any, operation: str) -> None:
    answer = await refused(ask, operation, TrainingJobName="none")
    assert answer == ("ValidationException", "Requested resource not found.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"AlgorithmSpecification": {"TrainingImage": "x/unknown:1", "TrainingInputMode": "File"}},
            "sagemaker-xgboost",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "x/kmeans:1", "TrainingInputMode": "File"}},
            "Image 'x/kmeans:1' is SageMaker's built-in algorithm K-Means, which Clary does not implement.",
        ),
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "TrainingImage"),
        ({"RoleArn": "arn:aws:iam::111111111111:role/other"}, "Could not assume role"),
        ({"ResourceConfig": {"InstanceType": "ml.m5.large"}}, "InstanceCount"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://nowhere/x"}}, '"nowhere"'),
        ({"MlflowConfig": {"MlflowResourceArn": "arn"}}, "MlflowConfig"),
        ({"StoppingCondition": {"MaxWaitTimeInSeconds": 5}}, "MaxWaitTimeInSeconds"),
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE,
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": "a", "Regex": "(?<=x)(y)"}],
                }
            },
            "RE2",
        ),
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/usr"}}, "CheckpointConfig.LocalPath"),
    ],
)
async def test_bad_requests_are_refused_by_name(ask: Any, changes: dict[str, Any], words: str) -> None:
    code, message = await refused(ask, "CreateTrainingJob", **request(**changes))
    assert code == "ValidationException"
    assert words in message


async def test_a_missing_bucket_is_told_in_aws_words(ask: Any) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://gone/d"}
    changed = request(InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}])
    code, message = await refused(ask, "CreateTrainingJob", **changed)
    assert code == "ValidationException"
    assert message.startswith('No S3 objects found under S3 URL "s3://gone/d" given in input data source.')
    assert "NoSuchBucket" not in message


async def test_a_public_bucket_of_aws_is_explained(ask: Any) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": "https://s3-us-west-2.amazonaws.com/sagemaker-sample-data-us-west-2/d"}
    changed = request(InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}])
    code, message = await refused(ask, "CreateTrainingJob", **changed)
    assert code == "ValidationException"
    assert message.startswith("No S3 objects found under S3 URL")
    assert (
        "NoSuchBucket: The specified bucket does not exist. sagemaker-sample-data-us-west-2 is one of AWS's" in message
    )


async def test_strict_capacity_answers_resource_limit_exceeded(ask: Any, ports: Ports) -> None:
    machine = Machine(cpus=2, memory=16 * GIB, available=8 * GIB)
    strict = replace(ports, settings=replace(ports.settings, capacity="strict", machine=machine))
    for config in (
        {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        {"InstanceType": "ml.m5.large", "InstanceCount": 2},
    ):
        with pytest.raises(ClaryError) as caught:
            await answer(
                strict,
                "sagemaker",
                "CreateTrainingJob",
                request(ResourceConfig=config),
                account=ACCOUNT,
                region=REGION,
                principal="",
            )
        assert translate("sagemaker", "CreateTrainingJob", caught.value)[0] == "ResourceLimitExceeded"


async def test_recorded_fields_are_noted_for_the_log(ask: Any, ports: Ports) -> None:
    await ask("CreateTrainingJob", **request(VpcConfig={"SecurityGroupIds": ["sg-1"], "Subnets": ["s-1"]}))
    record = await ports.store.get("training-job", Scope(ACCOUNT, REGION), "My-Job")
    assert record is not None
    assert record.document["notes"] == ["No effect here, only recorded: VpcConfig. See docs/fields.md."]


async def test_stopping_and_stopping_again(ask: Any, ports: Ports) -> None:
    await ask("CreateTrainingJob", **request())
    await ask("StopTrainingJob", TrainingJobName="My-Job")
    job = await ask("DescribeTrainingJob", TrainingJobName="My-Job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopping", "Stopping")
    await ask("StopTrainingJob", TrainingJobName="My-Job")
    await settle(ports, JobStatus.STOPPED)
    assert await refused(ask, "StopTrainingJob", TrainingJobName="My-Job") == (
        "ValidationException",
        "The request was rejected because the training job is in status Stopped.",
    )


async def test_only_an_ended_job_is_deleted_and_its_name_is_free_again(ask: Any, ports: Ports) -> None:
    await ask("CreateTrainingJob", **request())
    assert (await refused(ask, "DeleteTrainingJob", TrainingJobName="My-Job"))[0] == "ResourceInUse"
    await settle(ports, JobStatus.FAILED)
    await ask("DeleteTrainingJob", TrainingJobName="My-Job")
    await ask("CreateTrainingJob", **request())


async def test_what_a_deleted_job_used_is_kept(ask: Any, ports: Ports, clock: FakeClock) -> None:
    await ask("CreateTrainingJob", **request())
    fits = {request()["ResourceConfig"]["InstanceType"]: {"cpu": 2.0, "memory": 1 << 30, "gpus": 0, "notes": []}}
    now = clock.now()
    await settle(ports, JobStatus.COMPLETED, started=now - 50, run_started=now - 40, ended=now, fits=fits)
    await ask("DeleteTrainingJob", TrainingJobName="My-Job")
    [scope] = await ports.store.scopes(kept.KIND)
    [record] = await ports.store.page(Query(kept.KIND, scope))
    [row] = kept.rows(record)
    assert (row.name, row.use.vcpu_seconds) == ("My-Job", 100.0)


async def test_lists_filter_sort_and_page(ask: Any, ports: Ports, clock: FakeClock) -> None:
    for number in range(5):
        await ask("CreateTrainingJob", **request(f"job-{number}"))
        clock.advance(10)
    await settle(ports, JobStatus.COMPLETED, "job-3", ended=7.0)
    oldest = await ask("ListTrainingJobs", MaxResults=1)
    assert [job["TrainingJobName"] for job in oldest["TrainingJobSummaries"]] == ["job-0"]
    first = await ask("ListTrainingJobs", MaxResults=2, SortOrder="Descending")
    assert [job["TrainingJobName"] for job in first["TrainingJobSummaries"]] == ["job-4", "job-3"]
    assert first["TrainingJobSummaries"][1]["TrainingEndTime"] == 7.0
    second = await ask("ListTrainingJobs", MaxResults=2, SortOrder="Descending", NextToken=first["NextToken"])
    assert [job["TrainingJobName"] for job in second["TrainingJobSummaries"]] == ["job-2", "job-1"]
    done = await ask("ListTrainingJobs", StatusEquals="Completed")
    assert [job["TrainingJobName"] for job in done["TrainingJobSummaries"]] == ["job-3"]
    named = await ask("ListTrainingJobs", NameContains="JOB-1", SortBy="Name", SortOrder="Ascending")
    assert [job["TrainingJobName"] for job in named["TrainingJobSummaries"]] == ["job-1"]
    assert await ask("ListTrainingJobs", WarmPoolStatusEquals="Available") == {"TrainingJobSummaries": []}
    assert await ask("ListTrainingJobs", TrainingPlanArnEquals="arn:x") == {"TrainingJobSummaries": []}


KEPT = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30, "KeepAlivePeriodInSeconds": 60}


async def pooled(ask: Any, ports: Ports, name: str, status: str, **document: Any) -> Record:
    """A job that has ended, and its warm pool."""
    await ask("CreateTrainingJob", **request(name, ResourceConfig=KEPT))
    await settle(ports, JobStatus.COMPLETED, name, started=1.0, ended=7.0)
    scope = Scope(ACCOUNT, REGION)
    had = {"job": "arn", "began": 7.0, "keep": 60, **document}
    return await ports.store.add(Record(pools.KIND, scope, name, f"arn:pool/{name}", status, 7.0, 7.0, had))


async def test_a_warm_pool_is_described_and_found(ask: Any, ports: Ports) -> None:
    await pooled(ask, ports, "a", "Available", ended=17.5)
    await pooled(ask, ports, "b", "Handing", ended=8.0, reused="c")
    await pooled(ask, ports, "c", "Terminated", ended=67.0)
    await ask("CreateTrainingJob", **request("d", ResourceConfig=KEPT))
    await ask("CreateTrainingJob", **request("e"))
    shown = {}
    for name in "abcde":
        shown[name] = (await ask("DescribeTrainingJob", TrainingJobName=name)).get("WarmPoolStatus")
    assert shown == {
        "a": {"Status": "Available", "ResourceRetainedBillableTimeInSeconds": 11},
        "b": {"Status": "Reused", "ResourceRetainedBillableTimeInSeconds": 1, "ReusedByJob": "c"},
        "c": {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 60},
        "d": {"Status": "InUse"},
        "e": None,
    }
    for status, name in (("Available", "a"), ("Reused", "b"), ("Terminated", "c"), ("InUse", "d")):
        found = await ask("ListTrainingJobs", WarmPoolStatusEquals=status)
        assert [job["TrainingJobName"] for job in found["TrainingJobSummaries"]] == [name]


async def test_the_time_of_a_warm_pool_is_changed_while_it_is_available(ask: Any, ports: Ports) -> None:
    await pooled(ask, ports, "a", "Available")
    answer = await ask("UpdateTrainingJob", TrainingJobName="a", ResourceConfig={"KeepAlivePeriodInSeconds": 600})
    assert answer["TrainingJobArn"].endswith("training-job/a")
    job = await ask("DescribeTrainingJob", TrainingJobName="a")
    assert job["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    pool = await ports.store.get(pools.KIND, Scope(ACCOUNT, REGION), "a")
    assert pool is not None
    assert pool.document["keep"] == 600
    await pooled(ask, ports, "b", "Terminated", ended=67.0)
    await ask("CreateTrainingJob", **request("c"))
    for name, how in (("b", "is Terminated"), ("c", "has none")):
        code, message = await refused(
            ask, "UpdateTrainingJob", TrainingJobName=name, ResourceConfig={"KeepAlivePeriodInSeconds": 0}
        )
        assert code == "ValidationException"
        assert message.endswith(f"while the warm pool of the training job is Available, and it {how}.")
    code, message = await refused(
        ask, "UpdateTrainingJob", TrainingJobName="a", ProfilerConfig={"DisableProfiler": True}
    )
    assert (code, "jobs are not profiled" in message) == ("ValidationException", True)


async def test_a_job_is_deleted_with_its_warm_pool_once_that_has_ended(ask: Any, ports: Ports) -> None:
    pool = await pooled(ask, ports, "a", "Available")
    code, message = await refused(ask, "DeleteTrainingJob", TrainingJobName="a")
    assert (code, "the warm pool of the training job is Available" in message) == ("ResourceInUse", True)
    await ports.store.save(replace(pool, status="Terminated"))
    await ask("DeleteTrainingJob", TrainingJobName="a")
    assert await ports.store.get(pools.KIND, Scope(ACCOUNT, REGION), "a") is None
