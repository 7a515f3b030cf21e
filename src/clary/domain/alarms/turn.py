"""One turn of an alarm: from what its metric says, or its children do, to its state and to what is done about it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from clary.domain.alarms import suppression, words
from clary.domain.alarms.evaluation import (
    HOLD,
    LONGEST_STEP,
    AlarmVerdict,
    Plan,
    State,
    StateValue,
    breaches,
    decides_early,
    evaluate,
    is_composite,
    next_look,
    plan,
    point,
    state_of,
)
from clary.domain.alarms.rules import parse
from clary.domain.decisions import Decision
from clary.domain.metrics.datapoints import Summary, WindowValue
from clary.domain.resources import Record


@dataclass(frozen=True, slots=True)
class AlarmNote:
    """Keep an entry of the alarm's history."""

    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Act:
    """Tell one of its actions. `id` is the same whenever this is decided again."""

    action: str
    id: str
    subject: str
    message: str


Command = AlarmNote | Act


@dataclass(frozen=True, slots=True)
class Child:
    """An alarm that a composite one names."""

    arn: str
    value: str
    since: float


@dataclass(frozen=True, slots=True)
class SeenAlarm:
    """What was read at `at`. Of a metric alarm: summaries of each step of its plan (`alarms.plan(request, at)`), or, where `values` is
    given, the values of metric math by the begin of their window. Of a composite one: its children by name, and the state of its
    suppressor."""

    at: float
    steps: tuple[tuple[float, Summary], ...] = ()
    values: Mapping[float, float] | None = None
    children: Mapping[str, Child] = field(default_factory=dict)
    suppressor: str = ""


def decide(record: Record, seen: SeenAlarm, now: float) -> Decision[Command]:
    """The state that holds now. What follows from its change is told in a turn of its own, when the change is saved: a save that is lost
    leaves neither a line in the history nor a message."""
    document = record.document
    if document["acted"] != document["moves"]:
        return _told(record, seen, now)
    if is_composite(document):
        wanted, again = _composed(record, seen, now), None
    else:
        looked = plan(document["request"], seen.at)
        wanted = _measured(document["request"], looked, seen, state_of(document), now)
        again = next_look(looked, now, decides_early(document["request"]))
    if now < document["held"] <= now + HOLD + LONGEST_STEP:  # farther away only after the clock was set back
        again = document["held"] - now
    elif wanted is not None and wanted.value != state_of(document).value:
        record = with_state(record, wanted)
    elif document["held"]:
        record = replace(record, document={**document, "held": 0.0})
    elif document.get("hushed"):
        return _hushed(record, seen, now)
    return Decision(record, (), again)


def with_state(record: Record, state: State, held: float = 0.0) -> Record:
    """The record in that state."""
    document = {**record.document, "state": state.to_json(), "held": held}
    if record.document["state"]["value"] != state.value:
        document |= {"before": record.document["state"], "moves": record.document["moves"] + 1}
    return replace(record, status=str(state.value), document=document)


def _told(record: Record, seen: SeenAlarm, now: float) -> Decision[Command]:
    """A change of state goes into the history, and to its actions, unless these are held back."""
    document, before = record.document, State.from_json(record.document["before"])
    note = AlarmNote(words.moved(record, before, state_of(document)))
    hush = suppression.begun(document["request"], record.status, seen.suppressor, suppression.hush_of(document), now)
    document = {**document, "acted": document["moves"], "hushed": hush.to_json() if hush else None}
    commands = [AlarmNote(words.suppressed(record, hush, now))] if hush else _acts(record, before)
    return Decision(replace(record, document=document), (note, *commands), 0.0)


def _acts(record: Record, before: State) -> Sequence[Command]:
    start, subject = f"{record.arn}/{record.created}/{record.document['moves']}", words.subject(record)
    message = words.message(record, before.value)
    return [Act(action, f"{start}/{action}", subject, message) for action in words.actions_of(record)]


def _hushed(record: Record, seen: SeenAlarm, now: float) -> Decision[Command]:
    """Actions that were held back: told when what holds them back is over."""
    document = record.document
    hush = suppression.hush_of(document)
    assert hush is not None
    after = suppression.going_on(document["request"], hush, seen.suppressor, now)
    record = replace(record, document={**document, "hushed": after.to_json() if after else None})
    if after is None:
        return Decision(record, tuple(_acts(record, State.from_json(document["before"]))), 0.0)
    notes = (AlarmNote(words.suppressed(record, after, now)),) if after != hush else ()
    return Decision(record, notes, max(0.0, after.until - now) if after.until else None)


def _measured(request: Mapping[str, Any], looked: Plan, seen: SeenAlarm, before: State, now: float) -> State | None:
    """None: as it was."""
    return _said(request, looked, verdict_of(request, looked, seen), before, now)


def verdict_of(request: Mapping[str, Any], looked: Plan, seen: SeenAlarm, early: bool = True) -> AlarmVerdict:
    """What a metric alarm's windows say; where `early`, those with the running one, when that is certain to breach."""
    verdict = evaluate(request, _windows(request, looked, seen, looked.end))
    if early and verdict.value != StateValue.ALARM and decides_early(request) and seen.values is None:
        running = _windows(request, looked, seen, looked.last)
        newest = running[0]
        if newest is not None and newest.certain and breaches(request, newest.value):
            sooner = evaluate(request, running)
            verdict = sooner if sooner.value == StateValue.ALARM else verdict
    return verdict


def _said(request: Mapping[str, Any], looked: Plan, verdict: AlarmVerdict, before: State, now: float) -> State | None:
    if verdict.value is None:
        return None
    reason = words.reason(request, looked, verdict, before.value)
    return State(verdict.value, reason, words.reason_data(request, looked, verdict, now), now, now)


def _windows(request: Mapping[str, Any], looked: Plan, seen: SeenAlarm, end: float) -> list[WindowValue | None]:
    """Newest first: the windows that end at `end`, and before it."""
    begins = looked.begins(end)
    if seen.values is not None:
        return [WindowValue(begin, seen.values[begin], 1.0) if begin in seen.values else None for begin in begins]
    held: dict[float, Summary] = {}
    for at, summary in seen.steps:
        if begins[-1] <= at < end:
            begin = begins[-1] + (at - begins[-1]) // looked.period * looked.period
            held.setdefault(begin, Summary()).merge(summary)
    return [point(request, begin, held[begin]) if begin in held else None for begin in begins]


def _composed(record: Record, seen: SeenAlarm, now: float) -> State | None:
    rule = parse(record.document["request"]["AlarmRule"])
    holds = rule.holds({name: child.value for name, child in seen.children.items()})
    value = StateValue.ALARM if holds else StateValue.OK
    newest = max(seen.children.values(), key=lambda child: child.since, default=None)
    if newest is None:
        return State(value, f"{record.arn} was evaluated: its rule names no alarm that exists", "", now, now)
    moment = datetime.fromtimestamp(newest.since, UTC).strftime("%A %d %B, %Y %H:%M:%S UTC")
    trigger = {"arn": newest.arn, "state": {"value": newest.value, "timestamp": words.stamp(newest.since)}}
    data = json.dumps({"triggeringAlarms": [trigger]}, separators=(",", ":"))
    return State(value, f"{newest.arn} transitioned to {newest.value} at {moment}", data, now, now)
