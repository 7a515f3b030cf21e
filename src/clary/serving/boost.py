"""How many workers of a replica may be busy now (level 0 of scaling; equations in the scaling reference, section 2.4).

Owns one pure function that the front calls as it is and a simulator can compile: plain numbers in, a number out. Refuses to know
clocks, queues and replicas.
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

    `rate` is arrivals per second at this replica, `service` seconds of one worker per request, `objective` the latency in
    seconds that is wanted. Without an objective nothing is saved by holding workers back: the ceiling (the allowance that the
    scaling loop set) is the answer.
    """
    if objective is None:
        return ceiling
    wanted = math.ceil(rate * service + queued * service / (delta * objective))
    return min(max(busy, wanted, base), ceiling)
