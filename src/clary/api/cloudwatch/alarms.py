"""CloudWatch's alarms: made, described, set, deleted. `loops/alarms/subject.py` evaluates them and runs their actions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.errors import ApiError
from clary.api.registry import operation
from clary.domain.alarms import words
from clary.domain.alarms.checks import check, check_composite
from clary.domain.alarms.evaluation import HOLD, KIND, State, StateValue, document, is_composite, state_of
from clary.domain.alarms.rules import parse
from clary.domain.alarms.suppression import hush_of, suppressor_of
from clary.domain.alarms.suppression import words as suppressed_words
from clary.domain.alarms.turn import with_state
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.domain.resources import Query, Record
from clary.guarded import MADE_OR_CHANGED, until_first

HISTORY = "alarm-history"
MOST = 10_000  # alarms of an account in a region
_METRIC = (
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Dimensions",
    "Period",
    "Unit",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "EvaluateLowSampleCountPercentile",
    "Metrics",
)
_SUPPRESSION = ("ActionsSuppressor", "ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod")


@operation("cloudwatch", "PutMetricAlarm")
async def put_metric_alarm(call: Call, params: Params) -> Params:
    """Make or change an alarm; a new one has INSUFFICIENT_DATA until it is evaluated."""
    check(params)
    await put(call, params)
    return {}


@operation("cloudwatch", "PutCompositeAlarm")
async def put_composite_alarm(call: Call, params: Params) -> Params:
    """Make or change an alarm whose state follows from those of other alarms."""
    rule = check_composite(params)
    for child in rule.children:
        if child == params["AlarmName"]:
            raise Invalid(f"AlarmRule of {child} must not name the alarm itself.")
        if await call.store.get(KIND, call.scope, child) is None:
            raise Invalid(f"AlarmRule names {child}, and there is no such alarm.")
    suppressor = suppressor_of(params)
    if suppressor and await call.store.get(KIND, call.scope, suppressor) is None:
        raise Invalid(f"ActionsSuppressor names {suppressor}, and there is no such alarm.")
    await put(call, params)
    return {}


async def put(call: Call, params: Params) -> None:
    """Store an alarm that was checked."""
    name = params["AlarmName"]
    request = {key: value for key, value in params.items() if key != "Tags"}

    async def attempt() -> tuple[Record, str]:
        known = await call.store.get(KIND, call.scope, name)
        if known is None:
            made = document(request, tagging.checked(params.get("Tags")), call.now)
            return await call.store.add(
                records.new(call, KIND, name, made, str(StateValue.INSUFFICIENT_DATA))
            ), "Create"
        if is_composite(known.document) != ("AlarmRule" in request):
            raise Invalid(f"Alarm {name} exists, and is of the other type: delete it, or choose another name.")
        changed = {**known.document, "request": request, "configured": call.now}
        return await call.store.save(replace(known, document=changed, modified=call.now)), "Update"

    record, act = await until_first(attempt, f"Alarm {name}", MADE_OR_CHANGED)
    await _keep(call, record, words.configured(record, act, call.now))


@operation("cloudwatch", "DescribeAlarms")
async def describe_alarms(call: Call, params: Params) -> Params:
    """Alarms by name, prefix, type, state, action or relation, in order of their names."""
    if params.get("AlarmNames") and params.get("AlarmNamePrefix"):
        raise ApiError("InvalidParameterCombination", "AlarmNames and AlarmNamePrefix must not be given together.")
    found = await _all(call)
    found = [record for record in found if all(fits(record) for fits in _filters(params, found))]
    shown, more = _cut(call, params, found, lambda record: record.name)
    return {
        "MetricAlarms": [_metric(record) for record in shown if not is_composite(record.document)],
        "CompositeAlarms": [_composite(record) for record in shown if is_composite(record.document)],
        **more,
    }


def _filters(params: Params, found: Sequence[Record]) -> Iterable[Callable[[Record], bool]]:
    types = params.get("AlarmTypes") or ["MetricAlarm"]
    if params.get("ChildrenOfAlarmName") or params.get("ParentsOfAlarmName"):
        types = ["MetricAlarm", "CompositeAlarm"]
    yield lambda record: ("CompositeAlarm" if is_composite(record.document) else "MetricAlarm") in types
    if names := params.get("AlarmNames"):
        yield lambda record: record.name in names
    if prefix := params.get("AlarmNamePrefix"):
        yield lambda record: record.name.startswith(prefix)
    if state := params.get("StateValue"):
        yield lambda record: record.status == state
    if action := params.get("ActionPrefix"):
        yield lambda record: any(each.startswith(action) for each in _actions(record))
    if parent := params.get("ChildrenOfAlarmName"):
        children = {name for record in found if record.name == parent for name in _children(record)}
        yield lambda record: record.name in children
    if child := params.get("ParentsOfAlarmName"):
        yield lambda record: child in _children(record)


def _actions(record: Record) -> list[str]:
    request = record.document["request"]
    return [
        *request.get("OKActions", ()),
        *request.get("AlarmActions", ()),
        *request.get("InsufficientDataActions", ()),
    ]


def _children(record: Record) -> tuple[str, ...]:
    return parse(record.document["request"]["AlarmRule"]).children if is_composite(record.document) else ()


@operation("cloudwatch", "DescribeAlarmsForMetric")
async def describe_alarms_for_metric(call: Call, params: Params) -> Params:
    """The metric alarms that watch exactly this metric."""
    wanted = {(each["Name"], each["Value"]) for each in params.get("Dimensions", ())}
    found = []
    for record in await _all(call):
        request = record.document["request"]
        names = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Unit")
        same = all(request.get(name) == params[name] for name in names if name in params)
        if same and {(each["Name"], each["Value"]) for each in request.get("Dimensions", ())} == wanted:
            found.append(_metric(record))
    return {"MetricAlarms": found}


@operation("cloudwatch", "DeleteAlarms")
async def delete_alarms(call: Call, params: Params) -> Params:
    """Delete these alarms; names without an alarm are ignored. An alarm that a composite one depends on stays."""
    names = list(dict.fromkeys(params["AlarmNames"]))
    if len(names) > 100:
        raise Invalid(f"100 alarms can be deleted in one call; these are {len(names)}.")
    parents = {
        child: record.name for record in await _all(call) for child in _children(record) if record.name not in names
    }
    for name in names:
        if name in parents:
            text = f"Alarm {name} is in the rule of the composite alarm {parents[name]}: change or delete that first."
            raise ApiError("ResourceConflict", text, 409)
    for name in names:
        await delete(call, name)
    return {}


async def delete(call: Call, name: str) -> None:
    """Nothing when there is none."""
    record = await call.store.get(KIND, call.scope, name)
    if record is not None:
        await records.drop(call, KIND, name)
        await _keep(call, record, words.configured(record, "Delete", call.now))


@operation("cloudwatch", "SetAlarmState")
async def set_alarm_state(call: Call, params: Params) -> Params:
    """Set an alarm's state, until its next evaluation; its actions run."""
    name, data = params["AlarmName"], params.get("StateReasonData", "")
    if data:
        try:
            json.loads(data)
        except ValueError as error:
            raise ApiError("InvalidFormat", f"StateReasonData is not JSON: {error}.") from None
    value = StateValue(params["StateValue"])
    before: list[Record] = []

    def change(record: Record) -> Record:
        before[:] = [record]
        known = state_of(record.document)
        since = call.now if known.value != value else known.since
        step = 10 if int(record.document["request"].get("Period", 60)) < 60 else 60
        held = (call.now + HOLD) // step * step + step
        return with_state(record, State(value, params["StateReason"], data, since, call.now), held)

    record = await records.amend(call, lambda: _find(call, name), change)
    known, now = state_of(before[0].document), state_of(record.document)
    if known.value != now.value:
        await _keep(call, record, words.moved(record, known, now))
    return {}


