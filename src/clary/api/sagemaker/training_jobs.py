"""Training jobs: create, describe, list, stop, delete. Handlers record the request; the job loop carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clary.api import holding, images, paging, records, searchable
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import jobs as handled
from clary.api.searchable import Searchable
from clary.domain.errors import InUse, Invalid, NotFound
from clary.domain.fields import table
from clary.domain.jobs import log_metrics, pools, training
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.jobs.spec import JobSpec
from clary.domain.resources import Query, Record
from clary.domain.search.plan import Kept
from clary.pages import everything

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
_MANY = 1000  # records of a page that nobody is shown
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
    pool = pools.shown(await call.store.get(pools.KIND, call.scope, settled.name), settled, call.now)
    if pool is not None:
        answer["WarmPoolStatus"] = pool
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
    """No job of Clary's belongs to a training plan: that filter finds none."""
    if params.get("TrainingPlanArnEquals"):
        return {"TrainingJobSummaries": []}
    wanted = params.get("WarmPoolStatusEquals")
    kept = await _pools(call, wanted)
    keep = None if not wanted else lambda record: wanted == (kept.get(record.name) or _pool_of(record))
    found, more = await paging.page(call, params, paging.query(call, params, training.KIND, order="Ascending"), keep)
    return {"TrainingJobSummaries": [_summary(record) for record in found], **more}


async def _pools(call: Call, wanted: str | None) -> Mapping[str, str]:
    """By the name of their job the statuses of warm pools, where such are asked for."""
    if not wanted:
        return {}
    query = Query(pools.KIND, call.scope, sort_by="name", descending=False, limit=_MANY)
    return {each.name: pools.status(each) for each in await everything(call.store, query)}


def _pool_of(record: Record) -> str:
    """The status of a pool that is not a record: that of a job that goes on."""
    shown = pools.shown(None, record, 0.0)
    return str(shown["Status"]) if shown else ""


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
    """Only a job that has ended, and whose warm pool has. Its logs and results stay; its name can be used again."""
    ended = await _find(call, params["TrainingJobName"])
    pool = await call.store.get(pools.KIND, call.scope, ended.name)
    if pool is not None and pool.status in pools.LIVING:
        raise InUse(
            f"The request was rejected because the warm pool of the training job is {pools.status(pool)}: "
            "UpdateTrainingJob with a KeepAlivePeriodInSeconds of 0 ends it."
        )
    await handled.delete(call, _ROW.noun, ended)
    if pool is not None:
        await call.store.remove(pool)
    return {}


@operation("sagemaker", "UpdateTrainingJob")
async def update_training_job(call: Call, params: Params) -> Params:
    """Another KeepAlivePeriodInSeconds, while the job's warm pool is Available; 0 ends it. It counts from the end of the job."""
    table.check("UpdateTrainingJob", params, call.settings.strict_fields)
    job = await _find(call, params["TrainingJobName"])
    asked = params.get("ResourceConfig")
    if asked is None:
        return {"TrainingJobArn": job.arn}
    seconds = int(asked["KeepAlivePeriodInSeconds"])

    async def read() -> Record:
        pool = await call.store.get(pools.KIND, call.scope, job.name)
        if pool is None or pool.status != pools.AVAILABLE:
            told = pools.shown(pool, job, call.now)
            raise Invalid(
                "KeepAlivePeriodInSeconds can be changed while the warm pool of the training job is Available, and it "
                f"{'is ' + told['Status'] if told else 'has none'}."
            )
        return pool

    await records.amend(call, read, lambda pool: pools.kept(pool, seconds, call.now))

    def noted(old: Record) -> Record:
        request = old.document["request"]
        changed = {**request, "ResourceConfig": {**request["ResourceConfig"], "KeepAlivePeriodInSeconds": seconds}}
        return replace(old, modified=call.now, document={**old.document, "request": changed})

    await records.amend(call, lambda: _find(call, params["TrainingJobName"]), noted)
    return {"TrainingJobArn": job.arn}
