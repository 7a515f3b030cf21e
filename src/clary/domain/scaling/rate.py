"""How many requests a second arrive, moved only on evidence (scaling reference 2.2), and where that is going.

Owns the estimate of the arrival rate, of its variability and of its trend. Does not know why anyone asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from clary.domain.scaling.signals import Memory, Sample

WINDOWS = (4, 15, 60)  # seconds
DECAY = 0.997  # a sample
LEAST, MOST = 0.5, 25.0  # of the squared coefficient of variation of arrivals
TREND = 15  # seconds
SURE = 3.0  # standard deviations that a trend must be away from none


class Rate(NamedTuple):
    """`now` is the rate that is believed, `low` and `high` what the windows allow, `means` their own rates, shortest first."""

    now: float
    low: float
    high: float
    means: tuple[float, ...]


def remember(memory: Memory, samples: Sequence[Sample]) -> Memory:
    """The memory after the samples that are newer than it. Variability is counted from successive differences, which a trend leaves
    alone; a gap in the samples is no difference."""
    seen, last, steps, sums = memory.seen, memory.last, memory.steps, memory.sums
    fresh = len(samples)
    while fresh and samples[fresh - 1].time > seen:
        fresh -= 1
    for sample in samples[fresh:]:
        if last >= 0 and sample.time - seen < 1.5:
            difference = sample.arrivals - last
            steps = steps * DECAY + difference * difference
            sums = sums * DECAY + 2.0 * sample.arrivals
        seen, last = sample.time, sample.arrivals
    return memory._replace(seen=seen, last=last, steps=steps, sums=sums)


def variability(memory: Memory) -> float:
    """Squared coefficient of variation of arrivals, 1 (Poisson) until something arrived."""
    if memory.sums <= 0.0:
        return 1.0
    return min(max(memory.steps / memory.sums, LEAST), MOST)


def estimate(counts: Sequence[int], variation: float, z: float) -> Rate:
    """The rate, of arrivals a second (newest last). The minute's mean as long as no window contradicts it by `z` standard deviations;
    otherwise as far towards the newest window as the evidence goes."""
    means = []
    low, high = 0.0, math.inf
    for window in WINDOWS:
        recent = counts[-window:]
        span = len(recent)
        mean = sum(recent) / span
        deviation = z * math.sqrt(max(mean, 0.3 / span) * variation / span)
        low, high = max(low, mean - deviation), min(high, mean + deviation)
        means.append(mean)
    newest, minute = means[0], means[-1]
    if low <= minute <= high:
        now = minute
    elif minute < low:
        now = max(low, newest)
    else:
        now = max(high, newest)
    return Rate(now, low, high, tuple(means))


def trend(counts: Sequence[int], variation: float) -> float:
    """Requests a second that the rate gains each second, over the newest counts; 0 unless it is significant and upwards or downwards
    beyond doubt."""
    recent = counts[-TREND:]
    span = len(recent)
    if span < TREND:
        return 0.0
    middle = (span - 1) / 2
    across = span * (span * span - 1) / 12
    slope = sum((place - middle) * count for place, count in enumerate(recent)) / across
    mean = max(sum(recent) / span, 0.3 / span)
    return slope if abs(slope) > SURE * math.sqrt(mean * variation / across) else 0.0


def spread(counts: Sequence[int], lag: float) -> float:
    """Requests a second that workers must get through where each may wait `lag` seconds: those of any window that ends now are spread
    over the window and what the last of them may wait. At least the mean of all: what comes all the time cannot be put off."""
    total, most = 0, 0.0
    for span, count in enumerate(reversed(counts), 1):
        total += count
        most = max(most, total / (span + lag))
    return max(most, total / len(counts))
