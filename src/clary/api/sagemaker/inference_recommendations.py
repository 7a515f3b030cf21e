"""Inference recommendations jobs: create, describe, list, list steps, stop. Handlers record; a loop acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clary.api import holding, paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import endpoints
from clary.api.sagemaker import jobs as handled
from clary.api.sagemaker.package_names import package_named
from clary.domain.errors import IllegalTransition, Invalid, NotFound
from clary.domain.fields import table
from clary.domain.inference_recommendations import measured
from clary.domain.inference_recommendations import record as recommendations
from clary.domain.inference_recommendations import request as asked
from clary.domain.inference_recommendations.record import KIND
from clary.domain.inference_recommendations.request import Candidate
from clary.domain.lifecycle import RecommendationsStatus
from clary.domain.machine import admission, instances
from clary.domain.models import packages
from clary.domain.resources import Record
from clary.domain.s3 import parse_uri

_OF_MODEL = ("PrimaryContainer", "Containers", "ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation")
_SHOWN = ("JobDescription", "JobType", "RoleArn")


@operation("sagemaker", "CreateInferenceRecommendationsJob", again=lambda _, record: {"JobArn": record.arn})
async def create_recommendations_job(call: Call, params: Params) -> Params:
    """Record the job as PENDING; the loop makes its endpoints and load tests, one after the other."""
    table.check("CreateInferenceRecommendationsJob", params, call.settings.strict_fields)
    records.check_role(call, params["RoleArn"])
    request = {name: value for name, value in params.items() if name != "Tags"}
    asked.check(request)
    given = asked.config(request)
    package = await _package(call, given)
    told = package.document["request"] if package is not None else {}
    supported = (told.get("InferenceSpecification") or {}).get("SupportedRealtimeInferenceInstanceTypes") or ()
    candidates = asked.candidates(request, supported)
    await _check_candidates(call, candidates)
    uri, types = asked.payload(request, told)
    await _check_payload(call, uri)
    document = recommendations.document(
        request,
        tagging.checked(params.get("Tags")),
        call.principal,
        call.new_id(),
        candidates,
        models=await _models(call, request, package, candidates),
        load={
            "phases": asked.pattern(request),
            "limits": asked.limits(request),
            "types": types,
            "accept": asked.accepted(request),
        },
        payload=uri,
    )
    record = records.new(call, KIND, params["JobName"], document, RecommendationsStatus.PENDING)
    taken = f"An inference recommendations job with the name {record.name} already exists ({record.arn})."
    return {"JobArn": (await records.add(call, record, taken)).arn}


async def _package(call: Call, given: Mapping[str, Any]) -> Record | None:
    name = given.get("ModelPackageVersionArn")
    return await package_named(call, name) if name else None


async def _models(
    call: Call, request: Params, package: Record | None, candidates: Sequence[Candidate]
) -> dict[str, dict[str, Any]]:
    """What the tests' models are made of, by InferenceSpecificationName."""
    given = asked.config(request)
    if package is not None:
        names = {each.specification for each in candidates}
        return {
            name: {"Containers": packages.specified(package, name), "ExecutionRoleArn": request["RoleArn"]}
            for name in names
        }
    if not given.get("ModelName"):
        return {}
    model = await records.find(call, "model", given["ModelName"])
    made = {name: value for name, value in model.document["request"].items() if name in _OF_MODEL}
    return {"": {**made, "taken": model.name}}


async def _check_candidates(call: Call, candidates: Sequence[Candidate]) -> None:
    """Endpoints that are there must answer; sizes must fit under the policy `strict`."""
    machine = call.settings.machine
    for each in candidates:
        if each.endpoint:
            found = await records.find(call, "endpoint", each.endpoint)
            if found.status not in endpoints.SERVING:
                raise Invalid(
                    f"The endpoint {each.endpoint} is {found.status}: a load test needs one that is InService."
                )
        size = instances.find(each.instance_type) if each.instance_type else None
        if size is not None and machine is not None and call.settings.capacity == "strict":
            admission.check_reservable([size], machine, "endpoint")


