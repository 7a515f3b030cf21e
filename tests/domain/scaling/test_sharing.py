"""Who gets the workers of a full machine."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.sharing import Claim, ceilings, claim, grants, lateness, shares
from clary.domain.scaling.signals import Current, Sample

QUICK = Claim(rate=40.0, service=0.1, patience=0.3, variation=0.6, queued=20, wanted=12)
LONG = Claim(rate=1.0, service=4.0, patience=12.0, variation=0.6, queued=20, wanted=30)


def test_with_room_for_all_nobody_is_bounded() -> None:
    assert shares([QUICK, LONG], 42) is None
    assert shares([], 4) is None


def test_a_full_machine_is_shared_out_and_never_twice() -> None:
    for workers in range(1, 42):
        granted = shares([QUICK, LONG], workers)
        assert granted is not None
        cut = [have for have, asked in zip(granted, (QUICK, LONG), strict=True) if have < asked.wanted]
        assert cut
        assert sum(cut) <= workers


@pytest.mark.parametrize("workers", range(8, 30, 2))
def test_a_worker_goes_where_it_saves_the_most_requests(workers: int) -> None:
    """Of all splits that leave each its part, none has fewer late requests by more than the last step."""
    granted = shares([QUICK, LONG], workers)
    assert granted is not None
    curves = [lateness(asked, asked.wanted) for asked in (QUICK, LONG)]
    first = min(granted[0], QUICK.wanted)
    ours = curves[0][first] + curves[1][min(granted[1], LONG.wanted, workers - first)]
    least = max(1, int(0.5 * workers * LONG.due / (LONG.due + QUICK.due)))
    splits = [k for k in range(1, QUICK.wanted + 1) if least <= workers - k <= LONG.wanted]
    assert ours <= min(curves[0][k] + curves[1][workers - k] for k in splits) + 0.5


def test_nobody_starves() -> None:
    granted = shares([QUICK._replace(rate=4000.0, wanted=400), LONG], 40)
    assert granted is not None
    assert granted[1] >= 1
    equal = shares([QUICK._replace(wanted=40), QUICK._replace(wanted=40)], 20)
    assert equal is not None
    assert min(equal) >= 0.5 * 20 / 2


def test_more_endpoints_than_workers() -> None:
    granted = shares([QUICK] * 5, 3)
    assert granted is not None
    assert sum(granted) == 3
    assert shares([QUICK] * 5, 0) == (0, 0, 0, 0, 0)


def test_one_that_wants_nothing_may_begin() -> None:
    granted = shares([QUICK, QUICK._replace(rate=0.0, queued=0, wanted=0)], 5)
    assert granted is not None
    assert granted[1] == 5


def test_more_workers_never_make_more_requests_late() -> None:
    for asked in (QUICK, LONG, QUICK._replace(queued=0), LONG._replace(variation=25.0), QUICK._replace(service=0.0)):
        curve = lateness(asked, 60)
        assert all(a >= b >= 0.0 for a, b in itertools.pairwise(curve))
    assert lateness(QUICK, 60)[0] == pytest.approx(20 + 3 * 40.0)
    assert lateness(QUICK, 60)[60] < 0.01


def test_a_claim_is_what_the_decision_saw() -> None:
    samples = [Sample(float(t), 40, 40, 25, 20 if t == 60 else 0, 0, 0.1, 0.09) for t in range(1, 61)]
    policy = ClaryPolicy(objective=0.5)
    desired = policy.decide(samples, Current(3), 0.0, 60.0)
    found = claim(desired, samples[-1], 0.5, 5)
    assert (found.rate, found.service, found.queued) == (40.0, 0.1, 20)
    assert found.patience == pytest.approx(0.345, abs=0.001)
    assert 4 < found.wanted <= 24
    tight = claim(replace(desired, count=1, allowance=2), samples[-1], 0.5, 5)
    assert tight.wanted == 2  # not more than its replicas can do
    stale = policy.decide(samples, Current(3), 0.0, 99.0)
    assert claim(stale, samples[-1], 0.5, 5) == Claim(0.0, 0.0, 0.0, 1.0, 0, 25)


def test_what_hardly_uses_a_cpu_is_not_cut_and_leaves_it_to_who_does() -> None:
    """A hundred workers that sleep use one CPU; those that compute get what is left of four."""
    sleeps, computes = QUICK._replace(wanted=100, cost=0.01), QUICK._replace(wanted=6, cost=1.0)
    assert shares([sleeps, computes._replace(wanted=3)], 4) is None
    granted = grants([sleeps, computes], 4)
    assert granted is not None
    assert granted[0] >= 20  # all that its load needs: it saves more requests for each CPU
    assert granted[0] * 0.01 + granted[1] <= 4.0 + 1e-6


def test_what_is_unknown_is_neither_cut_nor_counted() -> None:
    new = QUICK._replace(wanted=50, cost=0.0)
    assert ceilings([new, QUICK._replace(wanted=4)], 4) == (0, 0)
    granted = ceilings([new, QUICK._replace(wanted=8)], 4)
    assert (granted[0], granted[1]) == (0, 4)


def test_fronts_are_told_of_a_cut_only_and_one_worker_is_left_to_each() -> None:
    assert ceilings([QUICK, LONG], 42) == (0, 0)
    assert ceilings([QUICK] * 5, 3) == (1, 1, 1, 1, 1)
    assert ceilings([QUICK._replace(wanted=1)] * 5, 3) == (0, 0, 0, 0, 0)
    for cpus in (1.0, 3.0, 8.5, 20.0, 41.0):
        told = ceilings([QUICK, LONG], cpus)
        assert any(told)
        assert sum(told) <= cpus + 1.0
        assert all(most < asked.wanted for most, asked in zip(told, (QUICK, LONG), strict=True) if most)


def test_workers_of_two_cpus_are_half_as_many() -> None:
    plain = grants([QUICK, QUICK], 10)
    double = grants([QUICK._replace(cost=2.0), QUICK._replace(cost=2.0)], 20)
    assert plain == double
