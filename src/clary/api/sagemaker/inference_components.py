"""Inference components: create, describe, list, update, delete. Handlers record the request; the component loop carries it out."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clary.api import holding, images, paging, records, retries, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import deployment_alarms
from clary.domain.endpoints import components, deployment_rules, life
from clary.domain.endpoints.components import Need
from clary.domain.endpoints.fleets import Fleet, Plant, Variant
from clary.domain.errors import Invalid, NotFound
from clary.domain.fields import table
from clary.domain.lifecycle import EndpointStatus
from clary.domain.models.containers import Container, check_numbers, containers_of
from clary.domain.names import COMPONENT
from clary.domain.resources import Query, Record

TRANSIENT = (
    EndpointStatus.CREATING,
    EndpointStatus.UPDATING,
    EndpointStatus.ROLLING_BACK,
    EndpointStatus.DELETING,
)
_MANY = 100_000


@operation("sagemaker", "CreateInferenceComponent", again=lambda _, record: {"InferenceComponentArn": record.arn})
async def create_inference_component(call: Call, params: Params) -> Params:
    """Record it as Creating, if its copies fit; the component loop starts them."""
    table.check("CreateInferenceComponent", params, call.settings.strict_fields)
    specification = params.get("Specification") or {}
    components.check_specification(specification)
    if not params.get("RuntimeConfig"):
        raise Invalid("Please provide RuntimeConfig.CopyCount.")
    endpoint = await records.find(call, "endpoint", params["EndpointName"])
    if endpoint.status in (EndpointStatus.FAILED, EndpointStatus.DELETING):
        raise Invalid(f'Endpoint "{endpoint.arn}" is {endpoint.status}; it cannot host inference components.')
    host = _host(endpoint, params.get("VariantName", ""))
    fleet = await _fleet(call, endpoint, host, params["InferenceComponentName"], params)
    request = {name: value for name, value in params.items() if name != "Tags"} | {"VariantName": host.name}
    document = {
        "request": request,
        "tags": tagging.checked(params.get("Tags")),
        "endpoint": endpoint.name,
        "variant": host.name,
        "plant": Plant(seed=secrets.token_hex(32), incoming=fleet, changed=call.now).to_json(),
    }
    record = records.new(call, COMPONENT, params["InferenceComponentName"], document, EndpointStatus.CREATING)
    return {"InferenceComponentArn": (await records.add(call, record)).arn}


def _host(endpoint: Record, variant: str) -> Variant:
    plant = life.plant_of(endpoint)
    return components.host_of(plant.serving or plant.incoming, endpoint.name, variant)


async def _fleet(call: Call, endpoint: Record, host: Variant, name: str, request: Mapping[str, Any]) -> Fleet:
    """What that request asks for. LimitExceeded when its copies have no place beside those of the other components."""
    specification, copies = request["Specification"], int(request["RuntimeConfig"]["CopyCount"])
    await _check_room(call, endpoint, host, name, components.need_of(specification, copies))
    if specification.get("ModelName"):
        container = await _of_model(call, specification["ModelName"], host)
    else:
        container = components.container_of(host, name, specification["Container"])
        images.require(call, container.image)
    check_numbers(container)
    return components.fleet_of(call.new_id(), host, container, specification, copies, call.now)


async def _of_model(call: Call, name: str, host: Variant) -> Container:
    model = await records.find(call, "model", name)
    containers = containers_of(model)
    if len(containers) > 1:
        raise Invalid(f"Model {name} has {len(containers)} containers; an inference component has one.")
    [container] = containers
    if container.multi_model:
        raise Invalid(f"Model {name} has Mode MultiModel; an inference component has one model.")
    return replace(container, wall=host.container.wall, isolated=container.isolated or host.container.isolated)


async def _check_room(call: Call, endpoint: Record, host: Variant, name: str, need: Need) -> None:
    others = await hosted(call, endpoint.name)
    beside = [r for r in others if r.document["variant"] == host.name and r.name != name]
    components.check_room(host, need, [n for r in beside for n in components.needs_of(r)])


async def hosted(call: Call, endpoint: str) -> Sequence[Record]:
    """The components of an endpoint that hold their places, or may still."""
    found = await call.store.page(Query(COMPONENT, call.scope, where={"endpoint": endpoint}, limit=_MANY))
    return [record for record in found if record.status != EndpointStatus.FAILED]


async def names_on(call: Call, endpoint: str) -> list[str]:
    """All of them, failed ones too."""
    found = await call.store.page(
        Query(COMPONENT, call.scope, where={"endpoint": endpoint}, limit=_MANY, sort_by="name", descending=False)
    )
    return [record.name for record in found]


async def instances(call: Call, endpoint: Record, plant: Plant) -> dict[str, int]:
    """Instances of every variant of the endpoint, whose plant that is, that hosts components."""
    fleet = plant.serving or plant.incoming
    hosts = [v for v in fleet.variants if v.hosting] if fleet is not None else []
    if not hosts:
        return {}
    needs = [(r.document["variant"], n) for r in await hosted(call, endpoint.name) for n in components.needs_of(r)]
    return {host.name: components.instances_of(host, [n for v, n in needs if v == host.name]) for host in hosts}


@operation("sagemaker", "DescribeInferenceComponent")
async def describe_inference_component(call: Call, params: Params) -> Params:
    """Held for clients that wait, while it changes."""
    record = await records.find(call, COMPONENT, params["InferenceComponentName"])
    settled = await holding.settled(call, record, TRANSIENT)
    if settled is None:
        raise NotFound(f'Could not find inference component "{record.arn}".')
    plant, request = life.plant_of(settled), components.request_of(settled)
    shown = plant.shown
    answer: Params = {
        **_summary(call, settled),
        "Specification": _specification(call, request["Specification"], shown),
        "RuntimeConfig": {
            "DesiredCopyCount": request["RuntimeConfig"]["CopyCount"],
            "CurrentCopyCount": sum(v.ready for v in shown.variants) if shown is not None else 0,
        },
    }
    if plant.failure:
        answer["FailureReason"] = plant.failure
    if settled.document.get("deployment"):
        answer["LastDeploymentConfig"] = settled.document["deployment"]
    return answer


def _specification(call: Call, given: Mapping[str, Any], shown: Fleet | None) -> Params:
    answer = {name: value for name, value in given.items() if name != "Container"}
    if given.get("Container"):
        container = {name: value for name, value in given["Container"].items() if name != "Image"}
        deployed = images.deployed(call, given["Container"]["Image"], shown.created if shown is not None else None)
        answer["Container"] = {**container, "DeployedImage": deployed}
    return answer


def _summary(call: Call, record: Record) -> Params:
    return {
        "InferenceComponentName": record.name,
        "InferenceComponentArn": record.arn,
        "EndpointName": record.document["endpoint"],
        "EndpointArn": call.arn("endpoint", record.document["endpoint"]),
        "VariantName": record.document["variant"],
        "InferenceComponentStatus": components.status_of(record),
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
    }


@operation("sagemaker", "ListInferenceComponents")
async def list_inference_components(call: Call, params: Params) -> Params:
    query = paging.query(call, params, COMPONENT)
    members = (("EndpointNameEquals", "endpoint"), ("VariantNameEquals", "variant"))
    where = {key: params[member] for member, key in members if params.get(member)}
    statuses = components.statuses_of(params["StatusEquals"]) if params.get("StatusEquals") else ()
    found, more = await paging.page(call, params, replace(query, where=where, statuses=statuses))
    return {"InferenceComponents": [_summary(call, record) for record in found], **more}


@operation("sagemaker", "UpdateInferenceComponent")
async def update_inference_component(call: Call, params: Params) -> Params:
    """Record the new copies; without a DeploymentConfig a change of count or compute alone is made in place."""
    table.check("UpdateInferenceComponent", params, call.settings.strict_fields)
    before = await records.find(call, COMPONENT, params["InferenceComponentName"])
    if retries.asked_before(call, params, before):
        return {"InferenceComponentArn": before.arn}
    if not params.get("Specification") and not params.get("RuntimeConfig"):
        raise Invalid("Please provide Specification or RuntimeConfig.")
    request = components.updated(components.request_of(before), params)
    components.check_specification(request["Specification"])
    endpoint = await records.find(call, "endpoint", before.document["endpoint"])
    fleet = await _fleet(call, endpoint, _host(endpoint, before.document["variant"]), before.name, request)
    given = params.get("DeploymentConfig") or {}
    config = components.deployment_of(given)
    await deployment_alarms.check(call, config)

    def change(old: Record) -> Record:
        plant = life.plant_of(old)
        deployment_rules.check(config, plant.serving.counts if plant.serving else {}, fleet.counts)
        new = life.asked_update(old, fleet, config, call.now)
        return retries.asked(call, params, replace(new, document={**new.document, "deployment": given}))

    record = await records.amend(call, lambda: records.find(call, COMPONENT, before.name), change)
    return {"InferenceComponentArn": record.arn}


@operation("sagemaker", "UpdateInferenceComponentRuntimeConfig")
async def update_runtime_config(call: Call, params: Params) -> Params:
    """Record the number of copies; those that stay are not restarted."""
    before = await records.find(call, COMPONENT, params["InferenceComponentName"])
    copies = int(params["DesiredRuntimeConfig"]["CopyCount"])
    specification = components.request_of(before)["Specification"]
    endpoint = await records.find(call, "endpoint", before.document["endpoint"])
    host = _host(endpoint, before.document["variant"])
    await _check_room(call, endpoint, host, before.name, components.need_of(specification, copies))

    def change(old: Record) -> Record:
        wanted = {"VariantName": old.document["variant"], "DesiredInstanceCount": copies}
        return life.asked_capacity(old, [wanted], call.now)

    record = await records.amend(call, lambda: records.find(call, COMPONENT, before.name), change)
    return {"InferenceComponentArn": record.arn}


@operation("sagemaker", "DeleteInferenceComponent")
async def delete_inference_component(call: Call, params: Params) -> Params:
    """Mark it for deletion; the component loop stops its copies and removes the record."""
    record = await records.amend(
        call,
        lambda: records.find(call, COMPONENT, params["InferenceComponentName"]),
        lambda old: life.asked_delete(old, call.now),
    )
    await holding.gone(call, record)
    return {}
