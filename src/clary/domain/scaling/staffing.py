"""How many workers a load needs so that few requests wait too long (scaling reference 2.3).

Owns Erlang B and C, the Allen-Cunneen correction and the least staffing. Does not know replicas.
"""

from __future__ import annotations

import math


def erlang_b(workers: int, load: float) -> float:
    """Chance that a request is lost at `load` erlang where nobody may wait. By the recursion that is stable for any size."""
    blocked = 1.0
    for k in range(1, workers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked


def erlang_c(workers: int, load: float) -> float:
    """Chance that a request waits; 1 where the workers cannot carry the load."""
    if workers <= load:
        return 1.0
    return _waits(workers, load, erlang_b(workers, load))


def _waits(workers: int, load: float, blocked: float) -> float:
    return workers * blocked / (workers - load * (1.0 - blocked))


def late_share(workers: int, load: float, patience: float, variation: float) -> float:
    """Share of requests that wait longer than `patience` services. `variation` is the mean of the squared coefficients of variation of
    arrivals and services."""
    if workers <= load:
        return 1.0
    return erlang_c(workers, load) * math.exp(-(workers - load) * max(patience, 0.0) / max(variation, 1e-9))


def staffing(load: float, patience: float, variation: float, share: float) -> int:
    """The fewest workers that keep `late_share` at or below `share`. 0 without load."""
    if load <= 0.0:
        return 0
    steep = max(patience, 0.0) / max(variation, 1e-9)
    blocked, k = 1.0, 0
    while True:
        k += 1
        blocked = load * blocked / (k + load * blocked)
        if k > load and _waits(k, load, blocked) * math.exp(-(k - load) * steep) <= share:
            return k


def tail(service: float, spread: float, share: float = 0.95) -> float:
    """A quantile of a lognormal service time of this mean and squared coefficient of variation."""
    if spread <= 0.0:
        return service
    deviation = math.sqrt(math.log1p(spread))
    return service * math.exp(NORMAL[share] * deviation - deviation * deviation / 2)


NORMAL = {
    0.5: 0.0,
    0.9: 1.2815515655446004,
    0.95: 1.6448536269514722,
    0.99: 2.3263478740408408,
    0.999: 3.090232306167813,
}
