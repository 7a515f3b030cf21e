"""The other autoscalers, each from its documented formula.

Owns their rules and nothing of their code. All see the same seconds as Clary's policy, have replicas of `workers` workers that are all
reserved while they live, and decide at their own intervals (`interval`). `util` is the share of a replica's workers that a setting
aims at. A rule that needs the rate of one replica gets the measured service time: better informed than it would be in use. What is at
a bound is no change, and starts no cooldown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from clary.domain.autoscaling.policies import Change, Heard, scaled_out, step_again, tracking
from clary.domain.metrics.datapoints import WindowValue
from clary.domain.scaling.signals import Current, Desired, Reason, Sample
from clary.sim import seen

ALL = 1 << 20  # a base beyond every ceiling: all workers of all replicas stay ready
MOST = 500


@dataclass
class Peer:
    """What the rules share: bounds, and a replica of a fixed size."""

    workers: int = 2
    least: int = 1
    most: int = MOST
    interval: float = field(default=1.0, init=False)

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        have = current.count + current.starting
        wanted = self.wanted(samples, current, have, now) if samples else have
        return Desired(self.bounded(wanted), self.workers, ALL, 0.0, Reason(type(self).__name__))

    def bounded(self, count: int) -> int:
        return min(max(count, self.least), self.most)

    def wanted(self, samples: Sequence[Sample], current: Current, have: int, now: float) -> int:
        raise NotImplementedError


def concurrency(samples: Sequence[Sample], seconds: int) -> float:
    """Mean requests in flight."""
    recent = samples[-seconds:]
    return sum(seen.inside(sample) for sample in recent) / len(recent)


def busy(samples: Sequence[Sample], seconds: int) -> float:
    """Mean busy workers, which is what CPU utilization counts."""
    recent = samples[-seconds:]
    return sum(seen.busy(sample) for sample in recent) / len(recent)


def arrived(samples: Sequence[Sample], seconds: int) -> int:
    return sum(sample.arrivals for sample in samples[-seconds:])


@dataclass
class Static(Peer):
    """So many replicas at all times."""

    count: int = 1

    def wanted(self, samples: Sequence[Sample], current: Current, have: int, now: float) -> int:
        return self.count


@dataclass
class AwsTracking(Peer):
    """Target tracking of SageMaker variants, decided by Clary's own Application Auto Scaling (`domain.autoscaling_policies.tracking`). The
    metric is SageMakerVariantInvocationsPerInstance each 60 s, or ConcurrentRequestsPerModel each 10 s (both AWS's documentation); 3 of 3
    points above the target out, 15 minutes below 90 % of it in. Cooldowns are 300 s unless set: a scale-in waits for that of the last
    one, a scale-out goes ahead where it is larger than the last, whose capacity it counts."""

    util: float = 0.7
    period: int = 60
    cooldown: float = 300.0
    points: list[float] = field(default_factory=list)
    last: Change | None = None
    in_at: float = -math.inf

    def __post_init__(self) -> None:
        self.interval = float(self.period)

    def wanted(self, samples: Sequence[Sample], current: Current, have: int, now: float) -> int:
        live = max(current.count, 1)
        if self.period == 60:
            value, target = arrived(samples, 60) / live, 60.0 * self.util * self.workers / samples[-1].service
        else:
            value, target = concurrency(samples, self.period) / live, self.util * self.workers
        self.points.append(value)
        high, low = self.points[-3:], self.points[-900 // self.period :]
        if len(high) == 3 and min(high) > target:
            heard = self._heard(high, now, True, target)
        elif len(low) == 900 // self.period and max(low) < 0.9 * target and now >= self.in_at + self.cooldown:
            heard = self._heard(low, now, False, target)
        else:
            return have
        count = tracking(heard, have, target, self.last).capacity
        if count is None or self.bounded(count) == have:
            return have
        self.last, self.in_at = Change(now, have, self.cooldown), -math.inf if heard.above else now
        return count

    def _heard(self, values: list[float], now: float, above: bool, target: float) -> Heard:
        first = now - self.period * len(values)
        points = tuple(WindowValue(first + i * self.period, value, 1.0) for i, value in enumerate(values))
        return Heard("", above, target if above else 0.9 * target, points)


@dataclass
class AwsStep(Peer):
    """Step scaling on CPUUtilization each minute, 2 of 2 points: 1 more above `high`, half as many more 15 points above it; 1 less below
    `low`. By `domain.autoscaling_policies.step_again`; cooldown 300 s unless set."""

    high: float = 70.0
    low: float = 30.0
    cooldown: float = 300.0
    points: list[float] = field(default_factory=list)
    out: Change | None = None
    in_at: float = -math.inf

    def __post_init__(self) -> None:
        self.interval = 60.0

    def wanted(self, samples: Sequence[Sample], current: Current, have: int, now: float) -> int:
        self.points.append(100.0 * busy(samples, 60) / (max(current.count, 1) * self.workers))
        two = self.points[-2:]
        points = tuple(WindowValue(now - 60.0 * (len(two) - i), value, 1.0) for i, value in enumerate(two))
        if len(two) < 2:
            return have
        if min(two) >= self.high:
            rows = [
                {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 15, "ScalingAdjustment": 25},
                {"MetricIntervalLowerBound": 15, "ScalingAdjustment": 50},
            ]
            config = {"AdjustmentType": "PercentChangeInCapacity", "MinAdjustmentMagnitude": 1, "StepAdjustments": rows}
            count = step_again(Heard("", True, self.high, points), config, have, self.out, now).capacity
        elif max(two) < self.low and now >= self.in_at + self.cooldown:
            config = {
                "AdjustmentType": "ChangeInCapacity",
                "StepAdjustments": [{"MetricIntervalUpperBound": 0, "ScalingAdjustment": -1}],
            }
            count = step_again(Heard("", False, self.low, points), config, have, None, now).capacity
        else:
            return have
        if count is None or self.bounded(count) == have:
            return have
        if count > have:  # it ends the cooldown of a scale-in
            self.out, self.in_at = scaled_out(self.out, now, now, have, self.cooldown), -math.inf
        else:
            self.in_at = now
        return count


@dataclass
class Hpa(Peer):
    """Kubernetes HPA (kubernetes.io, "Horizontal Pod Autoscaling", algorithm details): each 15 s ceil(current * metric / target), nothing
    within the tolerance of 0.1; out by at most max(100 %, 4) each 15 s; in to the highest wish of the last 300 s (`calm`)."""

    util: float = 0.7
    calm: float = 300.0
    wishes: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.interval = 15.0

    def ratio(self, samples: Sequence[Sample], live: int) -> float:
        return busy(samples, 15) / (live * self.workers * self.util)

    def wanted(self, samples: Sequence[Sample], current: Current, have: int, now: float) -> int:
        live = max(current.count, 1)
        ratio = self.ratio(samples, live)
        wish = have if abs(ratio - 1.0) <= 0.1 else math.ceil(live * ratio)
        self.wishes = [pair for pair in self.wishes if pair[0] > now - self.calm] + [(now, wish)]
        if wish > have:
            return min(wish, have + max(have, 4))
        return min(have, max(pair[1] for pair in self.wishes))


@dataclass
class Keda(Hpa):
    """KEDA (keda.sh, "Scaling deployments"): requests a second over 30 s through an HPA; from 0 to 1 at a poll (30 s) that sees traffic,
    to 0 after 300 s without. `rate` is from the service time."""

    seen: float = -math.inf

    def ratio(self, samples: Sequence[Sample], live: int) -> float:
        rate = arrived(samples, 30) / min(30, len(samples))
        return rate * samples[-1].service / (live * self.workers * self.util)

    def wanted(self, samples: Sequence[Sample], current: Current, have: int, now: float) -> int:
        if arrived(samples, 30) or samples[-1].in_flight:
            self.seen = now
        if have == 0:
            return 1 if self.seen == now and now % 30.0 < 15.0 else 0
        if now - self.seen > 300.0:
            return 0
        return max(1, super().wanted(samples, current, have, now))


@dataclass
class Knative(Peer):
    """Knative KPA (knative/serving, pkg/autoscaler/scaling/autoscaler.go): each 2 s from mean concurrency over 60 s (stable) and 6 s
    (panic); panic when the latter wants `threshold` times what is ready, never scaling down in it; out to 1000 times, in to half; to zero
    after a stable window and 30 s of grace."""

    util: float = 0.7
    window: int = 60
    threshold: float = 2.0
    panicked: float = -math.inf
    top: int = 0
    seen: float = 0.0

    def __post_init__(self) -> None:
        self.interval = 2.0

    def wanted(self, samples: Sequence[Sample], current: Current, have: int, now: float) -> int:
        ready, target = max(current.count, 1), self.util * self.workers
        stable_wish = math.ceil(concurrency(samples, self.window) / target)
        panic_wish = math.ceil(concurrency(samples, max(1, self.window // 10)) / target)
        up, down = math.ceil(1000.0 * ready), ready // 2
        stable, panic = min(max(stable_wish, down), up), min(max(panic_wish, down), up)
        if samples[-1].in_flight or samples[-1].arrivals:
            self.seen = now
        if panic_wish / ready >= self.threshold:
            if now - self.panicked > self.window:
                self.top = 0
            self.panicked = now
        if now - self.panicked <= self.window:
            self.top = max(self.top, stable, panic)
            return self.top
        if stable == 0:
            return 0 if now - self.seen > self.window + 30.0 else min(have, 1)
        return max(1, stable)


@dataclass
class RayServe(Peer):
    """Ray Serve (ray-project/ray, python/ray/serve/autoscaling_policy.py and the documentation of `AutoscalingConfig`): requests over
    target_ongoing_requests a replica, look-back 30 s, must persist `up` and `down` seconds; from zero at once."""

    util: float = 0.7
    up: float = 30.0
    down: float = 600.0
    back: int = 30
    streak: float = 0.0

    def wanted(self, samples: Sequence[Sample], current: Current, have: int, now: float) -> int:
        total = concurrency(samples, self.back)
        if have == 0:
            return 1 if samples[-1].in_flight else 0
        wish = math.ceil(total / (self.util * self.workers))
        if wish == have:
            self.streak = 0.0
            return have
        self.streak = max(self.streak, 0.0) + 1.0 if wish > have else min(self.streak, 0.0) - 1.0
        if self.streak > self.up or -self.streak > self.down:
            self.streak = 0.0
            return wish
        return have


@dataclass
class Dstack(Peer):
    """dstack (dstackai/dstack, RPSAutoscaler): ceil(requests of 60 s / 60 / target), `up` seconds after the last change out, `down` in;
    from zero at once."""

    util: float = 0.7
    up: float = 300.0
    down: float = 600.0
    changed: float = -math.inf

    def __post_init__(self) -> None:
        self.interval = 5.0

    def wanted(self, samples: Sequence[Sample], current: Current, have: int, now: float) -> int:
        rate = arrived(samples, 60) / min(60, len(samples))
        wish = self.bounded(math.ceil(rate * samples[-1].service / (self.util * self.workers)))
        wait = 0.0 if have == 0 else self.up if wish > have else self.down
        if wish == have or now - self.changed < wait:
            return have
        self.changed = now
        return wish


@dataclass
class Vpa(Peer):
    """Kubernetes VPA (kubernetes/autoscaler, vertical-pod-autoscaler recommender): one replica, sized at a percentile of a histogram of
    busy workers that decays with a half-life (24 h shipped), plus a margin of 15 %; looked at each minute, resized in place."""

    share: float = 0.9
    half_life: float = 86_400.0
    margin: float = 1.15
    histogram: list[float] = field(default_factory=lambda: [0.0] * 512)

    def __post_init__(self) -> None:
        self.interval = 60.0

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        weight = 2.0 ** (now / self.half_life)
        for sample in samples[-60:]:
            self.histogram[min(math.ceil(seen.busy(sample)), 511)] += weight
        goal, total, size = self.share * sum(self.histogram), 0.0, 0
        for size, amount in enumerate(self.histogram):  # noqa: B007 - the size where it ends is the answer
            total += amount
            if total >= goal:
                break
        return Desired(1, max(1, math.ceil(size * self.margin)), ALL, 0.0, Reason("Vpa"))
