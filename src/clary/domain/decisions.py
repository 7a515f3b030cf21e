"""The result of every `decide`: the new record, and commands for the loop. Values only.

`decide(record, observation, now) -> Decision` is pure; `clary.loops.core.loop` runs the commands and saves the record, in that
order. Commands are frozen dataclasses of the kind's own module; each is idempotent by what it names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from clary.domain.grants import GrantChange
from clary.domain.resources import Record

C = TypeVar("C", covariant=True)


@dataclass(frozen=True, slots=True)
class Decision(Generic[C]):
    """`again`: look at this record again after so many seconds, event or not (None: only events wake it).

    `remove`: delete the record instead of saving it, after the commands. `grants`: what it takes or gives back of a machine, in the write
    that saves the record."""

    record: Record
    commands: tuple[C, ...] = ()
    again: float | None = None
    remove: bool = False
    grants: GrantChange | None = None


@dataclass(frozen=True, slots=True)
class Unable:
    """What a command answers that could not be carried out, for the next decision. `scarce`: for want of room."""

    why: str
    scarce: bool = False
