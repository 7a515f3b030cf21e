"""How many workers of a variant may be busy now: level 0 of scaling (scaling reference 2.4).

Owns one pure function of plain numbers. The front calls it as it is on every arrival and completion; the simulator compiles it.
"""

from __future__ import annotations

import math


def allowed(
    busy: int,
    rate: float,
    service: float,
    queued: int,
    base: int,
    ceiling: int,
    objective: float | None = None,
    delta: float = 1.0,
) -> int:
    """`clamp(max(busy, ceil(rate * service + queued * service / (delta * objective))), base, ceiling)`.

    The queue gets at most a worker for each of its requests. So a small `delta` means that each that waits gets one of its own.
    `rate` is arrivals per second at this replica, `service` seconds of one worker per request, `objective` the latency in
    seconds that is wanted. Without an objective nothing is saved by holding workers back: the ceiling (the allowance that the
    scaling loop set) is the answer.
    """
    if objective is None:
        return ceiling
    wanted = math.ceil(rate * service + queued * service / (delta * objective))
    most = max(math.ceil(rate * service), busy) + queued
    return min(max(busy, min(wanted, most), base), ceiling)
