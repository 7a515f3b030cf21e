"""Growing in two directions, and from one into the other where there is no room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clary.domain.scaling.costs import EASY, Strain
from clary.domain.scaling.shape import (
    NO_IDLE,
    Bounds,
    Have,
    Shape,
    allowance_of,
    held_back,
    policy_of,
    ready_of,
    shape,
)
from clary.domain.scaling.signals import Desired, Reason, Term

BOTH = Bounds(least=1, most=4, low=500, high=2000, own=2000)
HAVE = Have(asked=1, ready=1, starting=0, millicpu=500)


def wants(count: int, need: int, peak: int = 0, short: int = 0) -> Desired:
    load = Term("load", count, (("need", need), ("peak", max(peak, need)), ("short", short)))
    return Desired(count, 8, 1, 1.0, Reason("load", (load,)))


def hold(count: int) -> Desired:
    return Desired(count, 8, 1, 0.0, Reason("stale", (Term("stale", count),)))


@pytest.mark.parametrize(
    ("desired", "bounds", "have", "expected"),
    [
        (wants(1, 1), BOTH, HAVE, Shape(1, 1000)),
        (wants(1, 0), BOTH, HAVE, Shape(1, 500)),
        (wants(1, 2), BOTH, HAVE, Shape(1, 2000)),
        # three replicas are to come; until they are there the one that serves is as large as may be
        (wants(3, 6), BOTH, HAVE, Shape(3, 2000)),
        (wants(3, 3), BOTH, replace(HAVE, asked=3, ready=3, millicpu=2000), Shape(3, 1000)),
        (wants(3, 3, peak=6), BOTH, replace(HAVE, asked=3, ready=3), Shape(3, 2000)),
        (hold(2), BOTH, replace(HAVE, asked=2, ready=2, millicpu=1500), Shape(2, 1500)),
        (wants(9, 18), BOTH, HAVE, Shape(4, 2000)),
    ],
)
def test_both_dimensions(desired: Desired, bounds: Bounds, have: Have, expected: Shape) -> None:
    assert shape(desired, bounds, have) == expected


def test_no_replica_counts_for_more_than_the_machine_has() -> None:
    assert ready_of(Bounds(1, 4, low=500, high=16_000, machine=2000), HAVE) == 2


def test_only_vertical_keeps_the_count() -> None:
    bounds = Bounds(least=2, most=2, low=250, high=4000)
    assert shape(wants(2, 7), bounds, Have(2, 2, 0, 250)) == Shape(2, 4000)
    assert shape(wants(2, 0), bounds, Have(2, 2, 0, 4000)) == Shape(2, 250)


def test_only_horizontal_keeps_the_size() -> None:
    bounds = Bounds(least=1, most=4, own=2000)
    assert shape(wants(3, 5), bounds, Have(1, 1, 0, 2000)) == Shape(3, 2000)


def test_a_size_that_is_not_given_makes_more_replicas() -> None:
    """Vertical spills to horizontal."""
    bounds = replace(BOTH, cramped="this machine has 2 vCPU, and 4 are asked for")
    have = replace(HAVE, millicpu=1000)
    assert ready_of(BOTH, have) == 2
    assert ready_of(bounds, have) == 1
    got = shape(wants(3, 3), bounds, have)
    assert (got.count, got.millicpu, got.stuck) == (3, 1000, False)
    assert got.why == (
        "a replica cannot get 2000 millicpu: this machine has 2 vCPU, and 4 are asked for, so there are more replicas instead"
    )


def test_replicas_that_do_not_come_make_the_others_larger() -> None:
    """Horizontal spills to vertical."""
    bounds = replace(BOTH, full="the machine's memory is taken")
    have = Have(asked=2, ready=2, starting=0, millicpu=1000)
    assert policy_of(0.5, 900.0, bounds, have).most == 2
    got = shape(wants(2, 5), bounds, have)
    assert (got.count, got.millicpu, got.stuck) == (2, 2000, False)
    assert got.why == (
        "there is no room for another replica: the machine's memory is taken, so those that serve are larger instead"
    )


def test_where_neither_has_room_it_says_so() -> None:
    bounds = replace(BOTH, full="no memory", cramped="no vCPU")
    got = shape(wants(2, 5), bounds, Have(2, 2, 0, 1000))
    assert (got.count, got.millicpu, got.stuck) == (2, 1000, True)
    assert "no vCPU" in got.why
    assert "no memory" in got.why
    alone = shape(wants(2, 5), Bounds(1, 4, own=1000, full="no memory"), Have(2, 2, 0, 1000))
    assert alone == Shape(2, 1000, "there is no room for another replica: no memory", True)


def test_a_fixed_count_without_room_says_so() -> None:
    bounds = Bounds(1, 1, low=500, high=4000, cramped="no vCPU")
    got = shape(wants(1, 4), bounds, Have(1, 1, 0, 1000))
    assert got == Shape(1, 1000, "a replica cannot get 4000 millicpu: no vCPU, and the count is fixed", True)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Bounds(1, 4, own=2000), 8),
        (Bounds(1, 4, own=16000), 48),
        (Bounds(1, 4, low=500, high=4000), 12),
        (Bounds(1, 4, low=500, high=16_000, machine=4000), 12),
        (Bounds(1, 4, fixed=3), 3),
        (Bounds(1, 4, own=900_000), 256),
        (Bounds(1, 4, low=10, high=100), 8),
    ],
)
def test_the_allowance_follows_the_largest_size(bounds: Bounds, expected: int) -> None:
    assert allowance_of(bounds, 3.0) == expected


def test_the_policy_has_the_bounds() -> None:
    made = policy_of(0.5, 60.0, BOTH, HAVE, floor=9)
    assert (made.objective, made.least, made.most, made.ready, made.keep, made.floor) == (0.5, 1, 4, 2, 60.0, 4)


@pytest.mark.parametrize(
    ("made", "have", "expected"),
    [
        pytest.param(Shape(3, 2000), HAVE, Shape(1, 500, NO_IDLE, True), id="nothing grows"),
        pytest.param(Shape(1, 500), HAVE, Shape(1, 500), id="what stays stays"),
        pytest.param(
            Shape(2, 2000), replace(HAVE, asked=3), Shape(2, 500, NO_IDLE), id="what shrinks does, what grows does not"
        ),
        pytest.param(Shape(2, 500), replace(HAVE, asked=0), Shape(1, 500, NO_IDLE), id="the first replica comes"),
        pytest.param(Shape(1, 500), replace(HAVE, millicpu=250), Shape(1, 500), id="the least comes"),
    ],
)
def test_on_a_machine_without_idle_cpu_nothing_grows(made: Shape, have: Have, expected: Shape) -> None:
    assert held_back(made, BOTH, have, Strain(full=True)) == expected
    assert held_back(made, BOTH, have, EASY) == made


def test_the_least_count_comes_on_a_full_machine_too() -> None:
    bounds = replace(BOTH, least=2)
    assert held_back(Shape(4, 500), bounds, HAVE, Strain(full=True)) == Shape(2, 500, NO_IDLE)
