from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.signals import Current, Desired, Sample
from clary.domain.scaling.words import sentence

POLICY = ClaryPolicy(objective=0.5)
TIGHT = ClaryPolicy(objective=0.25)
NOW = 10_000.0


def seconds(
    rates: list[int], queued: int = 0, in_flight: int = 1, service: float = 0.1, end: float = NOW
) -> list[Sample]:
    """One sample a second, the newest at `end`; the last has what waits."""
    first = end - len(rates) + 1
    return [
        Sample(first + i, rate, rate, in_flight, queued if i == len(rates) - 1 else 0, 0, service, 0.09)
        for i, rate in enumerate(rates)
    ]


def decide(samples: list[Sample], current: Current, policy: ClaryPolicy = POLICY, now: float = NOW) -> Desired:
    return policy.decide(samples, current, 0.0, now)


def test_a_steady_load_is_carried_with_room_to_surge() -> None:
    desired = decide(seconds([40] * 60), Current(3))
    assert desired.reason.term("load").of[2] == ("need", 5)
    assert (desired.count, desired.allowance, desired.base) == (3, 8, 4)
    assert desired.count * desired.allowance >= 3 * 4  # surge times the load fits under the ceilings


def test_the_boost_is_told_how_to_drain_and_park() -> None:
    quick = decide(seconds([40] * 60), Current(3))
    assert quick.hold == pytest.approx(0.3 * (0.1 / 0.17) ** 0.5 * 1.25)
    assert quick.delta == pytest.approx(
        1 - 0.2 * (1.897 + 0.5), abs=0.01
    )  # a slow request and half a running one are taken off
    room = (0.5 - 0.2369) * 0.6  # three fifths of what the slowest thousandth leaves of the objective are waited for
    assert quick.rate == pytest.approx(40.0 * (1 - room / (quick.delta * 0.5)), rel=0.01)


def test_where_a_worker_helps_only_the_request_that_waits_few_have_to_wait() -> None:
    """0.25 s of which a slow request takes 0.156: what is given now comes for that request, not after another one."""
    quick, each = decide(seconds([40] * 60), Current(3)), decide(seconds([40] * 60), Current(3), TIGHT)
    slow = decide(seconds([40] * 60), Current(3, wake=0.1), TIGHT)  # it does not even come for that one
    assert quick.base < each.base < slow.base
    assert each.rate == slow.rate == 40.0  # nothing of the load is left to the queue
    assert each.delta == pytest.approx(0.25 * (0.25 - 0.1561) / 0.25, rel=0.01)  # a quarter of what may be waited
    assert slow.delta == 0.3
    assert each.reason.term("load").wanted == slow.reason.term("load").wanted  # the ceilings are for the worst in both


def test_workers_of_short_requests_are_parked_soon() -> None:
    holds = [
        decide(seconds([round(4 / s)] * 60, service=s), Current(3), ClaryPolicy(5 * s)).hold
        for s in (1.0, 0.1, 0.02, 0.001)
    ]
    assert holds == sorted(holds, reverse=True)
    assert (holds[0], holds[-1]) == (0.3, 0.05)


def test_a_burst_needs_no_more_workers_than_get_through_it_in_time() -> None:
    """400 requests of 1 s at once, each of which may wait for 3.4 s."""
    burst = decide(seconds([0] * 59 + [400], service=1.0), Current(60), ClaryPolicy(5.0)).reason.term("load")
    assert dict(burst.of)["rate"] == pytest.approx(100.0, rel=0.1)  # of four seconds
    assert dict(burst.of)["need"] == pytest.approx(400 / 4.4, rel=0.1)
    steady = decide(seconds([4] * 60, service=1.0), Current(60), ClaryPolicy(5.0)).reason.term("load")
    assert dict(steady.of)["need"] >= 4  # what comes all the time cannot be put off


def test_a_single_worker_is_parked_between_requests() -> None:
    assert decide(seconds([9] * 60), Current(1)).rate == 0.0
    assert decide(seconds([9] * 60), Current(1), ClaryPolicy(objective=0.25)).rate == pytest.approx(9.0)


def test_long_requests_leave_no_room_to_wait() -> None:
    uneven = [sample._replace(spread=1.0) for sample in seconds([40] * 60)]
    assert decide(uneven, Current(3), ClaryPolicy(objective=0.9)).rate == pytest.approx(40.0)


def test_stale_samples_hold() -> None:
    desired = decide(seconds([400] * 60, end=NOW - 4), Current(2, memory=Current(2).memory._replace(last=3)))
    assert (desired.count, desired.reason.won) == (2, "stale")
    assert desired.memory.last == 3
    assert decide([], Current(2)).reason.won == "stale"


def test_without_a_service_time_nothing_is_guessed() -> None:
    desired = decide(seconds([40] * 60, service=0.0), Current(2))
    assert (desired.count, desired.reason.won) == (2, "unmeasured")


def test_starting_replicas_are_not_started_twice() -> None:
    burst = seconds([40] * 50 + [400] * 10, queued=100)
    first = decide(burst, Current(3))
    again = decide(burst, Current(3, starting=first.count - 3))
    assert first.count > 15
    assert again.reason.term("load").of[4] == ("short", 0)
    assert again.count <= first.count


