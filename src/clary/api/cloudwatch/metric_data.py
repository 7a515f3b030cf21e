"""GetMetricData: metrics and metric math, in pages. The queries themselves are `domain/metrics/queries.py`."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from clary.api import paging
from clary.api.call import Call, Params
from clary.api.cloudwatch.metrics import check_period
from clary.api.errors import ApiError
from clary.api.registry import operation
from clary.domain.errors import Invalid
from clary.domain.metrics.labels import Labels, zone_of
from clary.domain.metrics.math import Budget, LabelledSeries
from clary.domain.metrics.queries import Queries, QueryResult, Read, line, parse_queries

MOST_POINTS = 100_800
# Expressions are work, up to a second of it: done beside the loop, and few at a time, each of which may hold `Budget` datapoints.
_POOL = ThreadPoolExecutor(2, thread_name_prefix="metric-math")


@operation("cloudwatch", "GetMetricData")
async def get_metric_data(call: Call, params: Params) -> Params:
    """Series of metrics and of expressions over them, newest first unless asked otherwise."""
    worked = asyncio.get_running_loop().run_in_executor
    queries = await worked(_POOL, parse_queries, params["MetricDataQueries"], call.scope.account)
    for row in params["MetricDataQueries"]:
        if "MetricStat" in row:
            check_period(int(row["MetricStat"]["Period"]))
    zone = zone_of((params.get("LabelOptions") or {}).get("Timezone") or "+0000")
    labels = Labels(call.now, zone, call.scope.account, call.scope.region)
    start, end = params["StartTime"].timestamp(), params["EndTime"].timestamp()
    if start >= end:
        raise ApiError("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
    start = math.floor(start / queries.period) * queries.period
    if (end - start) / queries.finest > MOST_POINTS:
        raise ApiError(
            "ValidationError", f"A series of more than {MOST_POINTS:,} datapoints was requested: use a longer Period."
        )
    results = await worked(_POOL, _answer, call, queries, start, end, labels)
    return _page(call, params, results)


def _answer(call: Call, queries: Queries, start: float, end: float, labels: Labels) -> list[QueryResult]:
    datapoints = call.ports.datapoints
    known = [series for namespace in queries.searched for series in datapoints.find(call.scope, namespace)]
    budget = Budget()
    queries = queries.seeing(known, budget)
    lines: dict[Read, LabelledSeries] = {}
    for read in queries.reads():
        begin = math.floor(start / read.period) * read.period
        windows = datapoints.get(call.scope, read.series, begin, end, read.period, read.spread)
        lines[read] = line(read, windows, budget)
    return queries.compute(lines, start, end, labels, budget)


def _page(call: Call, params: Params, results: list[QueryResult]) -> Params:
    """As many points as fit, behind those of the pages before."""
    try:
        after = paging.resume(call, params)
    except Invalid as error:
        raise ApiError("InvalidNextToken", error.message) from None
    skipped = int(after[1]) if after is not None else 0
    room = max(1, min(int(params.get("MaxDatapoints") or MOST_POINTS), MOST_POINTS))
    ascending = params.get("ScanBy") == "TimestampAscending"
    told, passed, used = [], 0, 0
    for result in results:
        points = result.points if ascending else result.points[::-1]
        begin = min(len(points), max(0, skipped - passed))
        shown = points[begin : begin + room - used]
        passed += len(points)
        used += len(shown)
        if shown or (not points and after is None):
            told.append(
                {
                    "Id": result.id,
                    "Label": result.label,
                    "Timestamps": [datetime.fromtimestamp(at, UTC) for at, _ in shown],
                    "Values": [value for _, value in shown],
                    "StatusCode": "Complete" if begin + len(shown) == len(points) else "PartialData",
                }
            )
    more = skipped + used < sum(len(result.points) for result in results)
    return {
        "MetricDataResults": told,
        "Messages": [],
        **({"NextToken": paging.token(call, params, ("", str(skipped + used)))} if more else {}),
    }
