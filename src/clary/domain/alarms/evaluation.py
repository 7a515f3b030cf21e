"""CloudWatch alarms: when one is evaluated, over which windows, and what its state is then. Pure (AWS's user guide, "Using CloudWatch
alarms" and "Configuring how CloudWatch alarms treat missing data").

**When.** AWS evaluates alarms with periods of a minute or more each minute, those with 10, 20 or 30 s each 10 s, over windows that
slide by as much. So do we, at the end of each such step. One thing is decided sooner: when what a window holds *so far* breaches already
and more samples cannot undo that (a sum of non-negative values, a count, a maximum above a threshold; a minimum below one), the
evaluation at the end of the step is certain to say ALARM, so it is said at once. AWS says it up to a period and its ingestion delay
later; the state at every step's end is the same. Nothing is ever decided sooner towards OK or INSUFFICIENT_DATA.

**Held.** A state that SetAlarmState set stays until the next evaluation that is at least `HOLD` seconds away.

The record's document: `request` (PutMetricAlarm's parameters), `tags`, `configured` (epoch seconds), `state` (a `State`), `held` (epoch
seconds, 0 for not), `moves` (how often the value changed) and `acted` (up to which of these actions were told).
The record's status is StateValue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from clary.domain.metrics.datapoints import Summary, WindowValue
from clary.domain.metrics.statistics import percentile_of, statistic
from clary.domain.resources import Document

KIND = "alarm"
EXTRA = 2  # windows beyond EvaluationPeriods that are looked at when some are missing
HOLD = 5.0
LONGEST_STEP = 60  # seconds between evaluations
SETTLE = 0.3  # seconds after a step's end when its last second's datapoints are there


class StateValue(StrEnum):
    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True)
class State:
    """`since` is when the value last changed, `updated` when anything of it did (epoch seconds)."""

    value: StateValue
    reason: str
    data: str = ""
    since: float = 0.0
    updated: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> State:
        return State(**{**data, "value": StateValue(data["value"])})


NEW = "Unchecked: Initial alarm creation"


def document(request: Mapping[str, Any], tags: Sequence[Mapping[str, str]], now: float) -> dict[str, Any]:
    """Of an alarm that is made now."""
    state = State(StateValue.INSUFFICIENT_DATA, NEW, "", now, now)
    return {
        "request": dict(request),
        "tags": [dict(tag) for tag in tags],
        "configured": now,
        "state": state.to_json(),
        "held": 0.0,
        "moves": 0,
        "acted": 0,
    }


def state_of(document: Document) -> State:
    return State.from_json(document["state"])


def is_composite(document: Document) -> bool:
    return "AlarmRule" in document["request"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an evaluation looks at: `count` windows of `period` seconds that end at `end`; `last` is the next step's end, the running
    one's."""

    period: int
    step: int
    periods: int  # EvaluationPeriods
    needed: int  # DatapointsToAlarm
    end: float
    last: float

    @property
    def start(self) -> float:
        """Of the earliest window."""
        return self.begins(self.end)[-1]

    def begins(self, end: float) -> list[float]:
        """Where the windows begin, newest first."""
        return [end - self.period * (back + 1) for back in range(self.periods + EXTRA)]


def period_of(request: Mapping[str, Any]) -> int:
    """Seconds of a window: of a metric alarm, or of the queries of one on metric math."""
    if "Period" in request:
        return int(request["Period"])
    periods = [int(query["MetricStat"]["Period"]) for query in request.get("Metrics", ()) if "MetricStat" in query]
    periods += [int(query["Period"]) for query in request.get("Metrics", ()) if "Period" in query]
    return max(periods, default=60)


def plan(request: Mapping[str, Any], now: float) -> Plan:
    period = period_of(request)
    step = 10 if period < 60 else LONGEST_STEP
    end = math.floor(now / step) * step
    periods = int(request["EvaluationPeriods"])
    return Plan(period, step, periods, int(request.get("DatapointsToAlarm") or periods), end, end + step)


