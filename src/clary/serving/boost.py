"""How many workers of a replica may be busy now (level 0 of scaling; equations in the scaling reference, section 2.4), and how much
may be sent to a busy one.

Owns pure functions that the front calls as they are and a simulator can compile: plain numbers in, a number out. Refuses to know
clocks, queues and replicas.
"""

from __future__ import annotations

import math

AHEAD_SECONDS = 0.002  # what a request sent ahead may expect to wait behind others, while another worker might get free
AHEAD_MOST = 8  # requests at one worker
RISE, FALL = 0.1, 0.02


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


def sends_ahead(held: int, service: float) -> bool:
    """Whether a worker that answers one by one, and holds `held` requests, gets one more before it answers.

    Each turn through the front costs as much as half a quick prediction, so a worker that always has the next request at hand, and a
    front that takes several answers in one turn, serve more. But what was sent cannot be called back: a request behind one that turns
    out slow waits for it. So only as many go ahead as are expected to be done within `AHEAD_SECONDS`."""
    return 0 < held < AHEAD_MOST and held * service < AHEAD_SECONDS


def smoothed(service: float, took: float) -> float:
    """Seconds that a prediction is expected to take, after one that took `took`. It rises sooner than it falls: a model that is slow
    now and then is not sent much ahead for hundreds of requests after."""
    if service == float("inf"):
        return took
    return service + (RISE if took > service else FALL) * (took - service)
