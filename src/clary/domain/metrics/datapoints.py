"""What a metric is made of: series, datapoints, and the summaries that statistics are computed from.

A summary is additive: two summaries of disjoint samples merge into that of both, so seconds roll up to minutes and hours without
loss, except that percentiles are right to 1 % (values are counted in buckets 2 % wide). Pure.

A summary of no samples is not the same as none: `NOTHING_HAPPENED` says that something was watched and the count is zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

WIDTH = 1.02  # each bucket's upper bound, over its lower one
SCALE = 1 / math.log(WIDTH)
FIRST = 1e-12  # smaller values count as this
LAST = 1e18
_ORIGIN = 1 - math.floor(math.log(FIRST) * SCALE)  # the bucket of FIRST is number 1; 0 is zero; negative values mirror

ONE = _ORIGIN  # the bucket of 1.0: a value v >= 1 is in bucket ONE + int(log(v) * SCALE)


def bucket(value: float) -> int:
    """The number of the bucket that counts this value."""
    size = abs(value)
    if size == 0.0:
        return 0
    number = _ORIGIN + math.floor(math.log(min(max(size, FIRST), LAST)) * SCALE)
    return number if value > 0 else -number


def middle(number: int) -> float:
    """The value that stands for all in this bucket."""
    if number == 0:
        return 0.0
    size = math.exp((abs(number) - _ORIGIN + 0.5) / SCALE)
    return size if number > 0 else -size


@dataclass(frozen=True, slots=True)
class Series:
    """What is measured: a metric of a namespace, of the thing that its dimensions name. `dimensions` are sorted; `unit` "" asks for
    every unit."""

    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...] = ()
    unit: str = "None"

    @staticmethod
    def of(namespace: str, metric: str, dimensions: Mapping[str, str], unit: str = "None") -> Series:
        return Series(namespace, metric, tuple(sorted(dimensions.items())), unit)


@dataclass(slots=True)
class Summary:
    """Count, sum and bounds of some samples, and their distribution. `buckets` is empty while all samples are equal, and None when
    the distribution is not known (a statistic set was put)."""

    count: float = 0.0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0
    buckets: dict[int, float] | None = field(default_factory=dict)

    def merge(self, other: Summary) -> None:
        """Take the other's samples in. `other` is left as it is."""
        if not other.count:
            return
        if not self.count:
            self.count, self.total, self.low, self.high = other.count, other.total, other.low, other.high
            self.buckets = None if other.buckets is None else dict(other.buckets)
            return
        mine, theirs = self._spread(), other._spread()
        self.count += other.count
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)
        if self.low == self.high:
            self.buckets = {}
        elif mine is None or theirs is None:
            self.buckets = None
        else:
            if not self.buckets:
                self.buckets = mine
            for number, count in theirs.items():
                mine[number] = mine.get(number, 0.0) + count
            self.buckets = mine

    def _spread(self) -> dict[int, float] | None:
        if self.low == self.high:
            return {bucket(self.low): self.count}
        return self.buckets

    def percentile(self, share: float) -> float | None:
        """The value that this share (0 to 1) of the samples does not exceed. None: the distribution is not known."""
        if self.low == self.high or share <= 0:
            return self.low
        if not self.buckets:
            return None
        left = share * self.count
        for number in sorted(self.buckets):
            left -= self.buckets[number]
            if left <= 1e-9:
                return min(max(middle(number), self.low), self.high)
        return self.high


def single(value: float, count: float = 1.0) -> Summary:
    """`count` samples of one value."""
    return Summary(count, value * count, value, value)


def nothing() -> Summary:
    """Watched, and there was nothing to count: sum 0 and average 0."""
    return Summary()


def counted(buckets: Mapping[int, float], total: float) -> Summary:
    """Samples that were only counted by bucket, with their exact sum."""
    held = {number: count for number, count in buckets.items() if count}
    if not held:
        return nothing()
    count = sum(held.values())
    if len(held) == 1:
        return single(total / count, count)
    return Summary(count, total, middle(min(held)), middle(max(held)), held)


def weighed(values: Iterable[tuple[float, float]]) -> Summary:
    """(value, how often) pairs."""
    summary = nothing()
    for value, count in values:
        summary.merge(single(value, count))
    return summary


@dataclass(frozen=True, slots=True)
class Datapoint:
    """Samples of a series at one time (epoch seconds). `fine` ones are kept by the second, the others by the minute."""

    series: Series
    at: float
    summary: Summary
    fine: bool = False


@dataclass(frozen=True, slots=True)
class WindowValue:
    """The value of the window that begins `at`, of so many samples. `certain`: more samples cannot bring it back over the threshold."""

    at: float
    value: float
    samples: float
    certain: bool = False
