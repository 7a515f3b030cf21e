"""An event that waits for its function: an asynchronous invocation. Pure. Source: developer guide, "Asynchronous invocation".

It is a record from the moment that the client is answered. The function is tried three times, a minute and two minutes apart; then the
event goes to the function's dead-letter queue, where it has one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from clary.domain.decisions import Decision
from clary.domain.functions.record import EVENT
from clary.domain.ids import arn as make_arn
from clary.domain.resources import Record

PENDING = "Pending"
TRIES = 3
WAITS = (60.0, 120.0)  # seconds after the first and second failure
LONGEST = 6 * 3600.0  # seconds that an event waits at most while its function is throttled
THROTTLED = 1.0  # seconds to the next look then


@dataclass(frozen=True, slots=True)
class InvokeFunction:
    """Run the function with this event."""

    function: str  # ARN
    payload: str
    id: str
    context: str


@dataclass(frozen=True, slots=True)
class Bury:
    """Send the event to the function's dead-letter queue, where it has one."""

    function: str
    payload: str
    id: str
    failure: str


@dataclass(frozen=True, slots=True)
class EventRun:
    """How that went: `failure` is "" or the error's payload. `throttled`: it did not run; `missing`: there is no such function."""

    at: float
    failure: str = ""
    throttled: bool = False
    missing: bool = False


EventCommand = InvokeFunction | Bury


def new(function: Record, payload: str, now: float, id_: str, context: str = "") -> Record:
    """An event for a function."""
    arn = make_arn("lambda", function.scope.region, function.scope.account, f"event:{id_}")
    document = {
        "function": function.arn,
        "payload": payload,
        "context": context,
        "tries": 0,
        "due": now,
        "failure": "",
        "done": False,
    }
    return Record(EVENT, function.scope, id_, arn, PENDING, now, now, document)


def decide(record: Record, now: float) -> Decision[EventCommand]:
    document = record.document
    if document["done"]:
        return Decision(record, remove=True)
    if document["tries"] >= TRIES or (document["failure"] and now - record.created > LONGEST):
        bury = Bury(document["function"], document["payload"], record.name, document["failure"])
        return Decision(record, (bury,), remove=True)
    if document["due"] > now:
        return Decision(record, again=document["due"] - now)
    command = InvokeFunction(document["function"], document["payload"], record.name, document["context"])
    return Decision(record, (command,))


def absorb(record: Record, run: EventRun) -> Record:
    document = dict(record.document)
    if run.missing or not (run.failure or run.throttled):
        document["done"] = True
    elif run.throttled:
        document["due"] = run.at + THROTTLED
        document["failure"] = run.failure or "throttled"
    else:
        document["tries"] += 1
        document["failure"] = run.failure
        document["due"] = run.at + WAITS[min(document["tries"], len(WAITS)) - 1]
    return replace(record, modified=run.at, document=document)
