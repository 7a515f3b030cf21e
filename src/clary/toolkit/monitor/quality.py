"""Data quality: a baseline suggested from a dataset, or rows judged by a baseline."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

from clary.toolkit.monitor import checks, statistics
from clary.toolkit.monitor.checks import Violation
from clary.toolkit.monitor.contract import NoData
from clary.toolkit.monitor.profile import Profile
from clary.toolkit.monitor.reading import Dataset

Asked = Optional[Mapping[str, Any]]


def coverage(dataset: Dataset, used: int) -> Dict[str, int]:
    """What a run saw: captured records, and why some gave no row."""
    counts = {name: count for name, count in sorted(dataset.counts.items()) if count}
    return {"captured": counts.pop("captured", 0), "used": used, **counts}


def require_rows(dataset: Dataset, where: str) -> None:
    """NoData without a single row."""
    if not dataset.rows:
        raise NoData(f"{where} holds no rows that can be used", coverage(dataset, 0))


class Judged:
    """What became of a comparison: names as the baseline has them, violations, and mistakes to be told."""

    def __init__(self, profile: Profile, violations: List[Violation], notes: List[str]) -> None:
        self.profile = profile
        self.violations = violations
        self.notes = notes


def judge(dataset: Dataset, constraints: Mapping[str, Any], known: Asked) -> Judged:
    """The rows of the most frequent shape against the baseline."""
    outputs, profile = dataset.main()
    asked = [str(feature["name"]) for feature in constraints.get("features") or []]
    profile, extra, notes = _aligned(outputs, profile, asked)
    found = [*extra, *checks.violations(profile, constraints, known)]
    if not extra and outputs and len(profile.names) == len(asked) and found:
        found, notes = _other_order(outputs, profile, asked, constraints, known, found)
    odd = dataset.rows - profile.rows + dataset.counts["of other shapes"]
    if odd:
        words = f"{odd} of {dataset.rows} rows have other columns than most, and were not compared"
        notes.append(words)
        found.insert(0, checks.violation("Extra columns", "extra_column_check", words))
    return Judged(profile, found, notes)


def _aligned(outputs: int, profile: Profile, asked: List[str]) -> Tuple[Profile, List[Violation], List[str]]:
    """The profile with the baseline's names by position. Where the numbers differ: the violation, and what is probably wrong."""
    names = profile.names
    if set(names) == set(asked) or not asked:
        return profile, [], []
    generic = all(name.startswith("_c") for name in names)
    if not generic:  # rows with names of their own are compared by these
        positional = Profile([*names], profile.rows, profile.columns)
        return positional, checks.columns({"features": [{"name": name} for name in asked]}, names), []
    if len(names) == len(asked):
        return Profile(list(asked), profile.rows, profile.columns), [], []
    which = "Missing columns" if len(names) < len(asked) else "Extra columns"
    check, word = ("missing_column_check", "missing") if len(names) < len(asked) else ("extra_column_check", "extra")
    words = (
        f"There are {word} columns in current dataset. Number of columns in current dataset: {len(names)}, Number of columns in "
        f"baseline constraints: {len(asked)}"
    )
    found = [checks.violation(which, check, words)]
    given = len(names) - outputs
    if outputs and given == len(asked):
        note = (
            f"the baseline has {len(asked)} columns, as the input alone, but the captured rows have {outputs} of the output before "
            f"them: the input was compared. Make the baseline of output and input"
        )
        return Profile(list(asked), profile.rows, profile.columns[outputs:]), found, [note]
    return Profile([], profile.rows, []), found, []


def _other_order(
    outputs: int,
    profile: Profile,
    asked: List[str],
    constraints: Mapping[str, Any],
    known: Asked,
    found: List[Violation],
) -> Tuple[List[Violation], List[str]]:
    """A baseline of input + output, while captured rows are output + input: told where the columns fit that way, and not the other."""
    turned = Profile(list(asked), profile.rows, [*profile.columns[outputs:], *profile.columns[:outputs]])
    other = checks.violations(turned, constraints, known)
    if len(other) * 2 > len(found):
        return found, []
    note = (
        "the baseline's columns seem to be input then output; captured rows are output then input. They were compared in the baseline's "
        "order: make the baseline with the output first"
    )
    words = "Columns are in another order than the baseline's: the output's come first in captured data"
    profile.columns = turned.columns
    return [checks.violation("Column order", "extra_column_check", words), *other], [note]


def figures(judged: Judged, constraints: Mapping[str, Any], known: Asked) -> List[Dict[str, Any]]:
    """CloudWatch metrics of each feature: a summary of its numbers, its present values, its distance from the baseline."""
    features = {str(each["name"]): each for each in constraints.get("features") or []}
    stored = {str(each["name"]): each for each in (known or {}).get("features") or []}
    lines: List[Dict[str, Any]] = []
    for name, column in judged.profile.by_name().items():
        total, moments = column.present + column.missing, column.moments
        config = checks.config_of(constraints, features.get(name))
        if not total or not checks.enabled(config["emit_metrics"]):
            continue
        if moments.count and not column.text:
            summary = {
                "SampleCount": moments.count,
                "Sum": moments.mean * moments.count,
                "Minimum": moments.least,
                "Maximum": moments.most,
            }
            if all(isinstance(statistics.number(value), (int, float)) for value in summary.values()):
                lines.append({"MetricName": f"feature_data_{name}", "StatisticValues": summary})
        lines.append({"MetricName": f"feature_non_null_{name}", "Value": column.present / total})
        lines.append({"MetricName": f"feature_null_{name}", "Value": column.missing / total})
        found = checks.drift(stored[name], column, config) if name in stored else None
        if found is not None:
            lines.append({"MetricName": f"feature_baseline_drift_{name}", "Value": found["distance"]})
    return lines
