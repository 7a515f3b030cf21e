"""Another policy for a variant's recorded load (`clary scaling --what-if FILE`): what the file may say, and both replays. Pure.

The file is JSON: `{"LatencyObjective": milliseconds}`, the body of a PutScalingPolicy, or a list of such bodies; each with `MinCapacity`
and `MaxCapacity`, and that of a step policy with the bodies of PutMetricAlarm of the alarms that drive it (`Alarms`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from clary.domain.autoscaling import alarms, latency, policies, replayed
from clary.domain.autoscaling.record import INSTANCES, STEP, TRACKING
from clary.domain.autoscaling.replayed import COMPARES, METRICS, STATISTICS, Replayed
from clary.domain.errors import Invalid
from clary.domain.extensions import LONGEST_OBJECTIVE
from clary.domain.objectives.record import KEEP
from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.recorded import Recorded
from clary.domain.scaling.replay import Day, Played, Setup, play
from clary.domain.scaling.shape import ALLOWANCE, VCPU, Bounds, allowance_of

MOST_CAPACITY = 10_000
MOST_CPUS = 4096  # of a machine whose size nobody knows
_RANGE = ("MinCapacity", "MaxCapacity")
_OBJECTIVE = ("LatencyObjective", "ScaleInCooldown", *_RANGE)
_TRACKING, _STEP = f"{TRACKING}PolicyConfiguration", f"{STEP}PolicyConfiguration"
_NAMED = ("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension", "PolicyType")
_POLICY = (*_NAMED, _TRACKING, _STEP, "Alarms", *_RANGE)
_TRACKED = (
    "TargetValue",
    "PredefinedMetricSpecification",
    "CustomizedMetricSpecification",
    "ScaleOutCooldown",
    "ScaleInCooldown",
    "DisableScaleIn",
)
_STEPPED = ("AdjustmentType", "StepAdjustments", "MinAdjustmentMagnitude", "Cooldown", "MetricAggregationType")
_ADJUSTMENT = ("MetricIntervalLowerBound", "MetricIntervalUpperBound", "ScalingAdjustment")
_ALARM = ("Period", "EvaluationPeriods", "Threshold", "ComparisonOperator", "MetricName", "Statistic", "Namespace")
_UNREAD = (
    "AlarmName",
    "AlarmDescription",
    "AlarmActions",
    "OKActions",
    "InsufficientDataActions",
    "ActionsEnabled",
    "Dimensions",
    "Unit",
    "TreatMissingData",
    "Tags",
    "DatapointsToAlarm",
)
_PREDEFINED = {name: row.metric for name, row in alarms.PREDEFINED.items() if row.dimension == INSTANCES}


@dataclass(frozen=True, slots=True)
class WhatIf:
    """`objective` in seconds (0: `policies` of Application Auto Scaling decide). Without a range, that of the variant's target holds."""

    objective: float = 0.0
    keep: float = KEEP
    policies: tuple[Mapping[str, Any], ...] = ()
    least: int | None = None
    most: int | None = None

    @property
    def words(self) -> str:
        if self.objective:
            return f"a latency objective of {self.objective * 1000:g} ms"
        return " and ".join(_words_of(each) for each in self.policies)


def _words_of(policy: Mapping[str, Any]) -> str:
    if policy["PolicyType"] == STEP:
        return "step scaling"
    config = policy[_TRACKING]
    metric = (config.get("PredefinedMetricSpecification") or {}).get("PredefinedMetricType")
    metric = metric or config["CustomizedMetricSpecification"]["MetricName"]
    return f"target tracking of {metric} at {config['TargetValue']:g}"


# -- the file ---------------------------------------------------------------------------------------------------------------------


class _At(NamedTuple):
    """A value of the file, and its place there. What it must be and is not raises Invalid, which names the place."""

    value: Any
    path: str = "$"

    def refuse(self, what: str) -> NoReturn:
        raise Invalid(f"{self.path}: {what}")

    def members(self, known: Collection[str]) -> _At:
        if not isinstance(self.value, dict):
            self.refuse(f"must be an object, not {_named(self.value)}")
        for name in self.value:
            if name not in known:
                self.under(name).refuse(f"is not known here. There may be: {', '.join(known)}")
        return self

    def under(self, name: str) -> _At:
        return _At(self.value.get(name), f"{self.path}.{name}")

    def has(self, name: str) -> bool:
        return self.value.get(name) is not None

    def items(self) -> Iterator[_At]:
        if not isinstance(self.value, list) or not self.value:
            self.refuse(f"must be a list with something in it, not {_named(self.value)}")
        return (_At(each, f"{self.path}[{place}]") for place, each in enumerate(self.value))

    def number(self, least: float = -math.inf, most: float = math.inf, above: bool = False) -> float:
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.refuse(f"must be a number, not {_named(value)}")
        if not (least < value if above else least <= value) or value > most:
            bound = f"{'above' if above else 'at least'} {least:g}" + (
                f", at most {most:.10g}" if most < math.inf else ""
            )
            self.refuse(f"must be {bound}; it is {value:g}")
        return float(value)

    def whole(self, least: int = 0, most: int = MOST_CAPACITY) -> int:
        value = self.number(least, most)
        if value != int(value):
            self.refuse(f"must be a whole number, not {value:g}")
        return int(value)

    def one_of(self, known: Collection[str]) -> str:
        if not isinstance(self.value, str) or self.value not in known:
            self.refuse(f"must be one of {', '.join(known)}, not {_named(self.value)}")
        return self.value


