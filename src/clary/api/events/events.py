"""EventBridge: events that users put, and patterns that they try. What an event's targets get is on disk when it is answered."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from clary.api import paging
from clary.api.call import Call, Params
from clary.api.errors import ApiError
from clary.api.registry import operation
from clary.domain.errors import AlreadyExists, NotFound
from clary.domain.events import patterns, rules
from clary.domain.resources import Record
from clary.pages import everything


@operation("events", "PutEvents")
async def put_events(call: Call, params: Params) -> Params:
    """Plan the deliveries to the targets of rules that match; an entry that is no event fails by itself."""
    entries = params["Entries"]
    if sum(_size(entry) for entry in entries) > rules.LARGEST:
        raise ApiError(
            "ValidationException",
            f"Total size of the entries in the request is over the limit of {rules.LARGEST} bytes.",
        )
    enabled = await everything(call.store, rules.enabled(call.scope))
    answers = [await _put(call, entry, enabled) for entry in entries]
    return {"FailedEntryCount": sum("ErrorCode" in each for each in answers), "Entries": answers}


def _size(entry: Params) -> int:
    """Bytes as AWS counts them: 14 for a time, and the texts."""
    texts = (entry.get("Source"), entry.get("DetailType"), entry.get("Detail"), *(entry.get("Resources") or ()))
    return 14 * bool(entry.get("Time")) + sum(len((text or "").encode("utf-8", "surrogatepass")) for text in texts)


async def _put(call: Call, entry: Params, enabled: list[Record]) -> Params:
    missing = next((name for name in ("Source", "DetailType", "Detail") if not entry.get(name)), None)
    if missing is not None:
        words = f"Parameter {missing} is not valid. Reason: {missing} is a required argument."
        return {"ErrorCode": "InvalidArgument", "ErrorMessage": words}
    if entry["Source"].startswith("aws."):
        return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
    try:
        detail = json.loads(entry["Detail"])
    except (ValueError, RecursionError):
        detail = None
    if not isinstance(detail, dict):
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed: it must be a JSON object."}
    try:
        rules.check_bus(entry.get("EventBusName"), call.scope)
    except NotFound as error:
        return {"ErrorCode": "ResourceNotFoundException", "ErrorMessage": error.message}
    at = entry["Time"].timestamp() if entry.get("Time") else call.now
    id_ = call.new_id()
    told = rules.event(call.scope, id_, entry["Source"], entry["DetailType"], detail, at, entry.get("Resources") or [])
    for delivery in rules.all_planned(enabled, told, call.now):
        with suppress(AlreadyExists):
            await call.store.add(delivery)
    return {"EventId": id_}


@operation("events", "TestEventPattern")
async def test_event_pattern(call: Call, params: Params) -> Params:
    """Whether the pattern matches the event."""
    pattern = patterns.parse(params["EventPattern"])
    try:
        event: Any = json.loads(params["Event"])
    except (ValueError, RecursionError):
        event = None
    needed = ("id", "account", "source", "time", "region", "resources", "detail-type")
    if not isinstance(event, dict) or any(name not in event for name in needed):
        raise ApiError(
            "ValidationException",
            f"Parameter Event is not valid. Reason: it must be a JSON object with the members {', '.join(needed)}.",
        )
    return {"Result": patterns.matches(pattern, event)}


@operation("events", "DescribeEventBus")
async def describe_event_bus(call: Call, params: Params) -> Params:
    """The one bus that there is."""
    rules.check_bus(params.get("Name"), call.scope)
    return {"Name": rules.BUS, "Arn": rules.bus_arn(call.scope)}


@operation("events", "ListEventBuses")
async def list_event_buses(call: Call, params: Params) -> Params:
    """The one bus that there is."""
    paging.resume(call, params)
    shown = rules.BUS.startswith(params.get("NamePrefix") or "")
    return {"EventBuses": [{"Name": rules.BUS, "Arn": rules.bus_arn(call.scope)}] if shown else []}


@operation("events", "CreateEventBus")
async def create_event_bus(call: Call, params: Params) -> Params:
    """Refused: there is the bus `default` alone."""
    raise ApiError(
        "OperationDisabledException",
        f"Clary has the event bus '{rules.BUS}' alone, and makes no '{params['Name']}': leave EventBusName out of your requests.",
    )
