"""When the actions of a composite alarm are held back: ActionsSuppressor, its wait and its extension. Pure (AWS's user guide, "Composite
alarm action suppression").

| held back by | while |
|---|---|
| Alarm | the suppressor is in ALARM |
| WaitPeriod | the composite alarm has gone to ALARM, and the suppressor may still follow |
| ExtensionPeriod | the suppressor has left ALARM, and the composite alarm may still follow |

What is held back is told for the state that the alarm has at the end, once; what went by meanwhile is in the history only. The record's
document has it as `hushed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from clary.domain.alarms.rules import name_of
from clary.domain.errors import Invalid
from clary.domain.resources import Document

ALARM, WAIT, EXTENSION = "Alarm", "WaitPeriod", "ExtensionPeriod"
LONGEST = 86_400  # seconds of either period
_PERIODS = {WAIT: "ActionsSuppressorWaitPeriod", EXTENSION: "ActionsSuppressorExtensionPeriod"}


@dataclass(frozen=True, slots=True)
class Hush:
    """`until` (epoch seconds) is of the periods only."""

    by: str
    until: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def hush_of(document: Document) -> Hush | None:
    held = document.get("hushed")
    return Hush(**held) if held else None


def suppressor_of(request: Mapping[str, Any]) -> str:
    """The suppressor's name; nothing when there is none."""
    return name_of(str(request.get("ActionsSuppressor") or ""))


def check(request: Mapping[str, Any]) -> None:
    """Invalid for a suppressor without its periods, or periods without one."""
    suppressor = request.get("ActionsSuppressor")
    for member in _PERIODS.values():
        value = request.get(member)
        if suppressor and value is None:
            raise Invalid(f"{member} must be specified together with ActionsSuppressor.")
        if value is not None and not suppressor:
            raise Invalid(f"{member} is only for alarms with an ActionsSuppressor.")
        if value is not None and not 0 <= int(value) <= LONGEST:
            raise Invalid(f"{member} must be 0 to {LONGEST} seconds; it is {value}.")
    if suppressor and suppressor_of(request) == request["AlarmName"]:
        raise Invalid("ActionsSuppressor must not name the alarm itself.")


def begun(request: Mapping[str, Any], value: str, suppressor: str, before: Hush | None, now: float) -> Hush | None:
    """For an alarm that has just gone to that state. `suppressor` is its suppressor's state; None: its actions are told."""
    if not request.get("ActionsSuppressor"):
        return None
    if suppressor == "ALARM":
        return Hush(ALARM)
    if before is not None and before.by == EXTENSION and now < _until(request, before, now):
        return before
    return _period(request, WAIT, now) if value == "ALARM" else None


def going_on(request: Mapping[str, Any], hush: Hush, suppressor: str, now: float) -> Hush | None:
    """What becomes of it; None: it is over."""
    if not request.get("ActionsSuppressor"):
        return None
    if suppressor == "ALARM":
        return Hush(ALARM)
    if hush.by == ALARM:
        return _period(request, EXTENSION, now)
    return hush if now < _until(request, hush, now) else None


def _period(request: Mapping[str, Any], by: str, now: float) -> Hush | None:
    seconds = float(request[_PERIODS[by]])
    return Hush(by, now + seconds) if seconds else None


def _until(request: Mapping[str, Any], hush: Hush, now: float) -> float:
    """No farther away than the period is long: the clock may have been set back."""
    return hush.until if hush.until <= now + float(request[_PERIODS[hush.by]]) else now


def words(request: Mapping[str, Any], hush: Hush) -> str:
    """ActionsSuppressedReason."""
    name = suppressor_of(request)
    if hush.by == ALARM:
        return f"The suppressor {name} is in state ALARM"
    moment = datetime.fromtimestamp(hush.until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    why = "may still go to ALARM" if hush.by == WAIT else "has left ALARM"
    return f"The suppressor {name} {why}: waiting until {moment}"
