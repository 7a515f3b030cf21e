"""Target tracking and step scaling as AWS documents them: what an alarm's datapoints make of the capacity.

Owns the arithmetic of both policy types, the alarms' rules and cooldowns. Refuses to know where datapoints come from. Sources:
Application Auto Scaling user guide, "How target tracking scaling works" and "How step scaling works"; the alarms are those that
target tracking creates (3 of 3 minutes above the target; 15 of 15 below 90 % of it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

LOW_OF_TARGET = 0.9


@dataclass(frozen=True, slots=True)
class TargetTracking:
    """`target` a replica; `out_of` and `in_of` datapoints running make an alarm; cooldowns in seconds."""

    target: float
    out_of: int = 3
    in_of: int = 15
    out_cooldown: float = 300.0
    in_cooldown: float = 300.0
    scale_in: bool = True

    def decide(self, points: Sequence[float | None], count: int, last_out: float, last_in: float, now: float) -> int:
        """The capacity after these datapoints of the metric per replica (newest last; None: missing). Out in proportion at once. In
        only where every point of the low alarm is there, in proportion too, and not while a cooldown runs; a scale-out does not wait
        for the cooldown of a scale-in. At 0 there is no metric per replica, so nothing is decided: that is a step policy's."""
        if count <= 0:
            return count
        high = points[-self.out_of :]
        if len(high) == self.out_of and all(point is not None and point > self.target for point in high):
            newest = high[-1]
            assert newest is not None
            wanted = math.ceil(count * newest / self.target - 1e-9)
            return max(wanted, count) if now - last_out >= self.out_cooldown else count
        low = points[-self.in_of :]
        if not self.scale_in or len(low) < self.in_of or now - max(last_out, last_in) < self.in_cooldown:
            return count
        known = [point for point in low if point is not None and point < LOW_OF_TARGET * self.target]
        if len(known) < self.in_of:
            return count
        return min(count, max(0, math.ceil(count * known[-1] / self.target - 1e-9)))


class Step(NamedTuple):
    """Acts while the breach (metric less threshold) is in [lower, upper); None is without end."""

    lower: float | None
    upper: float | None
    adjustment: float


@dataclass(frozen=True, slots=True)
class StepScaling:
    """`kind` is ChangeInCapacity, PercentChangeInCapacity or ExactCapacity; `least` is the MinAdjustmentMagnitude of the percentages."""

    threshold: float
    steps: tuple[Step, ...]
    kind: str = "ChangeInCapacity"
    least: int = 0
    cooldown: float = 300.0

    def decide(self, breach: float, count: int) -> int:
        """The capacity that the step of this breach asks for; no step, no change."""
        for step in self.steps:
            above = step.lower is None or breach >= step.lower
            below = step.upper is None or breach < step.upper
            if above and below:
                return max(0, self._adjusted(step.adjustment, count))
        return count

    def _adjusted(self, adjustment: float, count: int) -> int:
        if self.kind == "ExactCapacity":
            return int(adjustment)
        if self.kind == "ChangeInCapacity":
            return count + int(adjustment)
        change = count * adjustment / 100.0
        # AWS rounds percentages: above 1 down, between 0 and 1 to 1, between 0 and -1 to -1, below -1 up.
        whole = int(change) if abs(change) > 1.0 else (0 if change == 0.0 else int(math.copysign(1, change)))
        if whole and abs(whole) < self.least:
            whole = int(math.copysign(self.least, whole))
        return count + whole
