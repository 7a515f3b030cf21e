"""The other autoscalers' rules, each at a point where its documentation says what it does."""

from __future__ import annotations

import pytest

from clary.domain.scaling.signals import Current, Sample
from clary.sim.learners import Learner
from clary.sim.peers import AwsStep, AwsTracking, Dstack, Hpa, Keda, Knative, Peer, RayServe, Vpa
from clary.sim.run import World, run
from clary.sim.traces import poisson, stepped


def seconds(in_flight: int, count: int = 60, rate: int = 20, queued: int = 0, end: float = 60.0) -> list[Sample]:
    return [Sample(end - count + 1 + i, rate, rate, in_flight, queued, 0, 0.1, 0.09) for i in range(count)]


def asks(peer: Peer, samples: list[Sample], count: int, now: float, times: int = 1) -> int:
    """What it wants after being asked so often, an interval apart."""
    wanted = count
    for turn in range(times):
        wanted = peer.decide(samples, Current(count), 0.0, now + turn * peer.interval).count
    return wanted


def test_hpa_leaves_alone_what_is_within_its_tolerance() -> None:
    assert asks(Hpa(util=0.5), seconds(21), 20, 15.0) == 20
    assert asks(Hpa(util=0.5), seconds(23), 20, 15.0) == 23


def test_hpa_at_most_doubles_and_waits_to_scale_in() -> None:
    assert asks(Hpa(util=0.5), seconds(100), 10, 15.0) == 20
    assert asks(Hpa(util=0.5), seconds(20), 1, 15.0) == 5
    calm = Hpa(util=0.5)
    assert asks(calm, seconds(10), 10, 15.0) == 10
    assert asks(calm, seconds(2), 10, 30.0, times=19) == 10
    assert asks(calm, seconds(2), 10, 315.0) == 2


def test_keda_sleeps_after_five_minutes_and_wakes_at_a_poll() -> None:
    keda = Keda(least=0)
    assert asks(keda, seconds(1, rate=5), 1, 60.0) == 1
    assert asks(keda, seconds(0, rate=0), 1, 361.0) == 0
    assert asks(keda, seconds(1, rate=1), 0, 375.0) == 0  # between two polls
    assert asks(keda, seconds(1, rate=1), 0, 390.0) == 1


def test_knative_panics_and_never_scales_down_in_it() -> None:
    kpa = Knative(util=0.5)
    burst = seconds(2, 54) + seconds(40, 6)
    assert asks(kpa, burst, 2, 60.0) == 40
    assert asks(kpa, seconds(1), 40, 62.0) == 40
    assert asks(kpa, seconds(1), 40, 130.0) == 20  # half at most
    assert asks(kpa, seconds(0, rate=0), 20, 132.0) == 10  # also where nothing came for a minute


def test_ray_waits_until_a_wish_persists() -> None:
    ray = RayServe(util=0.5, up=5.0, down=8.0)
    assert asks(ray, seconds(10), 2, 1.0, times=5) == 2
    assert asks(ray, seconds(10), 2, 6.0) == 10
    assert asks(ray, seconds(1), 10, 7.0, times=8) == 10
    assert asks(ray, seconds(1), 10, 15.0) == 1


def test_dstack_counts_from_its_last_change() -> None:
    dstack = Dstack(util=0.5)
    assert asks(dstack, seconds(9, rate=100), 1, 60.0) == 10
    assert asks(dstack, seconds(9, rate=200), 10, 359.0) == 10
    assert asks(dstack, seconds(9, rate=200), 10, 360.0) == 20


def test_dstack_is_at_its_bounds_and_not_beyond() -> None:
    """A wish that the bounds refuse is no change: the next one has no delay to wait for."""
    idle = Dstack(util=0.5, down=60.0)
    assert asks(idle, seconds(0, rate=0), 1, 1000.0) == 1
    assert asks(idle, seconds(9, rate=100), 1, 1010.0) == 10
    full = Dstack(util=0.5, most=10, up=0.0, down=60.0)
    assert asks(full, seconds(9, rate=900), 10, 1000.0) == 10
    assert asks(full, seconds(1, rate=10), 10, 1005.0) == 1


def test_aws_needs_three_minutes_out_and_fifteen_in() -> None:
    tracking = AwsTracking(util=0.5)  # 600 requests a minute and replica
    out = seconds(4, rate=40)
    assert [asks(tracking, out, 2, 60.0 * i) for i in (1, 2, 3)] == [2, 2, 4]
    quiet = AwsTracking(util=0.5)
    low = seconds(1, rate=2)
    wishes = [asks(quiet, low, 10, 60.0 * i) for i in range(1, 16)]
    assert wishes == [10] * 14 + [9]  # gradually


def test_aws_goes_on_scaling_out_and_waits_to_scale_in() -> None:
    tracking = AwsTracking(util=0.5)
    assert [asks(tracking, seconds(4, rate=40), 2, 60.0 * i) for i in (1, 2, 3)] == [2, 2, 4]
    assert asks(tracking, seconds(8, rate=80), 4, 240.0) == 8  # within the cooldown: a larger one
    assert asks(tracking, seconds(8, rate=81), 8, 300.0) == 9  # what was measured at 4 is not counted for 8
    quiet = AwsTracking(util=0.5)
    low = seconds(1, rate=2)
    assert [asks(quiet, low, 10, 60.0 * i) for i in range(1, 16)][-1] == 9
    assert [asks(quiet, low, 9, 60.0 * i) for i in range(16, 21)] == [9, 9, 9, 9, 8]


def test_aws_steps_by_the_breach_and_cools_down() -> None:
    step = AwsStep(high=70.0, low=30.0)
    assert [asks(step, seconds(8), 4, 60.0 * i) for i in (1, 2)] == [4, 6]
    assert [asks(step, seconds(12), 6, 60.0 * i) for i in (3, 6)] == [6, 6]
    assert asks(step, seconds(12), 6, 420.0) == 9
    slow = AwsStep(high=70.0, low=30.0)
    assert [asks(slow, seconds(6), 4, 60.0 * i) for i in (1, 2)] == [4, 5]
    assert asks(slow, seconds(10), 5, 180.0) == 6  # half of 4 more, of which one has come
    assert [asks(AwsStep(), seconds(1), 4, 60.0)] == [4]


def test_vpa_takes_a_percentile_with_a_margin() -> None:
    vpa = Vpa(share=0.9)
    mixed = seconds(4, 50) + seconds(40, 10)
    desired = vpa.decide(mixed, Current(1), 0.0, 60.0)
    assert (desired.count, desired.allowance) == (1, 46)
    assert Vpa(share=0.5).decide(mixed, Current(1), 0.0, 60.0).allowance == 5


@pytest.mark.parametrize("kind", ["model", "q", "dyna"])
def test_learners_stay_within_bounds_and_are_the_same_each_time(kind: str) -> None:
    requests = poisson(20.0, 1200.0, 0.1, 0.3, seed=3)
    first, second = (run(Learner(kind), requests, World(interval=10.0)) for _ in range(2))
    assert first.cost == second.cost
    assert all(1 <= count <= 16 for _, count in first.decided)


def test_the_model_based_learner_grows_with_the_load_and_shrinks_again() -> None:
    requests = stepped([(600.0, 10.0), (1800.0, 150.0), (3600.0, 10.0)], 0.1, 0.3, seed=3)
    result = run(Learner("model"), requests, World(interval=10.0))
    reserved = result.seconds[:, 8]
    assert reserved[2000:2400].mean() > 15.0
    assert reserved[5400:6000].mean() < 0.6 * reserved[2000:2400].mean()
