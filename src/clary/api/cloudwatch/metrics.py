"""CloudWatch's metrics: put, listed, read. alarms are in `alarms.py`.

Times of windows: GetMetricStatistics begins at the start that was asked, rounded down to the minute (or to the period, below a minute).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from clary.api import paging
from clary.api.call import Call, Params
from clary.api.errors import ApiError
from clary.api.registry import operation
from clary.domain.errors import Invalid
from clary.domain.metrics import input
from clary.domain.metrics.datapoints import Series, Summary
from clary.domain.metrics.input import COMBINATION, INVALID, MISSING, InputRefused
from clary.domain.metrics.statistics import KNOWN, PLAIN, statistic

MOST_POINTS = 1440
PAGE = 500  # metrics in an answer of ListMetrics
LISTED = 14 * 86_400.0  # seconds without a datapoint after which a metric is listed no more
ACTIVE = 3 * 3600.0
Key = tuple[str, str, tuple[tuple[str, str], ...]]
FINE = (1, 5, 10, 20, 30)  # periods below a minute


@operation("cloudwatch", "PutMetricData")
async def put_metric_data(call: Call, params: Params) -> Params:
    """Store samples: single values, values with counts, or statistic sets; at 1 s or 1 min."""
    try:
        found = input.datapoints(params, call.now)
    except InputRefused as error:
        raise ApiError(error.code, error.message) from None
    await asyncio.to_thread(call.ports.datapoints.put, call.scope, found)
    return {}


@operation("cloudwatch", "ListMetrics")
async def list_metrics(call: Call, params: Params) -> Params:
    """Metrics that had a datapoint within two weeks (or three hours), by namespace, name and dimensions."""
    if params.get("OwningAccount", call.scope.account) != call.scope.account:
        return {"Metrics": []}
    since = call.now - (ACTIVE if params.get("RecentlyActive") else LISTED)
    ports, names = call.ports, (params.get("Namespace", ""), params.get("MetricName", ""))
    known = await asyncio.to_thread(ports.datapoints.find, call.scope, *names, since)
    wanted = [(each["Name"], each.get("Value")) for each in params.get("Dimensions", ())]
    found = sorted({(each.namespace, each.metric, each.dimensions) for each in known if _has(each, wanted)}, key=_place)
    try:
        after = paging.resume(call, params)
    except Invalid as error:
        raise ApiError(INVALID, error.message) from None
    rest = found if after is None else _behind(found, after[1])
    more = {"NextToken": paging.token(call, params, ("", _place(rest[PAGE - 1])))} if len(rest) > PAGE else {}
    metrics = [
        {"Namespace": namespace, "MetricName": metric, "Dimensions": [{"Name": n, "Value": v} for n, v in dimensions]}
        for namespace, metric, dimensions in rest[:PAGE]
    ]
    return {"Metrics": metrics, **more}


def _has(series: Series, wanted: list[tuple[str, str | None]]) -> bool:
    held = dict(series.dimensions)
    return all(name in held and value in (None, held[name]) for name, value in wanted)


def _behind(found: list[Key], last: str) -> list[Key]:
    """What comes after the metric of which `last` is the place, whether that is still there or not."""
    return [each for each in found if _place(each) > last]


def _place(key: Key) -> str:
    """Text in the order of keys."""
    namespace, metric, dimensions = key
    return "\0".join((namespace, metric, *(text for pair in dimensions for text in pair)))


@operation("cloudwatch", "GetMetricStatistics")
async def get_metric_statistics(call: Call, params: Params) -> Params:
    """Statistics of a metric over time, for each unit that it has."""
    start, end, period = _range(params)
    names = [*params.get("Statistics", ()), *params.get("ExtendedStatistics", ())]
    if not names:
        raise ApiError(MISSING, "At least one of the parameters Statistics and ExtendedStatistics must be specified.")
    for name in params.get("ExtendedStatistics", ()):
        if name in PLAIN or statistic(name) is None:
            raise ApiError(INVALID, f"The value {name} for parameter ExtendedStatistics is not one of {KNOWN}.")
    dimensions = {each["Name"]: each["Value"] for each in params.get("Dimensions", ())}
    asked = Series.of(params["Namespace"], params["MetricName"], dimensions, params.get("Unit", ""))
    found = []
    for series in await asyncio.to_thread(_units, call, asked):
        spread = bool(params.get("ExtendedStatistics"))
        windows = await asyncio.to_thread(call.ports.datapoints.get, call.scope, series, start, end, period, spread)
        found += [_words(params, series.unit, at, summary) for at, summary in windows]
    return {"Label": params["MetricName"], "Datapoints": sorted(found, key=lambda each: each["Timestamp"])}


def _units(call: Call, asked: Series) -> list[Series]:
    if asked.unit:
        return [asked]
    known = call.ports.datapoints.find(call.scope, asked.namespace, asked.metric)
    return [series for series in known if series.dimensions == asked.dimensions]


def _range(params: Params) -> tuple[float, float, int]:
    start, end, period = params["StartTime"].timestamp(), params["EndTime"].timestamp(), int(params["Period"])
    if start >= end:
        raise ApiError(INVALID, "The parameter StartTime must be less than the parameter EndTime.")
    check_period(period)
    points = (end - start) / period
    start = math.floor(start / min(period, 60)) * min(period, 60)
    if points > MOST_POINTS:
        raise ApiError(
            COMBINATION,
            f"You have requested up to {int(points):,} datapoints, which exceeds the limit of {MOST_POINTS:,}. "
            "You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
        )
    return start, end, period


def check_period(period: int) -> None:
    if period not in FINE and period % 60:
        raise ApiError(
            INVALID, f"The value {period} for parameter Period is invalid: it is 1, 5, 10, 20, 30 or a multiple of 60."
        )


def _words(params: Mapping[str, Any], unit: str, at: float, summary: Summary) -> Params:
    told: Params = {"Timestamp": datetime.fromtimestamp(at, UTC), "Unit": unit}
    for name in params.get("Statistics", ()):
        told[name] = _value(name, summary)
    extended = {name: _value(name, summary) for name in params.get("ExtendedStatistics", ())}
    if extended:
        told["ExtendedStatistics"] = {name: value for name, value in extended.items() if value is not None}
    return told


def _value(name: str, summary: Summary) -> float | None:
    compute = statistic(name)
    return None if compute is None else compute(summary)
