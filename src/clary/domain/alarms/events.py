"""The event `CloudWatch Alarm State Change`: its detail, with AWS's names. Pure.

It is told once for each change of an alarm's state, when it is known whether its actions are held back. Source: CloudWatch's user guide,
"Alarm events and EventBridge".
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from clary.domain.alarms.evaluation import State, is_composite, period_of, state_of, statistic_name
from clary.domain.alarms.suppression import hush_of
from clary.domain.alarms.suppression import words as suppressed_words
from clary.domain.alarms.words import stamp
from clary.domain.resources import Record

SOURCE = "aws.cloudwatch"
DETAIL_TYPE = "CloudWatch Alarm State Change"
_COMPOSED = {
    "alarmRule": "AlarmRule",
    "actionsSuppressor": "ActionsSuppressor",
    "actionsSuppressorWaitPeriod": "ActionsSuppressorWaitPeriod",
    "actionsSuppressorExtensionPeriod": "ActionsSuppressorExtensionPeriod",
}


def occasions(alarm: Record) -> int:
    """How many changes of state the alarm has had; 0 while the newest one has not been acted upon."""
    moves = int(alarm.document["moves"])
    return moves if alarm.document["acted"] == moves else 0


def detail(alarm: Record) -> dict[str, Any]:
    """Of an alarm that has changed its state at least once."""
    document = alarm.document
    request, hush = document["request"], hush_of(document)
    state = _state(state_of(document))
    if hush is not None:
        state |= {"actionsSuppressedBy": hush.by, "actionsSuppressedReason": suppressed_words(request, hush)}
    return {
        "alarmName": alarm.name,
        "configuration": _configuration(alarm),
        "previousState": _state(State.from_json(document["before"])),
        "state": state,
    }


def _state(state: State) -> dict[str, Any]:
    data = {"reasonData": state.data} if state.data else {}
    return {"value": str(state.value), "reason": state.reason, **data, "timestamp": stamp(state.since)}


def _configuration(alarm: Record) -> dict[str, Any]:
    request = alarm.document["request"]
    described = {"description": request["AlarmDescription"]} if request.get("AlarmDescription") else {}
    if is_composite(alarm.document):
        return {**described, **{name: request[member] for name, member in _COMPOSED.items() if member in request}}
    if request.get("Metrics"):
        return {**described, "metrics": [_query(each) for each in request["Metrics"]]}
    metric = {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, alarm.arn)), "metricStat": _stat(request), "returnData": True}
    return {**described, "metrics": [metric]}


def _query(given: Mapping[str, Any]) -> dict[str, Any]:
    """A MetricDataQuery."""
    told: dict[str, Any] = {"id": given["Id"], "returnData": given.get("ReturnData", True)}
    names = {"expression": "Expression", "label": "Label", "period": "Period", "accountId": "AccountId"}
    told |= {name: given[member] for name, member in names.items() if given.get(member)}
    if given.get("MetricStat"):
        stat = given["MetricStat"]
        flat = {**stat["Metric"], "Period": stat["Period"], "Statistic": stat["Stat"], "Unit": stat.get("Unit")}
        told["metricStat"] = _stat(flat)
    return told


def _stat(given: Mapping[str, Any]) -> dict[str, Any]:
    dimensions = {each["Name"]: each["Value"] for each in given.get("Dimensions", ())}
    metric = {"dimensions": dimensions, "name": given["MetricName"], "namespace": given["Namespace"]}
    unit = {"unit": given["Unit"]} if given.get("Unit") else {}
    return {"metric": metric, "period": period_of(given), "stat": statistic_name(given), **unit}
