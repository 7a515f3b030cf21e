"""Current rows against a baseline's constraints and statistics: `constraint_violations.json`, in AWS's words."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from clary.toolkit.monitor import distances
from clary.toolkit.monitor.profile import FRACTIONAL, INTEGRAL, UNKNOWN, ColumnProfile, Profile
from clary.toolkit.monitor.statistics import MONITORING_CONFIG, baseline_counts, baseline_levels, weighed

Violation = Dict[str, Any]
_OVERRIDES = ("monitoring_config_overrides", "monitoringConfigOverrides")


def violation(feature: str, check: str, words: str) -> Violation:
    return {"feature_name": feature, "constraint_check_type": check, "description": words}


def config_of(constraints: Mapping[str, Any], feature: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
    """The configuration in force, of a feature with its own overrides. Page and SDK spell their key differently: both are read."""
    layers: List[Mapping[str, Any]] = [MONITORING_CONFIG, constraints.get("monitoring_config") or {}]
    layers += [(feature or {}).get(name) or {} for name in _OVERRIDES]
    found: Dict[str, Any] = {}
    for layer in layers:
        below = {**found.get("distribution_constraints", {}), **(layer.get("distribution_constraints") or {})}
        found = {**found, **layer, "distribution_constraints": below}
    return found


def enabled(value: Any) -> bool:
    return str(value).lower() != "disabled"


def columns(constraints: Mapping[str, Any], names: List[str]) -> List[Violation]:
    """Columns that the baseline has and the rows lack, and the other way round."""
    baseline = [str(feature["name"]) for feature in constraints.get("features") or []]
    missing = [name for name in baseline if name not in names]
    extra = [name for name in names if name not in baseline]
    words = (
        f"columns in current dataset. Number of columns in current dataset: {len(names)}, Number of columns in baseline constraints: "
        f"{len(baseline)}"
    )
    found = []
    if missing:
        told = f"There are missing {words}. Missing: {', '.join(missing[:20])}"
        found.append(violation("Missing columns", "missing_column_check", told))
    if extra:
        found.append(violation("Extra columns", "extra_column_check", f"There are extra {words}"))
    return found


def drift(feature: Mapping[str, Any], column: ColumnProfile, config: Mapping[str, Any]) -> Optional[Dict[str, float]]:
    """The distance of a column from its baseline, its threshold, and the two numbers of rows. None: there is nothing to compare."""
    rules = config["distribution_constraints"]
    robust = rules.get("comparison_method") != "Simple"
    levels, counts = baseline_levels(feature), baseline_counts(feature)
    if any(levels) and column.moments.count:
        baseline, current = weighed(levels), weighed(column.quantiles.levels())
        distance = distances.numeric(baseline, current, robust)
        rows = float(baseline[1].sum()), float(column.moments.count)
        return {"distance": distance, "threshold": float(rules["comparison_threshold"]), "n": rows[0], "m": rows[1]}
    if not counts or not column.text:
        return None
    current_counts = dict(column.frequencies.most())
    rows = float(sum(counts.values())), float(column.present)
    threshold = float(rules.get("categorical_comparison_threshold", rules["comparison_threshold"]))
    if rules.get("categorical_drift_method") == "ChiSquared":
        p = distances.chi_squared(counts, current_counts)
        return {"distance": p, "threshold": threshold, "n": rows[0], "m": rows[1], "p": 1.0}
    distance = distances.categorical(counts, current_counts, robust)
    return {"distance": distance, "threshold": threshold, "n": rows[0], "m": rows[1]}


def violations(
    profile: Profile, constraints: Mapping[str, Any], statistics: Optional[Mapping[str, Any]]
) -> List[Violation]:
    """All violations of columns that both have, in the baseline's order."""
    if not enabled(config_of(constraints)["evaluate_constraints"]):
        return []
    by_name = profile.by_name()
    known = {str(each["name"]): each for each in (statistics or {}).get("features") or []}
    found: List[Violation] = []
    for feature in constraints.get("features") or []:
        name = str(feature["name"])
        if name in by_name:
            config = config_of(constraints, feature)
            if enabled(config["evaluate_constraints"]):
                found += _of_feature(feature, by_name[name], config, known.get(name))
    return found


