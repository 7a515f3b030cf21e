"""The doors of the shadow tournament: `Days` keeps what a variant was asked, `Replays` plays it again beside the control plane. Their
conformance classes are in `clary.testing.replays`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from clary.domain.scaling.candidates import Setup
from clary.domain.scaling.day import Day, Minute
from clary.domain.scaling.tournament import Score


class Days(Protocol):
    """The last day of each variant, by a key of any words. Use it from a thread. OSError when the disk does not take or give."""

    def keep(self, key: str, minutes: Sequence[Minute]) -> None:
        """Beside those of the last day that are there. A minute that is there already is replaced."""
        ...

    def minutes(self, key: str, since: int) -> list[Minute]:
        """Those whose number is at least `since`, by number. What was written by halves is not there."""
        ...

    def sweep(self, now: float) -> None:
        """Forget keys of which there is no minute within the last day."""
        ...


@dataclass(frozen=True, slots=True)
class Replayed:
    """The score of each candidate (none, where no request came), and the seconds of CPU that this took."""

    scores: Mapping[str, Score]
    cpu: float


class Replays(Protocol):
    """Play a day again. Unavailable, with the reason, when that failed or took more CPU than `candidates.BUDGET`."""

    async def play(self, day: Day, setup: Setup) -> Replayed: ...
