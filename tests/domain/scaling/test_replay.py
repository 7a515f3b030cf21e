"""A day played again: what it costs, what is late, and how often a policy is asked."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from clary.domain.scaling.replay import EVERY, MEMORY, MORE, MOST_MORE, UNKNOWN, Day, Setup, play
from clary.domain.scaling.signals import Current, Desired, Policy, Reason, Sample

BEGIN = 1_800_000_000 // 60 * 60
SECONDS = 86_400
LATE_WEIGHT = 200.0
SETUP = Setup(0.5, 1, 16, 2, 8, 1200.0, 256, (8.0,), 8.0)


@dataclass
class Still:
    """A policy that keeps one size, and counts its calls."""

    count: int
    base: int = 0
    calls: int = 0

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        self.calls += 1
        assert now >= samples[-1].time > now - 1.5
        assert all(later.time - sooner.time == 1.0 for sooner, later in itertools.pairwise(samples))
        return Desired(self.count, 8, self.base, 0.0, Reason("still"))


def day(arrivals: Sequence[int], service: float = 0.1) -> Day:
    return Day(BEGIN, arrivals, ((service, 0.0),) * (-(-len(arrivals) // 60)))


def made(seconds: int, rate: float, seed: int = 1) -> list[int]:
    """Load that goes up and down each quarter of an hour, with noise."""
    draws = random.Random(seed)
    level, found = rate, []
    for second in range(seconds):
        if second % 900 == 0:
            level = rate * draws.choice((0.3, 1.0, 2.5))
        found.append(max(0, round(draws.gauss(level, level**0.5))))
    return found


def score(policy: Policy, arrivals: Sequence[int], setup: Setup = SETUP) -> tuple[float, float]:
    found = play(day(arrivals), policy, setup)
    assert found is not None
    return found.cost, found.late


def test_a_cost_is_work_or_what_stays_ready_and_the_memory_of_replicas() -> None:
    bound = 60 * (1.0 + MEMORY)
    assert score(Still(1), [10] * 60) == (pytest.approx(1.0), 0.0)
    assert score(Still(1, base=4), [10] * 60)[0] == pytest.approx((60 * (4.0 + MEMORY) - 3.0) / bound)
    starting, memory = 8 * 2 * 2, MEMORY * (9 * 1 + 591 * 3)
    assert score(Still(3), [10] * 600)[0] == pytest.approx((600 * 1.0 + starting + memory) / (600 * (1.0 + MEMORY)))


def test_a_queue_that_one_replica_cannot_carry_makes_requests_late_until_more_have_come() -> None:
    spike = [10] * 120 + [160] * 60 + [10] * 120
    _, late_one = score(Still(1), spike)
    _, late_three = score(Still(3), spike)
    assert late_one > 0.5
    assert late_three == 0.0


def test_the_machine_bounds_what_is_busy() -> None:
    setup = SETUP._replace(least=4)
    assert score(Still(4), [160] * 120, setup)[1] == 0.0
    assert score(Still(4), [160] * 120, setup._replace(cpus=8))[1] > 0.5


def test_a_better_setting_scores_better() -> None:
    """Load that comes back every ten minutes, replicas that take half a minute: who gives them up in between is late again and again."""
    arrivals = ([20] * 540 + [250] * 60) * 12
    setup = SETUP._replace(starts=(30.0,), start=30.0)
    forgets = replace(setup.policy, keep=60.0)
    better, worse = play(day(arrivals), setup.policy, setup), play(day(arrivals), forgets, setup)
    assert better is not None
    assert worse is not None
    assert better.late < worse.late
    assert better.cost + LATE_WEIGHT * better.late < 0.97 * (worse.cost + LATE_WEIGHT * worse.late)


def test_a_day_takes_a_bounded_number_of_calls() -> None:
    busy, wild = Still(1), Still(1)
    score(busy, [20] * SECONDS)
    assert busy.calls == SECONDS // 15 + 1
    score(wild, [500 if n % 20 < 10 else 0 for n in range(SECONDS)])
    assert busy.calls < wild.calls <= SECONDS / EVERY + SECONDS * MORE + MOST_MORE + 2


def test_quiet_hours_are_passed_over() -> None:
    policy = Still(1)
    found = score(policy, [10] * 120 + [0] * (SECONDS - 240) + [10] * 120)
    assert policy.calls < SECONDS // 60 + 200
    assert found == (pytest.approx(1.0), 0.0)


def test_unknown_seconds_cost_nothing_and_ask_nobody() -> None:
    assert score(Still(1), [20] * 60 + [UNKNOWN] * 3600) == score(Still(1), [20] * 60)
    assert play(day([UNKNOWN] * 600), Still(1), SETUP) is None
    assert play(day([0] * 600), Still(1), SETUP) is None


def test_the_same_day_has_the_same_score() -> None:
    arrivals = made(7200, 40.0)
    first = score(SETUP.policy, arrivals)
    assert first == score(SETUP.policy, arrivals)
    assert 1.0 < first[0] < 1.3


def test_what_sleeps_is_woken_by_the_request_that_waits_for_it() -> None:
    setup = SETUP._replace(least=0, keep=20.0)
    found = play(day([2] * 30 + [0] * 600 + [2] * 30), setup.policy, setup)
    assert found is not None
    assert found.late == pytest.approx(8.6 / 60, rel=0.05)
