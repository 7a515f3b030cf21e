"""The texts of alarms: StateReason, StateReasonData, history entries and the message to subscribers, in CloudWatch's words. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from clary.domain.alarms.evaluation import (
    AlarmVerdict,
    Plan,
    State,
    StateValue,
    breaches,
    is_composite,
    period_of,
    state_of,
    statistic_name,
)
from clary.domain.alarms.suppression import Hush, words
from clary.domain.resources import Record

_COMPARED = {
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "GreaterThanThreshold": "greater than",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
_TREATED = {"breaching": "Breaching", "notBreaching": "NonBreaching"}


def reason(request: Mapping[str, Any], plan: Plan, verdict: AlarmVerdict, before: StateValue) -> str:
    """StateReason of the state that this verdict brings."""
    value, points = verdict.value, verdict.points
    if value == StateValue.INSUFFICIENT_DATA:
        count = plan.periods
        return f"Insufficient Data: {count} datapoint{'' if count == 1 else 's'} {'was' if count == 1 else 'were'} unknown."
    treated = _TREATED.get(str(request.get("TreatMissingData")))
    if not points:
        count = plan.periods
        periods, missing = ("period", "datapoint was") if count == 1 else ("periods", "datapoints were")
        return (
            f"Threshold Crossed: no datapoints were received for {count} {periods} and {count} missing {missing} treated as "
            f"[{treated}]."
        )
    breaching = value == StateValue.ALARM
    shown = [point for point in points if breaches(request, point.value) == breaching] or list(points)
    many = len(shown) > 1
    listed = ", ".join(f"{point.value} ({_short(point.at)})" for point in shown)
    compared = _COMPARED[request["ComparisonOperator"]]
    least = plan.needed if breaching else plan.periods - plan.needed + 1
    move = f"{before} -> {value}" if before != value else f"OK -> {value}" if breaching else f"ALARM -> {value}"
    text = (
        f"Threshold Crossed: {len(shown)} out of the last {plan.periods} datapoints [{listed}] {'were' if many else 'was'}"
        f"{'' if breaching else ' not'} {compared} the threshold ({float(request['Threshold'])}) (minimum {least} "
        f"datapoint{'' if least == 1 else 's'} for {move} transition)."
    )
    if verdict.filled and treated:
        count = verdict.filled
        text = text[:-1] + f", {count} missing datapoint{'' if count == 1 else 's'} treated as [{treated}]."
    return text


def reason_data(request: Mapping[str, Any], plan: Plan, verdict: AlarmVerdict, now: float) -> str:
    """StateReasonData: the same as JSON."""
    points = verdict.points
    told: dict[str, Any] = {"version": "1.0", "queryDate": stamp(now)}
    if points:
        told["startDate"] = stamp(points[0].at)
    if request.get("Unit"):
        told["unit"] = request["Unit"]
    if statistic_name(request):
        told["statistic"] = statistic_name(request)
    told |= {
        "period": period_of(request),
        "recentDatapoints": [point.value for point in points],
        "threshold": float(request["Threshold"]),
        "evaluatedDatapoints": [
            {"timestamp": stamp(point.at), "sampleCount": point.samples, "value": point.value}
            for point in reversed(points)
        ],
    }
    return json.dumps(told, separators=(",", ":"))


def stamp(moment: float) -> str:
    """2026-01-01T00:00:00.000+0000"""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def _short(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d/%m/%y %H:%M:%S")


# -- history ------------------------------------------------------------------------------------------------------------------------


def _kind(record: Record) -> str:
    return "CompositeAlarm" if is_composite(record.document) else "MetricAlarm"


def _entry(record: Record, what: str, summary: str, data: Mapping[str, Any], at: float) -> dict[str, Any]:
    return {
        "AlarmName": record.name,
        "AlarmType": _kind(record),
        "HistoryItemType": what,
        "HistorySummary": summary,
        "HistoryData": json.dumps({"version": "1.0", **data}, default=str),
        "Timestamp": at,
    }


_ORDER = ("ConfigurationUpdate", "StateUpdate", "Action")  # of entries of one moment


def entry_name(record: Record, entry: Mapping[str, Any]) -> str:
    """The name under which an entry is kept: the same entry, the same name (of a change of state, whenever it is told); those of one
    moment in the order they came about."""
    kind, moves = entry["HistoryItemType"], record.document["moves"]
    when = "" if kind == "StateUpdate" else str(entry["Timestamp"])
    told = "\0".join((record.arn, str(record.created), when, kind, entry["HistorySummary"]))
    return f"{moves:08d}-{_ORDER.index(kind)}-{hashlib.sha256(told.encode()).hexdigest()[:32]}"


def configured(record: Record, change: str, at: float) -> dict[str, Any]:
    """A ConfigurationUpdate; `change` is Create, Update or Delete."""
    words = {"Create": "created", "Update": "updated", "Delete": "deleted"}[change]
    data = {"type": change, f"{words}Alarm": record.document["request"]}
    return _entry(record, "ConfigurationUpdate", f'Alarm "{record.name}" {words}', data, at)


def moved(record: Record, before: State, after: State) -> dict[str, Any]:
    """A StateUpdate."""
    data = {"oldState": _state(before), "newState": _state(after)}
    summary = f"Alarm updated from {before.value} to {after.value}"
    return _entry(record, "StateUpdate", summary, data, after.since)


def _state(state: State) -> dict[str, Any]:
    told: dict[str, Any] = {"stateValue": str(state.value), "stateReason": state.reason}
    if state.data:
        try:
            told["stateReasonData"] = json.loads(state.data)
        except ValueError:
            told["stateReasonData"] = state.data
    return told


def acted(record: Record, action: str, error: str, at: float) -> dict[str, Any]:
    """An Action: it ran, or why it did not."""
    state = "Failed" if error else "Succeeded"
    data = {"actionState": state, "stateUpdateTimestamp": round(at * 1000), "notificationResource": action}
    summary = f"Failed to execute action {action}" if error else f"Successfully executed action {action}"
    return _entry(record, "Action", summary, {**data, **({"error": error} if error else {})}, at)


def suppressed(record: Record, hush: Hush, at: float) -> dict[str, Any]:
    """Actions that are held back, and why."""
    data = {"actionState": "Suppressed", "suppressedBy": hush.by, "reason": words(record.document["request"], hush)}
    return _entry(record, "Action", f"Actions suppressed by {hush.by}", data, at)


# -- notification ------------------------------------------------------------------------------------------------------------------


def actions_of(record: Record) -> Sequence[str]:
    """What is to be done about the state that it is in."""
    request = record.document["request"]
    if not request.get("ActionsEnabled", True):
        return ()
    member = {"OK": "OKActions", "ALARM": "AlarmActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}[record.status]
    return tuple(request.get(member, ()))


def subject(record: Record) -> str:
    return f'{record.status}: "{record.name}" in {record.scope.region}'[:100]


def message(record: Record, before: str) -> str:
    """What subscribers get, as CloudWatch writes it."""
    request, state = record.document["request"], state_of(record.document)
    told: dict[str, Any] = {
        "AlarmName": record.name,
        "AlarmDescription": request.get("AlarmDescription"),
        "AWSAccountId": record.scope.account,
        "AlarmConfigurationUpdatedTimestamp": stamp(record.document["configured"]),
        "NewStateValue": record.status,
        "NewStateReason": state.reason,
        "StateChangeTime": stamp(state.since),
        "Region": record.scope.region,
        "AlarmArn": record.arn,
        "OldStateValue": before,
        "OKActions": list(request.get("OKActions", ())),
        "AlarmActions": list(request.get("AlarmActions", ())),
        "InsufficientDataActions": list(request.get("InsufficientDataActions", ())),
    }
    if is_composite(record.document):
        return json.dumps({**told, "AlarmRule": request["AlarmRule"]})
    trigger: dict[str, Any] = {
        "MetricName": request.get("MetricName"),
        "Namespace": request.get("Namespace"),
        "StatisticType": "Statistic" if request.get("Statistic") else "ExtendedStatistic",
        "Statistic": str(statistic_name(request)).upper() if request.get("Statistic") else statistic_name(request),
        "Unit": request.get("Unit"),
        "Dimensions": [{"value": d["Value"], "name": d["Name"]} for d in request.get("Dimensions", ())],
        "Period": period_of(request),
        "EvaluationPeriods": request["EvaluationPeriods"],
        "DatapointsToAlarm": request.get("DatapointsToAlarm"),
        "ComparisonOperator": request["ComparisonOperator"],
        "Threshold": request["Threshold"],
        "TreatMissingData": request.get("TreatMissingData", ""),
        "EvaluateLowSampleCountPercentile": request.get("EvaluateLowSampleCountPercentile", ""),
    }
    if request.get("Metrics"):
        trigger["Metrics"] = request["Metrics"]
    return json.dumps({**told, "Trigger": {name: value for name, value in trigger.items() if value is not None}})
