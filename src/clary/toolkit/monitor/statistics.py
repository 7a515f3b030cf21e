"""`statistics.json`, and the constraints that it suggests. AWS's formats; the thresholds are those of AWS's generated baselines."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from clary.toolkit.monitor.profile import FRACTIONAL, INTEGRAL, STRING, UNKNOWN, ColumnProfile, Profile
from clary.toolkit.monitor.sketches import K

_BUCKETS = 10
_CATEGORIES = 1000  # buckets of a column of categories that are written at most
_DOMAIN = 100  # different values up to which a column has a domain, ...
_REPEATED = 0.1  # ... if they are at most this share of its rows
MONITORING_CONFIG: Mapping[str, Any] = {
    "evaluate_constraints": "Enabled",
    "emit_metrics": "Enabled",
    "datatype_check_threshold": 1.0,
    "domain_content_threshold": 1.0,
    "distribution_constraints": {
        "perform_comparison": "Enabled",
        "comparison_threshold": 0.1,
        "comparison_method": "Robust",
        "categorical_comparison_threshold": 0.1,
        "categorical_drift_method": "LInfinity",
    },
}


def number(value: float) -> Any:
    """JSON has no word for what is not finite: it is written as text, as AWS does."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def statistics(profile: Profile) -> Dict[str, Any]:
    """The document."""
    features = [_feature(name, column) for name, column in zip(profile.names, profile.columns)]
    return {"version": 0.0, "dataset": {"item_count": profile.rows}, "features": features}


def _feature(name: str, column: ColumnProfile) -> Dict[str, Any]:
    kind = column.kind
    common = {"num_present": column.present, "num_missing": column.missing}
    feature: Dict[str, Any] = {"name": name, "inferred_type": kind}
    if kind in (INTEGRAL, FRACTIONAL):
        moments = column.moments
        feature["numerical_statistics"] = {
            "common": common,
            "mean": number(moments.mean),
            "sum": number(moments.mean * moments.count),
            "std_dev": number(moments.deviation),
            "min": number(moments.least),
            "max": number(moments.most),
            "distribution": {"kll": _kll(column)},
        }
    elif kind == STRING:
        buckets = [{"value": text, "count": count} for text, count in column.frequencies.most(_CATEGORIES)]
        feature["string_statistics"] = {
            "common": common,
            "distinct_count": float(distinct(column)),
            "distribution": {"categorical": {"buckets": buckets}},
        }
    return feature


def distinct(column: ColumnProfile) -> int:
    """Exactly where all values are counted, else estimated."""
    frequencies = column.frequencies
    return len(frequencies.exact) if frequencies.is_exact else round(column.distinct.estimate())


def _kll(column: ColumnProfile) -> Dict[str, Any]:
    levels = column.quantiles.levels()
    buckets: List[Dict[str, Any]] = []
    low, high = column.moments.least, column.moments.most
    if column.moments.count and math.isfinite(high - low):
        width = (high - low) / _BUCKETS
        edges = [low + width * place for place in range(_BUCKETS)] + [high]
        counts = _counts(levels, edges)
        buckets = [
            {"lower_bound": edges[place], "upper_bound": edges[place + 1], "count": float(counts[place])}
            for place in range(_BUCKETS)
        ]
    data = [[number(value) for value in level] for level in levels]
    return {"buckets": buckets, "sketch": {"parameters": {"c": 0.64, "k": float(K)}, "data": data}}


def _counts(levels: Sequence[Sequence[float]], edges: Sequence[float]) -> List[int]:
    import numpy as np

    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    if edges[0] == edges[-1]:
        counts[0] = sum(len(level) << place for place, level in enumerate(levels))
        return [int(each) for each in counts]
    for place, level in enumerate(levels):
        found = np.clip(np.searchsorted(edges, level, side="right") - 1, 0, len(counts) - 1)
        counts += np.bincount(found, minlength=len(counts)) << place
    return [int(each) for each in counts]


def constraints(profile: Profile, drift_method: str = "") -> Dict[str, Any]:
    """What `statistics` suggest to ask of later rows."""
    distribution = dict(MONITORING_CONFIG["distribution_constraints"])
    if drift_method:
        distribution["categorical_drift_method"] = drift_method
        if drift_method == "ChiSquared":  # a p-value, not a distance
            distribution["categorical_comparison_threshold"] = 0.05
    config = {**MONITORING_CONFIG, "distribution_constraints": distribution}
    features = [_asked(name, column) for name, column in zip(profile.names, profile.columns)]
    return {"version": 0.0, "features": features, "monitoring_config": config}


def _asked(name: str, column: ColumnProfile) -> Dict[str, Any]:
    kind = column.kind
    total = column.present + column.missing
    feature: Dict[str, Any] = {
        "name": name,
        "inferred_type": kind,
        "completeness": column.present / total if total else 0.0,
    }
    if kind in (INTEGRAL, FRACTIONAL):
        feature["num_constraints"] = {"is_non_negative": column.moments.least >= 0}
    elif kind == STRING:
        found = column.frequencies.most()
        if column.frequencies.is_exact and len(found) <= min(_DOMAIN, max(1.0, _REPEATED * column.present)):
            feature["string_constraints"] = {"domains": sorted(text for text, _ in found)}
    return feature


# -- distributions as they are compared -------------------------------------------------------------------------------------------


def weighed(levels: Sequence[Sequence[Any]]) -> Tuple[Any, Any]:
    """Sorted numbers and how many rows each stands for: arrays."""
    import numpy as np

    values = np.array([float(value) for level in levels for value in level], dtype=np.float64)
    weights = np.array([1 << place for place, level in enumerate(levels) for _ in level], dtype=np.float64)
    order = np.argsort(values, kind="stable")
    return values[order], weights[order]


def baseline_levels(feature: Mapping[str, Any]) -> List[List[float]]:
    """Of a feature of statistics.json; [] without a sketch."""
    numeric = feature.get("numerical_statistics") or {}
    found: List[List[float]] = ((numeric.get("distribution") or {}).get("kll") or {}).get("sketch", {}).get(
        "data"
    ) or []
    return found


def baseline_counts(feature: Mapping[str, Any]) -> Dict[str, int]:
    """Of a feature of statistics.json; {} without categories."""
    texts = feature.get("string_statistics") or {}
    buckets = ((texts.get("distribution") or {}).get("categorical") or {}).get("buckets") or []
    return {str(bucket["value"]): int(bucket["count"]) for bucket in buckets}


__all__ = [
    "UNKNOWN",
    "baseline_counts",
    "baseline_levels",
    "constraints",
    "distinct",
    "number",
    "statistics",
    "weighed",
]
