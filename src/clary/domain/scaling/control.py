"""AWS's target tracking as the control of the shadow tournament: what the variant would cost without Clary's policy.

On SageMakerVariantInvocationsPerInstance each minute, at seven tenths of what ready workers can do: 3 of 3 points above it out, 15 minutes
below nine tenths of it in, 300 s after the last scale-in at the earliest (a scale-out waits for none: it counts what the last one added).
The sum is the one that serves AWS's policies here. It remembers: one is good for one day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from clary.domain.autoscaling.policies import Change, Heard, tracking
from clary.domain.metrics.datapoints import WindowValue
from clary.domain.scaling.signals import Current, Desired, Reason, Sample, Term

TARGET = 0.7
PERIOD = 60
OUT, IN = 3, 15  # points
COOLDOWN = 300.0


@dataclass(slots=True)
class Tracking:
    """See `signals.Policy`. Call it each `PERIOD`."""

    least: int
    most: int
    ready: int
    points: list[WindowValue] = field(default_factory=list)
    last: Change | None = None
    in_at: float = -math.inf

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        have = current.count + current.starting
        count = min(max(self._wanted(samples, max(current.count, 1), have, now), self.least, 1), self.most)
        reason = Reason("tracking", (Term("tracking", count),))
        return Desired(count, self.ready, count * self.ready, 0.0, reason)

    def _wanted(self, samples: Sequence[Sample], live: int, have: int, now: float) -> int:
        if not samples or samples[-1].service <= 0.0:
            return have
        target = PERIOD * TARGET * self.ready / samples[-1].service
        value = sum(sample.arrivals for sample in samples[-PERIOD:]) / live
        self.points = [*self.points[-IN + 1 :], WindowValue(now - PERIOD, value, 1.0)]
        high = self.points[-OUT:]
        if len(high) == OUT and min(point.value for point in high) > target:
            count = tracking(Heard("", True, target, tuple(high)), have, target, self.last).capacity
            if count is not None and min(count, self.most) > have:
                self.last, self.in_at = Change(now, have, COOLDOWN), -math.inf
                return count
        low = 0.9 * target
        quiet = len(self.points) == IN and max(point.value for point in self.points) < low
        if quiet and now >= self.in_at + COOLDOWN:
            count = tracking(Heard("", False, low, tuple(self.points)), have, target, self.last).capacity
            if count is not None and max(count, self.least, 1) < have:
                self.last, self.in_at = Change(now, have, COOLDOWN), now
                return count
        return have
