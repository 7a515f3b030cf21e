"""Endpoints: create, describe, list, update, delete. Handlers record the request; the endpoint loop carries it out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clary.api import holding, images, paging, records, retries, searchable, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import deployment_alarms, inference_components
from clary.api.searchable import Searchable
from clary.domain.endpoints import (
    capture,
    components,
    deployment_rules,
    explainers,
    life,
    regression,
    rollout_status,
    serverless,
    target_models,
)
from clary.domain.endpoints.fleets import Fleet, Plant, Variant, check_shadows, new_fleet
from clary.domain.endpoints.turn import noted
from clary.domain.errors import Invalid, NotFound
from clary.domain.fields import table
from clary.domain.lifecycle import EndpointStatus
from clary.domain.machine import admission, instances
from clary.domain.models.containers import Container, containers_of
from clary.domain.monitoring import retraining
from clary.domain.objectives import record as latency_objectives
from clary.domain.registry import aliases
from clary.domain.resources import Record
from clary.domain.search.plan import Kept

SERVING = (EndpointStatus.IN_SERVICE, EndpointStatus.OUT_OF_SERVICE, EndpointStatus.UPDATE_ROLLBACK_FAILED)
TRANSIENT = (
    EndpointStatus.CREATING,
    EndpointStatus.UPDATING,
    EndpointStatus.ROLLING_BACK,
    EndpointStatus.DELETING,
)


@operation("sagemaker", "CreateEndpoint", again=lambda _, record: {"EndpointArn": record.arn})
async def create_endpoint(call: Call, params: Params) -> Params:
    """Record the endpoint as Creating; the endpoint loop starts its replicas."""
    table.check("CreateEndpoint", params, call.settings.strict_fields)
    fleet = await _fleet(call, params["EndpointConfigName"])
    deployment_rules.check(params.get("DeploymentConfig"), {}, fleet.counts)
    await deployment_alarms.check(call, params.get("DeploymentConfig") or {})
    plant = Plant(
        seed=secrets.token_hex(32), incoming=fleet, changed=call.now, deployment=params.get("DeploymentConfig") or {}
    )
    plant = noted(plant, "create asked", f"endpoint config {fleet.config}", call.now, fleet.config)
    request = {name: value for name, value in params.items() if name != "Tags"}
    tags = tagging.checked(params.get("Tags"))
    for tag in tags:
        if tag["Key"] == aliases.FOLLOW:
            aliases.followed(tag["Value"])
        if tag["Key"] == retraining.TAG:
            retraining.RetrainPlan.read(tag["Value"])
    document = {"request": request, "tags": tags, "plant": plant.to_json()}
    record = records.new(call, "endpoint", params["EndpointName"], document, EndpointStatus.CREATING)
    return {"EndpointArn": (await records.add(call, record)).arn}


async def _fleet(call: Call, config_name: str) -> Fleet:
    """What that config asks for, with everything of its models that serving needs."""
    config = await records.find(call, "endpoint-config", config_name)
    rows = config.document["request"]["ProductionVariants"]
    shadows = config.document["request"].get("ShadowProductionVariants") or []
    named = [row["ModelName"] for row in (*rows, *shadows) if row.get("ModelName")]
    models = {name: await records.find(call, "model", name) for name in named}
    wall = call.settings.deadline == "aws"
    cut = bool(config.document["request"].get("EnableNetworkIsolation"))
    containers = {
        name: [replace(container, wall=wall, isolated=container.isolated or cut) for container in containers_of(model)]
        for name, model in models.items()
    }
    asynchronous = config.document["request"].get("AsyncInferenceConfig") or {}
    role = config.document["request"].get("ExecutionRoleArn", "")
    containers[""] = [Container("", "", role=role, wall=wall, isolated=cut)]  # of variants for inference components
    fleet = new_fleet(call.new_id(), config_name, rows, containers, call.now, shadows)
    captured = config.document["request"].get("DataCaptureConfig") or {}
    captured = capture.kept(captured, config_name, config.document.get("tags", ()))
    explainer = config.document["request"].get("ExplainerConfig") or {}
    fleet = replace(fleet, asynchronous=asynchronous, capture=captured, explainer=explainer)
    objective, tagged = latency_objectives.objective_of(
        config.document.get("tags", ()), call.settings.latency_objective, f" of endpoint config {config_name}"
    )
    fleet = replace(fleet, objective=objective)
    for group in fleet.groups if tagged else ():
        latency_objectives.check_variant(group, bool(asynchronous))
    serverless.check_fleet(fleet)
    check_shadows(fleet)
    explainers.check_fleet(fleet)
    target_models.check_fleet(fleet)
    _check_size(call, fleet)
    return fleet


async def _regression(call: Call, config_name: str) -> float:
    """The false alarm rate of the comparison of the fleets: the endpoint config's tag, else the setting. 0: they are not compared."""
    config = await records.find(call, "endpoint-config", config_name)
    for tag in config.document.get("tags", ()):
        if tag["Key"] == regression.TAG:
            return regression.rate_of(tag["Value"], f"The tag {regression.TAG} of endpoint config {config_name}")
    return call.settings.rollback_on_regression


