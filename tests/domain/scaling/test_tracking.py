from __future__ import annotations

import pytest

from clary.domain.scaling.tracking import Step, StepScaling, TargetTracking

LONG_AGO = -1e9


@pytest.mark.parametrize(
    ("points", "count", "expected"),
    [
        ([80.0, 80.0, 140.0], 2, 4),  # out in proportion to the newest
        ([140.0, 60.0, 140.0], 2, 2),  # 3 of 3
        ([140.0, None, 140.0], 2, 2),  # a missing point is no breach
        ([140.0] * 2, 2, 2),
        ([30.0] * 15, 4, 2),
        ([30.0] * 14, 4, 4),  # 15 of 15
        ([30.0] * 14 + [None], 4, 4),  # missing data: no scale-in
        ([65.0] * 15, 4, 4),  # between 90 % of the target and the target
        ([0.0] * 15, 4, 0),  # bounds are the caller's
        ([140.0] * 3, 0, 0),
    ],
)
def test_target_tracking(points: list[float | None], count: int, expected: int) -> None:
    assert TargetTracking(70.0).decide(points, count, LONG_AGO, LONG_AGO, 0.0) == expected


@pytest.mark.parametrize(
    ("points", "last_out", "last_in", "expected"),
    [
        ([140.0] * 3, -299.0, LONG_AGO, 4),
        ([140.0] * 3, -300.0, LONG_AGO, 8),
        ([140.0] * 3, LONG_AGO, -1.0, 8),  # a cooldown after scaling in does not delay scaling out
        ([30.0] * 15, -299.0, LONG_AGO, 4),
        ([30.0] * 15, LONG_AGO, -299.0, 4),
        ([30.0] * 15, -300.0, -300.0, 2),
    ],
)
def test_cooldowns(points: list[float | None], last_out: float, last_in: float, expected: int) -> None:
    assert TargetTracking(70.0).decide(points, 4, last_out, last_in, 0.0) == expected


def test_scale_in_can_be_switched_off() -> None:
    assert TargetTracking(70.0, scale_in=False).decide([1.0] * 15, 4, LONG_AGO, LONG_AGO, 0.0) == 4


STEPS = (Step(None, -20.0, -2.0), Step(-20.0, 0.0, -1.0), Step(0.0, 15.0, 1.0), Step(15.0, None, 3.0))


@pytest.mark.parametrize(("breach", "expected"), [(0.0, 6), (14.9, 6), (15.0, 8), (-0.1, 4), (-20.0, 4), (-20.1, 3)])
def test_the_breach_picks_the_step(breach: float, expected: int) -> None:
    assert StepScaling(70.0, STEPS).decide(breach, 5) == expected


@pytest.mark.parametrize(
    ("kind", "adjustment", "least", "count", "expected"),
    [
        ("ExactCapacity", 3.0, 0, 9, 3),
        ("ChangeInCapacity", -9.0, 0, 4, 0),
        ("PercentChangeInCapacity", 25.0, 0, 5, 6),  # 1.25 -> 1
        ("PercentChangeInCapacity", 10.0, 0, 5, 6),  # 0.5 -> 1
        ("PercentChangeInCapacity", -10.0, 0, 5, 4),  # -0.5 -> -1
        ("PercentChangeInCapacity", -66.7, 0, 10, 4),  # -6.67 -> -6
        ("PercentChangeInCapacity", 25.0, 2, 4, 6),  # at least 2
        ("PercentChangeInCapacity", 0.0, 2, 4, 4),
    ],
)
def test_kinds_of_adjustment(kind: str, adjustment: float, least: int, count: int, expected: int) -> None:
    assert StepScaling(70.0, (Step(0.0, None, adjustment),), kind, least).decide(1.0, count) == expected


def test_no_step_is_no_change() -> None:
    assert StepScaling(70.0, (Step(10.0, None, 1.0),)).decide(5.0, 3) == 3
