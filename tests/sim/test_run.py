"""The event loop against what queueing theory knows, and the clairvoyant optimum against every policy."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence

import numpy
import pytest

from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.signals import Current, Desired, Reason, Sample
from clary.domain.scaling.staffing import erlang_c
from clary.sim.optimum import optimum, schedule_cost
from clary.sim.run import RunResult, World, recovery, run
from clary.sim.traces import Requests, poisson, services, stepped


class Fixed:
    """So many replicas, whatever happens."""

    def __init__(self, count: int, allowance: int) -> None:
        self.count, self.allowance = count, allowance

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        return Desired(self.count, self.allowance, 1 << 20, 0.0, Reason("fixed"))


class Wave(Fixed):
    """More and fewer replicas by turns."""

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        return Desired(1 + int(now // 7) % 5, self.allowance, 1 << 20, 0.0, Reason("wave"))


def fixed(requests: Requests, workers: int) -> RunResult:
    return run(Fixed(1, workers), requests, World(first=1, allowance=workers, ready=workers, interval=60.0))


def waits(result: RunResult, requests: Requests) -> numpy.ndarray:
    waited = numpy.maximum(result.latency - requests.work, 0.0)
    return waited[numpy.isfinite(waited)]


def test_many_workers_wait_as_erlang_c_says() -> None:
    requests = poisson(60.0, 40_000.0, 0.1, 1.0, seed=5)
    waited = waits(fixed(requests, 8), requests)
    expected = erlang_c(8, 6.0)
    assert (waited > 1e-9).mean() == pytest.approx(expected, rel=0.01)
    assert waited.mean() == pytest.approx(expected * 0.1 / (8 - 6), rel=0.02)


def test_one_worker_with_equal_requests_waits_as_pollaczek_and_khinchine_say() -> None:
    requests = poisson(7.0, 200_000.0, 0.1, 0.0, seed=3)
    assert waits(fixed(requests, 1), requests).mean() == pytest.approx(0.7 * 0.1 / (2 * 0.3), rel=0.015)


def test_more_seeds_less_variance() -> None:
    means = [waits(fixed(q, 1), q).mean() for q in (poisson(5.0, 500.0, 0.1, 1.0, seed) for seed in range(128))]
    single = numpy.var(means)
    pairs = numpy.var([(a + b) / 2 for a, b in zip(means[::2], means[1::2], strict=True)])
    assert pairs == pytest.approx(single / 2, rel=0.5)


@pytest.mark.parametrize("policy", [Fixed(1, 4), Wave(1, 2), ClaryPolicy(objective=0.5)])
def test_nothing_is_lost(policy: Fixed | ClaryPolicy) -> None:
    requests = poisson(80.0, 300.0, 0.1, 0.3, seed=2)
    result = run(policy, requests, World(failing=0.3))
    assert result.done + result.waiting == len(requests.arrivals)
    ended = numpy.isfinite(result.latency)
    assert (result.latency[ended] >= requests.work[ended] - 1e-9).all()
    assert result.seconds[:, 0].sum() == len(requests.arrivals)


def test_requests_are_served_in_their_order() -> None:
    requests = poisson(30.0, 200.0, 0.1, 0.3, seed=8)
    begun = run(Wave(1, 1), requests).latency + requests.arrivals - requests.work
    assert (numpy.diff(begun[numpy.isfinite(begun)]) >= -1e-9).all()


def test_a_run_is_the_same_each_time() -> None:
    requests = poisson(40.0, 300.0, 0.1, 0.3, seed=2)
    first, second = (run(ClaryPolicy(objective=0.5), requests) for _ in range(2))
    assert (first.cost, first.late, first.decided) == (second.cost, second.late, second.decided)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("start", [0.1, 1.2])
def test_nobody_is_cheaper_than_the_clairvoyant(seed: int, start: float) -> None:
    requests = stepped([(200.0, 20.0), (100.0, 120.0), (200.0, 3.0)], 0.1, 0.3, seed)
    least = optimum(requests, start)
    assert least >= requests.work.sum()
    world = World(start=start, start_spread=0.0)
    for policy in (ClaryPolicy(objective=0.5), Fixed(8, 2)):
        result = run(policy, requests, world)
        assert result.late < 0.001
        assert result.cost >= least


def test_the_clairvoyants_workers_are_in_time() -> None:
    """Its own schedule, replayed on one bin as wide as the run: the fewest workers that leave nobody late."""
    requests = poisson(40.0, 120.0, 0.1, 0.3, seed=4)
    least = int(optimum(requests, 0.0, (120.0,)) / 120.0)
    assert fixed(requests, least + 1).late == 0.0
    assert (fixed(requests, least - 1).latency > requests.objective).any()


@pytest.mark.parametrize(
    ("needed", "start", "cost"),
    [
        ([1, 1, 0, 1], 5.0, 3 + 5 + 1),  # keeping it through the gap is cheaper
        ([1, 1, 0, 1], 0.5, 3 + 0.5 + 0.5),  # starting again is
        ([2, 0, 2], 0.7, 4 + 2 * 0.7 + 2 * 0.7),
        ([0, 3, 1, 1, 2], 1.5, 7 + 3 * 1.5 + 1.5),
        ([0, 0], 1.0, 0.0),
    ],
)
def test_the_cheapest_schedule(needed: list[int], start: float, cost: float) -> None:
    assert schedule_cost(numpy.array(needed), 1.0, start) == pytest.approx(cost)


def test_a_boost_carries_a_threefold_step_and_a_late_start_does_not_matter() -> None:
    requests = stepped([(300.0, 40.0), (300.0, 120.0)], 0.1, 0.3, seed=6)
    result = run(ClaryPolicy(objective=0.5), requests, World(start=60.0))
    assert recovery(result, requests.arrivals, 300.0, 600.0) == (0.0, 0.0)


def test_without_boost_the_start_is_waited_for() -> None:
    requests = stepped([(300.0, 40.0), (300.0, 120.0)], 0.1, 0.3, seed=6)
    without = ClaryPolicy(objective=0.5, boost=False, ready=2, most=500)
    seconds, late = recovery(run(without, requests, World(start=20.0, allowance=2)), requests.arrivals, 300.0, 600.0)
    assert seconds > 15.0
    assert late > 0.02


def test_the_machine_is_a_limit() -> None:
    requests = stepped([(200.0, 40.0), (200.0, 120.0)], 0.1, 0.3, seed=6)
    small = run(ClaryPolicy(objective=0.5), requests, World(host=8))
    assert small.seconds[:, 8].max() <= 8.0 + 1e-6
    assert small.late > run(ClaryPolicy(objective=0.5), requests).late


def test_failed_starts_count_and_are_tried_again() -> None:
    requests = stepped([(200.0, 20.0), (200.0, 200.0)], 0.1, 0.3, seed=6)
    result = run(ClaryPolicy(objective=0.5), requests, World(failing=0.5))
    assert result.failed_starts > 0
    assert result.seconds[-1, 9] >= 10


def test_lognormal_services_have_their_moments() -> None:
    drawn = services(200_000, 0.2, 0.3, numpy.random.default_rng(1))
    assert drawn.mean() == pytest.approx(0.2, rel=0.005)
    assert drawn.std() / drawn.mean() == pytest.approx(0.3, rel=0.01)
    assert math.isclose(services(3, 0.2, 0.0, numpy.random.default_rng(1)).std(), 0.0, abs_tol=1e-12)


def test_production_never_imports_it() -> None:
    text = (
        "import sys\n"
        "import clary.app.wiring, clary.app.front, clary.app.control, clary.app.up, clary.app.cli, clary.domain.scaling.policy\n"
        "print([n for n in ('numba', 'clary.sim') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
