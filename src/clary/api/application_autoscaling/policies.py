"""Scaling policies. A target tracking policy has two alarms, which are created here; the scaling loop acts on the alarms' states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clary.api import records
from clary.api.application_autoscaling import targets
from clary.api.call import Call, Params
from clary.api.cloudwatch import alarms
from clary.api.registry import operation
from clary.domain.alarms import checks
from clary.domain.autoscaling import alarms as autoscaling_alarms
from clary.domain.autoscaling import capacity, latency
from clary.domain.autoscaling.policies import check_steps
from clary.domain.autoscaling.record import (
    NAMESPACE,
    POLICY,
    STEP,
    TRACKING,
    check_filter,
    check_namespace,
    part_name,
    place_of,
    policy_arn,
    policy_of,
)
from clary.domain.errors import Invalid, LimitExceeded
from clary.domain.ids import arn as make_arn
from clary.domain.objectives import record as latency_objectives
from clary.domain.resources import Query, Record
from clary.guarded import MADE_OR_CHANGED, until_first

_MOST = 50  # policies of a target
_CONFIGS = {STEP: "StepScalingPolicyConfiguration", TRACKING: "TargetTrackingScalingPolicyConfiguration"}


@operation("application-autoscaling", "PutScalingPolicy")
async def put_scaling_policy(call: Call, params: Params) -> Params:
    """Make or change a policy. Target tracking makes its alarms; a step policy's ARN is the action of an alarm of yours."""
    check_namespace(params)
    target = await targets.target(call, params)
    resource, dimension = target.document["resource"], target.document["dimension"]
    others = await targets.parts(call, POLICY, target.name)
    name = part_name(resource, dimension, params["PolicyName"])
    known = next((each for each in others if each.name == name), None)
    request = _request(params, known)
    _check(request, dimension, [each for each in others if each.name != name])
    if latency.is_latency(request):
        await _check_variant(call, resource, dimension)
    id = known.document["id"] if known else call.new_id()
    arn = known.arn if known else policy_arn(call.scope, id, resource, params["PolicyName"])
    wanted: list[dict[str, Any]] = []
    if request["PolicyType"] == TRACKING:
        wanted = autoscaling_alarms.requests(request, arn, id, call.settings.scaling_timing, resource, dimension)
        for alarm in wanted:
            checks.check(alarm)
    document = {
        "target": target.name,
        "resource": resource,
        "dimension": dimension,
        "id": id,
        "request": request,
        "alarms": [alarm["AlarmName"] for alarm in wanted],
    }
    await _store(call, name, arn, document)
    for stale in set(known.document["alarms"]) - set(document["alarms"]) if known else ():
        await alarms.delete(call, stale)
    for alarm in wanted:
        await alarms.put(call, alarm)
    return {"PolicyARN": arn, "Alarms": [_alarm(call, each) for each in document["alarms"]]}


def _request(params: Params, known: Record | None) -> dict[str, Any]:
    kind = params.get("PolicyType") or (known.document["request"]["PolicyType"] if known else STEP)
    if kind not in _CONFIGS:
        raise Invalid(f"PolicyType {kind} is not available in Clary: use {TRACKING} or {STEP}, or scheduled actions.")
    config = params.get(_CONFIGS[kind])
    if config is None:
        raise Invalid(f"{_CONFIGS[kind]} is required for PolicyType {kind}.")
    for other, member in _CONFIGS.items():
        if other != kind and params.get(member):
            raise Invalid(f"{member} must not be given with PolicyType {kind}.")
    return {"PolicyName": params["PolicyName"], "PolicyType": kind, _CONFIGS[kind]: config}


