"""EventBridge's rules and events. Pure. Source: EventBridge API reference and user guide. There is one bus: `default`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from clary.domain import schedules
from clary.domain.errors import Invalid, InvalidValue, NotFound
from clary.domain.events import deliveries, inputs, patterns
from clary.domain.ids import arn as make_arn
from clary.domain.resources import Query, Record, Scope

RULE = "event-rule"
ENABLED, DISABLED = "ENABLED", "DISABLED"
BUS = "default"
LARGEST = 1 << 20  # bytes of the entries of one PutEvents
TARGETS = 100
_PAGE = 200
_NAME = re.compile(r"[.A-Za-z0-9_-]{1,64}")
_TARGET = re.compile(r"[.A-Za-z0-9_-]{1,64}")


def check_bus(name: str | None, scope: Scope) -> None:
    """NotFound for any bus but the default one."""
    if name not in (None, "", BUS, bus_arn(scope)):
        raise NotFound(f"Event bus {name} does not exist: Clary has the bus '{BUS}' alone.")


def bus_arn(scope: Scope) -> str:
    return make_arn("events", scope.region, scope.account, f"event-bus/{BUS}")


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"Parameter Name is not valid: '{name[:200]}' has other characters than letters, digits, '.', '-' and '_'."
        )
    return name


def rule_arn(scope: Scope, name: str) -> str:
    return make_arn("events", scope.region, scope.account, f"rule/{name}")


def checked(pattern: str, schedule: str) -> None:
    """What a rule is for: at least one of the two."""
    if not pattern and not schedule:
        raise Invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")
    if pattern:
        patterns.parse(pattern)
    if schedule:
        if schedules.is_once(schedule):
            raise Invalid(
                "Parameter ScheduleExpression is not valid: rules have rate(...) and cron(...); at(...) is Scheduler's."
            )
        try:
            schedules.parse(schedule)
        except Invalid:
            raise Invalid("Parameter ScheduleExpression is not valid.") from None


def check_target(target: Mapping[str, Any], scope: Scope) -> None:
    """InvalidValue names what cannot be delivered."""
    if not _TARGET.fullmatch(target["Id"]):
        raise InvalidValue(f"Target Id '{target['Id'][:100]}' is not valid.")
    deliveries.service_of(target["Arn"], scope)
    others = [
        name
        for name in target
        if name.endswith("Parameters") and name not in ("SqsParameters", "SageMakerPipelineParameters")
    ]
    if others:
        raise InvalidValue(
            f"{others[0]} is for targets that Clary does not deliver to; it delivers to {deliveries.SUPPORTED}."
        )
    if target["Arn"].endswith(".fifo") and not (target.get("SqsParameters") or {}).get("MessageGroupId"):
        raise InvalidValue(f"Parameter(s) MessageGroupId must be specified for target: {target['Id']}.")
    deliveries.check_policies(target, scope)
    inputs.check(target)


def enabled(scope: Scope) -> Query:
    """Asks for the first page of the scope's rules that are enabled."""
    return Query(RULE, scope, statuses=(ENABLED,), sort_by="name", descending=False, limit=_PAGE)


def event(
    scope: Scope, id_: str, source: str, detail_type: str, detail: Any, at: float, resources: list[str]
) -> dict[str, Any]:
    """An event as its targets get it."""
    return {
        "version": "0",
        "id": id_,
        "detail-type": detail_type,
        "source": source,
        "account": scope.account,
        "time": moment(at),
        "region": scope.region,
        "resources": resources,
        "detail": detail,
    }


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_for(rule: Record, told: Mapping[str, Any]) -> bool:
    pattern = rule.document["pattern"]
    return rule.status == ENABLED and bool(pattern) and patterns.matches(json.loads(pattern), told)


def planned(rule: Record, told: Mapping[str, Any], now: float, kept: float = 0.0) -> list[Record]:
    """A delivery for each of the rule's targets; it stays for `kept` seconds when it is done."""
    found = []
    for target in rule.document["targets"]:
        text = inputs.text_of(target, told, rule.arn, moment(now))
        found.append(deliveries.new(rule.scope, rule.arn, told["id"], target, text, now, kept))
    return found


def all_planned(among: Iterable[Record], told: Mapping[str, Any], now: float) -> Iterator[Record]:
    """A delivery for each target of those rules that the event matches."""
    for rule in among:
        if is_for(rule, told):
            yield from planned(rule, told, now)


def next_time(rule: Record, moment: float) -> float | None:
    """When a rule with a schedule is due behind that moment; None for others."""
    schedule = rule.document["schedule"]
    return schedules.parse(schedule).after(moment, rule.document["began"]) if schedule else None