def _of_feature(
    feature: Mapping[str, Any], column: ColumnProfile, config: Mapping[str, Any], known: Optional[Mapping[str, Any]]
) -> List[Violation]:
    name = str(feature["name"])
    checks = (
        _data_type(feature, column, config),
        _completeness(feature, column),
        _non_negative(feature, column),
        _domain(feature, column, config),
        _drift(name, known, column, config),
    )
    return [each for each in checks if each is not None]


def _share(expected: str, column: ColumnProfile) -> float:
    """Which part of the present values is of the expected type: an integer is a number too."""
    if expected == INTEGRAL:
        fitting = column.integral
    elif expected == FRACTIONAL:
        fitting = column.integral + column.fractional
    else:  # texts may look like numbers, as long as not all of them do
        fitting = column.present if column.text else 0
    return fitting / column.present


def _data_type(feature: Mapping[str, Any], column: ColumnProfile, config: Mapping[str, Any]) -> Optional[Violation]:
    expected = str(feature.get("inferred_type") or UNKNOWN)
    if expected == UNKNOWN or not column.present:
        return None
    share, threshold = _share(expected, column), float(config["datatype_check_threshold"])
    if share >= threshold:
        return None
    words = (
        f"Data type match requirement is not met. Expected data type: {expected}, Expected match: {_percent(threshold)}. "
        f"Observed: Only {_percent(share)} of data is {expected}."
    )
    return violation(str(feature["name"]), "data_type_check", words)


def _percent(share: float) -> str:
    return f"{round(share * 100, 2) if share < 1 else 100.0}%"


def _completeness(feature: Mapping[str, Any], column: ColumnProfile) -> Optional[Violation]:
    wanted, total = feature.get("completeness"), column.present + column.missing
    if wanted is None or not total or column.present / total >= float(wanted):
        return None
    words = (
        f"Data completeness requirement is not met. Expected: {_percent(float(wanted))}. Observed: Only "
        f"{_percent(column.present / total)} of data is present."
    )
    return violation(str(feature["name"]), "completeness_check", words)


def _non_negative(feature: Mapping[str, Any], column: ColumnProfile) -> Optional[Violation]:
    if not (feature.get("num_constraints") or {}).get("is_non_negative") or not column.moments.count:
        return None
    if column.moments.least >= 0:
        return None
    words = f"Values must not be negative. Observed: the least value is {column.moments.least:g}."
    return violation(str(feature["name"]), "is_non_negative_check", words)


def _domain(feature: Mapping[str, Any], column: ColumnProfile, config: Mapping[str, Any]) -> Optional[Violation]:
    domain = (feature.get("string_constraints") or {}).get("domains")
    if not domain or not column.text:
        return None
    known = set(map(str, domain))
    inside = sum(count for text, count in column.frequencies.most() if text in known)
    share, threshold = min(1.0, inside / column.text), float(config["domain_content_threshold"])
    if share >= threshold:
        return None
    new = [text for text, _ in column.frequencies.most() if text not in known][:5]
    words = (
        f"Value: {_percent(share)} does not meet the constraint requirement. Expected match: {_percent(threshold)} of the values in the "
        f"baseline's domain. New: {', '.join(new)}"
    )
    return violation(str(feature["name"]), "categorical_values_check", words[:1000])


def _drift(
    name: str, known: Optional[Mapping[str, Any]], column: ColumnProfile, config: Mapping[str, Any]
) -> Optional[Violation]:
    if known is None or not enabled(config["distribution_constraints"].get("perform_comparison")):
        return None
    found = drift(known, column, config)
    if found is None:
        return None
    sizes = f"{found['m']:.0f} rows against {found['n']:.0f} of the baseline. "
    if "p" in found:
        if found["distance"] >= found["threshold"]:
            return None
        words = f"Baseline drift p-value: {found['distance']:.6g} is below threshold: {found['threshold']:g}"
        return violation(name, "baseline_drift_check", sizes + words)
    if found["distance"] <= found["threshold"]:
        return None
    words = f"Baseline drift distance: {found['distance']} exceeds threshold: {found['threshold']}"
    return violation(name, "baseline_drift_check", sizes + words)  # people parse the end


__all__ = ["columns", "config_of", "drift", "enabled", "violation", "violations"]