def _named(value: Any) -> str:
    match value:
        case None:
            return "missing"
        case dict() | list():
            return "an object" if isinstance(value, dict) else "a list"
        case str():
            return repr(value)
    return str(value).lower()


def parse(document: Any) -> WhatIf:
    """Invalid, with the place in the file, for what is no policy."""
    whole = _At(document)
    if isinstance(document, dict) and "LatencyObjective" in document:
        return _objective(whole.members(_OBJECTIVE))
    found = [_policy(each) for each in whole.items()] if isinstance(document, list) else [_policy(whole)]
    on_latency = [each for each in found if each.objective]
    if on_latency and len(found) > 1:
        whole.refuse(f"a policy on {latency.METRIC} is played alone, since it decides by itself")
    if on_latency:
        return on_latency[0]
    ranges = {(each.least, each.most) for each in found if each.least is not None}
    if len(ranges) > 1:
        whole.refuse("MinCapacity and MaxCapacity are of the variant: they must be the same in each policy")
    least, most = ranges.pop() if ranges else (None, None)
    return WhatIf(policies=tuple(policy for each in found for policy in each.policies), least=least, most=most)


def _objective(at: _At) -> WhatIf:
    value = at.under("LatencyObjective")
    if isinstance(value.value, str):  # as the tag has it
        try:
            value = value._replace(value=float(value.value))
        except ValueError:
            value.refuse(f"must be a p99 in milliseconds, not {value.value!r}")
    keep = at.under("ScaleInCooldown").number(0) if at.has("ScaleInCooldown") else KEEP
    least, most = _range(at)
    return WhatIf(value.number(0, LONGEST_OBJECTIVE, above=True) / 1000.0, keep, least=least, most=most)


def _range(at: _At) -> tuple[int | None, int | None]:
    if not any(at.has(name) for name in _RANGE):
        return None, None
    least, most = (at.under(name).whole() for name in _RANGE)
    if not 0 < most >= least:
        at.under("MaxCapacity").refuse(
            f"must be at least 1 and at least MinCapacity; it is {most}, MinCapacity {least}"
        )
    return least, most


def _policy(at: _At) -> WhatIf:
    at.members(_POLICY)
    if at.has("ScalableDimension"):
        at.under("ScalableDimension").one_of((INSTANCES,))
    kinds = {TRACKING: _TRACKING, STEP: _STEP}
    if at.has("PolicyType"):
        kind = at.under("PolicyType").one_of(tuple(kinds))
    else:
        given = [kind for kind, member in kinds.items() if at.has(member)]
        if not given:
            at.refuse(f"must have LatencyObjective, {_TRACKING} or {_STEP}")
        kind = given[0]
    least, most = _range(at)
    config = at.under(kinds[kind])
    if kind == STEP:
        _step(config)
        for each in at.under("Alarms").items():
            _alarm(each)
    else:
        _tracking(config)
        if latency.is_latency(at.value):
            keep = config.value.get("ScaleInCooldown")
            return WhatIf(config.value["TargetValue"] / 1000.0, KEEP if keep is None else keep, (), least, most)
    return WhatIf(policies=({"PolicyName": "what-if", **at.value, "PolicyType": kind},), least=least, most=most)


def _tracking(at: _At) -> None:
    at.members(_TRACKED).under("TargetValue").number(0, above=True)
    for name in ("ScaleOutCooldown", "ScaleInCooldown"):
        if at.has(name):
            at.under(name).number(0)
    predefined, custom = at.under("PredefinedMetricSpecification"), at.under("CustomizedMetricSpecification")
    if predefined.value is not None:
        kinds = (*_PREDEFINED, latency.METRIC)
        predefined.members(("PredefinedMetricType", "ResourceLabel")).under("PredefinedMetricType").one_of(kinds)
    if custom.value is not None:
        custom.members(("MetricName", "Namespace", "Statistic", "Dimensions", "Unit", "Metrics"))
        if custom.has("Metrics"):
            custom.under("Metrics").refuse(
                "metric math is not in a replay, which has the metrics " + ", ".join(METRICS)
            )
        _metric(custom)
    _checked(at, lambda: alarms.check(at.value, INSTANCES))


