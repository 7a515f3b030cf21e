"""Arrivals and their work, drawn beforehand with a fixed seed, so that all policies meet identical requests.

Owns reading a trace, its peak window, thinning and the draws. A busier trace is never made by multiplying counts.
"""

from __future__ import annotations

import csv
import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

SIX_HOURS = 6 * 3600.0
SPARSE = 0.5  # requests a second below which a trace is sparse


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in bins of `width` seconds."""

    name: str
    width: float
    counts: Any

    @property
    def mean(self) -> float:
        """Requests a second."""
        return float(self.counts.sum() / (len(self.counts) * self.width))

    @property
    def dense(self) -> bool:
        return self.mean >= SPARSE


@dataclass(frozen=True, slots=True)
class Requests:
    """When each arrives and what it costs, in seconds of one worker; `length` of the run."""

    arrivals: Any
    work: Any
    length: float
    objective: float

    @property
    def load(self) -> float:
        """Mean erlang."""
        return float(self.work.sum() / self.length)


def read(path: Path) -> Trace:
    """A gzip CSV of `t_seconds,requests` with equal bins. ValueError says what is wrong with another one."""
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        if next(rows, None) != ["t_seconds", "requests"]:
            raise ValueError(f"{path.name}: the first line must be t_seconds,requests")
        pairs = [(float(time), int(count)) for time, count in rows]
    if len(pairs) < 2:
        raise ValueError(f"{path.name}: a trace needs two bins or more")
    return Trace(
        path.name.removesuffix(".csv.gz"), pairs[1][0] - pairs[0][0], numpy.array([count for _, count in pairs])
    )


def around_peak(trace: Trace, seconds: float = SIX_HOURS) -> Trace:
    """The window of this length with the most requests in its middle hour's peak minute: centred on the peak, within the trace."""
    bins = round(seconds / trace.width)
    if bins >= len(trace.counts):
        return trace
    minute = max(1, round(60 / trace.width))
    sums = numpy.convolve(trace.counts, numpy.ones(minute, dtype=numpy.int64), "valid")
    first = min(max(0, int(sums.argmax()) + minute // 2 - bins // 2), len(trace.counts) - bins)
    return Trace(trace.name, trace.width, trace.counts[first : first + bins])


def thinned(trace: Trace, share: float, seed: int) -> Trace:
    """Each request is kept with this probability."""
    return Trace(trace.name, trace.width, numpy.random.default_rng(seed).binomial(trace.counts, share))


def draw(trace: Trace, work: float, patience: float = 5.0, variation: float = 0.3, seed: int = 1) -> Requests:
    """Arrivals uniform in their bins, work lognormal of this mean and coefficient of variation; the objective is `patience` works."""
    chance = numpy.random.default_rng(seed)
    total = int(trace.counts.sum())
    starts = numpy.repeat(numpy.arange(len(trace.counts)) * trace.width, trace.counts)
    arrivals = numpy.sort(starts + chance.random(total) * trace.width)
    return Requests(
        arrivals, services(total, work, variation, chance), len(trace.counts) * trace.width, patience * work
    )


def services(total: int, mean: float, variation: float, chance: Any) -> Any:
    """Lognormal times of this mean and coefficient of variation; all alike where that is 0."""
    if variation <= 0.0:
        return numpy.full(total, mean)
    deviation = math.sqrt(math.log1p(variation * variation))
    return chance.lognormal(math.log(mean) - deviation * deviation / 2, deviation, total)


def league_work(trace: Trace) -> float:
    """Seconds of work a request under league rules: 4 erlang on dense traces, a light load on sparse ones."""
    return min(20.0, 4.0 / trace.mean) if trace.dense else 0.5


def poisson(rate: float, seconds: float, work: float, variation: float, seed: int, patience: float = 5.0) -> Requests:
    """Poisson arrivals at one rate."""
    return stepped([(seconds, rate)], work, variation, seed, patience)


def stepped(
    phases: list[tuple[float, float]], work: float, variation: float, seed: int, patience: float = 5.0
) -> Requests:
    """Poisson arrivals at one rate after another: (seconds, requests a second) each. Variation 1 with mean `work` is exponential."""
    chance = numpy.random.default_rng(seed)
    parts, begin = [], 0.0
    for seconds, rate in phases:
        parts.append(begin + numpy.sort(chance.random(chance.poisson(rate * seconds))) * seconds)
        begin += seconds
    arrivals = numpy.concatenate(parts)
    work_of = (
        services(len(arrivals), work, variation, chance)
        if variation != 1.0
        else chance.exponential(work, len(arrivals))
    )
    return Requests(arrivals, work_of, begin, patience * work)
