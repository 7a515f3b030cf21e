"""A change of a target's capacity, followed to its end, and what a turn of a target is made of. Pure.

A change of capacity is an *activity*. It is decided and saved (Pending), then asked (InProgress), then followed until the resource has
what was asked (Successful), took it back (Failed), was changed by somebody else (Overridden) or did not get there in time
(Unfulfilled). While one is under way nothing else is decided; a control plane that dies in between asks for the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from clary.domain.autoscaling.alarms import FAST
from clary.domain.autoscaling.policies import Change, Heard, scaled_out
from clary.domain.autoscaling.record import MILLICPU, Capacity, activity_id, words_of
from clary.domain.decisions import Decision, Unable
from clary.domain.machine.rooms import Room
from clary.domain.resources import Record
from clary.domain.scaling.decisions import FLEET, RANGE, SIZE, Event, State
from clary.domain.scaling.signals import Term

SOON = 1.0
PATIENCE = 900.0  # seconds until an activity counts as not fulfilled
REFUSED_PAUSE, LONGEST_PAUSE = 60.0, 480.0  # seconds after a refusal, and after several in a row


@dataclass(frozen=True, slots=True)
class Apply:
    """Ask the resource for this capacity. Nothing when it has been asked already. `steady`: it stays in service meanwhile."""

    capacity: int
    steady: bool = False


@dataclass(frozen=True, slots=True)
class ActivityNote:
    """Keep this activity, or its new state."""

    id: str
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Write:
    """Write a decision down (`scaling/decisions.py`)."""

    event: Event


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove the policies, their alarms and the scheduled actions: the resource is gone."""


@dataclass(frozen=True, slots=True)
class Want:
    """There is no room for more: keep from jobs what comes free, as far as `wanted` needs it. `first`: tell the resource's history why."""

    why: str
    first: bool
    wanted: int


Command = Apply | ActivityNote | Write | Forget | Want


@dataclass(frozen=True, slots=True)
class SeenTarget:
    """`capacity` None: the resource is gone. `heard`: alarms by name, those that still are in the state that drives their policy.
    `silent`: alarms whose metric has no datapoints any more. `steps`: after how many seconds each may act again. `policies` by ARN,
    `actions` by name, as recorded. `room`: up to where the machine has room; None: it sets no bound.
    `wish`: what the variant's latency objective wants to change (`objectives/record.py`), if it does; `keeps`: its policy, where it lets
    nobody take away what it needs. `missing`: alarms that a policy made and somebody deleted, with its ARN."""

    capacity: Capacity | None
    heard: Mapping[str, Heard] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    actions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    timing: str = FAST
    room: Room | None = None
    wish: Mapping[str, Any] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    keeps: str = ""


@dataclass(slots=True)
class TargetTurn:
    record: Record
    document: dict[str, Any]
    seen: SeenTarget
    capacity: Capacity
    now: float
    commands: list[Command] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    candidates: list[Term] = field(default_factory=list)  # what each policy wants now

    def decided(self) -> Decision[Command]:
        record = self.record
        if self.document != record.document:
            record = replace(record, document=self.document)
        return Decision(record, tuple(self.commands), max(0.05, min(self.again)) if self.again else None)


