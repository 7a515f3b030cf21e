"""The metrics that a monitoring job's container leaves in /opt/ml/output/metrics/cloudwatch/*.jsonl: lines -> datapoints. Pure.

AWS's reference writes the namespaces with a leading slash, its examples without: both get them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from clary.domain.metrics.datapoints import Datapoint, Series, Summary, single
from clary.domain.monitoring.definitions import MONITOR_KINDS

FOLDER = "output/metrics/cloudwatch"
LIMIT = 8 << 20  # bytes of a file that are read
_LARGEST = 2.0**360  # CloudWatch's bound
_LONGEST = 255


def namespaces(type_: str, endpoint: str) -> tuple[str, ...]:
    """Those of a kind of monitor, of an endpoint or of batch transforms."""
    middle = "Endpoints" if endpoint else "ModelMonitoring"
    name = f"aws/sagemaker/{middle}/{MONITOR_KINDS[type_].metrics}"
    return name, f"/{name}"


def datapoints(text: str, type_: str, endpoint: str, now: float) -> tuple[list[Datapoint], int]:
    """The metrics of a file, and how many of its lines are none."""
    found: list[Datapoint] = []
    wrong = 0
    for line in text.splitlines():
        if not line.strip():
            continue
        made = _datapoint(line, now)
        if made is None:
            wrong += 1
            continue
        metric, dimensions, at, summary = made
        found += [
            Datapoint(Series.of(namespace, metric, dimensions), at, summary)
            for namespace in namespaces(type_, endpoint)
        ]
    return found, wrong


def _datapoint(line: str, now: float) -> tuple[str, dict[str, str], float, Summary] | None:
    try:
        row = json.loads(line)
        metric = str(row["MetricName"])
        dimensions = {str(each["Name"]): str(each["Value"]) for each in row.get("Dimensions") or ()}
        at, summary = _time(row.get("Timestamp"), now), _summary(row)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if summary is None or not 0 < len(metric) <= _LONGEST or len(dimensions) > 30:
        return None
    return metric, dimensions, at, summary


def _time(given: Any, now: float) -> float:
    """Epoch seconds, or milliseconds; what is none, or beyond CloudWatch's two weeks, is now."""
    at = float(given) if isinstance(given, int | float) else now
    at = at / 1000 if at > 1e11 else at
    return at if now - 14 * 86_400 <= at <= now + 7200 else now


def _summary(row: Mapping[str, Any]) -> Summary | None:
    """Infinity, which CloudWatch does not take, is its largest number, as on AWS."""
    if row.get("StatisticValues") is None:
        value = float(row["Value"])
        return None if math.isnan(value) else single(max(-_LARGEST, min(_LARGEST, value)))
    given = row["StatisticValues"]
    count, total, least, most = (float(given[name]) for name in ("SampleCount", "Sum", "Minimum", "Maximum"))
    if not all(abs(each) <= _LARGEST for each in (count, total, least, most)) or count <= 0 or least > most:
        return None
    return Summary(count, total, least, most, None)
