from __future__ import annotations

from dataclasses import replace

import pytest

from clary.domain.capacity import FLOOR, Claim, Fit, Machine, admit, check_reservable, fit
from clary.domain.errors import LimitExceeded
from clary.domain.instances import GIB, Size

SMALL = Size("ml.m5.large", 2, 8 * GIB)
GPU = Size("ml.g5.xlarge", 4, 16 * GIB, 1, "gpu")
LAPTOP = Machine(cpus=2, memory=16 * GIB, available=10 * GIB)


def claim(hosts: int = 1, since: float = 0.0, used: int = 0) -> Claim:
    return Claim("k", (Fit(2.0, 8 * GIB, 0),) * hosts, since, used)


def test_a_size_that_fits_is_left_alone() -> None:
    assert fit(SMALL, LAPTOP, "fit") == Fit(2.0, 8 * GIB, 0)


def test_fit_clamps_to_the_machine_and_says_so() -> None:
    big = fit(Size("ml.m5.24xlarge", 96, 384 * GIB), LAPTOP, "fit")
    assert (big.cpu, big.memory) == (2.0, LAPTOP.usable)
    assert "at most 2 vCPU and 14.4 GiB" in big.notes[0]


def test_gpus_are_handed_out_or_missed_aloud() -> None:
    assert fit(GPU, replace(LAPTOP, cpus=4, memory=64 * GIB, gpus=1), "fit") == Fit(4.0, 16 * GIB, 1)
    without = fit(GPU, replace(LAPTOP, cpus=4, memory=64 * GIB), "fit")
    assert without.gpus == 0
    assert "runs on CPU" in without.notes[0]


@pytest.mark.parametrize("size", [GPU, Size("ml.m5.xlarge", 4, 16 * GIB), Size("ml.r5.large", 2, 32 * GIB)])
def test_strict_refuses_what_can_never_be_reserved(size: Size) -> None:
    with pytest.raises(LimitExceeded, match=f"The account-level service limit '{size.name} for training job usage'"):
        fit(size, LAPTOP, "strict")


def test_a_lone_job_always_starts_whatever_it_asks_for() -> None:
    crowded = replace(LAPTOP, available=1)
    assert admit([fit(SMALL, crowded, "fit")] * 8, (), 0, crowded, "fit", 100.0).granted


@pytest.mark.parametrize(
    ("running", "ahead", "available", "granted", "why"),
    [
        ((claim(1),), 0, 10 * GIB, True, ""),
        ((claim(2),), 0, 10 * GIB, False, "2 of 2 places"),
        ((claim(1),), 1, 10 * GIB, False, "1 training job(s) came earlier"),
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
    answer = admit([fit(SMALL, machine, "fit")], running, ahead, machine, "fit", 100.0)
    assert answer.granted is granted
    assert why in answer.reason


def test_strict_reserves_what_is_named() -> None:
    wanted = fit(SMALL, LAPTOP, "strict")
    assert admit([wanted], (), 0, LAPTOP, "strict", 0.0).granted
    waits = admit([wanted], (claim(1),), 0, LAPTOP, "strict", 0.0)
    assert not waits.granted
    assert "2 of 2 vCPU are reserved" in waits.reason


def test_what_strict_may_ever_reserve() -> None:
    machine = replace(LAPTOP, cpus=4, memory=64 * GIB)
    check_reservable([SMALL, SMALL], machine, "endpoint")
    with pytest.raises(LimitExceeded, match=r"endpoint usage' cannot hold 3 Instances on this machine \(0 of 4 vCPU"):
        check_reservable([SMALL] * 3, machine, "endpoint")


@pytest.mark.parametrize("policy", ["fit", "strict"])
def test_what_is_borrowed_is_what_the_machine_has_and_is_not_reserved(policy: str) -> None:
    size = Size("ml.m5.large up to 8 vCPU", 2, 4 * GIB, burst=8.0)
    got = fit(size, Machine(4, 64 * GIB, 64 * GIB), policy)
    assert (got.cpu, got.burst) == (2.0, 4.0)
