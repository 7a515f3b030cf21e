"""From what fronts count to the samples that a policy decides by: one a second and variant, of all its fronts and fleets together.

Owns the differences, the last minute of each variant, and the judgement of what cannot be true. A figure that cannot be true makes no
sample: the policy sees that the newest one is old, and holds. Does not know where counts come from and what is decided.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from clary.domain.metrics.counts import VariantCounts
from clary.domain.metrics.datapoints import middle
from clary.domain.scaling.signals import STALE, Sample

MINUTE = 60
LATELY = 10  # seconds whose latencies are kept
MOST_REQUESTS = 10_000_000  # of one variant, a second or at once
LONGEST = 86_400.0  # seconds of one request
SHORTEST = 0.5  # seconds between two looks that make a sample

Key = tuple[str, str, str, str]  # account, region, endpoint, variant


@dataclass(slots=True)
class Recent:
    """The last minute of one variant, newest last. `working` of `ceiling` workers may be busy, `serving` replicas take work. `absurd`
    says what was wrong with the newest counts."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=MINUTE))
    working: int = 0
    ceiling: int = 0
    serving: int = 0
    absurd: str = ""
    at: float = 0.0  # when it was counted last
    latencies: deque[dict[int, float]] = field(default_factory=lambda: deque(maxlen=LATELY))

    @property
    def p99(self) -> float:
        """Seconds from arrival to answer that one in a hundred of the last requests took longer than; nan without any."""
        merged: dict[int, float] = {}
        for each in self.latencies:
            for number, count in each.items():
                merged[number] = merged.get(number, 0.0) + count
        left = 0.99 * sum(merged.values())
        for number in sorted(merged):
            left -= merged[number]
            if left <= 1e-9:
                return middle(number) / 1e6
        return math.nan

    @property
    def late(self) -> int:
        return sum(sample.late for sample in self.samples)


class Gathered:
    """`hear` what all fronts counted, about once a second; `of` a variant."""

    def __init__(self) -> None:
        self._before: dict[str, VariantCounts] = {}
        self._recent: dict[Key, Recent] = {}

    def of(self, key: Key) -> Recent | None:
        return self._recent.get(key)

    def hear(self, rows: Sequence[VariantCounts], now: float, complete: bool = True) -> list[Key]:
        """Take in the counts of this moment; answers the variants that there is news of. `complete`: what is missing is gone."""
        groups: dict[Key, list[VariantCounts]] = {}
        for row in rows:
            if row.signals is not None:
                groups.setdefault((row.account, row.region, row.endpoint, row.variant), []).append(row)
        told = [key for key, group in groups.items() if self._hear(key, group, now)]
        fresh = {row.born: row for key in told for row in groups[key]}
        there = {row.born for group in groups.values() for row in group}
        kept = {born: row for born, row in self._before.items() if not complete or born in there}
        self._before = {born: row for born, row in {**kept, **fresh}.items() if not absurd(row)}
        if complete:
            self._recent = {key: self._recent[key] for key in groups}
        return told

    def _hear(self, key: Key, rows: list[VariantCounts], now: float) -> bool:
        recent = self._recent.setdefault(key, Recent())
        since = now - recent.at
        if 0 <= since < SHORTEST:
            return False
        recent.absurd = next(filter(None, map(absurd, rows)), "")
        known = [(row, before) for row in rows if (before := self._before.get(row.born)) is not None]
        recent.at = now
        if recent.absurd:
            return True
        if not 0 < since <= STALE:  # a pause, or a clock that was set: what was counted meanwhile is of no second
            recent.samples.clear()
        else:
            recent.samples.extend(_made(rows, known, now, since))
            recent.latencies.append(_latencies(known))
        signals = [row.signals for row in rows if row.signals is not None]
        recent.working = sum(each.working for each in signals)
        recent.ceiling = sum(each.ceiling for each in signals)
        recent.serving = sum(row.serving for row in rows)
        return True


def _made(
    rows: Sequence[VariantCounts], known: Sequence[tuple[VariantCounts, VariantCounts]], now: float, since: float
) -> Iterator[Sample]:
    """The sample of the time since the last look, as one for each second of it."""
    if not known:
        return
    arrivals = sum(max(0, row.invocations - before.invocations) for row, before in known)
    done = sum(max(0, row.completed - before.completed) for row, before in known)
    late = sum(max(0, _late(row) - _late(before)) for row, before in known)
    service, spread = _work(rows)
    seconds = max(1, round(since))
    for back in reversed(range(seconds)):
        share, rest = divmod(arrivals, seconds)
        yield Sample(
            now - back,
            share + (back < rest),
            done if not back else 0,
            sum(row.in_flight for row in rows),
            sum(row.queued for row in rows),
            late if not back else 0,
            service,
            spread,
        )


def _latencies(known: Sequence[tuple[VariantCounts, VariantCounts]]) -> dict[int, float]:
    found: dict[int, float] = {}
    for row, before in known:
        told = dict(before.latency_buckets)
        for number, count in row.latency_buckets:
            if count > (old := told.get(number, 0.0)):
                found[number] = found.get(number, 0.0) + count - old
    return found


def _late(row: VariantCounts) -> int:
    return row.signals.late if row.signals is not None else 0


def _work(rows: Iterable[VariantCounts]) -> tuple[float, float]:
    """Seconds of a worker that a request takes, and their spread: of the rows that know it, by how many requests each answered."""
    weights = [(max(1, r.completed), r.signals) for r in rows if r.signals is not None and r.signals.service > 0.0]
    if not weights:
        return 0.0, 0.0
    total = sum(weight for weight, _ in weights)
    mean = sum(weight * signals.service for weight, signals in weights) / total
    square = sum(weight * signals.service**2 * (1.0 + signals.spread) for weight, signals in weights) / total
    return mean, max(0.0, square / mean**2 - 1.0)


def absurd(row: VariantCounts) -> str:
    """What of these counts cannot be true; "": they may be."""
    signals = row.signals
    if signals is None:
        return ""
    figures: dict[str, tuple[float, float]] = {
        "in_flight": (row.in_flight, MOST_REQUESTS),
        "queued": (row.queued, MOST_REQUESTS),
        "arrivals": (row.arrivals, 1e15),
        "refused": (row.refused, 1e15),
        "completed": (row.completed, 1e15),
        "late": (signals.late, 1e15),
        "service": (signals.service, LONGEST),
        "spread": (signals.spread, 1e6),
        "working": (signals.working, MOST_REQUESTS),
        "ceiling": (signals.ceiling, MOST_REQUESTS),
    }
    for name, (value, most) in figures.items():
        if not math.isfinite(value) or not 0 <= value <= most:
            return f"{name} was counted as {value:g}"
    return ""
