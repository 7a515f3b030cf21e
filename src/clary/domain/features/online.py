"""What becomes of a record in the online store, and which line of history that makes. Pure: the store calls these inside its write.

A record is replaced by one whose event time is the same or later. What is older changes nothing online, and is history all the same.
A record whose time to live is over counts as gone. Source: reference/lifecycle.md 9.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clary.domain.errors import Invalid, NotFound, Stale
from clary.domain.features.groups import Group, seconds_of
from clary.domain.features.values import Values, check_size, event_time


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the online store. Times are epoch seconds. A deleted one keeps its event time and no values."""

    event: float
    values: Values
    expires: float | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """A line for the offline store: `values` as they were sent, `event` and `invoked` in epoch seconds."""

    identifier: str
    event: float
    values: Values
    invoked: float
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What a write does: `row` replaces the stored one (None removes it) unless `keeps`; `history` is appended."""

    row: Stored | None = None
    keeps: bool = False
    history: History | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """A record to put: checked values, and where to. `ttl` in seconds."""

    values: Values
    event: float
    ttl: float | None
    online: bool
    offline: bool
    now: float


def closed() -> Invalid:
    """What a write into a group that is being deleted is answered."""
    return Invalid("Validation Error: the FeatureGroup is being deleted; records need one that is Created.")


def alive(stored: Stored | None, now: float) -> Stored | None:
    """The row, unless its time is over."""
    return None if stored is None or (stored.expires is not None and stored.expires <= now) else stored


def put(group: Group, stored: Stored | None, write: Write) -> Change:
    """PutRecord: the whole record is replaced."""
    history = None
    if write.offline:
        history = History(str(write.values[group.identifier]), write.event, write.values, write.now)
    before = alive(stored, write.now)
    if not write.online or (before is not None and write.event < before.event):
        return Change(keeps=True, history=history)
    row = Stored(write.event, write.values, None if write.ttl is None else write.event + write.ttl)
    return Change(alive(row, write.now), history=history)


def update(
    group: Group, identifier: str, stored: Stored | None, changed: Values, ttl: float | None, offline: bool, now: float
) -> Change:
    """UpdateRecord: some features of a record that is there. NotFound; Stale when a later one is stored."""
    before = alive(stored, now)
    if before is None or before.deleted:
        raise NotFound(f"FeatureGroup [{group.name}] has no record [{identifier[:100]}].")
    values = {**before.values, **changed}
    event = event_time(group, values[group.event_time])
    if event < before.event:
        raise Stale(
            f"A record with a later event time is stored: {before.values[group.event_time]} is after {values[group.event_time]}."
        )
    check_size(values)
    ends = before.expires if ttl is None else event + ttl
    if ttl is None and before.expires is not None:
        ends = before.expires + (event - before.event)
    history = History(identifier, event, values, now) if offline else None
    return Change(alive(Stored(event, values, ends), now), history=history)


def delete(
    group: Group,
    identifier: str,
    stored: Stored | None,
    event_text: str,
    hard: bool,
    online: bool,
    offline: bool,
    now: float,
) -> Change:
    """DeleteRecord. A soft one hides the record and keeps its event time, so that an older Put does not bring it back; a hard one removes
    it. Invalid: a hard one with an event time before the stored one's."""
    event = event_time(group, event_text)
    marker: dict[str, Any] = {group.identifier: identifier, group.event_time: event_text}
    history = History(identifier, event, marker, now, deleted=True) if offline else None
    before = alive(stored, now)
    if not online:
        return Change(keeps=True, history=history)
    if before is not None and event < before.event:
        if hard:
            raise Invalid(
                f"Validation Error: the event time [{event_text}] is before that of the stored record; a HardDelete needs the same or a "
                "later one."
            )
        return Change(keeps=True, history=history)
    return Change(None if hard else Stored(event, {}, None, deleted=True), history=history)


def ttl_seconds(duration: Any) -> float | None:
    """A record's own time to live; None for none. Invalid without a unit or a value."""
    if duration and seconds_of(duration) is None:
        raise Invalid("Validation Error: TtlDuration needs both Unit and Value.")
    return seconds_of(duration)
