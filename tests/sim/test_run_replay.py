"""The coarse replay against the simulator: the same seconds, the same policy. It is coarse, but must rank alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy
import pytest

from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.replay import MEMORY, Day, Setup, play
from clary.domain.scaling.shape import IDLE
from clary.sim.run import LATE_WEIGHT, Requests, World, run

SPREAD = 0.09
SETTINGS = (
    {},
    {"surge": 2.0},
    {"surge": 4.5},
    {"keep": 600.0, "idle": 600.0 * IDLE},
    {"keep": 2400.0, "idle": 2400.0 * IDLE},
    {"z": 2.0},
    {"z": 4.0},
)


class Score(NamedTuple):
    """Cost over the least that is possible, and the share of requests late."""

    cost: float
    late: float


def compared(
    levels: Any,
    service: float,
    objective: float,
    start: float,
    policies: Sequence[Callable[[ClaryPolicy], ClaryPolicy]],
) -> tuple[list[Score], list[Score]]:
    """Scores of each policy by the simulator, and by the replay."""
    draws = numpy.random.default_rng(3)
    seconds, counts = len(levels), draws.poisson(levels)
    arrivals = numpy.sort(numpy.repeat(numpy.arange(seconds), counts) + draws.random(counts.sum()))
    deviation = numpy.sqrt(numpy.log1p(SPREAD))
    work = service * numpy.exp(draws.normal(-(deviation**2) / 2, deviation, len(arrivals)))
    requests = Requests(arrivals, work, float(seconds), objective)
    day = Day(1_800_000_000, counts.tolist(), ((service, SPREAD),) * (seconds // 60))
    setup = Setup(objective, 1, 64, 2, 8, 1200.0, 4096, (start,), start)
    simulated, replayed = [], []
    for change in policies:
        policy = change(setup.policy)
        found, result = play(day, policy, setup), run(policy, requests, World(start=start))
        assert found is not None
        replayed.append(Score(found.cost, found.late))
        simulated.append(Score(result.cost / (result.work + MEMORY * seconds), result.late))
    return simulated, replayed


@pytest.mark.parametrize(("rate", "service", "objective"), [(20.0, 0.2, 1.0), (20.0, 0.2, 0.4), (4.0, 1.0, 5.0)])
def test_costs_are_those_of_the_simulator(rate: float, service: float, objective: float) -> None:
    jumps = rate * numpy.exp(numpy.random.default_rng(4).normal(0.0, 0.6, 12))
    policies = [partial(replace, **fields) for fields in SETTINGS]
    simulated, replayed = compared(numpy.repeat(jumps, 300), service, objective, 8.0, policies)
    for theirs, ours in zip(simulated, replayed, strict=True):
        assert ours.cost == pytest.approx(theirs.cost, rel=0.1)
        assert ours.cost / replayed[0].cost == pytest.approx(theirs.cost / simulated[0].cost, abs=0.03)


def test_who_gives_replicas_up_between_two_peaks_is_late_in_both() -> None:
    levels = numpy.array(([1.0] * 1740 + [250.0] * 60) * 3)
    for shipped, forgets in compared(levels, 0.1, 0.5, 30.0, [lambda p: p, lambda p: replace(p, keep=60.0)]):
        assert forgets.late > shipped.late + 0.05
        assert forgets.cost + LATE_WEIGHT * forgets.late > 1.03 * (shipped.cost + LATE_WEIGHT * shipped.late)
