"""Training jobs: create, describe, list, stop, delete. Handlers record the request; the job loop carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.api import holding, images, paging, records, searchable
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import jobs as handled
from clary.api.searchable import Searchable
from clary.domain.errors import Invalid, NotFound
from clary.domain.fields import table
from clary.domain.jobs import log_metrics, training
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.jobs.spec import JobSpec
from clary.domain.resources import Record
from clary.domain.search.plan import Kept

_ECHOED = (
    "HyperParameters",
    "RoleArn",
    "VpcConfig",
    "CheckpointConfig",
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "TensorBoardOutputConfig",
    "ExperimentConfig",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "Environment",
    "RetryStrategy",
    "RemoteDebugConfig",
    "InfraCheckConfig",
)
_ROW = JOB_KINDS[training.KIND]
_FLAGS = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


@operation("sagemaker", "CreateTrainingJob", again=lambda _, record: {"TrainingJobArn": record.arn})
async def create_training_job(call: Call, params: Params) -> Params:
    """Record the job as InProgress; the job loop starts it."""
    recorded = table.check("CreateTrainingJob", params, call.settings.strict_fields)
    spec = await check(call, {name: value for name, value in params.items() if name != "Tags"})
    record = await handled.record(call, _ROW, params["TrainingJobName"], spec, params, recorded)
    return {"TrainingJobArn": record.arn}


async def check(call: Call, params: Params) -> JobSpec:
    """The training job that a request asks for; its image, role, sizes and buckets are there. Invalid, or NotFound, in AWS's words."""
    _check_image(call, params)
    records.check_role(call, params["RoleArn"])
    spec = training.parse(params)
    handled.check_size(call, spec, _ROW.noun)
    await _check_places(call, spec)
    return spec


def _check_image(call: Call, params: Params) -> None:
    specification = params.get("AlgorithmSpecification") or {}
    image = specification.get("TrainingImage")
    if not image:
        raise Invalid("AlgorithmSpecification needs a TrainingImage.")
    images.require(call, image, training=True)


async def _check_places(call: Call, spec: JobSpec) -> None:
    await handled.check_inputs(call, spec)
    output = spec.outputs[0].location
    if not await call.ports.artifacts.of(call.scope.account).exists(output.bucket):
        raise Invalid(
            f'The bucket "{output.bucket}" of OutputDataConfig.S3OutputPath does not exist in the selected region '
            f"({call.scope.region})."
        )


# -- describe -----------------------------------------------------------------------------------------------------------------


@operation("sagemaker", "DescribeTrainingJob")
async def describe_training_job(call: Call, params: Params) -> Params:
    """Held for clients that wait, until the job ends; shortly for those that show its log meanwhile."""
    settled = await holding.followed(call, await _find(call, params["TrainingJobName"]))
    if settled is None:
        raise NotFound("Requested resource not found.")
    answer = described(settled)
    spec, request = answer["AlgorithmSpecification"], settled.document["request"]
    runtime = call.ports.runtimes.resolve(spec.get("TrainingImage", ""))
    if runtime is not None and runtime.algorithm and training.built_in(request):
        spec.setdefault("MetricDefinitions", log_metrics.built_in_definitions(runtime.algorithm))
    return answer


async def _find(call: Call, name: str) -> Record:
    return await handled.find(call, training.KIND, name, "Requested resource not found.")


