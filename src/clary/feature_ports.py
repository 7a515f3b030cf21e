"""The door to what feature groups hold: `FeatureRecords`, the online store and the log of what the offline store has yet to get.

Its conformance class is `clary.testing.features.FeatureRecordsConformance`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from clary.domain.errors import ClaryError
from clary.domain.features.online import Change, History, Stored

Decide = Callable[[Stored | None], Change]


@dataclass(frozen=True, slots=True)
class Entry:
    """One write: `decide` gets the stored row and says what becomes of it, inside the write's transaction; it may run twice, and says no by
    a ClaryError. `group` is a group's `key`."""

    group: str
    identifier: str
    decide: Decide


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log. `number` grows with time; `written` is when it was answered, in epoch seconds."""

    number: int
    written: float
    history: History


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of one group that go into the offline store together. `name` is the same when they are asked for again."""

    group: str
    name: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the offline store of a group has yet to get: how many lines, and when the first of them was answered."""

    count: int
    oldest: float


class FeatureRecords(Protocol):
    """Answered means durable. Reads see every write answered before."""

    async def get(self, group: str, identifiers: Sequence[str]) -> dict[str, Stored]:
        """The rows of those identifiers that are there, deleted and expired ones too."""
        ...

    async def change(self, entries: Sequence[Entry], now: float) -> list[Change | ClaryError]:
        """Each by itself, in order, in one transaction; a ClaryError stands for one that said no."""
        ...

    async def identifiers(self, group: str, after: str, limit: int, deleted: bool, now: float) -> list[str]:
        """In byte order, those behind `after`, expired ones left out."""
        ...

    async def size(self, group: str) -> int:
        """Bytes of the group's online records."""
        ...

    async def expire(self, now: float) -> int:
        """Remove rows whose time is over; answers how many. Groups that were closed a day ago are forgotten."""
        ...

    async def waiting(self, group: str | None = None) -> dict[str, Waiting]:
        """By group: all that have something that waits, or only this one."""
        ...

    async def batch(self, group: str, most: int) -> Batch | None:
        """The oldest lines; the same batch until it is `written`, whoever asks and after whatever crash. None: there are none."""
        ...

    async def written(self, batch: Batch) -> None:
        """They are in the offline store: forget them."""
        ...

    async def close_group(self, group: str, now: float) -> None:
        """From now on `change` says no to every entry of the group, whoever found the group before; what was answered stays. Twice is
        fine."""
        ...

    async def drop(self, group: str) -> None:
        """Forget all of a group that is being deleted, but that it is closed."""
        ...
