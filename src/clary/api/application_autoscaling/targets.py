"""Application Auto Scaling: scalable targets, their tags, and the activities of the scaling loop (`loops/scaling/targets.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.cloudwatch import alarms
from clary.api.errors import ApiError
from clary.api.registry import operation
from clary.domain.autoscaling import capacity, latency
from clary.domain.autoscaling.record import (
    ACTION,
    ACTIVE,
    ACTIVITY,
    INSTANCES,
    MILLICPU,
    NAMESPACE,
    POLICY,
    ROLE,
    SUSPENDED,
    TARGET,
    check_filter,
    check_namespace,
    new_target,
    part_name,
    place_of,
    target_arn,
    target_name,
)
from clary.domain.endpoints.life import plant_of
from clary.domain.errors import Invalid, NotFound
from clary.domain.resources import Query, Record
from clary.guarded import MADE_OR_CHANGED, until_first

MANY = 10_000
_MOST = 50  # of a page


@operation("application-autoscaling", "RegisterScalableTarget")
async def register_scalable_target(call: Call, params: Params) -> Params:
    """Register a variant or an inference component, or change its range; capacity outside of the range is changed at once."""
    check_namespace(params)
    resource, dimension = params["ResourceId"], params["ScalableDimension"]
    place = place_of(resource, dimension)
    name = target_name(resource, dimension)
    found = await call.store.get(place.kind, call.scope, place.name)
    if found is None:
        raise Invalid(f"There is no {place.words} in {call.scope.region}: create it before it is registered.")

    async def attempt() -> Record:
        known = await call.store.get(TARGET, call.scope, name)
        low, high = _range(params, known.document if known else None)
        try:
            capacity.check(found, place, dimension, low, high, await _has_objective(call, found, resource))
        except NotFound as error:
            raise Invalid(error.message) from None
        return await _registered(call, params, known, {"min": low, "max": high})

    record = await until_first(attempt, "The target", MADE_OR_CHANGED)
    return {"ScalableTargetARN": record.arn}


async def _has_objective(call: Call, resource: Record, id: str) -> bool:
    """Whether a latency objective decides the variant."""
    plant = plant_of(resource)
    fleet = plant.serving or plant.incoming
    if fleet is not None and fleet.objective:
        return True
    policies = [
        each for dimension in (INSTANCES, MILLICPU) for each in await parts(call, POLICY, target_name(id, dimension))
    ]
    return any(latency.is_latency(each.document["request"]) for each in policies)


def _range(params: Params, known: Mapping[str, Any] | None) -> tuple[int, int]:
    low, high = params.get("MinCapacity"), params.get("MaxCapacity")
    if known is None and (low is None or high is None):
        raise Invalid("MinCapacity and MaxCapacity must be specified when a scalable target is registered.")
    low, high = (known["min"] if low is None else low), (known["max"] if high is None else high)  # type: ignore[index]
    if low < 0 or high < 0:
        raise Invalid(f"MinCapacity and MaxCapacity must be at least 0; they are {low} and {high}.")
    if low > high:
        raise Invalid(f"Maximum capacity cannot be less than minimum capacity ({high} is less than {low}).")
    return low, high


async def _registered(call: Call, params: Params, known: Record | None, bounds: Mapping[str, int]) -> Record:
    suspended = {name: value for name, value in (params.get("SuspendedState") or {}).items() if name in SUSPENDED}
    if known is None:
        role = params.get("RoleARN") or call.shown(f"arn:aws:iam::{call.scope.account}:role/{ROLE}")
        document = new_target(params["ResourceId"], params["ScalableDimension"], role)
        document |= {**bounds, "tags": tagging.checked(_listed(params.get("Tags") or {}))}
        document["suspended"] |= suspended
        name = target_name(params["ResourceId"], params["ScalableDimension"])
        arn = target_arn(call.scope, call.new_id().replace("-", ""))
        return await call.store.add(replace(records.new(call, TARGET, name, document, ACTIVE), arn=arn))
    if params.get("Tags"):
        raise Invalid("Tags can only be given when a scalable target is registered first. Use TagResource.")
    document = {**known.document, **bounds, "suspended": {**known.document["suspended"], **suspended}, "retry": 0.0}
    if params.get("RoleARN"):
        document["role"] = params["RoleARN"]
    return await call.store.save(replace(known, document=document, modified=call.now))


@operation("application-autoscaling", "DeregisterScalableTarget")
async def deregister_scalable_target(call: Call, params: Params) -> Params:
    """Forget the target, its policies with their alarms, and its scheduled actions; capacity stays as it is."""
    check_namespace(params)

    async def attempt() -> Record:
        record = await target(call, params)
        await call.store.remove(record)
        return record

    record = await until_first(attempt, "The target")
    for kind in (POLICY, ACTION):
        for part in await parts(call, kind, record.name):
            await drop_part(call, part)
    return {}


async def delete_part(call: Call, params: Params, kind: str, what: str, name: str) -> Params:
    """Delete a target's policy or scheduled action, called `what` to the user. NotFound, in AWS's words, when there is none."""
    check_namespace(params)
    await target(call, params)
    resource, dimension = params["ResourceId"], params["ScalableDimension"]
    record = await call.store.get(kind, call.scope, part_name(resource, dimension, name))
    if record is None:
        raise NotFound(
            f"No {what} found for service namespace: {NAMESPACE}, resource ID: {resource}, scalable dimension: {dimension}: {name}"
        )
    await drop_part(call, record)
    return {}


async def drop_part(call: Call, part: Record) -> None:
    """A policy with its alarms, or a scheduled action."""
    await records.drop(call, part.kind, part.name)
    for name in part.document.get("alarms", ()):
        await alarms.delete(call, name)


async def parts(call: Call, kind: str, target_name: str) -> list[Record]:
    query = Query(kind, call.scope, where={"target": target_name}, sort_by="name", descending=False, limit=MANY)
    return await call.store.page(query)


async def target(call: Call, params: Params) -> Record:
    """The registered target that a request names."""
    resource, dimension = params["ResourceId"], params["ScalableDimension"]
    place_of(resource, dimension)
    record = await call.store.get(TARGET, call.scope, target_name(resource, dimension))
    if record is None:
        raise NotFound(
            f"No scalable target registered for service namespace: {NAMESPACE}, resource ID: {resource}, scalable dimension: "
            f"{dimension}"
        )
    return record


@operation("application-autoscaling", "DescribeScalableTargets")
async def describe_scalable_targets(call: Call, params: Params) -> Params:
    """Targets by resource and dimension."""
    check_filter(params)
    ids = params.get("ResourceIds") or []
    found, more = await listed(call, params, TARGET, {}, lambda r: not ids or r.document["resource"] in ids)
    return {"ScalableTargets": [_told(record) for record in found], **more}


def _told(record: Record) -> Params:
    document = record.document
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": document["resource"],
        "ScalableDimension": document["dimension"],
        "MinCapacity": document["min"],
        "MaxCapacity": document["max"],
        "RoleARN": document["role"],
        "CreationTime": record.created,
        "SuspendedState": dict(document["suspended"]),
        "ScalableTargetARN": record.arn,
    }


async def listed(
    call: Call, params: Params, kind: str, where: Mapping[str, str], fits: Any = None
) -> tuple[list[Record], Params]:
    """One page of records of a kind, oldest first, of those that the request's dimension and resource allow; `fits` narrows further."""
    if params.get("ScalableDimension"):
        where = {**where, "dimension": params["ScalableDimension"]}
    if params.get("ResourceId"):
        where = {**where, "resource": params["ResourceId"]}
    limit = page_size(params)
    after = resume(call, params)
    query = Query(kind, call.scope, where=where, descending=False, limit=MANY, after=after)
    found = [record for record in await call.store.page(query) if fits is None or fits(record)]
    shown = found[:limit]
    more = {"NextToken": paging.token(call, params, paging.position(shown[-1], "created"))} if found[limit:] else {}
    return shown, more