async def _check_payload(call: Call, uri: str) -> None:
    place = parse_uri(uri)
    artifacts = call.ports.artifacts.of(call.scope.account)
    if not place.key.endswith((".tar.gz", ".tgz")):
        raise Invalid(f"SamplePayloadUrl {uri} must name one archive of the form .tar.gz.")
    try:
        await artifacts.head(place.bucket, place.key)
    except NotFound:
        raise Invalid(
            f"Could not find the sample payload at {uri}: put a .tar.gz with sample payloads there."
        ) from None


async def _find(call: Call, name: str) -> Record:
    return await handled.find(call, KIND, name, _missing(call, name))


def _missing(call: Call, name: str) -> str:
    return f"Could not find inference recommendations job with ARN {call.arn(KIND, name)}."


@operation("sagemaker", "DescribeInferenceRecommendationsJob")
async def describe_recommendations_job(call: Call, params: Params) -> Params:
    """Held for clients that wait, until the job ends."""
    name = params["JobName"]
    record = await holding.settled(call, await _find(call, name), recommendations.ACTIVE)
    if record is None:
        raise NotFound(_missing(call, name))
    document, request = record.document, record.document["request"]
    best = [measured.recommendation(record, test) for test in measured.ranked(document)]
    existing = [test for test in document["tests"] if test["candidate"]["endpoint"] and test.get("metrics")]
    answer: Params = {
        **_summary(record),
        "InputConfig": request["InputConfig"],
        "EndpointPerformances": [measured.performance(test) for test in existing],
    }
    for left_out in ("ModelName", "ModelPackageVersionArn", "SamplePayloadUrl"):
        answer.pop(left_out, None)
    if request.get("StoppingConditions"):
        answer["StoppingConditions"] = request["StoppingConditions"]
    return {**answer, **({"InferenceRecommendations": best} if best else {})}


def _summary(record: Record) -> Params:
    document, request = record.document, record.document["request"]
    summary: Params = {
        "JobName": record.name,
        "JobArn": record.arn,
        "JobDescription": "",
        **{name: request[name] for name in _SHOWN if name in request},
        "Status": record.status,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "SamplePayloadUrl": document["payload"],
    }
    told = (
        ("CompletionTime", "ended"),
        ("FailureReason", "failure"),
        ("ModelName", "model_name"),
        ("ModelPackageVersionArn", "package"),
    )
    return {**summary, **{member: document[name] for member, name in told if document.get(name)}}


@operation("sagemaker", "ListInferenceRecommendationsJobs")
async def list_recommendations_jobs(call: Call, params: Params) -> Params:
    """Of a model or a model package, where that is asked."""
    filters = {"model_name": params.get("ModelNameEquals"), "package": params.get("ModelPackageVersionArnEquals")}
    wanted = replace(paging.query(call, params, KIND), where={name: value for name, value in filters.items() if value})
    found, more = await paging.page(call, params, wanted)
    return {"InferenceRecommendationsJobs": [_summary(record) for record in found], **more}


@operation("sagemaker", "ListInferenceRecommendationsJobSteps")
async def list_recommendations_job_steps(call: Call, params: Params) -> Params:
    """In the order in which they run."""
    record = await _find(call, params["JobName"])
    wanted = {name: params[name] for name in ("Status", "StepType") if params.get(name)}
    every = (measured.step(record, test) for test in record.document["tests"])
    steps = [step for step in every if all(step[name] == value for name, value in wanted.items())]
    found, more = paging.part(call, params, steps)
    return {"Steps": list(found), **more}


@operation("sagemaker", "StopInferenceRecommendationsJob")
async def stop_recommendations_job(call: Call, params: Params) -> Params:
    """Mark the job for stopping; what it made is removed first. Without effect if it is already stopping."""

    def change(old: Record) -> Record:
        if old.status == RecommendationsStatus.STOPPING:
            return old
        try:
            return recommendations.stop_asked(old, call.now)
        except IllegalTransition:
            raise Invalid(
                f"The request was rejected because the inference recommendations job is in status {old.status}."
            ) from None

    await records.amend(call, lambda: _find(call, params["JobName"]), change)
    return {}
