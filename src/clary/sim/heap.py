"""A binary heap in arrays, for compiled loops: completion times with the request each belongs to."""

from __future__ import annotations

from typing import Any

from clary.sim.compiled import compiled


@compiled
def push(times: Any, items: Any, size: int, time: float, item: int) -> None:
    """Add at `size`; the caller counts."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if times[parent] <= time:
            break
        times[place] = times[parent]
        items[place] = items[parent]
        place = parent
    times[place] = time
    items[place] = item


@compiled
def pop(times: Any, items: Any, size: int) -> int:
    """Take the earliest of `size` out; its item."""
    first = items[0]
    last = size - 1
    time, item = times[last], items[last]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= last:
            break
        if child + 1 < last and times[child + 1] < times[child]:
            child += 1
        if times[child] >= time:
            break
        times[place] = times[child]
        items[place] = items[child]
        place = child
    times[place] = time
    items[place] = item
    return int(first)