def described(record: Record) -> Params:
    """DescribeTrainingJob's answer: what was asked with its defaults, and what became of it."""
    document = record.document
    request = document["request"]
    answer: Params = {
        "TrainingJobName": record.name,
        "TrainingJobArn": record.arn,
        "TrainingJobStatus": record.status,
        "SecondaryStatus": jobs.secondary(document),
        "SecondaryStatusTransitions": [dict(entry) for entry in document["transitions"]],
        "AlgorithmSpecification": {"EnableSageMakerMetricsTimeSeries": False, **request["AlgorithmSpecification"]},
        # The SDK reads KmsKeyId unasked (reference/sdk.md 4).
        "OutputDataConfig": {"KmsKeyId": "", "CompressionType": "GZIP", **request["OutputDataConfig"]},
        "ResourceConfig": dict(request.get("ResourceConfig") or {}),
        "StoppingCondition": {
            "MaxRuntimeInSeconds": training.max_runtime(request),
            **(request.get("StoppingCondition") or {}),
        },
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "ProfilingStatus": "Disabled",
        **{name: bool(request.get(name, False)) for name in _FLAGS},
        **{name: request[name] for name in _ECHOED if name in request},
    }
    if request.get("InputDataConfig"):
        answer["InputDataConfig"] = [_channel(entry) for entry in request["InputDataConfig"]]
    if request.get("CheckpointConfig"):
        answer["CheckpointConfig"] = {"LocalPath": training.CHECKPOINTS, **request["CheckpointConfig"]}
    parent = str(document.get("parent", ""))
    if ":hyper-parameter-tuning-job/" in parent:
        answer["TuningJobArn"] = parent
    if document.get("artifacts"):
        answer["ModelArtifacts"] = {"S3ModelArtifacts": document["artifacts"]}
    if document.get("failure"):
        answer["FailureReason"] = document["failure"]
    if document["metrics"]:
        answer["FinalMetricDataList"] = [dict(entry) for entry in document["metrics"]]
    return {**answer, **_times(document)}


def _channel(entry: Mapping[str, Any]) -> Params:
    source = entry["DataSource"].get("S3DataSource") or {}
    return {
        "CompressionType": "None",
        "RecordWrapperType": "None",
        **entry,
        "DataSource": {"S3DataSource": {"S3DataDistributionType": "FullyReplicated", **source}},
    }


def _times(document: Mapping[str, Any]) -> Params:
    if "started" not in document:
        return {}
    times: Params = {"TrainingStartTime": document["started"]}
    if "ended" in document:
        seconds = jobs.billed_seconds(document)
        times |= {
            "TrainingEndTime": document["ended"],
            "TrainingTimeInSeconds": seconds,
            "BillableTimeInSeconds": seconds,
        }
    return times


searchable.register(
    Searchable(
        "TrainingJob",
        training.KIND,
        lambda _, record: described(record),
        Kept(
            {
                **searchable.TIMES,
                "TrainingJobName": "name",
                "TrainingJobArn": "arn",
                "TrainingJobStatus": "status",
            },
            verbatim=(
                "HyperParameters",
                "Environment",
                "RoleArn",
                "ExperimentConfig",
                "InputDataConfig.DataSource.S3DataSource.S3Uri",
            ),
        ),
        aliases={"metrics": "FinalMetricDataList"},
    )
)


# -- list, stop, delete -------------------------------------------------------------------------------------------------------


@operation("sagemaker", "ListTrainingJobs")
async def list_training_jobs(call: Call, params: Params) -> Params:
    """No job of Clary's keeps a warm pool or belongs to a training plan: such filters find none."""
    if params.get("WarmPoolStatusEquals") or params.get("TrainingPlanArnEquals"):
        return {"TrainingJobSummaries": []}
    found, more = await paging.page(call, params, paging.query(call, params, training.KIND, order="Ascending"))
    return {"TrainingJobSummaries": [_summary(record) for record in found], **more}


def _summary(record: Record) -> Params:
    summary: Params = {
        "TrainingJobName": record.name,
        "TrainingJobArn": record.arn,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "TrainingJobStatus": record.status,
        "SecondaryStatus": jobs.secondary(record.document),
    }
    if "ended" in record.document:
        summary["TrainingEndTime"] = record.document["ended"]
    return summary


@operation("sagemaker", "StopTrainingJob")
async def stop_training_job(call: Call, params: Params) -> Params:
    """Mark the job for stopping; without effect if it is already stopping."""
    await handled.stop(call, _ROW.noun, lambda: _find(call, params["TrainingJobName"]), jobs.stop_asked)
    return {}


@operation("sagemaker", "DeleteTrainingJob")
async def delete_training_job(call: Call, params: Params) -> Params:
    """Only a job that has ended. Its logs and results stay; its name can be used again."""
    await handled.delete(call, _ROW.noun, await _find(call, params["TrainingJobName"]))
    return {}