def next_look(plan: Plan, now: float, early: bool) -> float:
    """Seconds until the alarm is to be looked at again: after each second where a decision may come early, else after the step."""
    moment = math.floor(now) + 1 if early else plan.last
    return max(0.05, moment + SETTLE - now)


_BREACHES = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
OPERATORS = frozenset(_BREACHES)


def breaches(request: Mapping[str, Any], value: float) -> bool:
    return bool(_BREACHES[request["ComparisonOperator"]](value, float(request["Threshold"])))


def statistic_name(request: Mapping[str, Any]) -> str:
    return str(request.get("Statistic") or request.get("ExtendedStatistic") or "")


def decides_early(request: Mapping[str, Any]) -> bool:
    """Whether a window that is still running may show for certain that it will breach."""
    above = str(request.get("ComparisonOperator", "")).startswith("GreaterThan")
    return statistic_name(request) in (("Sum", "SampleCount", "Maximum") if above else ("Minimum",))


def point(request: Mapping[str, Any], at: float, summary: Summary) -> WindowValue | None:
    """What a window's samples say; None when they do not tell that statistic."""
    name = statistic_name(request)
    compute = statistic(name)
    value = compute(summary) if compute is not None else None
    if value is None:
        return None
    certain = decides_early(request) and (name != "Sum" or summary.low >= 0)
    return WindowValue(at, value, summary.count, certain)


@dataclass(frozen=True, slots=True)
class AlarmVerdict:
    """What the windows say. `value` None: keep the state. `points` are those that counted, oldest first; `filled` missing ones were
    taken as `treat` says."""

    value: StateValue | None
    points: tuple[WindowValue, ...] = ()
    breaching: int = 0
    filled: int = 0


def evaluate(request: Mapping[str, Any], windows: Sequence[WindowValue | None]) -> AlarmVerdict:
    """`windows` newest first, None where there is no datapoint, `EXTRA` more than EvaluationPeriods.

    Older datapoints take the place of missing ones first; what is still missing then is treated as the alarm says. An alarm whose
    only datapoints breach, the oldest of them as long ago as it takes, is in ALARM though the rest is missing."""
    periods = int(request["EvaluationPeriods"])
    needed = int(request.get("DatapointsToAlarm") or periods)
    treat = str(request.get("TreatMissingData") or "missing")
    real = [(place, each) for place, each in enumerate(windows) if each is not None][:periods]
    points = tuple(each for _, each in reversed(real))
    filled = periods - len(real)
    if real and _too_few(request, points):
        return AlarmVerdict(None, points, 0, filled)
    count = sum(breaches(request, each.value) for each in points)

    def verdict(value: StateValue | None) -> AlarmVerdict:
        return AlarmVerdict(value, points, count, filled)

    if count >= needed:
        return verdict(StateValue.ALARM)
    if filled and treat == "breaching":
        return verdict(StateValue.ALARM if count + filled >= needed else StateValue.OK)
    if filled and treat == "notBreaching":
        return verdict(StateValue.OK)
    if not real:
        return verdict(None if treat == "ignore" else StateValue.INSUFFICIENT_DATA)
    if filled and count == len(real):
        if treat == "ignore":
            return verdict(None)
        oldest = real[-1][0] + 1
        return verdict(StateValue.ALARM if oldest >= needed else StateValue.OK)
    return verdict(StateValue.OK)


def _too_few(request: Mapping[str, Any], points: Sequence[WindowValue]) -> bool:
    """EvaluateLowSampleCountPercentile `ignore`: a percentile of too few samples changes nothing."""
    share = percentile_of(statistic_name(request))
    if request.get("EvaluateLowSampleCountPercentile") != "ignore" or share is None:
        return False
    tail = 1 - share if share >= 0.5 else share
    return any(each.samples * tail < 10 for each in points)