def anchored(document: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The document with no moment that is still to come: what a clock wrote that was set back since counts as of now. Otherwise a
    cooldown or a pause would last as long as the clock went back."""
    held = dict(document)
    for member in ("acted", "ran"):
        held[member] = {name: min(at, now) for name, at in document[member].items()}
    held["changes"] = {way: {**change, "at": min(change["at"], now)} for way, change in document["changes"].items()}
    if document["activity"] is not None:
        held["activity"] = {**document["activity"], "start": min(document["activity"]["start"], now)}
    if "retry" in document:
        held["retry"] = min(document["retry"], now + LONGEST_PAUSE)
    return held


def entry_of(turn: TargetTurn, activity: Mapping[str, Any], status: str, message: str, ended: bool) -> ActivityNote:
    entry: dict[str, Any] = {
        "ActivityId": activity["id"],
        "ResourceId": turn.document["resource"],
        "ScalableDimension": turn.document["dimension"],
        "Description": activity["description"],
        "Cause": activity["cause"],
        "StartTime": activity["start"],
        "StatusCode": status,
        "StatusMessage": message,
        "Details": activity.get("details", ""),
        "scaled": "yes",
    }
    return ActivityNote(activity["id"], {**entry, **({"EndTime": turn.now} if ended else {})})


def start(
    turn: TargetTurn, to: int, cause: str, details: str, cooling: float = 0.0, alarm: str = "", steady: bool = False
) -> None:
    """Decide a change. It is asked in the next turn, when this is saved."""
    count = turn.document["count"] + 1
    words = words_of(turn.document["dimension"])
    activity = {
        "id": activity_id(turn.record, count),
        "from": turn.capacity.desired,
        "to": to,
        "start": turn.now,
        "asked": False,
        "cause": cause,
        "description": f"Setting desired {words} to {to}.",
        "details": details,
        "cooldown": cooling,
        **({"steady": True} if steady else {}),
    }
    turn.document |= {"count": count, "activity": activity, "cause": ""}
    if steady:
        turn.document["said"] = {name: code for name, code in turn.document["said"].items() if name}
    if alarm:
        turn.document["acted"] = {**turn.document["acted"], alarm: turn.now}
        turn.document["said"] = {name: code for name, code in turn.document["said"].items() if name != alarm}
    turn.commands.append(entry_of(turn, activity, "Pending", f"About to set desired {words} to {to}.", False))
    turn.again.append(0.0)


def change_of(turn: TargetTurn, direction: str) -> Change | None:
    held = turn.document["changes"].get(direction)
    return Change(held["at"], held["before"], held["cooldown"]) if held else None


def follow(turn: TargetTurn) -> None:
    activity, capacity = turn.document["activity"], turn.capacity
    to, words = activity["to"], words_of(turn.document["dimension"])
    done = f"Successfully set desired {words} to {to}."
    if activity.get("refused"):
        status = "Unfulfilled" if activity.get("scarce") else "Failed"
        _refuse(turn, status, f"Failed to set desired {words} to {to}. Reason: {activity['refused']}")
        return
    if not activity["asked"]:
        if not capacity.settled and capacity.desired != to:
            turn.again.append(SOON)
            return
        turn.document["activity"] = {**activity, "asked": True}
        turn.commands += [
            Apply(to, bool(activity.get("steady"))),
            entry_of(turn, activity, "InProgress", f"{done} Waiting for change to be fulfilled by sagemaker.", False),
        ]
        turn.again.append(SOON)
        return
    if not capacity.settled:
        turn.again.append(SOON)
    elif capacity.desired != to and capacity.failure:
        _refuse(turn, "Failed", f"Failed to set desired {words} to {to}. Reason: {capacity.failure}")
    elif capacity.desired != to:
        _end(turn, "Overridden", f"{done} It was then set to {capacity.desired} by another request.")
    elif capacity.running == to:
        direction = "out" if to > activity["from"] else "in"
        change = {"at": turn.now, "before": activity["from"], "cooldown": activity["cooldown"]}
        changes = {**turn.document["changes"], direction: change}
        if direction == "out":
            out = scaled_out(
                change_of(turn, "out"), activity["start"], turn.now, activity["from"], activity["cooldown"]
            )
            changes["out"] = {**change, "before": out.before}
            changes.pop("in", None)  # a scale-out ends the cooldown of a scale-in
        turn.document |= {"changes": {**changes, "last": change}, "refusals": 0}
        _end(turn, "Successful", f"{done} Change successfully fulfilled by sagemaker.")
    elif turn.now - activity["start"] > PATIENCE:
        _end(turn, "Unfulfilled", f"{done} {capacity.running} are running after {PATIENCE:g} s.")
    else:
        turn.again.append(SOON)


def _refuse(turn: TargetTurn, status: str, message: str) -> None:
    """What was refused again and again is asked for ever less often."""
    refusals = turn.document.get("refusals", 0)
    turn.document["refusals"] = refusals + 1
    turn.commands.append(_unable(turn, message))
    _end(turn, status, message, min(LONGEST_PAUSE, REFUSED_PAUSE * 2 ** min(refusals, 10)))


def _unable(turn: TargetTurn, message: str) -> Write:
    """The record of a decision that the resource did not carry out."""
    activity, sized = turn.document["activity"], turn.document["dimension"] == MILLICPU
    states = [state_of(turn, amount) for amount in (activity["from"], activity["to"])]
    cause, level, why = activity["cause"], SIZE if sized else FLEET, activity["details"]
    policy = cause.rpartition("policy ")[2]
    if policy == cause:  # a range or a schedule, which is no policy
        policy, level, why = "range", RANGE, f"{cause[:1].upper()}{cause[1:]}: {why}."
    reason = message.partition("Reason: ")[2] or message
    return Write(Event(turn.now, policy, level, "refused", why, states[0], states[1], refused=reason))


def state_of(turn: TargetTurn, amount: int) -> State:
    """What the resource has, with so much of the target's own dimension."""
    if turn.document["dimension"] == MILLICPU:
        return State(turn.capacity.count, amount)
    return State(amount, turn.capacity.millicpu)


def overtaken(turn: TargetTurn) -> bool:
    """Whether the latency objective, which decides each second, wants another amount than the one that is on its way: that one ends."""
    activity, wish = turn.document["activity"], turn.seen.wish
    if not activity.get("steady") or not activity["asked"] or activity.get("refused") or not wish:
        return False
    if wish["at"] == turn.document.get("wished"):
        return False
    if not turn.capacity.settled or wish["from"] != turn.capacity.desired or wish["from"] != activity["to"]:
        return False
    words = words_of(turn.document["dimension"])
    done = f"Successfully set desired {words} to {activity['to']}."
    _end(turn, "Overridden", f"{done} A new scaling activity sets it to {wish['to']}.")
    return True


def _end(turn: TargetTurn, status: str, message: str, pause: float = 0.0) -> None:
    turn.commands.append(entry_of(turn, turn.document["activity"], status, message, True))
    turn.document["activity"] = None
    turn.document["retry"] = turn.now + pause if pause else 0.0
    turn.document["refused"] = message.partition("Reason: ")[2] if pause else ""
    turn.again.append(0.0)


def absorb(record: Record, outcomes: list[tuple[Command, Any]]) -> Record:
    """A change that the resource refused is an activity that failed: the next turn says so."""
    for command, answer in outcomes:
        activity = record.document["activity"]
        if isinstance(command, Apply) and isinstance(answer, Unable) and activity is not None:
            activity = {**activity, "refused": answer.why, "scarce": answer.scarce}
            record = replace(record, document={**record.document, "activity": activity})
    return record
