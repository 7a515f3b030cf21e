"""Arrivals and their work, drawn beforehand with a fixed seed, so that all policies meet identical requests.

Owns reading a trace, its peak window, thinning and the draws. A busier trace is never made by multiplying counts.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

SIX_HOURS = 6 * 3600.0
SPARSE = 0.5  # requests a second below which a trace is sparse
COLUMNS = ("t_seconds", "requests")
MOST_BINS = 50_000_000
MOST_IN_BIN = 10**12


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
    """A CSV with the columns `t_seconds` (the start of a bin) and `requests`, packed by gzip or not; other columns are not read. Bins are
    equal; one that is missing had no requests. ValueError says what is wrong, and in which line."""
    try:
        times, counts = _columns(path)
    except csv.Error as error:
        raise ValueError(f"{path.name}: it is no CSV: {error}") from error
    return Trace(path.name.removesuffix(".gz").removesuffix(".csv"), *_filled(path.name, times, counts))


def _columns(path: Path) -> tuple[list[float], list[int]]:
    rows = csv.reader(io.StringIO(_text(path), newline=""))
    header = [name.strip() for name in next(rows, [])]
    if not set(COLUMNS) <= set(header):
        raise ValueError(f"{path.name}: the first line must name t_seconds and requests, not {','.join(header)[:80]!r}")
    places = [header.index(name) for name in COLUMNS]
    times: list[float] = []
    counts: list[int] = []
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        try:
            time, count = (float(row[place]) for place in places)
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path.name}, line {rows.line_num}: {','.join(row)!r} is not two numbers") from error
        if not (math.isfinite(time) and math.isfinite(count)):
            raise ValueError(f"{path.name}, line {rows.line_num}: {','.join(row)!r} is not two finite numbers")
        if count < 0 or count != int(count):
            raise ValueError(
                f"{path.name}, line {rows.line_num}: requests must be a whole number from 0, not {count:g}"
            )
        if count > MOST_IN_BIN:
            raise ValueError(
                f"{path.name}, line {rows.line_num}: {count:g} requests in a bin are more than {MOST_IN_BIN:g}"
            )
        if times and time <= times[-1]:
            raise ValueError(f"{path.name}, line {rows.line_num}: t_seconds {time:.15g} is not after {times[-1]:.15g}")
        times.append(time)
        counts.append(int(count))
    return times, counts


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path.name}: its gzip data are damaged or end early: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: it is neither gzip nor text: {error}") from error


def _filled(name: str, times: list[float], counts: list[int]) -> tuple[float, Any]:
    """The bins' width, and the requests of all of them."""
    if len(times) < 2:
        raise ValueError(f"{name}: a trace needs two bins or more, not {len(times)}")
    steps = numpy.diff(numpy.array(times))
    width = float(steps.min())
    places = numpy.rint((numpy.array(times) - times[0]) / width).astype(numpy.int64)
    uneven = numpy.nonzero(numpy.abs(numpy.array(times) - times[0] - places * width) > 0.01 * width)[0]
    if len(uneven):
        raise ValueError(
            f"{name}: bins must be equal: t_seconds {times[uneven[0]]:.15g} is no multiple of {width:g} s away"
        )
    if places[-1] > MOST_BINS:
        raise ValueError(f"{name}: {places[-1]} bins of {width:g} s are more than {MOST_BINS}")
    filled = numpy.zeros(int(places[-1]) + 1, numpy.int64)
    filled[places] = counts
    if not filled.any():
        raise ValueError(f"{name}: it has no requests")
    return width, filled


def around_peak(trace: Trace, seconds: float = SIX_HOURS) -> Trace:
    """The window of this length with the most requests in its middle hour's peak minute: centred on the peak, within the trace."""
    bins = max(1, round(seconds / trace.width))
    if bins >= len(trace.counts):
        return trace
    minute = min(max(1, round(60 / trace.width)), len(trace.counts))
    until = numpy.concatenate(([0], numpy.cumsum(trace.counts)))
    sums = until[minute:] - until[:-minute]
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
