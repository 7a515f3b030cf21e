"""What a variant usually needs at this time of day, as a floor under its fleet (scaling reference 2.5).

Owns which recorded minutes are looked at, and the replicas that they come to. Does not know where they are recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clary.domain.scaling.forecast import DAYS, floor
from clary.domain.scaling.policy import QUICK, SLOW
from clary.domain.scaling.rate import variability
from clary.domain.scaling.signals import Memory, Sample
from clary.domain.scaling.staffing import tail

AHEAD = 600.0  # seconds that one look is good for
DAY = 86_400.0
MINUTE = 60
WAKE = 0.005  # seconds that a parked worker takes


def windows(now: float, start: float) -> list[tuple[float, float]]:
    """On each of the last days, oldest first, the minutes that are a start ahead of now, for as long as a look is good for."""
    begin = (now + start) // MINUTE * MINUTE
    return [(begin - day * DAY, begin - day * DAY + AHEAD) for day in range(DAYS, 0, -1)]


def rate(sums: Iterable[float]) -> float | None:
    """Requests a second, of the sums of a window's minutes; None where nothing was recorded."""
    found = list(sums)
    return sum(found) / (len(found) * MINUTE) if found else None


def replicas(rates: Sequence[float], samples: Sequence[Sample], memory: Memory, objective: float, ready: int) -> int:
    """Replicas of `ready` workers for the usual rate, by what a request takes now; 0 while that or the usual is not known."""
    if not samples or not rates or not samples[-1].service > 0.0:
        return 0
    last = samples[-1]
    wait = objective - tail(last.service, last.spread)
    regime = QUICK if wait >= WAKE + last.service else SLOW
    variation = (variability(memory) + last.spread) / 2
    return floor(rates, last.service, wait / last.service, variation, regime.share, ready)
