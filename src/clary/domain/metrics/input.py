"""PutMetricData: checks of its input, and the datapoints that it creates. Pure. `InputRefused` carries CloudWatch's code and words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clary.domain.metrics.datapoints import Datapoint, Series, Summary, single, weighed

MOST = 1000
MOST_VALUES = 150
LARGEST = 2.0**360
OLDEST = 14 * 86_400.0
NEWEST = 2 * 3600.0

INVALID, COMBINATION, MISSING = "InvalidParameterValue", "InvalidParameterCombination", "MissingParameter"


class InputRefused(Exception):
    """An answer with that code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def datapoints(params: Mapping[str, Any], now: float) -> list[Datapoint]:
    """All of a call, or Refused."""
    namespace = params["Namespace"]
    if namespace.startswith("AWS/"):
        raise InputRefused(
            INVALID,
            f"The value {namespace} for parameter Namespace is invalid: names that begin with AWS/ are reserved.",
        )
    rows = [*params.get("MetricData", ())]
    for entity in params.get("EntityMetricData", ()):
        rows += entity.get("MetricData", ())
    if not rows:
        raise InputRefused(MISSING, "The parameter MetricData is required.")
    if len(rows) > MOST:
        raise InputRefused(INVALID, f"The collection MetricData must not have a size greater than {MOST}.")
    return [_datapoint(namespace, row, f"MetricData.member.{number}", now) for number, row in enumerate(rows, 1)]


def _datapoint(namespace: str, row: Mapping[str, Any], where: str, now: float) -> Datapoint:
    resolution = row.get("StorageResolution", 60)
    if resolution not in (1, 60):
        raise InputRefused(
            INVALID, f"The value {resolution} for parameter {where}.StorageResolution is invalid: it is 1 or 60."
        )
    at = row["Timestamp"].timestamp() if row.get("Timestamp") is not None else now
    if not now - OLDEST <= at <= now + NEWEST:
        raise InputRefused(
            INVALID,
            f"The parameter {where}.Timestamp must specify a time within the past two weeks and the next two hours.",
        )
    names = [each["Name"] for each in row.get("Dimensions", ())]
    if len(names) != len(set(names)):
        raise InputRefused(INVALID, f"The parameter {where}.Dimensions must not have two of one name.")
    dimensions = {each["Name"]: each["Value"] for each in row.get("Dimensions", ())}
    series = Series.of(namespace, row["MetricName"], dimensions, row.get("Unit", "None"))
    return Datapoint(series, at, _summary(row, where), resolution == 1)


def _summary(row: Mapping[str, Any], where: str) -> Summary:
    given = [name for name in ("Value", "StatisticValues", "Values") if row.get(name) is not None]
    if not given:
        raise InputRefused(
            MISSING, f"At least one of the parameters {where}.Value, StatisticValues and Values must be specified."
        )
    if len(given) > 1:
        raise InputRefused(
            COMBINATION,
            f"The parameters {where}.{given[0]} and {where}.{given[1]} are mutually exclusive and you have specified both.",
        )
    if given == ["Value"]:
        return single(_number(row["Value"], f"{where}.Value"))
    if given == ["Values"]:
        return _values(row["Values"], row.get("Counts"), where)
    return _set(row["StatisticValues"], f"{where}.StatisticValues")


def _values(values: Sequence[float], counts: Sequence[float] | None, where: str) -> Summary:
    if not 0 < len(values) <= MOST_VALUES:
        raise InputRefused(
            INVALID, f"The collection {where}.Values must have 1 to {MOST_VALUES} members; it has {len(values)}."
        )
    counts = [1.0] * len(values) if counts is None else counts
    if len(counts) != len(values):
        raise InputRefused(INVALID, f"The parameters {where}.Values and {where}.Counts must be of the same size.")
    pairs = [
        (_number(v, f"{where}.Values"), _number(c, f"{where}.Counts")) for v, c in zip(values, counts, strict=True)
    ]
    if any(count <= 0 for _, count in pairs):
        raise InputRefused(INVALID, f"The values of the parameter {where}.Counts must be greater than 0.")
    return weighed(pairs)


def _set(given: Mapping[str, float], where: str) -> Summary:
    count, total, low, high = (
        _number(given[name], f"{where}.{name}") for name in ("SampleCount", "Sum", "Minimum", "Maximum")
    )
    if count <= 0:
        raise InputRefused(INVALID, f"The value {count} for parameter {where}.SampleCount must be greater than 0.")
    if low > high:
        raise InputRefused(COMBINATION, f"The parameter {where}.Maximum must be greater than {where}.Minimum.")
    if low == high:
        return single(low, count)
    return Summary(count, total, low, high, None)


def _number(value: float, where: str) -> float:
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise InputRefused(
            INVALID, f"The value {value} for parameter {where} is invalid: it must be a number within +-2^360."
        )
    return float(value)
