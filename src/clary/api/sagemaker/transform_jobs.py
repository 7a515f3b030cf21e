"""Transform jobs: create, describe, list, stop. Handlers record the request; the transform job loop carries it out."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from clary.api import holding, paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import jobs as handled
from clary.domain.errors import Invalid, NotFound
from clary.domain.fields import table
from clary.domain.lifecycle import JobStatus
from clary.domain.machine import admission, instances
from clary.domain.models.containers import containers_of
from clary.domain.resources import Record
from clary.domain.s3 import Location
from clary.domain.transform import record as transforms
from clary.domain.transform import request as requests

_ECHOED = (
    "ModelName",
    "MaxConcurrentTransforms",
    "ModelClientConfig",
    "MaxPayloadInMB",
    "BatchStrategy",
    "Environment",
    "DataCaptureConfig",
    "TransformResources",
    "ExperimentConfig",
)


@operation("sagemaker", "CreateTransformJob", again=lambda _, record: {"TransformJobArn": record.arn})
async def create_transform_job(call: Call, params: Params) -> Params:
    """Record the job as InProgress; its loop starts its replicas. The model is copied: it may be deleted from now on."""
    table.check("CreateTransformJob", params, call.settings.strict_fields)
    requests.check(params)
    name = params["TransformJobName"]
    model = await records.find(call, "model", params["ModelName"])
    containers = containers_of(model)
    requests.check_model(model.name, containers)
    _check_size(call, params)
    await _check_places(call, params)
    wall = call.settings.deadline == "aws"
    fleet = requests.fleet_of(
        call.new_id(),
        name,
        call.arn(transforms.KIND, name),
        params,
        [replace(container, wall=wall) for container in containers],
        call.now,
    )
    request = {member: value for member, value in params.items() if member != "Tags"}
    tags = tagging.checked(params.get("Tags"))
    document = transforms.document(request, tags, call.new_id(), secrets.token_hex(32), fleet)
    record = records.new(call, transforms.KIND, name, document, JobStatus.IN_PROGRESS)
    taken = f"Job name must be unique within an AWS account and region, and a job with this name already exists ({record.arn})"
    return {"TransformJobArn": (await records.add(call, record, taken)).arn}


def _check_size(call: Call, params: Params) -> None:
    """Instances that there may be; under the policy `strict` also that the machine could ever reserve them all at once."""
    resources, machine = params["TransformResources"], call.settings.machine
    count = int(resources["InstanceCount"])
    admission.check_number(resources["InstanceType"], count, "transform job")
    size = instances.find(resources["InstanceType"])
    if size is not None and machine is not None and call.settings.capacity == "strict":
        admission.check_reservable([size] * count, machine, "transform job")


async def _check_places(call: Call, params: Params) -> None:
    """Buckets that exist, and are the account's."""
    places: dict[str, Location | None] = {
        "TransformInput": requests.input_place(params),
        "TransformOutput": requests.output_place(params),
        "DataCaptureConfig": requests.capture_place(params),
    }
    artifacts = call.ports.artifacts.of(call.scope.account)
    for member, place in places.items():
        if place is not None and not await artifacts.exists(place.bucket):
            raise Invalid(
                f'The bucket "{place.bucket}" of {member} does not exist in the selected region ({call.scope.region}), or is not yours.'
            )


@operation("sagemaker", "DescribeTransformJob")
async def describe_transform_job(call: Call, params: Params) -> Params:
    """Held for clients that wait, until the job ends."""
    record = await holding.settled(call, await _find(call, params["TransformJobName"]), transforms.ACTIVE)
    if record is None:
        raise NotFound("Requested resource not found.")
    return described(record)


async def _find(call: Call, name: str) -> Record:
    return await handled.find(call, transforms.KIND, name, f"Could not find requested job with name: {name}")


def described(record: Record) -> Params:
    """DescribeTransformJob's answer: what was asked with its defaults, and what became of it."""
    document = record.document
    request = document["request"]
    answer: dict[str, Any] = {
        "TransformJobName": record.name,
        "TransformJobArn": record.arn,
        "TransformJobStatus": record.status,
        "TransformInput": {"CompressionType": "None", "SplitType": "None", **request["TransformInput"]},
        "TransformOutput": {"AssembleWith": "None", "KmsKeyId": "", **request["TransformOutput"]},
        "DataProcessing": {
            "InputFilter": "$",
            "OutputFilter": "$",
            "JoinSource": "None",
            **(request.get("DataProcessing") or {}),
        },
        "CreationTime": record.created,
        **{member: request[member] for member in _ECHOED if member in request},
    }
    for member, key in (("FailureReason", "failure"), ("TransformStartTime", "started"), ("TransformEndTime", "ended")):
        if document.get(key) and (key != "failure" or record.status == JobStatus.FAILED):
            answer[member] = document[key]
    return answer


@operation("sagemaker", "ListTransformJobs")
async def list_transform_jobs(call: Call, params: Params) -> Params:
    found, more = await paging.page(call, params, paging.query(call, params, transforms.KIND))
    return {"TransformJobSummaries": [_summary(record) for record in found], **more}


def _summary(record: Record) -> Params:
    answer = described(record)
    members = (
        "TransformJobName",
        "TransformJobArn",
        "CreationTime",
        "TransformEndTime",
        "TransformJobStatus",
        "FailureReason",
    )
    return {"LastModifiedTime": record.modified, **{member: answer[member] for member in members if member in answer}}


@operation("sagemaker", "StopTransformJob")
async def stop_transform_job(call: Call, params: Params) -> Params:
    """Mark the job for stopping; without effect if it is already stopping."""
    await handled.stop(call, "transform job", lambda: _find(call, params["TransformJobName"]), transforms.stop_asked)
    return {}
