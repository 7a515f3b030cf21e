"""The event loop: one variant with a common queue, whose number of busy workers may change at any moment.

Owns the compiled loop and the layout of its state. Does not know policies: it runs up to the next decision. Five kinds of events:
a request arrives, one is done, an idle worker is parked, an unparked one is ready for work, a replica has started (or failed to).

Workers are used like a stack: `idle[k]` is since when the worker at level k has had nothing to do, and the top one is parked first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from clary.domain.scaling.boost import allowed
from clary.sim.compiled import compiled
from clary.sim.heap import pop, push

WORKERS = 8192  # at most, at once
REPLICAS = 2048
NEVER = 1e300
RECENT = 200  # completions that the service time is averaged over
MEMORY = 0.05  # vCPU that a live replica's memory is counted as

# Places in the arrays of counts and of figures.
HEAD, TAIL, BUSY, ALLOWED, PENDING, LIVE, STARTING, TURNS, WAY, DRAWN, FAILED, DONE, LATE, SECOND, BEGAN, PASSED = (
    range(16)
)
CLOCK, UP_AT, COST, MEAN, SQUARE, HELD, RESERVED, INSIDE = range(8)
# What a decision sets.
RATE, DELTA, OBJECTIVE, BASE, HOLD, ALLOWANCE, RESIZE, HOST, READY_COST = range(9)

_allowed = compiled(allowed)  # a queue gets at most a worker for each of its requests, beside those for the rate


@compiled
def _ceiling(counts: Any, order: Any) -> int:
    return int(min(counts[LIVE] * order[ALLOWANCE], order[HOST]))


@compiled
def _turn(counts: Any, way: int) -> None:
    """Count a change of direction of the number of workers."""
    if counts[WAY] not in (0, way):
        counts[TURNS] += 1
    counts[WAY] = way


@compiled
def _raise(counts: Any, figures: Any, idle: Any, target: int, now: float) -> None:
    if target > counts[ALLOWED]:
        _turn(counts, 1)
        for level in range(counts[ALLOWED] + 1, target + 1):
            idle[level] = now
        counts[ALLOWED] = target


@compiled
def _boost(counts: Any, figures: Any, order: Any, idle: Any, now: float) -> None:
    """The front's rule, after anything that may change its answer. More workers are ready a moment later; fewer are at once when the
    ceiling falls, else by parking."""
    ceiling = _ceiling(counts, order)
    if counts[ALLOWED] > ceiling:
        counts[ALLOWED] = ceiling
        _turn(counts, -1)
    queued = counts[TAIL] - counts[HEAD]
    base = int(min(order[BASE], ceiling))
    wanted = _allowed(counts[BUSY], order[RATE], figures[MEAN], queued, base, ceiling, order[OBJECTIVE], order[DELTA])
    if wanted > counts[ALLOWED]:
        if order[RESIZE] <= 0.0:
            _raise(counts, figures, idle, wanted, now)
        elif figures[UP_AT] >= NEVER:
            counts[PENDING] = wanted
            figures[UP_AT] = now + order[RESIZE]
        elif wanted > counts[PENDING]:
            counts[PENDING] = wanted


@compiled
def _start(counts: Any, figures: Any, times: Any, items: Any, work: Any, ended: Any, now: float) -> None:
    while counts[BUSY] < counts[ALLOWED] and counts[HEAD] < counts[TAIL]:
        request = counts[HEAD]
        ended[request] = now + work[request]
        push(times, items, counts[BUSY], ended[request], request)
        counts[BUSY] += 1
        counts[HEAD] += 1


@compiled
def _complete(
    counts: Any, figures: Any, order: Any, times: Any, items: Any, idle: Any, arrivals: Any, work: Any, now: float
) -> None:
    request = pop(times, items, counts[BUSY])
    idle[counts[BUSY]] = now
    counts[BUSY] -= 1
    counts[DONE] += 1
    counts[PASSED] += 1
    took = work[request]
    share = 1.0 / min(counts[DONE], RECENT)
    figures[MEAN] += share * (took - figures[MEAN])
    figures[SQUARE] += share * (took * took - figures[SQUARE])
    if now - arrivals[request] > order[OBJECTIVE]:
        counts[LATE] += 1


@compiled
def _replicas(counts: Any, ready: Any, fails: Any, now: float) -> None:
    """Those whose start is over."""
    kept = 0
    for place in range(counts[STARTING]):
        if ready[place] > now:
            ready[kept] = ready[place]
            fails[kept] = fails[place]
            kept += 1
        elif fails[place]:
            counts[FAILED] += 1
        else:
            counts[LIVE] += 1
    counts[STARTING] = kept


@compiled
def _note(counts: Any, figures: Any, seconds: Any) -> None:
    """A second is over: what its front would report."""
    row = seconds[counts[SECOND]]
    queued = counts[TAIL] - counts[HEAD]
    row[0], row[1], row[2], row[3], row[4] = counts[BEGAN], counts[PASSED], counts[BUSY] + queued, queued, counts[LATE]
    mean = figures[MEAN]
    row[5] = mean
    row[6] = max(0.0, figures[SQUARE] - mean * mean) / (mean * mean) if mean > 0.0 else 0.0
    row[7], row[8], row[9], row[10] = figures[HELD], figures[RESERVED], counts[LIVE], figures[INSIDE]
    counts[BEGAN] = counts[PASSED] = counts[LATE] = 0
    figures[HELD] = figures[RESERVED] = figures[INSIDE] = 0.0
    counts[SECOND] += 1


@compiled
def _elapse(counts: Any, figures: Any, order: Any, to: float) -> None:
    span = to - figures[CLOCK]
    reserved = max(counts[ALLOWED], counts[BUSY])
    figures[COST] += span * (reserved + counts[STARTING] * order[READY_COST] + MEMORY * counts[LIVE])
    figures[HELD] += span * counts[BUSY]
    figures[INSIDE] += span * (counts[BUSY] + counts[TAIL] - counts[HEAD])
    figures[RESERVED] += span * reserved
    figures[CLOCK] = to


@compiled
def advance(
    until: float,
    counts: Any,
    figures: Any,
    order: Any,
    times: Any,
    items: Any,
    idle: Any,
    ready: Any,
    fails: Any,
    arrivals: Any,
    work: Any,
    ended: Any,
    seconds: Any,
) -> None:
    """Run all events up to `until`."""
    total = len(arrivals)
    _boost(counts, figures, order, idle, figures[CLOCK])
    _start(counts, figures, times, items, work, ended, figures[CLOCK])
    while True:
        arrives = arrivals[counts[TAIL]] if counts[TAIL] < total else NEVER
        done = times[0] if counts[BUSY] else NEVER
        parks, starts = NEVER, NEVER
        top = counts[ALLOWED]
        if top > counts[BUSY] and top > order[BASE]:
            parks = max(idle[top] + order[HOLD], figures[CLOCK])
        for place in range(counts[STARTING]):
            starts = min(starts, ready[place])
        second = counts[SECOND] + 1.0
        now = min(min(arrives, done), min(min(parks, starts), min(figures[UP_AT], second)))
        if now > until:
            break
        _elapse(counts, figures, order, now)
        if now == done:
            _complete(counts, figures, order, times, items, idle, arrivals, work, now)
        elif now == arrives:
            counts[TAIL] += 1
            counts[BEGAN] += 1
        elif now == starts:
            _replicas(counts, ready, fails, now)
        elif now == figures[UP_AT]:
            figures[UP_AT] = NEVER
            _raise(counts, figures, idle, min(counts[PENDING], _ceiling(counts, order)), now)
        elif now == parks:
            counts[ALLOWED] -= 1
            _turn(counts, -1)
            continue
        else:
            _note(counts, figures, seconds)
            continue
        # A free worker takes what waits before anybody counts the queue.
        _start(counts, figures, times, items, work, ended, now)
        _boost(counts, figures, order, idle, now)
        if order[RESIZE] <= 0.0:
            _start(counts, figures, times, items, work, ended, now)
    _elapse(counts, figures, order, until)


def state(requests: int, seconds: int) -> dict[str, Any]:
    """Arrays of a run that has not begun."""
    figures = numpy.zeros(8)
    figures[UP_AT] = NEVER
    return {
        "counts": numpy.zeros(16, numpy.int64),
        "figures": figures,
        "order": numpy.zeros(9),
        "times": numpy.empty(WORKERS + 1),
        "items": numpy.empty(WORKERS + 1, numpy.int64),
        "idle": numpy.zeros(WORKERS + 1),
        "ready": numpy.empty(REPLICAS),
        "fails": numpy.zeros(REPLICAS, numpy.bool_),
        "ended": numpy.full(requests, math.inf),
        "seconds": numpy.zeros((seconds + 1, 11)),
    }
