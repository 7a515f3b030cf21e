"""The clairvoyant optimum against a search that knows nothing of how it is found."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy
import pytest

from clary.sim.optimum import _fewest, optimum, schedule_cost
from clary.sim.traces import Requests


def cheapest(needed: Sequence[int], width: float, start: float) -> float:
    """By trying every schedule."""
    top = max(needed)
    return min(
        sum(width * now + start * max(0, now - before) for before, now in itertools.pairwise((0, *schedule)))
        for schedule in itertools.product(*(range(least, top + 1) for least in needed))
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("start", [0.0, 0.4, 1.2, 2.5, 100.0])
def test_no_schedule_is_cheaper(seed: int, start: float) -> None:
    needed = numpy.random.default_rng(seed).integers(0, 4, 6)
    assert schedule_cost(needed, 0.5, start) == pytest.approx(cheapest(needed.tolist(), 0.5, start))


class Bin:
    """What is at work (when each ends) and who waits, at the beginning of a bin."""

    def __init__(self, requests: Requests) -> None:
        self.requests, self.ends, self.head = requests, list[float](), 0

    def after(self, workers: int, begin: float, end: float) -> tuple[bool, list[float], int]:
        """Whether so many workers are in time; then ends and head at the end."""
        arrivals, work, objective = self.requests.arrivals, self.requests.work, self.requests.objective
        free = sorted(self.ends) + [begin] * (workers - len(self.ends))
        ends, head, fine = list(self.ends), self.head, True
        while head < len(arrivals) and arrivals[head] < end and free:
            start = max(arrivals[head], begin, min(free))
            if start >= end:
                break
            free.remove(min(free))
            free.append(start + work[head])
            ends.append(start + work[head])
            fine = fine and (work[head] > objective or start <= arrivals[head] + objective - work[head] + 1e-9)
            head += 1
        for waiting in range(head, int(numpy.searchsorted(arrivals, end))):
            fine = fine and (work[waiting] > objective or end <= arrivals[waiting] + objective - work[waiting] + 1e-9)
        return fine, [one for one in ends if one >= end], head


def fewest(requests: Requests, width: float) -> list[int]:
    state, found = Bin(requests), []
    for place in range(int(numpy.ceil(requests.length / width))):
        begin, end = place * width, (place + 1) * width
        workers = next(n for n in itertools.count(len(state.ends)) if state.after(n, begin, end)[0])
        _, state.ends, state.head = state.after(workers, begin, end)
        found.append(workers)
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("width", [0.25, 1.0, 5.0])
@pytest.mark.parametrize("objective", [0.3, 0.9, 4.0])
def test_no_bin_does_with_fewer_workers(seed: int, width: float, objective: float) -> None:
    chance = numpy.random.default_rng(seed)
    arrivals = numpy.sort(numpy.concatenate((chance.random(40) * 20.0, 7.0 + 0.5 * chance.random(25))))
    requests = Requests(arrivals, chance.lognormal(-1.2, 0.6, 65), 20.0, objective)
    assert _fewest(width, int(numpy.ceil(20.0 / width)), arrivals, requests.work, objective).tolist() == fewest(
        requests, width
    )


def test_a_crowd_of_any_size_has_an_optimum() -> None:
    """Twenty thousand at once, none of which may wait: a worker for each, in the two seconds in which they work."""
    crowd = Requests(numpy.full(20_000, 0.5), numpy.ones(20_000), 3.0, 1.0)
    assert optimum(crowd, 0.0, (1.0,)) == 2 * 20_000
