"""What a policy wants: from its configuration, what its alarm saw and the capacity to an amount and a reason. Pure, one function for each
type of policy (AWS, "Target tracking scaling policies" and "Step scaling policies").

**Capacity that a value was measured at.** A value per instance belongs to the number of instances of its time. A window that began
before the last change was done counts against the capacity before that change, so that a change is never made twice for one load.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.metrics.datapoints import WindowValue

COOLING = "cooling down after the last scale-out"
NO_STEP = "no step"  # a code of Clary's own: AWS has none for it
LARGEST = float(2**31 - 1)  # of a capacity, in AWS's model


@dataclass(frozen=True, slots=True)
class Change:
    """The last change of capacity in one direction: `at` its end, `before` what it was."""

    at: float
    before: int
    cooldown: float
    policy: str = ""

    def cools(self, now: float) -> bool:
        return now < self.at + self.cooldown


@dataclass(frozen=True, slots=True)
class Heard:
    """An alarm in the state that drives its policy: the points that counted, oldest first. `late`: the newest one is missing, `stale`: the
    newest ones are."""

    name: str
    above: bool  # it compares with "greater than"
    threshold: float
    points: tuple[WindowValue, ...]
    stale: bool = False
    late: bool = False

    def answered(self, last: Change | None) -> bool:
        """Capacity was changed since the last point, and the next one is missing: the alarm that is still there says nothing new."""
        return self.late and last is not None and bool(self.points) and self.points[-1].at < last.at


@dataclass(frozen=True, slots=True)
class Wanted:
    """`capacity` None: no opinion, for that reason (`code` is AWS's where it has one). `value`: what the metric was taken to be,
    `against` what it was compared with (None: nothing was)."""

    capacity: int | None
    why: str
    code: str = ""
    value: float | None = None
    against: float | None = None


def tracking(heard: Heard, current: int, target: float, last: Change | None) -> Wanted:
    """Target tracking. Out in proportion: ceil(capacity * value / target). In by a tenth at most (by one at least), and never to where
    the value would be above the target again. `target` is in the unit of the alarm's points; `last` is the latest change of capacity."""
    fresh = [point for point in heard.points if last is None or point.at >= last.at]
    if not heard.points:
        return Wanted(None, "no datapoints: hold")
    if heard.above:
        earlier = last.before if last is not None and not fresh else current
        base = max(1, earlier)
        value = max(point.value for point in (fresh or heard.points)[-2:])
        wanted = _in_proportion(base, value, target)
        of = f"{base} (before the last change)" if earlier != current else f"{base}"
        return Wanted(max(wanted, current), f"{of} x {value:g} / {target:g} is {wanted}", "", value, target)
    if heard.stale:
        return Wanted(None, "the newest datapoints are missing: hold")
    if not fresh:
        return Wanted(None, "no datapoints since the last change: capacity stays")
    value = max(point.value for point in fresh)
    floor = _in_proportion(current, value, target)
    wanted = max(floor, current - max(1, current // 10))
    why = f"{current} x {value:g} / {target:g} is {floor}"
    if wanted >= current:
        return Wanted(None, why, "AutoScalingAnticipatedFlapping", value, target)
    return Wanted(max(0, wanted), why, "", value, target)


def _in_proportion(capacity: int, value: float, target: float) -> int:
    """Whole, and within what a capacity can be, whatever the value is."""
    return math.ceil(min(max(capacity * value / target, -LARGEST), LARGEST) - 1e-9)


_AGGREGATES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Average": lambda values: sum(values) / len(values),
    "Minimum": min,
    "Maximum": max,
}


def step(heard: Heard, config: Mapping[str, Any], current: int) -> Wanted:
    """Step scaling: by how much the alarm's value is beyond its threshold, the step and its adjustment."""
    if not heard.points:
        return Wanted(None, "no datapoints: hold")
    aggregate = _AGGREGATES[config.get("MetricAggregationType") or "Average"]
    value = aggregate([point.value for point in heard.points])
    beyond = value - heard.threshold
    for row in config.get("StepAdjustments") or ():
        if _holds(row, beyond, heard.above):
            wanted = adjusted(config, int(row["ScalingAdjustment"]), current)
            why = f"the metric is at {value:g}, {_beyond(beyond, heard.threshold)}"
            return Wanted(max(0, wanted), why, "", value, heard.threshold)
    why = f"there is no step for a metric at {value:g}, {_beyond(beyond, heard.threshold)}"
    return Wanted(None, why, NO_STEP, value, heard.threshold)


def step_again(heard: Heard, config: Mapping[str, Any], current: int, last: Change | None, now: float) -> Wanted:
    """Step scaling that knows the last scale-out: while that cools down, what it added counts towards a larger one, as far as it is still
    there."""
    wanted = step(heard, config, current)
    if wanted.capacity is None or wanted.capacity <= current or last is None or not last.cools(now):
        return wanted
    again = step(heard, config, min(last.before, current))
    larger = again.capacity is not None and again.capacity > current
    return again if larger else replace(wanted, capacity=None, why=COOLING)


def scaled_out(last: Change | None, began: float, at: float, before: int, cooldown: float) -> Change:
    """A scale-out from `before` that is done. Of one that began while another cooled down both count towards a larger one still: the same
    breach adds nothing more."""
    return Change(at, min(last.before, before) if last is not None and last.cools(began) else before, cooldown)


def _beyond(beyond: float, threshold: float) -> str:
    if not beyond:
        return "its threshold"
    return f"{abs(beyond):g} {'above' if beyond > 0 else 'below'} its threshold of {threshold:g}"


def _holds(row: Mapping[str, Any], beyond: float, above: bool) -> bool:
    """Above the threshold the lower bound belongs to the step and the upper one to the next; below it is the other way round."""
    low = row.get("MetricIntervalLowerBound")
    high = row.get("MetricIntervalUpperBound")
    low, high = (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))
    if above:
        return bool(low <= beyond < high)
    return bool(low < beyond <= high)


def adjusted(config: Mapping[str, Any], adjustment: int, current: int) -> int:
    """The capacity after an adjustment of the policy's type."""
    match config.get("AdjustmentType"):
        case "ExactCapacity":
            return adjustment
        case "PercentChangeInCapacity":
            change = _rounded(current * adjustment / 100)
            least = int(config.get("MinAdjustmentMagnitude") or 0)
            if adjustment and abs(change) < least:
                change = least if adjustment > 0 else -least
            return current + change
        case _:
            return current + adjustment


def _rounded(change: float) -> int:
    """Above 1 down, below -1 towards zero, between them away from zero."""
    if change == 0:
        return 0
    if abs(change) < 1:
        return 1 if change > 0 else -1
    return math.trunc(change)


def check_steps(config: Mapping[str, Any]) -> None:
    """Invalid for steps that leave a gap, overlap, or are not there."""
    rows: Sequence[Mapping[str, Any]] = config.get("StepAdjustments") or ()
    if not config.get("AdjustmentType"):
        raise _invalid("You must specify an AdjustmentType.")
    if not rows:
        raise _invalid("At least one StepAdjustment must be specified.")
    if config.get("MinAdjustmentMagnitude") and config["AdjustmentType"] != "PercentChangeInCapacity":
        raise _invalid("MinAdjustmentMagnitude is only for AdjustmentType PercentChangeInCapacity.")
    bounds = [(row.get("MetricIntervalLowerBound"), row.get("MetricIntervalUpperBound")) for row in rows]
    for low, high in bounds:
        if low is None and high is None and len(rows) > 1:
            raise _invalid("At least one of MetricIntervalLowerBound and MetricIntervalUpperBound must be given.")
        if low is not None and high is not None and low >= high:
            raise _invalid(f"the lower bound {low:g} is not below the upper bound {high:g}.")
    for which, ends in zip(("lower", "upper"), zip(*bounds, strict=True), strict=True):
        if ends.count(None) > 1:
            raise _invalid(f"at most one step may have no {which} bound.")
    _check_neighbours(
        sorted((-math.inf if low is None else low, math.inf if high is None else high) for low, high in bounds)
    )


def _check_neighbours(ordered: Sequence[tuple[float, float]]) -> None:
    """Invalid where one step does not begin where the one below it ends."""
    for (_, end), (begin, _) in itertools.pairwise(ordered):
        if end > begin:
            raise _invalid("steps overlap.")
        if end < begin:
            raise _invalid(f"there is a gap between the steps: from {end:g} to {begin:g}.")


def _invalid(text: str) -> Invalid:
    return Invalid(f"StepScalingPolicyConfiguration: {text}")
