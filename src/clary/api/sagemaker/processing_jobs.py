"""Processing jobs: create, describe, list, stop, delete. Handlers record the request; the job loop carries it out."""

from __future__ import annotations

from clary.api import holding, images, paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import training_jobs
from clary.domain.errors import IllegalTransition, InUse, Invalid, NotFound
from clary.domain.fields import table
from clary.domain.jobs import processing
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.jobs.spec import JobSpec
from clary.domain.lifecycle import JOB, JobFact, JobStatus, admits
from clary.domain.resources import Record

_ROW = JOB_KINDS[processing.KIND]


@operation("sagemaker", "CreateProcessingJob", again=lambda _, record: {"ProcessingJobArn": record.arn})
async def create_processing_job(call: Call, params: Params) -> Params:
    """Record the job as InProgress; the job loop starts it."""
    recorded = table.check("CreateProcessingJob", params, call.settings.strict_fields)
    request = {name: value for name, value in params.items() if name != "Tags"}
    spec = await check(call, request)
    names = ", ".join(field.path for field in recorded)
    notes = [f"No effect here, only recorded: {names}. See docs/fields.md."] if names else []
    document = jobs.document(_ROW, spec, request, tagging.checked(params.get("Tags")), call.new_id(), notes, call.now)
    record = records.new(call, processing.KIND, params["ProcessingJobName"], document, JobStatus.IN_PROGRESS)
    taken = (
        "Processing job names must be unique within an AWS account and region, and a processing job with this name already "
        f"exists ({record.arn})"
    )
    return {"ProcessingJobArn": (await records.add(call, record, taken)).arn}


async def check(call: Call, request: Params) -> JobSpec:
    """The processing job that a request asks for; its image, role, size and buckets are there. Invalid, or NotFound, in AWS's words."""
    spec = processing.parse(request)
    images.require(call, spec.image, training=True)
    runtime = call.ports.runtimes.resolve(spec.image)
    if not spec.command and (runtime is None or not runtime.process):
        raise Invalid(
            f"Image '{spec.image}' has no program of its own for processing jobs: name one in AppSpecification.ContainerEntrypoint."
        )
    records.check_role(call, spec.role)
    training_jobs.check_size(call, spec, _ROW.noun)
    await training_jobs.check_inputs(call, spec)
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
        raise _missing(params["ProcessingJobName"])
    return processing.described(settled)


async def _find(call: Call, name: str) -> Record:
    record = await call.store.get(processing.KIND, call.scope, name)
    if record is None:
        raise _missing(name)
    return record


def _missing(name: str) -> NotFound:
    return NotFound(f"Could not find requested job with name: {name}")


@operation("sagemaker", "ListProcessingJobs")
async def list_processing_jobs(call: Call, params: Params) -> Params:
    """A page of jobs."""
    found, more = await paging.page(call, params, paging.query(call, params, processing.KIND, order="Ascending"))
    return {"ProcessingJobSummaries": [processing.summary(record) for record in found], **more}


@operation("sagemaker", "StopProcessingJob")
async def stop_processing_job(call: Call, params: Params) -> Params:
    """Mark the job for stopping; without effect if it is already stopping."""

    def change(record: Record) -> Record:
        if record.status == JobStatus.STOPPING:
            return record
        try:
            return jobs.stop_asked(record, call.now)
        except IllegalTransition:
            raise Invalid(
                f"The request was rejected because the processing job is in status {record.status}."
            ) from None

    await records.amend(call, lambda: _find(call, params["ProcessingJobName"]), change)
    return {}


@operation("sagemaker", "DeleteProcessingJob")
async def delete_processing_job(call: Call, params: Params) -> Params:
    """Only a job that has ended. Its logs and results stay; its name can be used again."""
    record = await _find(call, params["ProcessingJobName"])
    if not admits(JOB, record.status, JobFact.DELETE_ASKED):
        raise InUse(f"The request was rejected because the processing job is in status {record.status}.")
    await call.store.remove(record)
    return {}
