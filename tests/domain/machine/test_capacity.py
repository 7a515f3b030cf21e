from __future__ import annotations

from dataclasses import replace

import pytest

from clary.domain.errors import LimitExceeded
from clary.domain.machine.capacity import Fit, Machine, fit, fit_hosts
from clary.domain.machine.instances import GIB, Size

SMALL = Size("ml.m5.large", 2, 8 * GIB)
GPU = Size("ml.g5.xlarge", 4, 16 * GIB, 1, "gpu")
LAPTOP = Machine(cpus=2, memory=16 * GIB, available=10 * GIB)


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


def test_hosts_of_a_job_share_the_gpus_out_and_say_so() -> None:
    big = replace(LAPTOP, cpus=8, memory=64 * GIB)
    four = replace(GPU, name="ml.g5.12xlarge", accelerators=4)
    plenty = fit_hosts([four, four], replace(big, gpus=8), "fit", "training job")
    assert [(each.gpus, each.notes) for each in plenty] == [(4, ()), (4, ())]
    shared = fit_hosts([four, four, SMALL], replace(big, gpus=6), "fit", "training job")
    assert [each.gpus for each in shared] == [3, 3, 0]
    assert shared[0].notes == ("2 hosts want this machine's 6 GPU(s), and each gets 3",)
    assert shared[2].notes == ()
    none = fit_hosts([GPU, GPU], replace(big, gpus=1), "fit", "training job")
    assert [each.gpus for each in none] == [0, 0]
    assert "each gets none: it runs on CPU" in none[0].notes[-1]


@pytest.mark.parametrize(
    ("size", "words"),
    [(GPU, "has 1 GPU"), (Size("ml.inf2.xlarge", 4, 16 * GIB, 1, "neuron"), "has 1 Neuron device")],
)
def test_strict_says_which_accelerator_is_missing(size: Size, words: str) -> None:
    with pytest.raises(LimitExceeded, match=words):
        fit(size, replace(LAPTOP, cpus=8, memory=64 * GIB), "strict")
    with pytest.raises(LimitExceeded, match="has 1 Neuron device"):
        fit(
            Size("ml.inf2.xlarge", 4, 16 * GIB, 1, "neuron"), replace(LAPTOP, cpus=8, memory=64 * GIB, gpus=8), "strict"
        )


@pytest.mark.parametrize("size", [GPU, Size("ml.m5.xlarge", 4, 16 * GIB), Size("ml.r5.large", 2, 32 * GIB)])
def test_strict_refuses_what_can_never_be_reserved(size: Size) -> None:
    with pytest.raises(LimitExceeded, match=f"The account-level service limit '{size.name} for training job usage'"):
        fit(size, LAPTOP, "strict")


@pytest.mark.parametrize("policy", ["fit", "strict"])
def test_what_is_borrowed_is_what_the_machine_has_and_is_not_reserved(policy: str) -> None:
    size = Size("ml.m5.large up to 8 vCPU", 2, 4 * GIB, burst=8.0)
    got = fit(size, Machine(4, 64 * GIB, 64 * GIB), policy)
    assert (got.cpu, got.burst) == (2.0, 4.0)
