"""EventBridge Scheduler: schedules and their groups are records; a loop fires them. Source: EventBridge Scheduler API reference."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from clary.api import paging, records, registry, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.domain.events import scheduled, universal
from clary.domain.events.rules import ENABLED
from clary.domain.resources import Query, Record
from clary.guarded import until_first

PAGE = 100
_KEPT = (
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "EndDate",
    "Description",
    "FlexibleTimeWindow",
    "ActionAfterCompletion",
    "KmsKeyArn",
    "Target",
)


def created(call: Call, record: Record) -> Params:
    """What a Create answered."""
    return {"ScheduleArn": record.arn}


@operation("scheduler", "CreateSchedule", again=created)
async def create_schedule(call: Call, params: Params) -> Params:
    """Make the schedule in its group. Its name must be free there."""
    name, group = scheduled.check_name(params["Name"]), await _group(call, params.get("GroupName"))
    request = _checked(call, params)
    document = {
        "request": request,
        "group": group,
        "name": name,
        "id": call.new_id(),
        "began": call.now,
        "due": None,
        "by": call.principal,
        "token": params.get("ClientToken") or "",
    }
    arn = scheduled.schedule_arn(call.scope, group, name)
    record = Record(
        scheduled.SCHEDULE,
        call.scope,
        scheduled.schedule_name(group, name),
        arn,
        params.get("State") or ENABLED,
        call.now,
        call.now,
        document,
    )
    try:
        await records.add(call, record, f"Schedule {name} already exists.")
    except AlreadyExists:
        old = await call.store.get(record.kind, record.scope, record.name)
        token = params.get("ClientToken")
        if old is None or not token or old.document["token"] != token or old.document["request"] != request:
            raise
    return {"ScheduleArn": arn}


@operation("scheduler", "UpdateSchedule")
async def update_schedule(call: Call, params: Params) -> Params:
    """Replace all of the schedule: what is not given is its default again."""
    request = _checked(call, params)
    status = params.get("State") or ENABLED

    def change(old: Record) -> Record:
        document = {**old.document, "request": request, "due": None, "began": call.now}
        return replace(old, status=status, modified=call.now, document=document)

    return {"ScheduleArn": (await records.amend(call, lambda: _find(call, params), change)).arn}


@operation("scheduler", "GetSchedule")
async def get_schedule(call: Call, params: Params) -> Params:
    found = await _find(call, params)
    document = found.document
    times = {name: document["request"][name] for name in ("StartDate", "EndDate") if name in document["request"]}
    return {
        "ScheduleExpressionTimezone": "UTC",
        "ActionAfterCompletion": "NONE",
        **document["request"],
        **times,
        "Arn": found.arn,
        "Name": document["name"],
        "GroupName": document["group"],
        "State": found.status,
        "CreationDate": found.created,
        "LastModificationDate": found.modified,
    }


@operation("scheduler", "DeleteSchedule")
async def delete_schedule(call: Call, params: Params) -> Params:
    async def attempt() -> None:
        await call.store.remove(await _find(call, params))

    await until_first(attempt, "The schedule")
    return {}


@operation("scheduler", "ListSchedules")
async def list_schedules(call: Call, params: Params) -> Params:
    group, prefix, state = params.get("GroupName"), params.get("NamePrefix") or "", params.get("State")
    if group:
        await _group(call, group)

    def keep(record: Record) -> bool:
        document = record.document
        return document["name"].startswith(prefix) and (not group or document["group"] == group)

    query = _query(call, params, scheduled.SCHEDULE)
    found, more = await paging.page(call, params, replace(query, statuses=(state,) if state else ()), keep)
    rows = [
        {
            "Arn": record.arn,
            "Name": record.document["name"],
            "GroupName": record.document["group"],
            "State": record.status,
            "CreationDate": record.created,
            "LastModificationDate": record.modified,
            "Target": {"Arn": record.document["request"]["Target"]["Arn"]},
        }
        for record in found
    ]
    return {"Schedules": rows, **more}


# -- groups -------------------------------------------------------------------------------------------------------------------------


def group_created(call: Call, record: Record) -> Params:
    return {"ScheduleGroupArn": record.arn}


@operation("scheduler", "CreateScheduleGroup", again=group_created)
async def create_schedule_group(call: Call, params: Params) -> Params:
    name = scheduled.check_name(params["Name"])
    if name == scheduled.DEFAULT:
        raise AlreadyExists(f"Schedule group {name} already exists.")
    document = {"tags": tagging.checked(params.get("Tags")), "token": params.get("ClientToken") or ""}
    arn = scheduled.group_arn(call.scope, name)
    record = Record(scheduled.GROUP, call.scope, name, arn, "ACTIVE", call.now, call.now, document)
    await records.add(call, record, f"Schedule group {name} already exists.")
    return {"ScheduleGroupArn": arn}


@operation("scheduler", "GetScheduleGroup")
async def get_schedule_group(call: Call, params: Params) -> Params:
    return _shown(call, await _found_group(call, params["Name"]), params["Name"])


@operation("scheduler", "ListScheduleGroups")
async def list_schedule_groups(call: Call, params: Params) -> Params:
    """The group `default`, then those that were made."""
    prefix = params.get("NamePrefix") or ""
    query = _query(call, params, scheduled.GROUP)
    found, more = await paging.page(call, params, query, lambda record: record.name.startswith(prefix))
    first = (
        [_shown(call, None, scheduled.DEFAULT)]
        if not params.get("NextToken") and scheduled.DEFAULT.startswith(prefix)
        else []
    )
    return {"ScheduleGroups": [*first, *(_shown(call, record, record.name) for record in found)], **more}


@operation("scheduler", "DeleteScheduleGroup")
async def delete_schedule_group(call: Call, params: Params) -> Params:
    """Delete the group with its schedules: the group last, so that a client whose request was cut off can repeat it."""
    name = params["Name"]
    if name == scheduled.DEFAULT:
        raise Invalid("The group default cannot be deleted.")
    if await call.store.get(scheduled.GROUP, call.scope, name) is None:
        raise _none(name)
    await _empty(call, name)
    await records.drop(call, scheduled.GROUP, name)
    await _empty(call, name)  # of schedules that were made meanwhile
    return {}


async def _empty(call: Call, group: str) -> None:
    query = Query(scheduled.SCHEDULE, call.scope, where={"group": group}, sort_by="name", descending=False, limit=PAGE)
    while found := await call.store.page(query):
        for record in found:
            await _drop(call, record)


async def _drop(call: Call, record: Record) -> None:
    async def attempt() -> None:
        current = await call.store.get(record.kind, record.scope, record.name)
        if current is not None:
            await call.store.remove(current)

    await until_first(attempt, "The schedule")


# -- records ------------------------------------------------------------------------------------------------------------------------


def _checked(call: Call, params: Params) -> dict[str, Any]:
    request = {name: _plain(params[name]) for name in _KEPT if params.get(name) is not None}
    scheduled.check(request, call.scope)
    target = request["Target"]
    others = [
        name
        for name in target
        if name.endswith("Parameters") and name not in ("SqsParameters", "SageMakerPipelineParameters")
    ]
    if others:
        raise Invalid(f"{others[0]} is for targets that Clary does not deliver to.")
    named = universal.parse(target["Arn"])
    if named is not None:
        service, name = named
        if registry.find(service, name) is None:
            raise Invalid(
                f"{target['Arn']} is not supported as a target: Clary has no {service} {name} (docs/operations.md)."
            )
        try:
            fine = isinstance(json.loads(target.get("Input") or "{}"), dict)
        except (ValueError, RecursionError):
            fine = False
        if not fine:
            raise Invalid("Input of a universal target must be a JSON object: the parameters of the operation.")
    return request


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


async def _group(call: Call, name: str | None) -> str:
    """The name of a group that is there."""
    if name in (None, "", scheduled.DEFAULT):
        return scheduled.DEFAULT
    await _found_group(call, name)
    return name


async def _found_group(call: Call, name: str) -> Record | None:
    """The record of a group; None for the default one, which needs none."""
    if name == scheduled.DEFAULT:
        return None
    found = await call.store.get(scheduled.GROUP, call.scope, name)
    if found is None:
        raise _none(name)
    return found


def _none(name: str) -> NotFound:
    return NotFound(f"Schedule group {name} does not exist.")


async def _group_by_arn(call: Call, arn: str) -> Record:
    arn = unquote(arn)
    found = await call.store.by_arn(arn)
    if found is None or found.kind != scheduled.GROUP or found.scope != call.scope:
        raise _none(arn[:300])
    return found


tagging.register("scheduler", "ResourceArn", _group_by_arn, "a group of schedules")


async def _find(call: Call, params: Params) -> Record:
    name, group = params["Name"], await _group(call, params.get("GroupName"))
    found = await call.store.get(scheduled.SCHEDULE, call.scope, scheduled.schedule_name(group, name))
    if found is None:
        raise NotFound(f"Schedule {name} does not exist.")
    return found


def _query(call: Call, params: Params, kind: str) -> Query:
    limit = params.get("MaxResults") or PAGE
    return Query(kind, call.scope, sort_by="name", descending=False, limit=limit, after=paging.resume(call, params))


def _shown(call: Call, record: Record | None, name: str) -> Params:
    arn = scheduled.group_arn(call.scope, name)
    times = {} if record is None else {"CreationDate": record.created, "LastModificationDate": record.modified}
    return {"Arn": arn, "Name": name, "State": "ACTIVE", **times}
