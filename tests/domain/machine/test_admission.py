"""When a job may start: first come, first served, after the endpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clary.domain.errors import LimitExceeded
from clary.domain.machine.admission import MOST_INSTANCES, admit, check_number, check_reservable
from clary.domain.machine.capacity import FLOOR, REPLICA_FLOOR, Book, Claim, Fit, Machine, Owner, Waiting, fit
from clary.domain.machine.instances import GIB, Size

ME = "000000000000"
SMALL = Size("ml.m5.large", 2, 8 * GIB)
LAPTOP = Machine(cpus=2, memory=16 * GIB, available=10 * GIB)
SHOP = Owner("endpoint", "shop", ME)
JOB = Owner("training job", "nightly", ME)


def claim(hosts: int = 1, since: float = 0.0, used: int = 0, owner: Owner = JOB) -> Claim:
    return Claim("k", (Fit(2.0, 8 * GIB, 0),) * hosts, since, used, owner)


def book(*jobs: Claim, machine: Machine = LAPTOP, policy: str = "fit", waiting: tuple[Waiting, ...] = ()) -> Book:
    return Book(machine, policy, 100.0, jobs, (), waiting)


def wish(need: int = FLOOR, cpu: float = 2.0) -> Waiting:
    return Waiting("e", SHOP, 90.0, "no room", (Fit(cpu, 8 * GIB, 0),), need)


def test_a_lone_job_always_starts_whatever_it_asks_for() -> None:
    crowded = replace(LAPTOP, available=1)
    assert admit([fit(SMALL, crowded, "fit")] * 8, book(machine=crowded), 0).granted


@pytest.mark.parametrize(
    ("running", "ahead", "available", "granted", "why"),
    [
        ((claim(1),), 0, 10 * GIB, True, ""),
        ((claim(2),), 0, 10 * GIB, False, "2 of 2 places"),
        ((claim(1),), 1, 10 * GIB, False, "1 job that came earlier waits"),
        ((claim(1),), 0, FLOOR // 2, False, "MiB of memory"),
        ((claim(1, since=95.0),), 0, FLOOR + FLOOR // 2, False, "MiB of memory"),
        ((claim(1, since=95.0, used=FLOOR),), 0, FLOOR + FLOOR // 2, True, ""),
        ((claim(1, since=10.0),), 0, FLOOR + FLOOR // 2, True, ""),
    ],
)
def test_fit_is_full_when_places_or_memory_are(
    running: tuple[Claim, ...], ahead: int, available: int, granted: bool, why: str
) -> None:
    machine = replace(LAPTOP, available=available)
    answer = admit([fit(SMALL, machine, "fit")], book(*running, machine=machine), ahead)
    assert answer.granted is granted
    assert why in answer.reason


def test_a_replica_that_just_started_counts_too() -> None:
    young = replace(book(claim(1)), replicas=(Claim("r", (Fit(1.0, GIB, 0),), 95.0, 0, SHOP),))
    machine = replace(LAPTOP, available=FLOOR + REPLICA_FLOOR // 2)
    assert not admit([fit(SMALL, machine, "fit")], replace(young, machine=machine), 0).granted


def test_strict_reserves_what_is_named_and_says_who_has_it() -> None:
    wanted = fit(SMALL, LAPTOP, "strict")
    assert admit([wanted], book(policy="strict"), 0).granted
    waits = admit([wanted], book(claim(1), policy="strict"), 0, account=ME)
    assert waits.reason == (
        "Waiting for capacity: 2 vCPU are needed, 2 of 2 are reserved, held by training job nightly (2 vCPU)"
    )


def test_a_job_that_is_ending_holds_what_it_uses_and_no_place() -> None:
    """It has 120 s to save what it made: others need not wait for that."""
    ends = replace(claim(2, used=GIB), ending=True, cpu=0.25)
    wanted = [fit(SMALL, LAPTOP, "fit")]
    assert admit(wanted, book(ends), 0).granted
    assert not admit([*wanted, *wanted], book(claim(1), ends), 0).granted, "who goes on still counts"
    full = replace(LAPTOP, available=FLOOR // 2)
    assert "MiB of memory" in admit(wanted, book(ends, machine=full), 0).reason, "memory that it uses is not there"
    big = replace(LAPTOP, cpus=4)
    assert admit([Fit(3.75, 15 * GIB, 0)], book(ends, machine=big, policy="strict"), 0).granted
    refused = admit([Fit(3.8, 15 * GIB, 0)], book(ends, machine=big, policy="strict"), 0, account=ME)
    assert "0.25 of 4 are reserved, held by training job nightly (0.25 vCPU)" in refused.reason
    unknown = replace(ends, cpu=None)
    assert not admit([Fit(1.0, GIB, 0)], book(unknown, machine=big, policy="strict"), 0).granted, (
        "as given until measured"
    )


def test_a_job_that_is_ending_keeps_its_gpus_until_it_has_ended() -> None:
    machine = replace(LAPTOP, gpus=1)
    ends = Claim("k", (Fit(1.0, GIB, 1),), 0.0, 0, JOB, 0.0, ending=True)
    assert not admit([Fit(1.0, GIB, 1)], book(ends, machine=machine, policy="strict"), 0).granted


def test_a_job_waits_for_a_gpu_that_another_has_whatever_the_policy() -> None:
    machine = replace(LAPTOP, cpus=4, gpus=1)
    wanted = Fit(1.0, GIB, 1)
    other = Claim("r", (Fit(1.0, GIB, 1),), 0.0, 0, SHOP)
    for policy in ("fit", "strict"):
        free = book(machine=machine, policy=policy)
        assert admit([wanted], free, 0).granted
        waits = admit([wanted], replace(free, replicas=(other,)), 0, account=ME)
        assert (
            waits.reason == "Waiting for capacity: 1 GPU are needed, 1 of 1 are reserved, held by endpoint shop (1 GPU)"
        )
        assert admit([Fit(1.0, GIB, 0)], replace(free, replicas=(other,)), 0).granted, "without one it need not wait"
        wished = replace(free, waiting=(Waiting("e", SHOP, 90.0, "no room", (wanted,), 0),))
        assert not admit([wanted], wished, 0, account=ME).granted, "what an endpoint waits for is kept for it"


def test_a_young_job_that_is_ending_is_not_expected_to_take_more() -> None:
    machine = replace(LAPTOP, available=FLOOR + FLOOR // 2)
    young = claim(1, since=95.0)
    wanted = [fit(SMALL, machine, "fit")]
    assert not admit(wanted, book(young, machine=machine), 0).granted
    assert admit(wanted, book(replace(young, ending=True), machine=machine), 0).granted


def test_a_job_does_not_ask_against_itself() -> None:
    assert admit([fit(SMALL, LAPTOP, "strict")], book(claim(1), policy="strict"), 0, but="k").granted


@pytest.mark.parametrize("policy", ["fit", "strict"])
def test_what_an_endpoint_waits_for_is_kept_from_jobs(policy: str) -> None:
    machine = replace(LAPTOP, available=FLOOR + FLOOR // 2)
    wanted = fit(SMALL, machine, policy)
    free = book(machine=machine, policy=policy)
    assert admit([wanted], free, 0).granted
    waits = admit([wanted], replace(free, waiting=(wish(),)), 0, account=ME)
    assert not waits.granted
    assert "free capacity is reserved for endpoint shop: endpoints have priority over jobs" in waits.reason


@pytest.mark.parametrize("policy", ["fit", "strict"])
def test_a_job_that_leaves_an_endpoint_its_room_starts(policy: str) -> None:
    machine = Machine(cpus=4, memory=32 * GIB, available=20 * GIB)
    free = book(machine=machine, policy=policy, waiting=(wish(),))
    assert admit([fit(SMALL, machine, policy)], free, 0).granted


def test_a_job_that_waits_keeps_nothing_from_the_others() -> None:
    """Who came first goes first by `ahead`."""
    waiting = (Waiting("j", JOB, 90.0, "Waiting for capacity"),)
    assert admit([fit(SMALL, LAPTOP, "strict")], book(policy="strict", waiting=waiting), 0).granted


def test_what_strict_may_ever_reserve() -> None:
    machine = replace(LAPTOP, cpus=4, memory=64 * GIB)
    check_reservable([SMALL, SMALL], machine, "endpoint")
    with pytest.raises(
        LimitExceeded, match=r"endpoint usage' cannot hold 3 Instances on this machine \(6 vCPU are needed"
    ):
        check_reservable([SMALL] * 3, machine, "endpoint")


def test_no_typing_error_starts_a_hundred_thousand() -> None:
    check_number("ml.m5.large", MOST_INSTANCES, "endpoint")
    with pytest.raises(
        LimitExceeded,
        match=r"service limit 'ml.m5.large for endpoint usage' is 1000 Instances for one endpoint, and 1001 are",
    ):
        check_number("ml.m5.large", MOST_INSTANCES + 1, "endpoint")
