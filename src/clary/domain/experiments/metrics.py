"""Metrics of trial components: points as they were put, their summaries, and the series that BatchGetMetrics answers.

A point is (metric, step, time, value): of one step, or of one time where it has no step, the last put is meant. Times come as whole
seconds (the SDK sends no others), so that many steps share one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BATCH = "metric-batch"  # the kind of the records that keep points: one a put
BACK, AHEAD = 1_209_600.0, 7200.0  # seconds that a time may be away from now
LONGEST = 10_000  # points of an answer
PERIODS: Mapping[str, int] = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3600}


@dataclass(frozen=True, slots=True)
class Point:
    metric: str
    step: int | None
    at: float  # epoch seconds
    value: float


def stored(points: Iterable[Point]) -> list[list[Any]]:
    """As a record keeps them."""
    return [[each.metric, each.step, each.at, each.value] for each in points]


def read(kept: Iterable[Sequence[Any]]) -> list[Point]:
    return [Point(*each) for each in kept]


def latest(points: Iterable[Point]) -> list[Point]:
    """Without those that a later put of the same step, or time, replaced; in the order of their steps and times."""
    found = {(each.metric, each.step, None if each.step is not None else each.at): each for each in points}
    return sorted(found.values(), key=lambda each: (each.metric, -1 if each.step is None else each.step, each.at))


def fold(summaries: Mapping[str, Mapping[str, Any]], points: Iterable[Point]) -> dict[str, dict[str, Any]]:
    """The summaries with these points: count, sum, sum of squares around nothing, extremes, the last by time and by order."""
    found = {metric: dict(summary) for metric, summary in summaries.items()}
    for point in points:
        old = found.get(point.metric)
        if old is None:
            old = found[point.metric] = {
                "n": 0,
                "mean": 0.0,
                "m2": 0.0,
                "min": point.value,
                "max": point.value,
                "at": -1.0,
            }
        n = old["n"] + 1
        delta = point.value - old["mean"]
        mean = old["mean"] + delta / n
        old |= {
            "n": n,
            "mean": mean,
            "m2": old["m2"] + delta * (point.value - mean),  # Welford's way: no difference of large sums
            "min": min(old["min"], point.value),
            "max": max(old["max"], point.value),
        }
        if point.at >= old["at"]:
            old |= {"last": point.value, "at": point.at}
    return found


def shown(summaries: Mapping[str, Mapping[str, Any]], arn: str) -> list[dict[str, Any]]:
    """DescribeTrialComponent's Metrics."""
    return [
        {
            "MetricName": metric,
            "SourceArn": arn,
            "TimeStamp": each["at"],
            "Max": each["max"],
            "Min": each["min"],
            "Last": each["last"],
            "Count": each["n"],
            "Avg": each["mean"],
            "StdDev": math.sqrt(each["m2"] / (each["n"] - 1)) if each["n"] > 1 else 0.0,
        }
        for metric, each in sorted(summaries.items())
    ]


def series(
    points: Iterable[Point], stat: str, period: str, axis: str, start: int | None, end: int | None
) -> tuple[list[int], list[float]]:
    """X values and the statistic of each: by step (period IterationNumber), or by windows of time, whose x is their begin, or on the axis
    IterationNumber the last step in them."""
    groups: dict[int, list[Point]] = {}
    for point in latest(points):
        if period == "IterationNumber":
            if point.step is None:
                continue
            x = point.step
        else:
            x = int(point.at // PERIODS[period] * PERIODS[period])
        bound = point.step if axis == "IterationNumber" else point.at
        if bound is None or (start is not None and bound < start) or (end is not None and bound > end):
            continue
        groups.setdefault(x, []).append(point)
    found = [(_x(x, group, period, axis), _statistic(group, stat)) for x, group in groups.items()]
    found.sort()
    return [x for x, _ in found], [value for _, value in found]


def _x(x: int, group: Sequence[Point], period: str, axis: str) -> int:
    if axis == "IterationNumber":
        return x if period == "IterationNumber" else max(each.step or 0 for each in group)
    return int(max(each.at for each in group)) if period == "IterationNumber" else x


def _statistic(group: Sequence[Point], stat: str) -> float:
    (summary,) = shown(fold({}, sorted(group, key=lambda each: each.at)), "")
    return float(summary[stat])