@operation("cloudwatch", "EnableAlarmActions")
async def enable_alarm_actions(call: Call, params: Params) -> Params:
    """Enable the actions of these alarms."""
    return await _enable(call, params["AlarmNames"], True)


@operation("cloudwatch", "DisableAlarmActions")
async def disable_alarm_actions(call: Call, params: Params) -> Params:
    """Disable the actions of these alarms."""
    return await _enable(call, params["AlarmNames"], False)


async def _enable(call: Call, names: Sequence[str], enabled: bool) -> Params:
    def change(record: Record) -> Record:
        request = {**record.document["request"], "ActionsEnabled": enabled}
        return replace(
            record, document={**record.document, "request": request, "configured": call.now}, modified=call.now
        )

    for name in names:
        if await call.store.get(KIND, call.scope, name) is not None:
            record = await records.amend(call, lambda name=name: _find(call, name), change)  # type: ignore[misc]
            await _keep(call, record, words.configured(record, "Update", call.now))
    return {}


@operation("cloudwatch", "DescribeAlarmHistory")
async def describe_alarm_history(call: Call, params: Params) -> Params:
    """Changes of alarms and of their states, and actions run, of the last two weeks; of deleted alarms too."""
    where = {"AlarmName": params["AlarmName"]} if params.get("AlarmName") else {}
    if params.get("HistoryItemType"):
        where["HistoryItemType"] = params["HistoryItemType"]
    start, end = params.get("StartDate"), params.get("EndDate")
    query = Query(
        HISTORY,
        call.scope,
        created_after=start.timestamp() if start else None,
        created_before=end.timestamp() if end else None,
        where=where,
        descending=params.get("ScanBy", "TimestampDescending") == "TimestampDescending",
        limit=params.get("MaxRecords", 100),
        after=_resume(call, params),
    )
    found, more = await paging.page(call, params, query)
    types = params.get("AlarmTypes") or ["MetricAlarm", "CompositeAlarm"]
    items = [dict(record.document) for record in found if record.document["AlarmType"] in types]
    return {"AlarmHistoryItems": [{**item, "Timestamp": _moment(item["Timestamp"])} for item in items], **more}


