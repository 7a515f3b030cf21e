"""EventBridge Scheduler's schedules and groups. Pure. Source: Scheduler API reference and user guide.

A schedule has one target and fires exactly once for each of its times. A flexible window moves a time by what follows from the schedule's
name and the time, so that every control plane moves it alike.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clary.domain import schedules
from clary.domain.decisions import Decision
from clary.domain.errors import Invalid, InvalidValue
from clary.domain.events import deliveries, due
from clary.domain.events.due import Fire
from clary.domain.ids import arn as make_arn
from clary.domain.resources import Record, Scope

SCHEDULE, GROUP = "schedule", "schedule-group"
DEFAULT = "default"
_NAME = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_SECOND = 1.0


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid(f"'{name[:200]}' is not valid: 1 to 64 letters, digits, '.', '-' and '_'.")
    return name


def schedule_name(group: str, name: str) -> str:
    """The name of the record: names are unique in their group."""
    return f"{group}/{name}"


def schedule_arn(scope: Scope, group: str, name: str) -> str:
    return make_arn("scheduler", scope.region, scope.account, f"schedule/{group}/{name}")


def group_arn(scope: Scope, name: str) -> str:
    return make_arn("scheduler", scope.region, scope.account, f"schedule-group/{name}")


def check(request: Mapping[str, Any], scope: Scope) -> None:
    """Invalid unless the schedule can be carried out."""
    expression, zone = request["ScheduleExpression"], request.get("ScheduleExpressionTimezone") or "UTC"
    try:
        schedules.parse(expression, zone)
    except Invalid as error:
        raise Invalid(f"Invalid Schedule Expression {expression[:200]}. {error.message}") from None
    window = request["FlexibleTimeWindow"]
    minutes = window.get("MaximumWindowInMinutes")
    if (window["Mode"] == "FLEXIBLE") != (minutes is not None):
        raise Invalid("FlexibleTimeWindow: MaximumWindowInMinutes is for Mode FLEXIBLE, which needs it.")
    if minutes is not None and not 1 <= minutes <= 1440:
        raise Invalid("MaximumWindowInMinutes must be 1 to 1440.")
    start, end = request.get("StartDate"), request.get("EndDate")
    if start is not None and end is not None and end <= start:
        raise Invalid("EndDate must be behind StartDate.")
    target = request["Target"]
    try:
        deliveries.check_policies(target, scope)
        service = deliveries.service_of(target["Arn"], scope, universal=True)
    except InvalidValue as error:
        raise Invalid(error.message) from None
    if (
        service == "sqs"
        and target["Arn"].endswith(".fifo")
        and not (target.get("SqsParameters") or {}).get("MessageGroupId")
    ):
        raise Invalid("SqsParameters.MessageGroupId is needed for a FIFO queue.")


def following(record: Record, moment: float) -> float | None:
    """The first time of the schedule behind a moment, with its window's shift."""
    request = record.document["request"]
    schedule = schedules.parse(request["ScheduleExpression"], request.get("ScheduleExpressionTimezone") or "UTC")
    start, end = request.get("StartDate"), request.get("EndDate")
    begin = float(record.document["began"] if start is None else start)
    window = 60.0 * (request["FlexibleTimeWindow"].get("MaximumWindowInMinutes") or 0)
    since = moment - window
    if start is not None and not schedules.is_once(request["ScheduleExpression"]):
        since = max(since, begin - _SECOND)
    while True:
        at = begin if schedule.every and start is not None and since < begin else schedule.after(since, begin)
        if at is None or (end is not None and at > end and not schedules.is_once(request["ScheduleExpression"])):
            return None
        shifted = at + _shift(record, at, window)
        if shifted > moment:
            return shifted
        since = at


def _shift(record: Record, at: float, window: float) -> float:
    """Seconds within the window."""
    if not window:
        return 0.0
    number = int.from_bytes(hashlib.sha256(f"{record.arn} {at}".encode()).digest()[:8], "big")
    return float(int(window * number / 2**64))


def decide(record: Record, now: float) -> Decision[Fire]:
    """Fire what is due; a schedule that has fired for the last time and asks for it is deleted."""
    behind = due.behind(record, now, lambda moment: following(record, moment))
    decision = due.decide(record, now, behind, None)
    ended = decision.record.document.get("due") is None and record.document.get("due") is not None
    if ended and record.document["request"].get("ActionAfterCompletion") == "DELETE":
        return replace(decision, remove=True)
    return decision


def planned(record: Record, at: float, now: float) -> Record:
    """The delivery of that time. `<aws.scheduler...>` in the input is filled."""
    target = record.document["request"]["Target"]
    text = target.get("Input") or "{}"
    words = {
        "schedule-arn": record.arn,
        "scheduled-time": schedules.moment(at),
        "execution-id": hashlib.sha256(f"{record.arn} {at}".encode()).hexdigest()[:32],
        "attempt-number": "1",
    }
    for name, value in words.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return deliveries.new(record.scope, record.arn, f"{record.document['id']} {at}", target, text, now, deliveries.KEPT)
