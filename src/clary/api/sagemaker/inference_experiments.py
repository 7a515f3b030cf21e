"""Inference experiments (shadow tests): create, describe, list, update, start, stop, delete. Handlers record; a loop acts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from clary.api import holding, paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import endpoints
from clary.domain.endpoints import inference_experiments as experiments
from clary.domain.endpoints import life
from clary.domain.endpoints.inference_experiments import KIND
from clary.domain.errors import InUse, Invalid, NotFound
from clary.domain.fields import table
from clary.domain.lifecycle import EndpointStatus, InferenceExperimentStatus
from clary.domain.resources import Query, Record
from clary.pages import pages

_SHOWN = ("Schedule", "Description", "RoleArn")
_VARIANT_STATUS = {
    EndpointStatus.CREATING: "Creating",
    EndpointStatus.UPDATING: "Updating",
    EndpointStatus.ROLLING_BACK: "Updating",
    EndpointStatus.DELETING: "Deleting",
}


@operation("sagemaker", "CreateInferenceExperiment", again=lambda _, record: {"InferenceExperimentArn": record.arn})
async def create_inference_experiment(call: Call, params: Params) -> Params:
    """Record the experiment as Creating; the loop starts it when its schedule says so."""
    table.check("CreateInferenceExperiment", params, call.settings.strict_fields)
    records.check_role(call, params["RoleArn"])
    request = _plain({name: value for name, value in params.items() if name != "Tags"})
    experiments.check(request, call.now)
    for variant in request["ModelVariants"]:
        await records.find(call, "model", variant["ModelName"])
    await _check_endpoint(call, request)
    name = params["Name"]
    mark = hashlib.sha256(f"{call.arn(KIND, name)} {call.new_id()}".encode()).hexdigest()[:8]
    document = {"request": request, "tags": tagging.checked(params.get("Tags")), "id": mark, "type": params["Type"]}
    record = records.new(call, KIND, name, document, InferenceExperimentStatus.CREATING)
    return {"InferenceExperimentArn": (await records.add(call, record)).arn}


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Times as epoch seconds, as records hold them."""
    found = dict(params)
    if found.get("Schedule"):
        found["Schedule"] = {name: paging.seconds(value) for name, value in found["Schedule"].items() if value}
    return found


async def _check_endpoint(call: Call, request: Mapping[str, Any]) -> None:
    """An endpoint that is there must be able to take the experiment, and have no other one."""
    name = request["EndpointName"]
    query = Query(KIND, call.scope_of(KIND), statuses=tuple(map(str, experiments.ACTIVE)), sort_by="name", limit=200)
    async for page in pages(call.store, query):
        for other in page:
            if other.name != request["Name"] and other.document["request"]["EndpointName"] == name:
                raise InUse(
                    f"The endpoint {name} has an inference experiment already ({other.name}, {other.status}): stop that one first."
                )
    endpoint = await call.store.get("endpoint", call.scope_of("endpoint"), name)
    if endpoint is None:
        return
    if endpoint.status not in endpoints.SERVING:
        raise Invalid(
            f"The endpoint {name} is {endpoint.status}: an inference experiment needs one that is InService, or none."
        )
    config = await call.store.get("endpoint-config", endpoint.scope, experiments.config_of(endpoint))
    experiments.check_endpoint(request, experiments.served(endpoint, config))


@operation("sagemaker", "DescribeInferenceExperiment")
async def describe_inference_experiment(call: Call, params: Params) -> Params:
    """Held for clients that wait, while the experiment changes."""
    record = await records.find(call, KIND, params["Name"])
    settled = await holding.settled(call, record, experiments.CHANGING)
    if settled is None:
        raise NotFound(f'Could not find inference experiment "{record.arn}".')
    request = settled.document["request"]
    endpoint = await call.store.get("endpoint", call.scope_of("endpoint"), request["EndpointName"])
    answer = {
        "Arn": settled.arn,
        **_summary(settled),
        "EndpointMetadata": _endpoint(request["EndpointName"], endpoint),
        "ModelVariants": [
            {**variant, "Status": _variant_status(endpoint, variant["VariantName"])}
            for variant in request["ModelVariants"]
        ],
        "ShadowModeConfig": request["ShadowModeConfig"],
    }
    for name in ("DataStorageConfig", "KmsKey"):
        if request.get(name):
            answer[name] = request[name]
    return answer


