"""Application Auto Scaling's policies as a replay of recorded load asks them: what alarms would have seen, what policies have done.

Each policy decides by the functions that decide in production (`policies.py`); the alarms of target tracking are production's too
(`alarms.requests`). Owns the points of the few metrics that follow from load and capacity. Pure.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clary.domain.autoscaling import alarms
from clary.domain.autoscaling.alarms import LOW_SHARE, cooldown
from clary.domain.autoscaling.policies import Change, Heard, Wanted, scaled_out, step_again, tracking
from clary.domain.autoscaling.record import INSTANCES, STEP
from clary.domain.metrics.datapoints import WindowValue
from clary.domain.scaling.signals import Current, Desired, Reason, Sample, Term

# By name: the namespace, and whether it has a value each second (else one for each request).
METRICS: Mapping[str, tuple[str, bool]] = {
    "Invocations": ("AWS/SageMaker", False),
    "InvocationsPerInstance": ("AWS/SageMaker", False),
    "ConcurrentRequestsPerModel": ("AWS/SageMaker", True),
    "CPUUtilization": ("/aws/sagemaker/Endpoints", True),
}
STATISTICS = ("Sum", "Average", "Minimum", "Maximum", "SampleCount")
COMPARES: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
_RESOURCE = "endpoint/-/variant/-"  # of alarms whose names nobody reads


@dataclass(frozen=True, slots=True)
class ReplayedReplica:
    """What a metric must know of one: its `workers`, and the vCPUs that a busy one uses."""

    workers: int
    cpu: float


@dataclass(slots=True)
class _Alarm:
    """The points of one alarm, and the one under way."""

    params: Mapping[str, Any]
    points: deque[WindowValue] = field(init=False)
    began: float = -math.inf
    total: float = 0.0
    count: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def __post_init__(self) -> None:
        self.points = deque(maxlen=int(self.params["EvaluationPeriods"]))

    @property
    def period(self) -> int:
        return int(self.params["Period"])

    @property
    def above(self) -> bool:
        return str(self.params["ComparisonOperator"]).startswith("Greater")

    def hear(self, sample: Sample, live: int, replica: ReplayedReplica) -> None:
        begin = (sample.time - 1.0) // self.period * self.period
        if begin != self.began:
            self._close(begin)
        if not live:
            return
        value, weight = self._value(sample, live, replica)
        self.total += value * weight
        self.count += weight
        if weight:
            self.low, self.high = min(self.low, value), max(self.high, value)

    def _value(self, sample: Sample, live: int, replica: ReplayedReplica) -> tuple[float, float]:
        match self.params["MetricName"]:
            case "Invocations":
                return 1.0, float(sample.arrivals)
            case "InvocationsPerInstance":
                return 1.0 / live, float(sample.arrivals)
            case "ConcurrentRequestsPerModel":
                return sample.in_flight / live, 1.0
            case _:
                busy = min(sample.arrivals * sample.service + sample.queued, live * replica.workers)
                return 100.0 * busy * replica.cpu / live, 1.0

    def _close(self, begin: float) -> None:
        """The point is whole. One that lies apart from the one before it makes all before it older than any alarm looks at."""
        if self.began > -math.inf:
            mean = self.total / self.count if self.count else 0.0
            low, high = (self.low, self.high) if self.count else (0.0, 0.0)
            named = dict(zip(STATISTICS, (self.total, mean, low, high, self.count), strict=True))
            self.points.append(WindowValue(self.began, named[self.params["Statistic"]], self.count))
            if begin - self.began > self.period:
                self.points.clear()
        self.began, self.total, self.count, self.low, self.high = begin, 0.0, 0.0, math.inf, -math.inf

    def heard(self) -> Heard | None:
        """What its policy is told; None while it does not alarm."""
        compare, threshold = COMPARES[self.params["ComparisonOperator"]], float(self.params["Threshold"])
        over = [point for point in self.points if compare(point.value, threshold)]
        needed = int(self.params.get("DatapointsToAlarm") or self.params["EvaluationPeriods"])
        if len(self.points) < int(self.params["EvaluationPeriods"]) or len(over) < needed:
            return None
        return Heard("", self.above, threshold, tuple(self.points))


@dataclass(slots=True)
class _Follower:
    """A policy and its alarms."""

    request: Mapping[str, Any]
    alarms: tuple[_Alarm, ...]

    @property
    def config(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.request[f"{self.request['PolicyType']}PolicyConfiguration"]
        return found

    @property
    def step(self) -> bool:
        return bool(self.request["PolicyType"] == STEP)


@dataclass(slots=True)
class Replayed:
    """See `signals.Policy`. Call it each `every` seconds. `policies` are bodies of PutScalingPolicy, a step policy's with the bodies of
    its alarms (`Alarms`); `timing` is the setting `scaling_timing`."""

    policies: tuple[Mapping[str, Any], ...]
    least: int
    most: int
    replica: ReplayedReplica
    timing: str
    followers: tuple[_Follower, ...] = field(init=False)
    heard: float = -math.inf
    last: Change | None = None
    out: Change | None = None
    into: Change | None = None

    def __post_init__(self) -> None:
        self.followers = tuple(
            _Follower(each, tuple(_Alarm(params) for params in alarms_of(each, self.timing))) for each in self.policies
        )

    @property
    def every(self) -> int:
        return min(alarm.period for follower in self.followers for alarm in follower.alarms)

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        for sample in samples:
            if sample.time > self.heard:
                for follower in self.followers:
                    for alarm in follower.alarms:
                        alarm.hear(sample, current.count, self.replica)
        self.heard = samples[-1].time if samples else self.heard
        have = current.count + current.starting
        count = min(max(have, self.least), self.most)
        if count == have and not current.starting:
            count = self._wanted(have, current.start, now)
        workers = self.replica.workers
        return Desired(count, workers, count * workers, 0.0, Reason("policies", (Term("policies", count),)))

    def _wanted(self, have: int, start: float, now: float) -> int:
        """The largest capacity that a policy wants; less than there is only when all that track a metric agree."""
        opinions = [
            (follower, heard, self._opinion(follower, heard, have, now))
            for follower in self.followers
            for alarm in follower.alarms
            if (heard := alarm.heard()) is not None
        ]
        outs = [(w.capacity, f) for f, _, w in opinions if w.capacity is not None and w.capacity > have]
        if outs:
            wanted, follower = max(outs, key=lambda each: each[0])
            to = min(wanted, self.most)
            if to > have:
                began, done = now, now + start
                cooling = self._cooldown(follower, "ScaleOutCooldown")
                self.out = scaled_out(self.out, began, done, have, cooling)
                self.last = Change(done, have, cooling)
            return to
        if any(heard.above and w.capacity == have for _, heard, w in opinions):
            return have
        ins = [(w.capacity, f) for f, _, w in opinions if w.capacity is not None and w.capacity < have]
        if self.into is not None and self.into.cools(now):
            return have
        wanting = [follower for _, follower in ins]
        if any(not f.step and not f.config.get("DisableScaleIn") and f not in wanting for f in self.followers):
            ins = [(capacity, follower) for capacity, follower in ins if follower.step]
        if not ins:
            return have
        wanted, follower = max(ins, key=lambda each: each[0])
        to = max(wanted, self.least)
        if to < have:
            self.last = self.into = Change(now, have, self._cooldown(follower, "ScaleInCooldown"))
        return to

    def _opinion(self, follower: _Follower, heard: Heard, have: int, now: float) -> Wanted:
        if follower.step:
            return step_again(heard, follower.config, have, self.out, now)
        target = heard.threshold if heard.above else heard.threshold / LOW_SHARE
        return tracking(heard, have, target, self.last)

    def _cooldown(self, follower: _Follower, member: str) -> float:
        return cooldown(follower.config, "Cooldown" if follower.step else member, self.timing)


def alarms_of(policy: Mapping[str, Any], timing: str) -> Sequence[Mapping[str, Any]]:
    """PutMetricAlarm's parameters of the alarms that a policy follows."""
    if policy["PolicyType"] == STEP:
        found: Sequence[Mapping[str, Any]] = policy["Alarms"]
        return found
    return alarms.requests(policy, "", "", timing, _RESOURCE, INSTANCES)