def _check_size(call: Call, fleet: Fleet) -> None:
    """That it is a number to be served with; under the policy `strict`, that the machine could ever reserve the whole fleet."""
    machine = call.settings.machine
    firsts = [group[0] for group in (*fleet.groups, *fleet.shadows)]  # containers of a variant share its instances
    largest = max(firsts, key=lambda v: v.count)
    admission.check_number(largest.instance_type, sum(v.count for v in firsts), "endpoint")
    sizes = [size for v in firsts if (size := instances.find(v.instance_type)) for _ in range(v.count)]
    if sizes and machine is not None and call.settings.capacity == "strict":
        admission.check_reservable(sizes, machine, "endpoint")


@operation("sagemaker", "DescribeEndpoint")
async def describe_endpoint(call: Call, params: Params) -> Params:
    """Held for clients that wait, while the endpoint changes."""
    record = await records.find(call, "endpoint", params["EndpointName"])
    settled = await holding.settled(call, record, TRANSIENT)
    if settled is None:
        raise NotFound(f'Could not find endpoint "{record.arn}".')
    plant = life.plant_of(settled)
    answer = _described(call, settled, plant)
    for name, count in (await inference_components.instances(call, settled, plant)).items():
        for row in answer["ProductionVariants"]:
            if row["VariantName"] == name:
                row |= {"CurrentInstanceCount": count, "DesiredInstanceCount": count}
    return answer


def _described(call: Call, record: Record, plant: Plant | None = None) -> Params:
    plant = plant or life.plant_of(record)
    shown = plant.shown
    answer: Params = {
        "EndpointName": record.name,
        "EndpointArn": record.arn,
        "EndpointConfigName": life.config_of(record, plant),
        "EndpointStatus": record.status,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
    }
    if shown is not None:
        answer |= _summaries(call, record, shown)
    if plant.serving is not None and plant.incoming is not None:
        answer["PendingDeploymentSummary"] = {
            "EndpointConfigName": plant.incoming.config,
            "StartTime": plant.incoming.created,
            **_summaries(call, record, plant.incoming, _pending),
        }
    if shown is not None and shown.asynchronous:
        answer["AsyncInferenceConfig"] = dict(shown.asynchronous)
    if shown is not None and shown.capture:
        answer["DataCaptureConfig"] = capture.summary(shown.capture, plant.serving is not None)
    if shown is not None and shown.explainer:
        answer["ExplainerConfig"] = dict(shown.explainer)
    if plant.failure:
        answer["FailureReason"] = plant.failure
    if plant.deployment:
        answer["LastDeploymentConfig"] = dict(plant.deployment)
    return answer


searchable.register(
    Searchable(
        "Endpoint",
        "endpoint",
        _described,
        Kept({**searchable.TIMES, "EndpointName": "name", "EndpointArn": "arn", "EndpointStatus": "status"}),
    )
)


def _summaries(
    call: Call,
    record: Record,
    fleet: Fleet,
    one: Callable[[Call, Record, Fleet, Sequence[Variant]], Params] | None = None,
) -> Params:
    show = one or _summary
    found: Params = {"ProductionVariants": [show(call, record, fleet, group) for group in fleet.groups]}
    if fleet.shadows:
        found["ShadowProductionVariants"] = [show(call, record, fleet, group) for group in fleet.shadows]
    return found


def _summary(call: Call, record: Record, fleet: Fleet, group: Sequence[Variant]) -> Params:
    """A production variant, given as its containers."""
    variant = group[0]
    summary: Params = {
        **rollout_status.size_of(group),
        "DeployedImages": [images.deployed(call, v.container.image, fleet.created) for v in group if v.container.image],
    }
    for member in ("ManagedInstanceScaling", "RoutingConfig"):
        if member in variant.config:
            summary[member] = variant.config[member]
    if record.status in TRANSIENT:
        summary["VariantStatus"] = [rollout_status.status_of(record, life.plant_of(record), fleet, group)]
    elif record.status in SERVING and (waits := rollout_status.waiting(fleet, group, call.now)) is not None:
        summary["VariantStatus"] = [waits]
    return summary