def _check(request: dict[str, Any], dimension: str, others: list[Record]) -> None:
    if len(others) >= _MOST:
        raise LimitExceeded(f"A scalable target can have at most {_MOST} scaling policies.")
    if request["PolicyType"] == STEP:
        check_steps(request[_CONFIGS[STEP]])
        autoscaling_alarms.check_cooldowns(request[_CONFIGS[STEP]])
        return
    config = request[_CONFIGS[TRACKING]]
    autoscaling_alarms.check(config, dimension)
    specification = {name: value for name, value in config.items() if name.endswith("MetricSpecification")}
    for each in others:
        tracked = each.document["request"].get(_CONFIGS[TRACKING]) or {}
        if {name: value for name, value in tracked.items() if name.endswith("MetricSpecification")} == specification:
            raise Invalid(
                "Only one TargetTrackingScaling policy for a given metric specification is allowed: policy "
                f"{each.document['request']['PolicyName']} has this one."
            )


async def _check_variant(call: Call, resource: str, dimension: str) -> None:
    place = place_of(resource, dimension)
    endpoint = await call.store.get("endpoint", call.scope, place.name)
    if endpoint is None:
        raise Invalid(f"There is no {place.words} in {call.scope.region} any more.")
    group = capacity.variants_of(endpoint, place)
    latency_objectives.check_variant(group, capacity.is_asynchronous(endpoint))


async def _store(call: Call, name: str, arn: str, document: dict[str, Any]) -> None:
    async def attempt() -> None:
        known = await call.store.get(POLICY, call.scope, name)
        if known is None:
            await call.store.add(replace(records.new(call, POLICY, name, document), arn=arn))
        else:
            await call.store.save(replace(known, document=document, modified=call.now))

    await until_first(attempt, "The policy", MADE_OR_CHANGED)


def _alarm(call: Call, name: str) -> Params:
    arn = make_arn("cloudwatch", call.scope.region, call.scope.account, f"alarm:{name}")
    return {"AlarmName": name, "AlarmARN": arn}


@operation("application-autoscaling", "DeleteScalingPolicy")
async def delete_scaling_policy(call: Call, params: Params) -> Params:
    """Delete a policy, and the alarms that it made."""
    return await targets.delete_part(call, params, POLICY, "scaling policy", params["PolicyName"])


@operation("application-autoscaling", "DescribeScalingPolicies")
async def describe_scaling_policies(call: Call, params: Params) -> Params:
    """Policies by name, resource and dimension, with the alarms that drive them."""
    check_filter(params)
    names = params.get("PolicyNames") or []
    found, more = await targets.listed(
        call, params, POLICY, {}, lambda record: not names or record.document["request"]["PolicyName"] in names
    )
    stepping = [record.arn for record in found if record.document["request"]["PolicyType"] == STEP]
    every = await _driving(call) if stepping else {}
    driving = {arn: every.get(arn, []) for arn in stepping}
    told = [_told(call, record, driving.get(record.arn) or await _kept(call, record)) for record in found]
    return {"ScalingPolicies": told, **more}


async def _kept(call: Call, record: Record) -> list[str]:
    """Of the alarms that the policy made those that nobody deleted."""
    return [name for name in record.document["alarms"] if await call.store.get("alarm", call.scope, name) is not None]


async def _driving(call: Call) -> dict[str, list[str]]:
    """Alarms by the ARN of the policy that they drive."""
    found: dict[str, list[str]] = {}
    every = Query("alarm", call.scope, sort_by="name", descending=False, limit=alarms.MOST)
    for record in await call.store.page(every):
        request = record.document["request"]
        for member in ("AlarmActions", "OKActions", "InsufficientDataActions"):
            for action in request.get(member, ()):
                names = found.setdefault(policy_of(action), [])
                if record.name not in names:
                    names.append(record.name)
    return found


def _told(call: Call, record: Record, names: list[str]) -> Params:
    document, request = record.document, record.document["request"]
    return {
        "PolicyARN": record.arn,
        "ServiceNamespace": NAMESPACE,
        "ResourceId": document["resource"],
        "ScalableDimension": document["dimension"],
        **request,
        "Alarms": [_alarm(call, name) for name in names],
        "CreationTime": record.created,
    }