def _endpoint(name: str, endpoint: Record | None) -> Params:
    if endpoint is None:
        return {"EndpointName": name}
    plant = life.plant_of(endpoint)
    return {
        "EndpointName": name,
        "EndpointConfigName": life.config_of(endpoint, plant),
        "EndpointStatus": endpoint.status,
        **({"FailureReason": plant.failure} if plant.failure else {}),
    }


def _variant_status(endpoint: Record | None, name: str) -> str:
    """Of a variant on the endpoint; one that is not there is yet to come, or gone."""
    if endpoint is None:
        return "Deleted"
    shown = life.plant_of(endpoint).shown
    there = shown is not None and any(variant.name == name for variant in shown.variants)
    moving = _VARIANT_STATUS.get(EndpointStatus(endpoint.status))
    if there:
        return moving or "InService"
    return "Creating" if moving == "Updating" or moving == "Creating" else "Deleted"


def _summary(record: Record) -> Params:
    request, document = record.document["request"], record.document
    shown: Params = {
        "Name": record.name,
        "Type": request["Type"],
        "Status": record.status,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        **{name: request[name] for name in _SHOWN if request.get(name)},
    }
    if document.get("reason"):
        shown["StatusReason"] = document["reason"]
    if document.get("completed"):
        shown["CompletionTime"] = document["completed"]
    return shown


@operation("sagemaker", "ListInferenceExperiments")
async def list_inference_experiments(call: Call, params: Params) -> Params:
    wanted = paging.query(call, params, KIND)
    if params.get("Type"):
        wanted = replace(wanted, where={**wanted.where, "type": params["Type"]})
    found, more = await paging.page(call, params, wanted)
    return {"InferenceExperiments": [_summary(record) for record in found], **more}


@operation("sagemaker", "UpdateInferenceExperiment")
async def update_inference_experiment(call: Call, params: Params) -> Params:
    """Any of it before the start; description, end, sampling and data storage while it runs."""
    table.check("UpdateInferenceExperiment", params, call.settings.strict_fields)
    for variant in params.get("ModelVariants") or ():
        await records.find(call, "model", variant["ModelName"])
    changes = _plain(params)
    return await _amend(call, params, lambda record: experiments.updated(record, changes, call.now))


@operation("sagemaker", "StartInferenceExperiment")
async def start_inference_experiment(call: Call, params: Params) -> Params:
    """Before its schedule says so."""
    return await _amend(call, params, lambda record: experiments.start_asked(record, call.now))


@operation("sagemaker", "StopInferenceExperiment")
async def stop_inference_experiment(call: Call, params: Params) -> Params:
    """Retain, remove or promote its variants, and end it."""
    table.check("StopInferenceExperiment", params, call.settings.strict_fields)
    for variant in params.get("DesiredModelVariants") or ():
        await records.find(call, "model", variant["ModelName"])
    return await _amend(call, params, lambda record: experiments.stop_asked(record, params, call.now))


@operation("sagemaker", "DeleteInferenceExperiment")
async def delete_inference_experiment(call: Call, params: Params) -> Params:
    """The experiment alone: its endpoint, variants and data stay."""

    async def over(record: Record) -> None:
        if record.status not in (*experiments.ENDED, InferenceExperimentStatus.CREATED):
            raise Invalid(f"The inference experiment {record.name} is {record.status}: stop it before it is deleted.")

    record = await records.drop(call, KIND, params["Name"], over)
    return {"InferenceExperimentArn": record.arn}


async def _amend(call: Call, params: Params, change: Callable[[Record], Record]) -> Params:
    record = await records.amend(call, lambda: records.find(call, KIND, params["Name"]), change)
    return {"InferenceExperimentArn": record.arn}