def test_a_replica_outlives_the_need_and_then_goes_one_by_one() -> None:
    current, now, counts = Current(3), NOW, []
    peak = decide(seconds([80] * 60), current)
    current = replace(current, count=peak.count, memory=peak.memory)
    for later in range(1, 1200):
        now = NOW + later
        desired = decide(seconds([5] * 60, end=now), current, now=now)
        current = replace(current, count=desired.count, memory=desired.memory)
        counts.append(desired.count)
    changes = [i for i in range(1, len(counts)) if counts[i] != counts[i - 1]]
    assert counts[800] == peak.count
    assert counts[-1] == 1
    assert all(counts[i - 1] - counts[i] == 1 for i in changes)
    assert all(b - a >= 10 for a, b in itertools.pairwise(changes))


def test_nothing_is_removed_during_a_boost() -> None:
    assert decide(seconds([1] * 60), Current(5, boosting=True)).count == 5
    assert decide(seconds([1] * 60, queued=1), Current(5)).reason.won == "calm"
    assert decide(seconds([1] * 60), Current(5)).count == 4


def test_a_replica_that_a_tenth_more_load_would_bring_back_stays() -> None:
    kept = decide(seconds([90] * 60), Current(5))  # 10 workers three times: 4 replicas of 8, at 11 they are 5
    assert (kept.count, kept.reason.won) == (5, "spare")
    assert decide(seconds([90] * 60), Current(6)).count == 5


def test_bounds_and_forecast() -> None:
    assert decide(seconds([400] * 60), Current(1), replace(POLICY, most=4)).count == 4
    assert decide(seconds([1] * 60), Current(1), replace(POLICY, least=3)).count == 3
    usual = decide(seconds([1] * 60), Current(1), replace(POLICY, floor=6))
    assert (usual.count, usual.reason.won) == (6, "forecast")


def test_to_zero_only_after_an_hour_and_never_under_a_request() -> None:
    policy = replace(POLICY, least=0)
    resting = Current(1, memory=Current(1).memory._replace(busy=NOW - 3700))
    quiet = seconds([0] * 60, in_flight=0)
    assert decide(quiet, resting, policy).count == 0
    assert decide(seconds([0] * 60, in_flight=1), resting, policy).count == 1
    assert decide(quiet, replace(resting, memory=resting.memory._replace(busy=NOW - 100)), policy).count == 1


def test_a_growing_load_is_met_where_it_will_be_when_a_replica_is_ready() -> None:
    ramp = seconds(list(range(0, 180, 3)))
    assert decide(ramp, Current(1, start=60.0)).count > decide(ramp, Current(1, start=1.0)).count


def test_absurd_samples_are_survived() -> None:
    desired = decide(seconds([10**9] * 60, queued=10**9), Current(1))
    assert desired.count == POLICY.most
    assert decide(seconds([40] * 60, service=float("inf")), Current(2)).reason.won == "unmeasured"


def test_without_boost_replicas_have_fixed_workers() -> None:
    desired = decide(seconds([40] * 60), Current(3, allowance=2), replace(POLICY, boost=False, ready=2))
    assert desired.allowance == 2
    assert desired.base == desired.count * 2 >= 6


def test_without_boost_a_replica_that_is_not_needed_goes_though_all_are_in_use() -> None:
    fixed = replace(POLICY, boost=False, ready=2)
    assert decide(seconds([1] * 60), Current(5, allowance=2, boosting=True), fixed).count == 4


def test_without_boost_the_rate_is_not_counted_twice() -> None:
    fixed = replace(POLICY, boost=False, ready=2)
    burst = decide(seconds([40] * 50 + [200] * 10), Current(3, allowance=2), fixed)
    again = decide(seconds([40] * 50 + [200] * 10), Current(3, starting=burst.count - 3, allowance=2), fixed)
    assert burst.count == again.count


@pytest.mark.parametrize(
    ("samples", "current", "policy", "text"),
    [
        (
            seconds([40] * 60),
            Current(1),
            POLICY,
            "Add 1, to 2 replicas: 40.00 requests a second of 100 ms need 5 workers now",
        ),
        (seconds([1] * 60), Current(5, boosting=True), POLICY, "Keep 5 replicas: the last one was removed"),
        (seconds([1] * 60, end=NOW - 9), Current(1), POLICY, "Keep 1 replica: the newest sample is 9 s old"),
        (
            seconds([1] * 60, queued=1),
            Current(5, boosting=True),
            replace(POLICY, most=3),
            "Remove 2, to 3 replicas: 1 is wanted, and the maximum is 3.",
        ),
        (
            seconds([400] * 60),
            Current(1),
            replace(POLICY, most=4),
            "Add 3, to 4 replicas: 28 are wanted, and the maximum is 4.",
        ),
    ],
)
def test_sentences(samples: list[Sample], current: Current, policy: ClaryPolicy, text: str) -> None:
    assert sentence(decide(samples, current, policy), current.count).startswith(text)