# -- what they share --------------------------------------------------------------------------------------------------------------


async def _find(call: Call, name: str) -> Record:
    record = await call.store.get(KIND, call.scope, name)
    if record is None:
        raise NotFound(f"There is no alarm {name} in {call.scope.region}.")
    return record


async def _all(call: Call) -> list[Record]:
    return await call.store.page(Query(KIND, call.scope, sort_by="name", descending=False, limit=MOST))


async def _keep(call: Call, record: Record, entry: Mapping[str, Any]) -> None:
    name = words.entry_name(record, entry)
    with suppress(AlreadyExists):
        await call.store.add(replace(records.new(call, HISTORY, name, entry), arn=f"{record.arn}:history:{name}"))


def _cut(
    call: Call, params: Params, found: Sequence[Record], key: Callable[[Record], str]
) -> tuple[list[Record], Params]:
    """One page of records that are in order of `key`."""
    after = _resume(call, params)
    rest = [record for record in found if after is None or key(record) > after[1]]
    limit = params.get("MaxRecords", 50)
    shown = rest[:limit]
    return shown, {"NextToken": paging.token(call, params, ("", key(shown[-1])))} if len(rest) > limit else {}


def _resume(call: Call, params: Params) -> paging.After | None:
    try:
        return paging.resume(call, params)
    except Invalid as error:
        raise ApiError("InvalidNextToken", error.message) from None


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _common(record: Record) -> Params:
    request, state = record.document["request"], state_of(record.document)
    told = {
        "AlarmName": record.name,
        "AlarmArn": record.arn,
        "AlarmDescription": request.get("AlarmDescription"),
        "AlarmConfigurationUpdatedTimestamp": _moment(record.document["configured"]),
        "ActionsEnabled": request.get("ActionsEnabled", True),
        "OKActions": list(request.get("OKActions", ())),
        "AlarmActions": list(request.get("AlarmActions", ())),
        "InsufficientDataActions": list(request.get("InsufficientDataActions", ())),
        "StateValue": record.status,
        "StateReason": state.reason,
        "StateReasonData": state.data or None,
        "StateUpdatedTimestamp": _moment(state.updated),
        "StateTransitionedTimestamp": _moment(state.since),
    }
    return {name: value for name, value in told.items() if value is not None}


def _metric(record: Record) -> Params:
    request = record.document["request"]
    told = {name: request[name] for name in _METRIC if request.get(name) is not None}
    return {**_common(record), **({} if "Metrics" in told else {"Dimensions": []}), **told}


def _composite(record: Record) -> Params:
    request, hush = record.document["request"], hush_of(record.document)
    told = {name: request[name] for name in _SUPPRESSION if request.get(name) is not None}
    if hush is not None:
        told |= {"ActionsSuppressedBy": hush.by, "ActionsSuppressedReason": suppressed_words(request, hush)}
    return {**_common(record), "AlarmRule": request["AlarmRule"], **told}
