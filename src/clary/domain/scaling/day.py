"""The last day of a variant, second by second: what a replay of other settings is run on (scaling reference 2.6).

Owns minutes and the day that they make. Does not know where they are kept. Of a second it holds the requests that began in it, of a
minute what one of them took. What nobody counted, because no control plane ran, is unknown and not zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clary.domain.scaling.signals import Sample

MINUTE = 60
MINUTES = 1440
SECONDS = MINUTE * MINUTES
UNKNOWN = -1
MOST = 65_534  # requests of a second; more are counted as these
WHOLE = 0.95  # of a day's seconds that must be known
NEXT = 1.6  # seconds between two samples that have nothing between them


class Minute(NamedTuple):
    """`number` of minutes since the epoch; `arrivals` of its 60 seconds; `service` and `spread` as in `Sample`, the newest of them."""

    number: int
    arrivals: tuple[int, ...]
    service: float
    spread: float


@dataclass(frozen=True, slots=True)
class Day:
    """`begin` in epoch seconds; `arrivals` of each second from there, `services` (seconds, spread) of each minute."""

    begin: int
    arrivals: Sequence[int]
    services: Sequence[tuple[float, float]]


def known(minutes: Iterable[Minute], now: float) -> float:
    """The share of the last day's seconds that are known."""
    last = int(now // MINUTE)
    there = {each.number: each for each in minutes if last - MINUTES <= each.number < last}
    return sum(count != UNKNOWN for each in there.values() for count in each.arrivals) / SECONDS


def day_of(minutes: Iterable[Minute], now: float) -> Day:
    """The day up to the minute of `now`. A minute without an answered request is as the one before it."""
    last = int(now // MINUTE)
    there = {each.number: each for each in minutes}
    nothing = (UNKNOWN,) * MINUTE
    arrivals: list[int] = []
    services: list[tuple[float, float]] = []
    first = min((each.number for each in there.values() if each.service > 0.0), default=0)
    service = (there[first].service, there[first].spread) if first in there else (0.0, 0.0)
    for number in range(last - MINUTES, last):
        minute = there.get(number)
        if minute is not None and minute.service > 0.0:
            service = minute.service, minute.spread
        arrivals += minute.arrivals if minute is not None else nothing
        services.append(service)
    return Day((last - MINUTES) * MINUTE, arrivals, services)


class Seconds:
    """Takes samples in, gives whole minutes out. A front is asked about once a second, not on the second: one that tells twice in a second,
    and not at all in the next, loses nothing."""

    def __init__(self) -> None:
        self._time, self._second = -math.inf, -1
        self._number = -1
        self._counts = [UNKNOWN] * MINUTE
        self._service = (0.0, 0.0)

    def take(self, samples: Iterable[Sample]) -> list[Minute]:
        """The minutes that are over, after the samples that are newer than those before."""
        done: list[Minute] = []
        fresh = list(samples)
        if fresh and fresh[-1].time < self._time - NEXT:  # the clock was set back
            self._time = -math.inf
        for sample in fresh:
            if sample.time <= self._time:
                continue
            second = math.floor(sample.time)
            if second - self._second == 2 and sample.time - self._time < NEXT:
                half = sample.arrivals // 2
                done += self._put(second - 1, half, sample)
                done += self._put(second, sample.arrivals - half, sample)
            else:
                done += self._put(second, sample.arrivals, sample)
            self._time, self._second = sample.time, second
        return done

    def _put(self, second: int, count: int, sample: Sample) -> list[Minute]:
        number, place = divmod(second, MINUTE)
        done = []
        if number != self._number:
            if self._number >= 0:
                done = [Minute(self._number, tuple(self._counts), *self._service)]
            self._number, self._counts = number, [UNKNOWN] * MINUTE
        before = self._counts[place] if self._counts[place] != UNKNOWN and second == self._second else 0
        self._counts[place] = min(before + count, MOST)
        self._service = sample.service, sample.spread
        return done