def page_size(params: Params) -> int:
    size = int(params.get("MaxResults", _MOST))
    if not 1 <= size <= _MOST:
        raise Invalid(f"MaxResults must be 1 to {_MOST}; it is {size}.")
    return size


def resume(call: Call, params: Params) -> paging.After | None:
    try:
        return paging.resume(call, params)
    except Invalid as error:
        raise ApiError("InvalidNextTokenException", error.message) from None


@operation("application-autoscaling", "DescribeScalingActivities")
async def describe_scaling_activities(call: Call, params: Params) -> Params:
    """What was done, newest first, of the last six weeks; with IncludeNotScaledActivities also what was not done, and why."""
    check_filter(params)
    where = {} if params.get("IncludeNotScaledActivities") else {"scaled": "yes"}
    for member in ("ResourceId", "ScalableDimension"):
        if params.get(member):
            where[member] = params[member]
    query = Query(ACTIVITY, call.scope, where=where, limit=page_size(params), after=resume(call, params))
    found, more = await paging.page(call, params, query)
    return {"ScalingActivities": [_activity(record) for record in found], **more}


def _activity(record: Record) -> Params:
    entry = {name: value for name, value in record.document.items() if name != "scaled" and value != ""}
    return {"ServiceNamespace": NAMESPACE, **entry}


# -- tags -------------------------------------------------------------------------------------------------------------------------


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


async def _tagged(call: Call, arn: str) -> Record:
    record = await call.store.by_arn(arn)
    if record is None or record.kind != TARGET or record.scope != call.scope:
        raise NotFound(f"There is no scalable target {arn} in {call.scope.region}.")
    return record


@operation("application-autoscaling", "TagResource")
async def tag_resource(call: Call, params: Params) -> Params:
    """Add or overwrite tags of a scalable target."""
    await tagging.add(call, lambda: _tagged(call, params["ResourceARN"]), _listed(params["Tags"]))
    return {}


@operation("application-autoscaling", "UntagResource")
async def untag_resource(call: Call, params: Params) -> Params:
    """Remove tags of a scalable target; keys that do not exist are ignored."""
    await tagging.remove(call, lambda: _tagged(call, params["ResourceARN"]), params["TagKeys"])
    return {}


@operation("application-autoscaling", "ListTagsForResource")
async def list_tags_for_resource(call: Call, params: Params) -> Params:
    """The tags of a scalable target."""
    record = await _tagged(call, params["ResourceARN"])
    return {"Tags": {tag["Key"]: tag["Value"] for tag in record.document["tags"]}}
