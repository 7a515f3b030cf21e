"""Metric definitions: which numbers a training job's log lines carry.

Users' expressions are RE2 (linear time: an expression cannot hang us), so look-around and back-references are refused when the
job is created. The built-in XGBoost reports its own metrics, as AWS's does. Pure; who reads the lines is `loops/jobs/subject.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import re2

from clary.domain.errors import Invalid

NAMESPACE = "/aws/sagemaker/TrainingJobs"
FINAL_LIMIT = 40  # entries of FinalMetricDataList

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False

# "[3]#011train-auc:0.9#011validation-auc:0.8": names are train:auc and validation:auc. '#011' is how the service prints a tab.
_XGBOOST = re2.compile(r"(?:#011|\t)(train|validation)-([^:\s#]+):([-+0-9.eE]+)", _OPTIONS)
_XGBOOST_LINE = re2.compile(r"\[[0-9]+\]", _OPTIONS)


@dataclass(frozen=True, slots=True)
class Sample:
    """One number out of one line. `at` is epoch seconds."""

    name: str
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Definitions:
    """Compiled metric definitions of one job. `algorithm` adds the built-in's own ("xgboost")."""

    patterns: tuple[tuple[str, Any], ...]
    algorithm: str = ""

    def samples(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sample]:
        """The numbers in these (epoch ms, text) lines, in order. Group 1 is the number; what is none is passed over."""
        for ms, text in lines:
            for name, pattern in self.patterns:
                match = pattern.search(text)
                value = _number(match.group(1)) if match is not None else None
                if value is not None:
                    yield Sample(name, value, ms / 1000)
            if self.algorithm == "xgboost" and _XGBOOST_LINE.search(text) is not None:
                for match in _XGBOOST.finditer(text):
                    value = _number(match.group(3))
                    if value is not None:
                        yield Sample(f"{match.group(1)}:{match.group(2)}", value, ms / 1000)

    @property
    def any(self) -> bool:
        return bool(self.patterns) or self.algorithm == "xgboost"


def compile_definitions(definitions: Sequence[Mapping[str, str]], algorithm: str = "") -> Definitions:
    """From AlgorithmSpecification.MetricDefinitions. Invalid names the expression that RE2 cannot read, and why."""
    compiled: list[tuple[str, Any]] = []
    for entry in definitions:
        try:
            pattern = re2.compile(entry["Regex"], _OPTIONS)
        except re2.error as error:
            why = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
            raise Invalid(
                f"The regular expression '{entry['Regex']}' of metric '{entry['Name']}' is not valid: {why}. Clary reads RE2 "
                "expressions, which have no look-around and no back-references."
            ) from None
        if pattern.groups < 1:
            raise Invalid(
                f"The regular expression '{entry['Regex']}' of metric '{entry['Name']}' has no group for the value."
            )
        compiled.append((entry["Name"], pattern))
    return Definitions(tuple(compiled), algorithm)


_EVALUATED = (
    "accuracy",
    "auc",
    "aucpr",
    "balanced_accuracy",
    "error",
    "f1",
    "f1_binary",
    "f1_macro",
    "logloss",
    "mae",
    "map",
    "merror",
    "mlogloss",
    "mse",
    "ndcg",
    "precision",
    "r2",
    "recall",
    "rmse",
)
_VALUE = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"


def built_in_definitions(algorithm: str) -> list[dict[str, str]]:
    """MetricDefinitions that DescribeTrainingJob shows of a built-in algorithm; TrainingJobAnalytics of the SDK reads their names."""
    if algorithm != "xgboost":
        return []
    return [
        {"Name": f"{channel}:{name}", "Regex": rf".*\[[0-9]+\].*#011{channel}-{name}:{_VALUE}.*"}
        for name in _EVALUATED
        for channel in ("train", "validation")
    ]


def latest(final: Sequence[Mapping[str, Any]], samples: Iterable[Sample]) -> list[dict[str, Any]]:
    """FinalMetricDataList with these samples taken in: the last value of each metric, in the order of first appearance."""
    found = {str(entry["MetricName"]): dict(entry) for entry in final}
    for sample in samples:
        if sample.name in found or len(found) < FINAL_LIMIT:
            found[sample.name] = {"MetricName": sample.name, "Value": sample.value, "Timestamp": sample.at}
    return list(found.values())


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
