"""The clairvoyant optimum: the least cost of anybody who knows every arrival and every service time (scaling reference 3.2).

Owns the fewest workers of each bin by exact replay, and the cheapest schedule above them, level by level.
"""

from __future__ import annotations

from typing import Any

import numpy

from clary.sim.compiled import compiled
from clary.sim.heap import pop, push
from clary.sim.traces import Requests

WIDTHS = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
FINE_WIDTHS = (0.25, 0.5, 1.0, 2.0, 5.0)
DENSE_START, SPARSE_START = 1.2, 0.1  # what a start costs, in worker-seconds


@compiled
def _replay(
    workers: int,
    begin: float,
    end: float,
    head: int,
    busy: int,
    times: Any,
    items: Any,
    arrivals: Any,
    work: Any,
    objective: float,
) -> tuple[bool, int, int]:
    """Whether this many workers do for the bin from `begin` to `end`; then the queue's head and how many are busy after it. `times` is
    changed. Requests whose own work exceeds the objective are late anyway and wait without harm."""
    total, clock = len(arrivals), begin
    while head < total and arrivals[head] < end:
        start = max(arrivals[head], clock)
        if busy > 0 and times[0] < end and (busy >= workers or times[0] <= start):
            clock = max(clock, times[0])
            pop(times, items, busy)
            busy -= 1
            continue
        if busy >= workers:
            break
        slack = objective - work[head]
        if slack >= 0.0 and start > arrivals[head] + slack + 1e-9:
            return False, head, busy
        push(times, items, busy, start + work[head], head)
        busy += 1
        head += 1
    while busy > 0 and times[0] < end:
        pop(times, items, busy)
        busy -= 1
    waiting = head
    while waiting < total and arrivals[waiting] < end:
        slack = objective - work[waiting]
        if slack >= 0.0 and end > arrivals[waiting] + slack + 1e-9:
            return False, head, busy
        waiting += 1
    return True, head, busy


@compiled
def _fewest(width: float, bins: int, arrivals: Any, work: Any, objective: float) -> Any:
    """The fewest workers of each bin, walking forward. What runs keeps its worker."""
    needed = numpy.zeros(bins, numpy.int64)
    head, busy, last, total = 0, 0, 0, len(arrivals)
    # A worker for each request is the most that is tried. What is not written to takes no memory.
    times, items = numpy.empty(total), numpy.empty(total, numpy.int64)
    trial, marks = numpy.empty(total), numpy.empty(total, numpy.int64)
    for place in range(bins):
        begin, end = place * width, (place + 1) * width
        while last < total and arrivals[last] < end:
            last += 1
        low, high = busy, busy + (last - head)
        while low < high:
            middle = (low + high) >> 1
            trial[:busy] = times[:busy]
            fits, _, _ = _replay(middle, begin, end, head, busy, trial, marks, arrivals, work, objective)
            if fits:
                high = middle
            else:
                low = middle + 1
        needed[place] = low
        _, head, busy = _replay(low, begin, end, head, busy, times, items, arrivals, work, objective)
    return needed


@compiled
def schedule_cost(needed: Any, width: float, start: float) -> float:
    """The cheapest schedule at or above `needed`, where each start of a worker costs `start` worker-seconds: a level is kept through
    a gap that is shorter than a start costs. Exact, since levels do not depend on each other."""
    cost, top = 0.0, 0
    for place in range(len(needed)):
        cost += width * needed[place]
        top = max(top, needed[place])
    until = numpy.full(top + 1, -1, numpy.int64)  # the bin after the last one that needed this level
    for place in range(len(needed)):
        for level in range(1, needed[place] + 1):
            if until[level] < 0:
                cost += start
            elif until[level] < place:
                cost += min((place - until[level]) * width, start)
            until[level] = place + 1
    return cost


def optimum(requests: Requests, start: float = DENSE_START, widths: tuple[float, ...] | None = None) -> float:
    """C* in worker-seconds: the least over the widths of the bins."""
    chosen = widths or (WIDTHS if start >= 1.0 else FINE_WIDTHS)
    costs = []
    for width in chosen:
        bins = int(numpy.ceil(requests.length / width))
        needed = _fewest(width, bins, requests.arrivals, requests.work, requests.objective)
        costs.append(float(schedule_cost(needed, width, start)))
    return min(costs)
