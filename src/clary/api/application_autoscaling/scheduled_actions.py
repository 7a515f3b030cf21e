"""Scheduled actions: they set the range of a target at a time, at a rate or by cron. The scaling loop runs them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from clary.api import records
from clary.api.application_autoscaling import targets
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain import schedules
from clary.domain.autoscaling.record import ACTION, NAMESPACE, action_arn, check_filter, check_namespace, part_name
from clary.domain.errors import Invalid, LimitExceeded
from clary.domain.resources import Record
from clary.guarded import MADE_OR_CHANGED, until_first

_MOST = 200  # scheduled actions of a target
_MEMBERS = ("Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")


@operation("application-autoscaling", "PutScheduledAction")
async def put_scheduled_action(call: Call, params: Params) -> Params:
    """Make or change a scheduled action."""
    check_namespace(params)
    target = await targets.target(call, params)
    resource, dimension = target.document["resource"], target.document["dimension"]
    name = part_name(resource, dimension, params["ScheduledActionName"])
    given = {member: _plain(params[member]) for member in _MEMBERS if params.get(member) is not None}

    async def attempt() -> None:
        known = await call.store.get(ACTION, call.scope, name)
        request = {**(known.document["request"] if known else {}), **given}
        _check(request, call.now, "Schedule" in given)
        document = {
            "target": target.name,
            "resource": resource,
            "dimension": dimension,
            "name": params["ScheduledActionName"],
            "request": request,
            "at": call.now,
        }
        if known is not None:
            await call.store.save(replace(known, document=document, modified=call.now))
            return
        if len(await targets.parts(call, ACTION, target.name)) >= _MOST:
            raise LimitExceeded(f"A scalable target can have at most {_MOST} scheduled actions.")
        arn = action_arn(call.scope, call.new_id(), resource, params["ScheduledActionName"])
        await call.store.add(replace(records.new(call, ACTION, name, document), arn=arn))

    await until_first(attempt, "The scheduled action", MADE_OR_CHANGED)
    return {}


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def _check(request: dict[str, Any], now: float, fresh: bool) -> None:
    if not request.get("Schedule"):
        raise Invalid("Schedule is required when a scheduled action is created.")
    asked = request.get("ScalableTargetAction") or {}
    low, high = asked.get("MinCapacity"), asked.get("MaxCapacity")
    if low is None and high is None:
        raise Invalid("ScalableTargetAction must have MinCapacity, MaxCapacity or both.")
    if any(value is not None and value < 0 for value in (low, high)):
        raise Invalid("MinCapacity and MaxCapacity of ScalableTargetAction must be at least 0.")
    if low is not None and high is not None and low > high:
        raise Invalid(f"Maximum capacity cannot be less than minimum capacity ({high} is less than {low}).")
    schedule = schedules.parse(request["Schedule"], request.get("Timezone", ""))
    if fresh and schedule.at is not None and schedule.at <= now:
        raise Invalid(f"Schedule {request['Schedule']} is in the past: it is {schedules.moment(now)} now.")
    start, end = request.get("StartTime"), request.get("EndTime")
    if start is not None and end is not None and start >= end:
        raise Invalid("StartTime must be before EndTime.")


@operation("application-autoscaling", "DeleteScheduledAction")
async def delete_scheduled_action(call: Call, params: Params) -> Params:
    """Delete a scheduled action; the range stays as it is."""
    return await targets.delete_part(call, params, ACTION, "scheduled action", params["ScheduledActionName"])


@operation("application-autoscaling", "DescribeScheduledActions")
async def describe_scheduled_actions(call: Call, params: Params) -> Params:
    """Scheduled actions by name, resource and dimension."""
    check_filter(params)
    names = params.get("ScheduledActionNames") or []
    found, more = await targets.listed(
        call, params, ACTION, {}, lambda record: not names or record.document["name"] in names
    )
    return {"ScheduledActions": [_told(record) for record in found], **more}


def _told(record: Record) -> Params:
    document = record.document
    return {
        "ScheduledActionName": document["name"],
        "ScheduledActionARN": record.arn,
        "ServiceNamespace": NAMESPACE,
        "ResourceId": document["resource"],
        "ScalableDimension": document["dimension"],
        "CreationTime": record.created,
        **document["request"],
    }
