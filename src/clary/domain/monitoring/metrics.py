"""What the watch over a variant tells CloudWatch: namespace `Clary/Drift` (docs/drift.md). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.domain.metrics.datapoints import Datapoint, Series, single

NAMESPACE = "Clary/Drift"
WORSE_THAN_BEFORE = "WorseThanBefore"
_OF_A_COLUMN = (("Distance", "distance"), ("MissingShare", "missing"), ("OutOfRangeShare", "outside"))


def datapoints_of(endpoint: str, variant: str, at: float, told: Mapping[str, Any]) -> list[Datapoint]:
    """`told` is `Watch.told`. Before there is a reference, the rows alone."""
    of = {"EndpointName": endpoint, "VariantName": variant}

    def point(metric: str, value: float, **more: str) -> Datapoint:
        return Datapoint(Series.of(NAMESPACE, metric, of | more), at, single(value), fine=True)

    points = [point("RowsWatched", told["seen"]), point("RecordsNotRead", told.get("unread", 0))]
    points += [point(metric, value) for metric, value in quality_of(told.get("labels") or {}).items()]
    if told.get("worse_than_before") is not None:
        points.append(point(WORSE_THAN_BEFORE, float(told["worse_than_before"])))
    if told["phase"] or told["current"] is None:
        return points
    points.append(point("ColumnsDrifting", sum(each["since"] is not None for each in told["columns"])))
    for each in told["columns"]:
        points += [point(metric, each[key], Column=each["name"]) for metric, key in _OF_A_COLUMN]
        points.append(point("Drifting", float(each["since"] is not None), Column=each["name"]))
    return points


def quality_of(told: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of `Performance.told`, by name."""
    return {**labelled_of(told), **estimated_of(told.get("estimate") or {})}


def estimated_of(told: Mapping[str, Any]) -> dict[str, float]:
    """Those of `Estimate.told`; {} while nothing is estimated."""
    rolling = told.get("rolling")
    if rolling is None:
        return {}
    name = "EstimatedAccuracy" if "accuracy" in rolling else "EstimatedMeanAbsoluteError"
    found = {name: rolling.get("accuracy", rolling.get("mae"))}
    found |= {f"{name}Lower": rolling["lower"], f"{name}Upper": rolling["upper"]}
    return found | ({"EstimatedRootMeanSquaredError": rolling["rmse"]} if "rmse" in rolling else {})


def labelled_of(told: Mapping[str, Any]) -> dict[str, float]:
    """Those of `Quality.told`; {} before a label came."""
    if not told.get("joined"):
        return {}
    found = {"RowsLabelled": float(told["joined"]), "LabelsConflicting": float(told["conflicts"])}
    rolling = told["rolling"]
    if rolling is None:
        return found
    name = "RollingAccuracy" if "accuracy" in rolling else "RollingMeanAbsoluteError"
    found |= {name: rolling.get("accuracy", rolling.get("mae"))}
    found |= {f"{name}Lower": rolling["lower"], f"{name}Upper": rolling["upper"]}
    if "rmse" in rolling:
        found["RollingRootMeanSquaredError"] = rolling["rmse"]
    return found if told["phase"] else {**found, "Worse": float(told["since"] is not None)}
