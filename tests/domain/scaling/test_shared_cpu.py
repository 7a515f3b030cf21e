"""What is left of the machine's CPU for those that share it out."""

from __future__ import annotations

import pytest

from clary.domain.machine.capacity import Book, Claim, Fit, Machine, Owner, Part
from clary.domain.machine.instances import GIB
from clary.domain.scaling.shared_cpu import cpus_left, owner_of, parts
from clary.domain.scaling.sharing import Claim as Asked

MINE, OTHER, JOB = Owner("endpoint", "e", "0", "r"), Owner("endpoint", "plain", "0", "r"), Owner("training job", "j")


def book(policy: str) -> Book:
    def held(owner: Owner, cpu: float) -> Claim:
        return Claim(owner.name, (Fit(cpu, GIB, 0),), 0.0, 0, owner)

    return Book(Machine(8, GIB, GIB), policy, 0.0, (held(JOB, 4.0),), (held(MINE, 2.0), held(OTHER, 1.0)), parts=())


@pytest.mark.parametrize(
    ("policy", "used", "left"),
    [
        pytest.param("fit", 1.5, 6.5, id="what others are measured to use; jobs give way"),
        pytest.param("fit", 9.0, 1.0, id="one is left"),
        pytest.param("strict", 7.0, 3.0, id="what others have reserved, used or not"),
    ],
)
def test_what_is_left(policy: str, used: float, left: float) -> None:
    assert cpus_left(book(policy), {MINE}, used) == left


def test_a_cut_is_told_with_what_was_wanted() -> None:
    key = ("0", "r", "e", "v")
    assert owner_of(key) == MINE
    assert parts({key: Asked(1.0, 1.0, 1.0, 1.0, 0, 9, 0.5)}, {key: 3}) == (Part(MINE, "v", 3, 9, 0.5),)
