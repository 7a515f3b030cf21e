"""Jobs that write a model card as a PDF: handlers record them, `loops/registry/exports.py` carries them out."""

from __future__ import annotations

from dataclasses import replace

from clary.api import paging, records
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker.model_cards import of_version
from clary.domain.errors import InUse, NotFound
from clary.domain.registry import cards
from clary.domain.resources import Record


@operation("sagemaker", "CreateModelCardExportJob", again=lambda _, record: {"ModelCardExportJobArn": record.arn})
async def create_model_card_export_job(call: Call, params: Params) -> Params:
    """Record the job with what it exports; a loop writes the PDF below S3OutputPath."""
    card, version = await of_version(call, params["ModelCardName"], params.get("ModelCardVersion"))
    if card.document.get("deleting"):
        raise InUse(f"Model card {card.arn} is being deleted.")
    job, number = params["ModelCardExportJobName"], cards.number(version)
    where = cards.object_of(params["OutputConfig"]["S3OutputPath"], card.name, number, job)
    await _check_bucket(call, where)
    document = {
        "request": params,
        "card": card.name,
        "id": card.document["id"],
        "version": number,
        "version_text": str(number),
        "card_status": version.status,
        "content": version.document["content"],
        "job": job,
    }
    record = records.new(call, cards.EXPORT, f"{card.name}/export-job/{job}", document, cards.IN_PROGRESS)
    taken = f'Cannot create already existing model card export job "{record.arn}": it already exists.'
    return {"ModelCardExportJobArn": (await records.add(call, record, taken)).arn}


async def _check_bucket(call: Call, uri: str) -> None:
    """NotFound for an output path whose bucket is not there."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    if not await call.ports.artifacts.of(call.scope.account).exists(bucket):
        raise NotFound(f"OutputConfig.S3OutputPath: bucket {bucket} does not exist.")


@operation("sagemaker", "DescribeModelCardExportJob")
async def describe_model_card_export_job(call: Call, params: Params) -> Params:
    """The job, and where its file is once it was written."""
    job = await records.named(call, cards.EXPORT, params["ModelCardExportJobArn"])
    answer = {**_summary(job), "OutputConfig": job.document["request"]["OutputConfig"]}
    if job.status == cards.COMPLETED:
        answer["ExportArtifacts"] = {"S3ExportArtifacts": cards.export_of(job).uri}
    if job.status == cards.FAILED:
        answer["FailureReason"] = job.document["failure"]
    return answer


def _summary(job: Record) -> Params:
    return {
        "ModelCardExportJobName": job.document["job"],
        "ModelCardExportJobArn": job.arn,
        "Status": job.status,
        "ModelCardName": job.document["card"],
        "ModelCardVersion": job.document["version"],
        "CreatedAt": job.created,
        "LastModifiedAt": job.modified,
    }


@operation("sagemaker", "ListModelCardExportJobs")
async def list_model_card_export_jobs(call: Call, params: Params) -> Params:
    """Pages of the jobs of one card."""
    card = await records.find(call, cards.CARD, params["ModelCardName"])
    where = {"id": card.document["id"]}
    if params.get("ModelCardVersion") is not None:
        where["version_text"] = str(params["ModelCardVersion"])
    text = params.get("ModelCardExportJobNameContains", "").lower()
    query = replace(paging.query(call, params, cards.EXPORT), where=where)
    found, more = await paging.page(call, params, query, lambda job: text in str(job.document["job"]).lower())
    return {"ModelCardExportJobSummaries": [_summary(job) for job in found], **more}
