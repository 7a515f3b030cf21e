"""Traces that the league makes itself: traffic of different characters, each from a seed. They are what `scripts/bench league` replays
without --traces, and what keeps the policy from being fitted to the recorded traces.

Owns the generators. Each returns requests in bins of a second (or a minute where it is long) and carries no constant of any policy.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

from clary.sim.traces import Trace

HOUR, DAY = 3600, 86_400
SIX = 6 * HOUR


def _poisson(chance: Any, rates: Any, width: float = 1.0) -> Any:
    return chance.poisson(numpy.maximum(rates, 0.0) * width)


def _switching(chance: Any, levels: list[float], dwells: list[float], seconds: int) -> Any:
    """A rate that stays at a level for an exponential time of this mean, and then goes to another one."""
    rates, at, level = numpy.empty(seconds), 0, 0
    while at < seconds:
        until = min(seconds, at + max(1, round(chance.exponential(dwells[level]))))
        rates[at:until], at = levels[level], until
        level = (level + 1 + int(chance.integers(max(1, len(levels) - 1)))) % len(levels)
    return rates


def diurnal(chance: Any) -> Trace:
    """A Poisson stream that follows the day, with a lunch dip and a rate that wanders."""
    hours = numpy.arange(DAY) / HOUR
    day = 1.0 + 0.75 * numpy.sin(2 * numpy.pi * (hours - 8.5) / 24) - 0.25 * numpy.exp(-((hours - 13) ** 2))
    wander = numpy.interp(numpy.arange(DAY), numpy.arange(0, DAY + 600, 600), chance.normal(0.0, 0.08, DAY // 600 + 1))
    return Trace("diurnal", 1.0, _poisson(chance, 12.0 * day * numpy.exp(wander)))


def weekly(chance: Any) -> Trace:
    """Seven days by minutes: offices on weekdays, little at the weekend, known to the minute only."""
    minutes = numpy.arange(7 * 1440)
    hour, weekday = minutes % 1440 / 60, minutes // 1440 < 5
    office = numpy.exp(-(((hour - 10.5) / 2.2) ** 2)) + 0.9 * numpy.exp(-(((hour - 15.5) / 2.0) ** 2))
    noise = numpy.exp(chance.normal(0.0, 0.05, len(minutes)))
    rates = (1.0 + numpy.where(weekday, 24.0, 5.0) * office) * noise
    return Trace("weekly", 60.0, _poisson(chance, rates, 60.0))


def bursts(chance: Any) -> Trace:
    """A Markov-modulated stream: calm, busy and wild, each for seconds to a minute."""
    return Trace("bursts", 1.0, _poisson(chance, _switching(chance, [6.0, 18.0, 50.0], [40.0, 15.0, 4.0], SIX)))


def scales(chance: Any) -> Trace:
    """Three Markov-modulated streams on one another, of 3 s, 45 s and 10 min."""
    parts = [_switching(chance, [low, high], [dwell, dwell / 2], SIX) for low, high, dwell in SCALES]
    return Trace("scales", 1.0, _poisson(chance, sum(parts)))


SCALES = ((2.0, 14.0, 3.0), (3.0, 15.0, 45.0), (4.0, 20.0, 600.0))


def flash_crowds(chance: Any) -> Trace:
    """Calm, and seven times a crowd of three to nine times that, there in half a minute and gone in a quarter of an hour."""
    at, rates = numpy.arange(SIX), numpy.full(SIX, 8.0)
    for place in range(7):
        begin = (place + 0.2 + 0.6 * chance.random()) * SIX / 7
        since = at - begin
        crowd = 8.0 * (2.0 + 6.0 * chance.random())
        rates += numpy.where(
            since > 0, crowd * (1 - numpy.exp(-since.clip(0) / 10)) * numpy.exp(-since.clip(0) / 300), 0
        )
    return Trace("flash-crowds", 1.0, _poisson(chance, rates))


def on_off(chance: Any) -> Trace:
    """Nothing for some minutes, then traffic for some."""
    return Trace("on-off", 1.0, _poisson(chance, _switching(chance, [0.0, 20.0], [180.0, 100.0], SIX)))


def self_similar(chance: Any) -> Trace:
    """Forty sources that are on and off for Pareto times (shape 1.4): bursts on all scales."""
    rates = numpy.zeros(SIX)
    for _ in range(40):
        at, on = -chance.random() * 100.0, bool(chance.integers(2))
        while at < SIX:
            span = 4.0 * (1.0 - chance.random()) ** (-1 / 1.4)
            if on:
                first, last = max(0, int(at)), min(SIX, int(at + span) + 1)
                rates[first:last] += 1.0
            at, on = at + span, not on
    return Trace("self-similar", 1.0, _poisson(chance, rates))


def ramps(chance: Any) -> Trace:
    """A slow climb to twenty times the load, a cliff, and a fast climb."""
    rates = numpy.interp(numpy.arange(SIX), [0, 14_000, 14_001, 17_000, 17_600, SIX], [2, 40, 5, 5, 40, 8])
    return Trace("ramps", 1.0, _poisson(chance, rates))


def levels(chance: Any) -> Trace:
    """Steps between levels that hold for minutes."""
    found = [float(x) for x in numpy.exp(chance.uniform(numpy.log(4.0), numpy.log(32.0), 40))]
    return Trace("levels", 1.0, _poisson(chance, _switching(chance, found, [600.0] * 40, SIX)))


def batches(chance: Any) -> Trace:
    """Little, and about each ten minutes a job that sends hundreds of requests within seconds."""
    counts = _poisson(chance, numpy.full(SIX, 2.0))
    at = chance.exponential(300.0)
    while at < SIX:
        for second in (at + chance.random(int(chance.integers(150, 600))) * chance.uniform(8.0, 40.0)).astype(int):
            counts[min(second, SIX - 1)] += 1
        at += chance.uniform(400.0, 800.0)
    return Trace("batches", 1.0, counts)


def clumps(chance: Any) -> Trace:
    """Requests that come by eights at once (a page that asks for each of its parts)."""
    pages = chance.poisson(2.5, SIX)
    return Trace("clumps", 1.0, pages + numpy.array([int(chance.geometric(1 / 8, n).sum()) - n for n in pages]))


def chatty(chance: Any) -> Trace:
    """One client at a time: talks of some twenty requests, one after another, and pauses."""
    counts, at = numpy.zeros(SIX, numpy.int64), 0.0
    while at < SIX:
        for _ in range(int(chance.geometric(0.05))):
            at += chance.lognormal(-1.6, 0.5)
            if at < SIX:
                counts[int(at)] += 1
        at += chance.lognormal(2.2, 1.0)
    return Trace("chatty", 1.0, counts)


def cron(chance: Any) -> Trace:
    """Sparse: one to two dozens at once each three minutes, little between."""
    counts = _poisson(chance, numpy.full(DAY, 0.01))
    for second in range(0, DAY, 180):
        counts[second + int(chance.integers(3))] += int(chance.integers(8, 25))
    return Trace("cron", 1.0, counts)


def lone(chance: Any) -> Trace:
    """Sparse: a request each ten seconds, now and then a few together."""
    return Trace("lone", 1.0, _poisson(chance, numpy.full(DAY, 0.1)) * (1 + 3 * (chance.random(DAY) < 0.1)))


def hurry(chance: Any) -> Trace:
    """Half an hour of 300 short requests a second, whose rate wanders from second to second."""
    return Trace("hurry", 1.0, _poisson(chance, 300.0 * numpy.exp(chance.normal(0.0, 0.15, HOUR // 2))))


KINDS: tuple[Callable[[Any], Trace], ...] = (
    diurnal,
    weekly,
    bursts,
    scales,
    flash_crowds,
    on_off,
    self_similar,
    ramps,
    levels,
    batches,
    clumps,
    chatty,
    cron,
    lone,
    hurry,
)


def made(seed: int = 1) -> list[Trace]:
    """One of each character; another seed, other requests of the same character."""
    return [make(numpy.random.default_rng((seed, place))) for place, make in enumerate(KINDS)]


def write(folder: Path, seed: int = 1) -> list[Path]:
    """As files of the format that `--traces` reads; the same seed, the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for trace in made(seed):
        path = folder / f"{trace.name}.csv.gz"
        lines = "".join(f"{place * trace.width:g},{count}\n" for place, count in enumerate(trace.counts.tolist()))
        path.write_bytes(gzip.compress(f"t_seconds,requests\n{lines}".encode(), mtime=0))
        paths.append(path)
    return paths
