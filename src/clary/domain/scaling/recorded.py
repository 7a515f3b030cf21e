"""A variant's load as its metrics have it, made into a day that can be played again, and the capacity that it really had.

Owns what is known of each second. The newest hours are known by the second; of older minutes only the sums are, whose requests are spread
over the minute at random, always alike. A time without datapoints is unknown, not zero. Does not know who reads metrics.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clary.domain.scaling.replay import MINUTE, UNKNOWN, Day
from clary.domain.scaling.signals import Current, Desired, Reason, Sample
from clary.domain.scaling.staffing import NORMAL

GAP = 15  # seconds: an idle endpoint tells each 10 s that nothing came
ONE_BY_ONE = 600  # requests of a minute; of more, each second's number is drawn
LATEST_START = 600.0  # seconds after which what serves is no consequence of a decision

Point = tuple[float, float]


class Service(NamedTuple):
    """Of one minute: the mean, the median and the 95th percentile of what a request took its worker, in seconds."""

    at: float
    mean: float
    median: float
    p95: float


def day_of(
    seconds: Sequence[Point], minutes: Sequence[Point], services: Sequence[Service], begin: float, end: float
) -> Day:
    """From the minute of `begin` to that of `end`. Requests of `seconds` where there are such, else of `minutes`; both by time. `services`
    must have one: a minute without an answer is as the one before it."""
    first, last = int(begin // MINUTE), math.ceil(end / MINUTE)
    arrivals = [UNKNOWN] * ((last - first) * MINUTE)
    fine = seconds[0][0] if seconds else math.inf
    for at, count in minutes:
        number = int(at // MINUTE)
        if first <= number < last and at + MINUTE <= fine:
            place = (number - first) * MINUTE
            arrivals[place : place + MINUTE] = _spread(number, int(count))
    before = -math.inf
    for at, count in seconds:
        place = int(at) - first * MINUTE
        if 0 <= place < len(arrivals):
            quiet = place - int(at - before) if at - before <= GAP else place
            for each in range(max(0, quiet + 1), place):
                arrivals[each] = 0
            arrivals[place] = int(count)
        before = at
    return Day(first * MINUTE, arrivals, _services(services, first, last))


def _spread(minute: int, count: int) -> list[int]:
    """Requests of a minute over its seconds, at random; the same minute, the same seconds."""
    draws, found = random.Random(minute), [0] * MINUTE
    if count > ONE_BY_ONE:
        mean = count / MINUTE
        found = [max(0, round(draws.gauss(mean, math.sqrt(mean)))) for _ in range(MINUTE)]
    lacking = count - sum(found)
    while lacking:
        place, change = draws.randrange(MINUTE), 1 if lacking > 0 else -1
        if found[place] + change >= 0:
            found[place] += change
            lacking -= change
    return found


def _services(services: Sequence[Service], first: int, last: int) -> list[tuple[float, float]]:
    known = {int(each.at // MINUTE): (each.mean, variation(each)) for each in services if each.mean > 0.0}
    newest = known[min(known)]
    found = []
    for number in range(first, last):
        newest = known.get(number, newest)
        found.append(newest)
    return found


def variation(service: Service) -> float:
    """The squared coefficient of variation of a lognormal time with this median and 95th percentile."""
    if not 0.0 < service.median < service.p95:
        return 0.0
    deviation = math.log(service.p95 / service.median) / NORMAL[0.95]
    return math.expm1(deviation * deviation)


def starts(grown: Sequence[tuple[float, int]], replicas: Sequence[Point]) -> tuple[float, ...]:
    """Seconds that replicas took: from each decision for so many (`grown`) until as many served. `replicas` by the second."""
    moments, found = [at for at, _ in replicas], []
    for at, count in grown:
        place = bisect_right(moments, at)
        there = next((moment for moment, value in replicas[place:] if value >= count), math.inf)
        if place and there - at <= LATEST_START:
            found.append(there - at)
    return tuple(found)


@dataclass(slots=True)
class Recorded:
    """As many replicas as there were: see `signals.Policy`. `replicas` by time."""

    replicas: Sequence[Point]

    def at(self, moment: float) -> int:
        place = bisect_right(self.replicas, (moment, math.inf))
        return round(self.replicas[max(0, place - 1)][1])

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        count = self.at(now)
        return Desired(count, current.allowance, 0, 0.0, Reason("recorded"))
