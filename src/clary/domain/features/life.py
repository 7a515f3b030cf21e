"""What is done next for a feature group: make it, carry its history into the offline store, remove it. Pure.

History that has waited for `FLUSH_AFTER` seconds, or `FLUSH_LINES` lines of it, is written; a try that failed blocks the offline store
(DescribeFeatureGroup says why) until one succeeds, and nothing is lost meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.decisions import Decision, Unable
from clary.domain.features.groups import advanced
from clary.domain.lifecycle import GroupFact, GroupStatus
from clary.domain.resources import Record

FLUSH_AFTER = 2.0  # seconds
FLUSH_LINES = 20_000
TRY_AGAIN = 30.0  # seconds after a write that failed


@dataclass(frozen=True, slots=True)
class SeenGroup:
    """`count` lines of history wait, the first since `oldest` (epoch seconds)."""

    count: int = 0
    oldest: float = 0.0


@dataclass(frozen=True, slots=True)
class Make:
    """See that both stores can take records."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Write one batch of history into the offline store."""


@dataclass(frozen=True, slots=True)
class Close:
    """Take no more records: who found the group before it was to be deleted may still write."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Forget the online records, and what is left of the history."""


Command = Make | Flush | Close | Clear


def decide(record: Record, seen: SeenGroup, now: float) -> Decision[Command]:
    """The next command, and when to look again."""
    if record.status == GroupStatus.CREATING:
        return Decision(record, (Make(),))
    if record.status == GroupStatus.DELETING:
        if not record.document.get("closed"):
            return Decision(record, (Close(),), again=0.0)
        if seen.count and not record.document.get("failure"):
            return Decision(record, (Flush(),), again=0.0)
        return Decision(record, (Clear(),), remove=True)
    return _history(record, seen, now)


def _history(record: Record, seen: SeenGroup, now: float) -> Decision[Command]:
    if not seen.count:
        return Decision(record)
    due = max(seen.oldest + FLUSH_AFTER if seen.count < FLUSH_LINES else now, record.document.get("try_again", 0.0))
    if due > now:
        return Decision(record, again=due - now)
    return Decision(record, (Flush(),), again=0.0 if seen.count > FLUSH_LINES else FLUSH_AFTER)


def absorb(record: Record, outcomes: Sequence[tuple[Command, Any]], now: float) -> Record:
    """The record, with what its commands answered: None, or Unable."""
    for command, outcome in outcomes:
        if isinstance(command, Make):
            fact = GroupFact.GAVE_UP if isinstance(outcome, Unable) else GroupFact.MADE
            record = advanced(record, fact, now, outcome.why if isinstance(outcome, Unable) else "")
        elif isinstance(command, Flush):
            record = _flushed(record, outcome, now)
        elif isinstance(command, Close):
            record = replace(record, document={**record.document, "closed": True})
    return record


def _flushed(record: Record, outcome: Any, now: float) -> Record:
    if isinstance(outcome, Unable):
        if record.status == GroupStatus.DELETING:
            words = f"Its history cannot be written: {outcome.why} Delete the feature group again to give up what is not written."
            return advanced(record, GroupFact.GAVE_UP, now, words)
        blocked = {"offline_status": "Blocked", "blocked": outcome.why[:1024], "try_again": now + TRY_AGAIN}
        return replace(record, document={**record.document, **blocked})
    if record.document.get("blocked"):
        document = {name: value for name, value in record.document.items() if name not in ("blocked", "try_again")}
        return replace(record, document={**document, "offline_status": "Active"})
    return record
