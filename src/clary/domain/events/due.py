"""When a rule or a schedule fires next. Pure.

`document["due"]` is the next time. It is fired once, however late it is found (Clary was down, the clock was set forward), and the next one
lies behind both it and now; so a clock that is set back repeats none.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.events.rules import event as make_event
from clary.domain.resources import Record

LONGEST = 60.0  # seconds to the next look, since a clock may be set


@dataclass(frozen=True, slots=True)
class Fire:
    """Plan the deliveries of that time (epoch seconds)."""

    at: float


def decide(record: Record, now: float, following: float | None, end: float | None) -> Decision[Fire]:
    """`following`: the first time behind now and the one that is due; None: there is none. `end`: nothing fires behind it."""
    at = record.document.get("due")
    if at is None:
        if following is None:
            return Decision(record)
        record = replace(record, document={**record.document, "due": following})
        return Decision(record, again=min(LONGEST, max(0.0, following - now)))
    if at > now:
        return Decision(record, again=min(LONGEST, at - now))
    fires = (Fire(at),) if end is None or at <= end else ()
    record = replace(record, document={**record.document, "due": following, "last": at})
    return Decision(record, fires)


def behind(record: Record, now: float, following: Callable[[float], float | None]) -> float | None:
    """The first time behind now, and behind the one that is due or was last."""
    times = [now, *(float(record.document[name]) for name in ("due", "last") if record.document.get(name) is not None)]
    return following(max(times))


def event(rule: Record, at: float) -> dict[str, Any]:
    """What the targets of a rule are told at that time."""
    id_ = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{rule.arn} {at}"))
    return make_event(rule.scope, id_, "aws.events", "Scheduled Event", {}, at, [rule.arn])
