"""BatchPutMetrics and BatchGetMetrics: points of trial components."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

from clary.api import records
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import component_metrics
from clary.domain.errors import NotFound
from clary.domain.experiments import metrics
from clary.domain.experiments.components import KIND
from clary.domain.experiments.metrics import AHEAD, BACK, LONGEST, Point
from clary.domain.resources import Record

SERVICE = "sagemaker-metrics"


@operation(SERVICE, "BatchPutMetrics")
async def batch_put_metrics(call: Call, params: Params) -> Params:
    """Keep the points. A point that is not one (NaN, a time beyond 14 days ago or 2 hours ahead) is told by its index; the others are kept.
    Without such there is no `Errors`: the SDK takes any for a failure."""
    component = await records.find(call, KIND, params["TrialComponentName"])
    good: list[Point] = []
    errors: list[Params] = []
    for index, each in enumerate(params["MetricData"]):
        at = each["Timestamp"]
        at = at.timestamp() if isinstance(at, datetime.datetime) else float(at)
        if not math.isfinite(each["Value"]) or not call.now - BACK <= at <= call.now + AHEAD:
            errors.append({"Code": "VALIDATION_ERROR", "MetricIndex": index})
        else:
            good.append(Point(each["MetricName"], each.get("Step"), at, float(each["Value"])))
    if good:
        await component_metrics.put(call, component, good)
    return {"Errors": errors} if errors else {}


@operation(SERVICE, "BatchGetMetrics")
async def batch_get_metrics(call: Call, params: Params) -> Params:
    """Each query's series; the newest values where there are too many. A metric that was never put has none."""
    found: dict[str, list[Point]] = {}
    results: list[Params] = []
    for query in params["MetricQueries"]:
        arn, name = query["ResourceArn"], query["MetricName"]
        component = await _component(call, arn)
        if component is None:
            results.append(_answer("ValidationError", [], [], f"{arn} is no trial component."))
            continue
        if arn not in found:
            found[arn] = await component_metrics.points(call, component)
        results.append(_series([each for each in found[arn] if each.metric == name], query))
    return {"MetricQueryResults": results}


async def _component(call: Call, arn: str) -> Record | None:
    try:
        return await records.named(call, KIND, arn)
    except NotFound:
        return None


def _series(points: list[Point], query: Mapping[str, Any]) -> Params:
    xs, values = metrics.series(
        points, query["MetricStat"], query["Period"], query["XAxisType"], query.get("Start"), query.get("End")
    )
    return _answer("Complete" if len(xs) <= LONGEST else "Truncated", xs[-LONGEST:], values[-LONGEST:])


def _answer(status: str, xs: list[int], values: list[float], message: str = "") -> Params:
    told = {"Message": message} if message else {}
    return {"Status": status, "XAxisValues": xs, "MetricValues": values, **told}
