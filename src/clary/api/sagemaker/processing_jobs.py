"""Processing jobs: create, describe, list, stop, delete. Handlers record the request; the job loop carries it out."""

from __future__ import annotations

from clary.api import holding, images, paging, records
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import jobs as handled
from clary.domain.errors import Invalid, NotFound
from clary.domain.fields import table
from clary.domain.jobs import processing
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.jobs.spec import JobSpec
from clary.domain.resources import Record

_ROW = JOB_KINDS[processing.KIND]
_MISSING = "Could not find requested job with name: {}"


@operation("sagemaker", "CreateProcessingJob", again=lambda _, record: {"ProcessingJobArn": record.arn})
async def create_processing_job(call: Call, params: Params) -> Params:
    """Record the job as InProgress; the job loop starts it."""
    recorded = table.check("CreateProcessingJob", params, call.settings.strict_fields)
    spec = await check(call, {name: value for name, value in params.items() if name != "Tags"})
    record = await handled.record(call, _ROW, params["ProcessingJobName"], spec, params, recorded)
    return {"ProcessingJobArn": record.arn}


async def check(call: Call, request: Params) -> JobSpec:
    """The processing job that a request asks for; its image, role, size and buckets are there. Invalid, or NotFound, in AWS's words."""
    spec = processing.parse(request)
    images.require(call, spec.image, training=True)
    runtime = call.ports.runtimes.resolve(spec.image)
    if not spec.command and (runtime is None or not runtime.process):
        raise Invalid(
            f"Image '{spec.image}' has no program of its own for processing jobs: name one in AppSpecification.ContainerEntrypoint."
        )
    for query in spec.queries:
        if not query.database and query.source not in call.settings.sources:
            known = ", ".join(call.settings.sources) or "none"
            raise Invalid(
                f"Cluster {query.source!r} not found: ClusterId names a source of this Clary's settings ([sources.NAME] in clary.toml); "
                f"there are: {known}."
            )
    records.check_role(call, spec.role)
    handled.check_size(call, spec, _ROW.noun)
    await handled.check_inputs(call, spec)
    artifacts = call.ports.artifacts.of(call.scope.account)
    for sync in spec.syncs:
        if not await artifacts.exists(sync.location.bucket):
            raise Invalid(
                f'The bucket "{sync.location.bucket}" of ProcessingOutputConfig does not exist in the selected region '
                f"({call.scope.region}), or belongs to another account."
            )
    return spec


@operation("sagemaker", "DescribeProcessingJob")
async def describe_processing_job(call: Call, params: Params) -> Params:
    """Held for clients that wait, until the job ends; shortly for those that show its log meanwhile."""
    settled = await holding.followed(call, await _find(call, params["ProcessingJobName"]))
    if settled is None:
        raise NotFound(_MISSING.format(params["ProcessingJobName"]))
    return processing.described(settled)


async def _find(call: Call, name: str) -> Record:
    return await handled.find(call, processing.KIND, name, _MISSING.format(name))


@operation("sagemaker", "ListProcessingJobs")
async def list_processing_jobs(call: Call, params: Params) -> Params:
    """A page of jobs."""
    found, more = await paging.page(call, params, paging.query(call, params, processing.KIND, order="Ascending"))
    return {"ProcessingJobSummaries": [processing.summary(record) for record in found], **more}


@operation("sagemaker", "StopProcessingJob")
async def stop_processing_job(call: Call, params: Params) -> Params:
    """Mark the job for stopping; without effect if it is already stopping."""
    await handled.stop(call, _ROW.noun, lambda: _find(call, params["ProcessingJobName"]), jobs.stop_asked)
    return {}


@operation("sagemaker", "DeleteProcessingJob")
async def delete_processing_job(call: Call, params: Params) -> Params:
    """Only a job that has ended. Its logs and results stay; its name can be used again."""
    await handled.delete(call, _ROW.noun, await _find(call, params["ProcessingJobName"]))
    return {}
