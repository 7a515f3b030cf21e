"""Replicas with queues of their own, and a router that picks one for each request: what a common queue saves.

Owns the two routing modes that others use. The common queue itself is `sim/events.py`, which is this with one replica.
"""

from __future__ import annotations

from typing import Any

import numpy

from clary.sim.compiled import compiled

LEAST, TWO_CHOICES = 0, 1


@compiled
def latencies(arrivals: Any, work: Any, replicas: int, workers: int, mode: int, seed: int) -> Any:
    """Seconds that each request takes. The router knows how many requests each replica has: it picks the replica with the least of all,
    or the lesser of two drawn ones; equal ones by chance. A replica serves first come, first served."""
    numpy.random.seed(seed)
    free = numpy.zeros((replicas, workers))  # when each worker is done with what it was given
    ends = numpy.full((replicas, 4096), 1e300)  # of the requests at a replica; those in the past count nothing
    counts = numpy.zeros(replicas, numpy.int64)
    found = numpy.empty(len(arrivals))
    for request in range(len(arrivals)):
        now = arrivals[request]
        chosen = numpy.random.randint(replicas)
        if mode == TWO_CHOICES:
            _forget(ends[chosen], counts, chosen, now)
            other = (chosen + 1 + numpy.random.randint(max(replicas - 1, 1))) % replicas
            _forget(ends[other], counts, other, now)
            if counts[other] < counts[chosen]:
                chosen = other
        else:
            first = chosen
            for step in range(replicas):
                replica = (first + step) % replicas
                _forget(ends[replica], counts, replica, now)
                if counts[replica] < counts[chosen]:
                    chosen = replica
        worker = int(numpy.argmin(free[chosen]))
        done = max(now, free[chosen][worker]) + work[request]
        free[chosen][worker] = done
        ends[chosen][counts[chosen]] = done
        counts[chosen] += 1
        found[request] = done - now
    return found


@compiled
def _forget(ends: Any, counts: Any, replica: int, now: float) -> None:
    kept = 0
    for place in range(counts[replica]):
        if ends[place] > now:
            ends[kept] = ends[place]
            kept += 1
    counts[replica] = kept
