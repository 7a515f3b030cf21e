"""Checks of PutMetricAlarm and PutCompositeAlarm beyond the service model. Pure: raises Invalid with the reason and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from clary.domain.alarms import suppression
from clary.domain.alarms.evaluation import OPERATORS, period_of
from clary.domain.alarms.rules import Rule, parse
from clary.domain.errors import Invalid, InvalidValue
from clary.domain.metrics.queries import parse_queries
from clary.domain.metrics.statistics import KNOWN, PLAIN, statistic

_ACTIONS = ("OKActions", "AlarmActions", "InsufficientDataActions")
DAY = 86_400
WEEK = 7 * DAY
MOST_OF_ALARM = 10
TREATMENTS = ("breaching", "notBreaching", "ignore", "missing")
_ARN = re.compile(r"arn:[a-z0-9-]+:[^:\s]+:[^:\s]*:[^:\s]*:\S+")
_LACKING = {
    "EvaluationCriteria": "PromQL alarms are",
    "WarmUpConfiguration": "a warm-up period is",
    "EvaluationInterval": "an evaluation interval of its own is",
    "ActionConfiguration": "the propagation of tags to actions is",
    "ThresholdMetricId": "anomaly detection is",
}


def check(request: Mapping[str, Any]) -> None:
    """A metric alarm."""
    _check_lacking(request)
    _check_actions(request)
    operator = request.get("ComparisonOperator")
    if operator is None or request.get("EvaluationPeriods") is None:
        missing = "ComparisonOperator" if operator is None else "EvaluationPeriods"
        raise Invalid(f"The parameter {missing} is required.")
    if operator not in OPERATORS:
        raise Invalid(
            f"ComparisonOperator {operator} needs an anomaly detection model, which Clary does not have: compare with a Threshold."
        )
    if request.get("Threshold") is None:
        raise Invalid("The parameter Threshold is required.")
    periods = int(request["EvaluationPeriods"])
    needed = request.get("DatapointsToAlarm")
    if needed is not None and needed > periods:
        raise Invalid(f"DatapointsToAlarm ({needed}) must be at most EvaluationPeriods ({periods}).")
    treat = request.get("TreatMissingData", "missing")
    if treat not in TREATMENTS:
        raise Invalid(f"TreatMissingData {treat!r} is not valid: it is one of {', '.join(TREATMENTS)}.")
    if request.get("Metrics"):
        _check_queries(request)
    else:
        _check_metric(request)
    _check_span(periods, period_of(request))


def _check_queries(request: Mapping[str, Any]) -> None:
    given = [
        name for name in ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period") if request.get(name)
    ]
    if given:
        raise Invalid(f"{given[0]} must not be given together with Metrics.")
    _check_counts(request["Metrics"])
    queries = parse_queries(request["Metrics"])
    returned = [query.id for query in queries.queries if query.returned]
    if len(returned) != 1:
        raise Invalid(
            f"Exactly one element of Metrics must return data (ReturnData), not {len(returned)}: the alarm watches it."
        )
    if queries.searches:
        raise Invalid("SEARCH cannot be used in an alarm.")
    for query in queries.queries:
        if query.read is not None:
            _check_period(query.read.period)


def _check_counts(rows: Sequence[Mapping[str, Any]]) -> None:
    """CloudWatch's: 10 metrics and 10 expressions."""
    for member, words in (("MetricStat", "metrics"), ("Expression", "expressions")):
        count = sum(1 for row in rows if row.get(member) is not None)
        if count > MOST_OF_ALARM:
            raise Invalid(f"Metrics has {count} {words}; an alarm may have {MOST_OF_ALARM}.")


def _check_metric(request: Mapping[str, Any]) -> None:
    for name in ("MetricName", "Namespace", "Period"):
        if request.get(name) is None:
            raise Invalid(f"The parameter {name} is required.")
    plain, extended = request.get("Statistic"), request.get("ExtendedStatistic")
    if (plain is None) == (extended is None):
        raise Invalid("Exactly one of the parameters Statistic and ExtendedStatistic must be specified.")
    if extended is not None and (extended in PLAIN or statistic(extended) is None):
        raise InvalidValue(f"The value {extended} for parameter ExtendedStatistic is not one of {KNOWN}.")
    low = request.get("EvaluateLowSampleCountPercentile")
    if low is not None and low not in ("evaluate", "ignore"):
        raise Invalid(f"EvaluateLowSampleCountPercentile {low!r} is not valid: it is evaluate or ignore.")
    if low is not None and extended is None:
        raise Invalid("EvaluateLowSampleCountPercentile is only for alarms with an ExtendedStatistic.")
    _check_period(int(request["Period"]))
    names = [each["Name"] for each in request.get("Dimensions", ())]
    if len(names) != len(set(names)):
        raise Invalid("No two dimensions may have the same name.")


def _check_period(period: int) -> None:
    if period not in (10, 20, 30) and period % 60:
        raise Invalid(f"Period {period} is not valid: it is 10, 20, 30 or a multiple of 60.")


def _check_span(periods: int, period: int) -> None:
    most, words = (WEEK, "7 days") if period >= 3600 else (DAY, "a day")
    if periods * period > most:
        raise Invalid(
            f"Metrics cannot be checked across more than {words} (EvaluationPeriods * Period must be <= {most}; it is "
            f"{periods * period})."
        )


def check_composite(request: Mapping[str, Any]) -> Rule:
    """A composite alarm; its rule back."""
    _check_lacking(request)
    _check_actions(request)
    for member in _ACTIONS:
        for action in request.get(member, ()):
            if action.split(":")[2] in ("autoscaling", "automate"):
                raise Invalid(
                    f"{member}: a composite alarm cannot scale or act on machines: {action}. Let a metric alarm do it."
                )
    suppression.check(request)
    return parse(request["AlarmRule"])


def _check_lacking(request: Mapping[str, Any]) -> None:
    for name, what in _LACKING.items():
        if request.get(name):
            raise Invalid(f"{name}: {what} not available in Clary.")
    if "WallClockWindow" in (request.get("EvaluationWindow") or {}):
        raise Invalid("EvaluationWindow: windows by the wall clock are not available in Clary; windows slide.")


def _check_actions(request: Mapping[str, Any]) -> None:
    for member in _ACTIONS:
        for action in request.get(member, ()):
            if not _ARN.fullmatch(action):
                raise Invalid(f"Invalid arn syntax: {action}")