def _step(at: _At) -> None:
    at.members(_STEPPED).under("AdjustmentType").one_of(
        ("ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity")
    )
    for each in at.under("StepAdjustments").items():
        each.members(_ADJUSTMENT).under("ScalingAdjustment").whole(-MOST_CAPACITY)
        for name in _ADJUSTMENT[:2]:
            if each.has(name):
                each.under(name).number()
    if at.has("MetricAggregationType"):
        at.under("MetricAggregationType").one_of(("Average", "Minimum", "Maximum"))
    for name in ("Cooldown", "MinAdjustmentMagnitude"):
        if at.has(name):
            at.under(name).whole(0, 1_000_000)
    _checked(at, lambda: policies.check_steps(at.value))


def _alarm(at: _At) -> None:
    _metric(at.members((*_ALARM, *_UNREAD)))
    at.under("Threshold").number()
    at.under("ComparisonOperator").one_of(tuple(COMPARES))
    at.under("Period").whole(10, 86_400)
    points = at.under("EvaluationPeriods").whole(1)
    if at.has("DatapointsToAlarm"):
        at.under("DatapointsToAlarm").whole(1, points)


def _metric(at: _At) -> None:
    name = at.under("MetricName").one_of(tuple(METRICS))
    at.under("Namespace").one_of((METRICS[name][0],))
    at.under("Statistic").one_of(STATISTICS)


def _checked(at: _At, check: Any) -> None:
    try:
        check()
    except Invalid as error:
        at.refuse(error.message)


# -- the replays ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """A variant as its metrics have it. `workers` of a replica may be busy at most; `objective` in seconds (0: it had none), `millicpu` of
    a replica, `cost` in vCPUs of a busy worker, `cpus` of the machine (0: nobody knows). `replicas` by time; `late` is the latency that
    counts as late, in seconds."""

    workers: int
    objective: float
    millicpu: int
    cost: float
    cpus: int
    starts: tuple[float, ...]
    start: float
    replicas: tuple[tuple[float, float], ...]
    late: float
    timing: str

    @property
    def vcpu(self) -> int:
        return max(1, min(self.millicpu, (self.cpus or MOST_CPUS) * VCPU) // VCPU)

    @property
    def set_by_user(self) -> bool:
        """Whether the number of workers is none that follows from the size."""
        usual = self.boosted if self.objective else self.vcpu
        return self.workers != usual

    @property
    def boosted(self) -> int:
        """Workers of a replica that may be busy with a latency objective, where the user has set none."""
        bounds = Bounds(1, 1, own=self.vcpu * VCPU)
        return max(ALLOWANCE, allowance_of(bounds, ClaryPolicy(1.0).surge))


class Both(NamedTuple):
    was: Played
    what_if: Played


def play_both(day: Day, known: Known, asked: WhatIf, width: int) -> Both | None:
    """The capacity that was, and the one that would have been; None of a day without a request. `width`: seconds of a bin."""
    assert asked.least is not None
    assert asked.most is not None
    recorded = Recorded(known.replicas)
    cpus = max(1, int((known.cpus or MOST_CPUS) / known.cost))
    first = recorded.at(float(day.begin))
    setup = Setup(
        known.late, 0, MOST_CAPACITY, known.workers, known.workers, asked.keep, cpus, known.starts, known.start, first
    )
    was = play(day, recorded, setup._replace(starts=(), start=0.0), boost=False, every=1, width=width)
    setup = setup._replace(least=asked.least, most=asked.most)
    if asked.objective:
        allowance = known.workers if known.set_by_user else known.boosted
        setup = setup._replace(objective=asked.objective, ready=known.vcpu, allowance=allowance)
        what_if = play(day, setup.policy, setup, width=width)
    else:
        workers = known.workers if known.set_by_user else known.vcpu
        setup = setup._replace(ready=workers, allowance=workers)
        replica = replayed.ReplayedReplica(workers, known.cost)
        policy = Replayed(asked.policies, asked.least, asked.most, replica, known.timing)
        what_if = play(day, policy, setup, boost=False, every=policy.every, width=width)
    return Both(was, what_if) if was is not None and what_if is not None else None


def late_of(asked: WhatIf, objective: float, services: Sequence[float]) -> float:
    """The latency that counts as late in both replays: the file's objective, else the one that the variant had, else five times what a
    request takes."""
    return asked.objective or objective or 5.0 * sum(services) / len(services)
