"""What one policy wants, by AWS's documented rules."""

from __future__ import annotations

from typing import Any

import pytest

from clary.domain.autoscaling.policies import Change, Heard, adjusted, check_steps, step, tracking
from clary.domain.errors import Invalid
from clary.domain.metrics.datapoints import WindowValue


def heard(*values: float, above: bool = True, threshold: float = 60.0, begin: float = 0.0) -> Heard:
    points = tuple(WindowValue(begin + 60 * place, value, 1) for place, value in enumerate(values))
    return Heard("a", above, threshold, points)


@pytest.mark.parametrize(
    ("current", "value", "target", "wanted"),
    [
        (1, 61, 60, 2),  # up, to the next whole number
        (2, 90, 60, 3),
        (4, 600, 60, 40),  # in proportion, at once
        (3, 60.0000000000001, 60, 3),
        (0, 5, 2, 3),  # from zero as if there were one
    ],
)
def test_target_tracking_scales_out_in_proportion(current: int, value: float, target: float, wanted: int) -> None:
    assert tracking(heard(value, value, value), current, target, None).capacity == wanted


@pytest.mark.parametrize(
    ("current", "value", "wanted", "code"),
    [
        (4, 30, 3, ""),  # by one, though two would do
        (4, 50, None, "AutoScalingAnticipatedFlapping"),  # three would be above the target
        (40, 6, 36, ""),  # by a tenth
        (1, 0, 0, ""),
    ],
)
def test_target_tracking_scales_in_gradually(current: int, value: float, wanted: int | None, code: str) -> None:
    found = tracking(heard(*[value] * 15, above=False, threshold=54), current, 60, None)
    assert (found.capacity, found.code) == (wanted, code)


def test_a_load_is_not_answered_twice() -> None:
    change = Change(at=170.0, before=1, cooldown=300)
    before = heard(120, 120, 120)  # all measured on one instance
    assert tracking(before, 2, 60, change).capacity == 2
    after = heard(120, 120, 120, begin=180)  # measured on two: the load has grown
    assert tracking(after, 2, 60, change).capacity == 4
    assert tracking(heard(1, 1, above=False), 2, 60, change).capacity is None


ALB = {  # the steps of AWS's example: threshold 50, metric 60 to 70 etc.
    "AdjustmentType": "PercentChangeInCapacity",
    "StepAdjustments": [
        {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 0},
        {"MetricIntervalLowerBound": 10.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 10},
        {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 30},
    ],
}
LOW = {
    "AdjustmentType": "PercentChangeInCapacity",
    "StepAdjustments": [
        {"MetricIntervalLowerBound": -10.0, "MetricIntervalUpperBound": 0.0, "ScalingAdjustment": 0},
        {"MetricIntervalLowerBound": -20.0, "MetricIntervalUpperBound": -10.0, "ScalingAdjustment": -10},
        {"MetricIntervalUpperBound": -20.0, "ScalingAdjustment": -30},
    ],
}


@pytest.mark.parametrize(
    ("config", "above", "current", "value", "wanted"),
    [
        (ALB, True, 10, 55, 10),
        (ALB, True, 10, 60, 11),  # the lower bound belongs to the step
        (ALB, True, 11, 69.9, 12),
        (ALB, True, 12, 70, 15),  # 3.6: down to 3
        (LOW, False, 10, 45, 10),
        (LOW, False, 10, 40, 9),  # below the threshold the upper bound belongs to the step
        (LOW, False, 10, 30, 7),
        (LOW, False, 10, 30.1, 9),
    ],
)
def test_steps_of_the_documentation(config: Any, above: bool, current: int, value: float, wanted: int) -> None:
    assert step(heard(value, above=above, threshold=50), config, current).capacity == wanted


def test_aggregation() -> None:
    seen = heard(51, 75, threshold=50)
    for kind, wanted in (("Average", 11), ("Minimum", 10), ("Maximum", 13)):
        assert step(seen, {**ALB, "MetricAggregationType": kind}, 10).capacity == wanted


@pytest.mark.parametrize(
    ("kind", "adjustment", "least", "current", "wanted"),
    [
        ("ChangeInCapacity", 2, 0, 3, 5),
        ("ExactCapacity", 7, 0, 3, 7),
        ("PercentChangeInCapacity", 127, 0, 10, 22),  # 12.7 down
        ("PercentChangeInCapacity", 6, 0, 10, 11),  # 0.6 is 1
        ("PercentChangeInCapacity", -5, 0, 10, 9),  # -0.5 is -1
        ("PercentChangeInCapacity", -67, 0, 10, 4),  # -6.7 towards zero
        ("PercentChangeInCapacity", 25, 2, 4, 6),
        ("PercentChangeInCapacity", 0, 2, 4, 4),
    ],
)
def test_adjustments(kind: str, adjustment: int, least: int, current: int, wanted: int) -> None:
    assert adjusted({"AdjustmentType": kind, "MinAdjustmentMagnitude": least}, adjustment, current) == wanted


def row(low: float | None, high: float | None) -> dict[str, Any]:
    bounds = {"MetricIntervalLowerBound": low, "MetricIntervalUpperBound": high}
    return {**{k: v for k, v in bounds.items() if v is not None}, "ScalingAdjustment": 1}


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([], "At least one"),
        ([row(0, 10), row(20, None)], "gap"),
        ([row(0, 10), row(5, None)], "overlap"),
        ([row(0, None), row(5, None)], "no upper bound"),
        ([row(None, 0), row(None, 5)], "no lower bound"),
        ([row(5, 5)], "not below"),
        ([row(None, None), row(0, 1)], "At least one of"),
    ],
)
def test_steps_that_cannot_be(rows: list[Any], word: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_steps({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": rows})
    assert word in caught.value.message


@pytest.mark.parametrize(
    ("value", "above", "why"),
    [
        (69.5, True, "the metric is at 69.5, 19.5 above its threshold of 50"),
        (50, True, "the metric is at 50, its threshold"),
        (30, False, "the metric is at 30, 20 below its threshold of 50"),
    ],
)
def test_a_step_says_how_far_the_metric_is_beyond(value: float, above: bool, why: str) -> None:
    assert step(heard(value, above=above, threshold=50), ALB if above else LOW, 10).why == why
    rows = [{"MetricIntervalLowerBound": 500.0, "ScalingAdjustment": 1}]
    nothing = step(heard(value, above=above, threshold=50), {**ALB, "StepAdjustments": rows}, 10)
    assert (nothing.capacity, nothing.why) == (
        None,
        f"there is no step for a metric at {why.removeprefix('the metric is at ')}",
    )