def _pending(call: Call, record: Record, fleet: Fleet, group: Sequence[Variant]) -> Params:
    """The same of a fleet that comes in: with its instance type."""
    kind = group[0].config.get("InstanceType")
    return {**_summary(call, record, fleet, group), **({"InstanceType": kind} if kind else {})}


@operation("sagemaker", "ListEndpoints")
async def list_endpoints(call: Call, params: Params) -> Params:
    found, more = await paging.page(call, params, paging.query(call, params, "endpoint"))
    rows = [
        {
            "EndpointName": e.name,
            "EndpointArn": e.arn,
            "CreationTime": e.created,
            "LastModifiedTime": e.modified,
            "EndpointStatus": e.status,
        }
        for e in found
    ]
    return {"Endpoints": rows, **more}


@operation("sagemaker", "UpdateEndpoint")
async def update_endpoint(call: Call, params: Params) -> Params:
    """Record the new fleet; the endpoint loop starts it beside the serving one and moves the traffic."""
    table.check("UpdateEndpoint", params, call.settings.strict_fields)
    before = await records.find(call, "endpoint", params["EndpointName"])
    if retries.asked_before(call, params, before):
        return {"EndpointArn": before.arn}
    fleet = await _fleet(call, params["EndpointConfigName"])
    rate = await _regression(call, params["EndpointConfigName"])
    excluded = {row["VariantPropertyType"] for row in params.get("ExcludeRetainedVariantProperties") or ()}
    if excluded and not params.get("RetainAllVariantProperties"):
        raise Invalid("ExcludeRetainedVariantProperties needs RetainAllVariantProperties to be true.")
    if params.get("RetainDeploymentConfig") and params.get("DeploymentConfig"):
        raise Invalid("Please provide either DeploymentConfig or RetainDeploymentConfig, not both.")

    for name in {r.document["variant"] for r in await inference_components.hosted(call, before.name)}:
        components.host_of(fleet, before.name, name)  # its components stay: the new config must have a place for them
    config: Mapping[str, Any] = params.get("DeploymentConfig") or {}
    if params.get("RetainDeploymentConfig"):
        config = life.plant_of(before).deployment
    await deployment_alarms.check(call, config)

    def change(record: Record) -> Record:
        plant = life.plant_of(record)
        wanted = fleet
        if plant.serving is not None:
            serverless.check_change(plant.serving, fleet)
        if params.get("RetainAllVariantProperties") and plant.serving is not None:
            wanted = life.retained(fleet, plant.serving, excluded)
        deployment_rules.check(config, plant.serving.counts if plant.serving else {}, wanted.counts)
        return retries.asked(call, params, life.asked_update(record, wanted, config, call.now, rate))

    record = await records.amend(call, lambda: records.find(call, "endpoint", params["EndpointName"]), change)
    return {"EndpointArn": record.arn}


@operation("sagemaker", "UpdateEndpointWeightsAndCapacities")
async def update_weights_and_capacities(call: Call, params: Params) -> Params:
    """Record weights and counts; the replicas that stay are not restarted."""
    table.check("UpdateEndpointWeightsAndCapacities", params, call.settings.strict_fields)
    named = [row["VariantName"] for row in params["DesiredWeightsAndCapacities"]]
    for name in named:
        if named.count(name) > 1:
            raise Invalid(f'DesiredWeightsAndCapacities names the variant "{name}" more than once; give it one row.')

    def change(old: Record) -> Record:
        new = life.asked_capacity(old, params["DesiredWeightsAndCapacities"], call.now)
        if (fleet := life.plant_of(new).serving) is not None:
            _check_size(call, fleet)
            if len(fleet.groups) > 1 and not any(group[0].weight for group in fleet.groups):
                raise Invalid("At least one production variant must have a DesiredWeight above 0.")
        return new

    record = await records.amend(
        call,
        lambda: records.find(call, "endpoint", params["EndpointName"]),
        change,
    )
    return {"EndpointArn": record.arn}


@operation("sagemaker", "DeleteEndpoint")
async def delete_endpoint(call: Call, params: Params) -> Params:
    """Mark it for deletion; the endpoint loop stops its replicas and removes the record. Model and config stay."""
    found = await records.find(call, "endpoint", params["EndpointName"])
    components.refuse_hosted(found.arn, await inference_components.names_on(call, found.name))
    record = await records.amend(
        call,
        lambda: records.find(call, "endpoint", params["EndpointName"]),
        lambda old: life.asked_delete(old, call.now),
    )
    await holding.gone(call, record)
    return {}
