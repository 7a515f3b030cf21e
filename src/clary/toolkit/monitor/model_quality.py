"""Model quality: labels against predictions, of a baseline's dataset or of merged capture. AWS's metrics, formats and words."""

from __future__ import annotations

import csv
import io
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from clary.toolkit.monitor import captured, reading, scores
from clary.toolkit.monitor.captured import Field
from clary.toolkit.monitor.checks import Violation
from clary.toolkit.monitor.contract import Contract, NoData, Unusable
from clary.toolkit.monitor.statistics import number

GROUPS = {
    "BinaryClassification": "binary_classification",
    "MulticlassClassification": "multiclass_classification",
    "Regression": "regression",
}
_WORSE_ABOVE = ("false_positive_rate", "false_negative_rate", "mae", "mse", "rmse")
_MOST_CLASSES = 1000


class Pair(NamedTuple):
    """A row: label, prediction, score ("" where there is none)."""

    label: str
    prediction: str
    score: str


class Measured(NamedTuple):
    """What was found: metrics by name with their spread, further members of the document, rows, and what became of records."""

    metrics: Dict[str, float]
    spread: Dict[str, float]
    further: Dict[str, Any]
    rows: int
    counts: Mapping[str, int]


def group(contract: Contract) -> str:
    """The word that begins the members of both documents."""
    if contract.problem not in GROUPS:
        raise Unusable(
            f"The environment variable problem_type must be one of {', '.join(GROUPS)}, not {contract.problem!r}."
        )
    return GROUPS[contract.problem]


def measure(contract: Contract) -> Measured:
    """The metrics of a dataset. NoData without a row that has both label and prediction."""
    group(contract)
    kind, options = next(iter(contract.form.items()))
    counts: Dict[str, int] = {"captured": 0}
    rows = _merged(contract, counts) if kind == "sagemakerCaptureJson" else _table(contract, kind, options, counts)
    pairs = []
    for pair in rows:
        if pair.label and (pair.prediction or pair.score):
            pairs.append(pair)
        else:
            counts["incomplete"] = counts.get("incomplete", 0) + 1
    if not pairs:
        raise NoData("no row has both a label and a prediction", {**counts, "used": 0})
    if contract.problem == "Regression":
        return _regression(pairs, counts)
    return _classes(contract, pairs, counts)


# -- rows -------------------------------------------------------------------------------------------------------------------------


def _merged(contract: Contract, counts: Dict[str, int]) -> Iterator[Pair]:
    """Of merged capture: the answer has the prediction, groundTruthData the label."""
    lines = captured.Lines(contract.source, contract.start, contract.end)
    for record in lines:
        counts["captured"] += 1
        output = (record.get("captureData") or {}).get("endpointOutput")
        answers = captured.fields(output) if isinstance(output, dict) else None
        labels = _labels(record.get("groundTruthData"))
        if answers is not None and len(answers) == 1 and len(labels) == len(answers[0]) > 1:
            answers = [[field] for field in answers[0]]
        if answers is None or len(answers) != len(labels):
            counts["uneven"] = counts.get("uneven", 0) + 1
            continue
        for fields, label in zip(answers, labels):
            yield _pair(contract, fields, label)


def _labels(given: Any) -> List[str]:
    """The labels of a record: one for each row of its request."""
    if not isinstance(given, dict):
        return []
    text = captured.text(given)
    if text is None:
        return []
    if str(given.get("encoding") or "CSV").upper() == "JSON":
        rows = captured.fields(given) or []
        return [value for row in rows for _, value in row]
    return [value.strip() for line in csv.reader(io.StringIO(text)) for value in line]


def _table(contract: Contract, kind: str, options: Any, counts: Dict[str, int]) -> Iterator[Pair]:
    """Of a dataset whose columns are named by the variables *_attribute."""
    label = contract.variables.get("ground_truth_attribute", "")
    if not label:
        raise Unusable("The environment variable ground_truth_attribute must name the column of the labels.")
    for fields in reading.records(kind, options if isinstance(options, dict) else {}, contract.source):
        counts["captured"] += 1
        yield _pair(contract, fields, _find(fields, label, "ground_truth_attribute"))


def _pair(contract: Contract, fields: Sequence[Field], label: str) -> Pair:
    told = contract.variables
    inference, probability = told.get("inference_attribute", ""), told.get("probability_attribute", "")
    if not inference and not probability:
        inference = "0"
    return Pair(
        label,
        _find(fields, inference, "inference_attribute") if inference else "",
        _find(fields, probability, "probability_attribute") if probability else "",
    )


def _find(fields: Sequence[Field], attribute: str, variable: str) -> str:
    """By name, by index, or by `_c` and an index. Unusable names what there is."""
    for name, value in fields:
        if name and name == attribute:
            return value
    place = attribute[2:] if attribute.startswith("_c") else attribute
    if place.isdigit() and int(place) < len(fields):
        return fields[int(place)][1]
    names = ", ".join(name or f"_c{number}" for number, (name, _) in enumerate(fields))
    raise Unusable(f"{variable} is {attribute!r}, which no row has. There are: {names[:300]}.")


# -- metrics ----------------------------------------------------------------------------------------------------------------------


def _numbers(texts: Sequence[str], what: str) -> Any:
    found = np.full(len(texts), np.nan)
    for place, text in enumerate(texts):
        try:
            found[place] = float(text)
        except ValueError:
            raise Unusable(f"A {what} is {text[:50]!r}, which is no number.") from None
    return found


def _regression(pairs: List[Pair], counts: Mapping[str, int]) -> Measured:
    actual, predicted = (
        _numbers([each.label for each in pairs], "label"),
        _numbers([each.prediction for each in pairs], "prediction"),
    )
    known = ~(np.isnan(actual) | np.isnan(predicted))
    actual, predicted = actual[known], predicted[known]
    if not len(actual):
        raise NoData("all labels or predictions are NaN", {**counts, "used": 0})
    spread = scores.spread(lambda rows: scores.regression(actual[rows], predicted[rows]), len(actual))
    return Measured(scores.regression(actual, predicted), spread, {}, len(actual), counts)


def _classes(contract: Contract, pairs: List[Pair], counts: Mapping[str, int]) -> Measured:
    values = _numbers([each.score for each in pairs], "probability") if all(each.score for each in pairs) else None
    predictions = [each.prediction for each in pairs]
    if not all(predictions):
        if values is None or contract.problem != "BinaryClassification":
            raise Unusable(
                "inference_attribute must name the prediction where probabilities of two classes are not given."
            )
        threshold = float(contract.variables.get("probability_threshold_attribute") or 0.5)
        predictions = ["1" if value > threshold else "0" for value in values]
    actual, predicted, names = scores.coded([each.label for each in pairs], predictions)
    if len(names) > _MOST_CLASSES:
        raise Unusable(f"There are {len(names)} classes, more than {_MOST_CLASSES}: is this a regression?")
    matrix = {"confusion_matrix": scores.confusion(actual, predicted, names)}
    if contract.problem == "MulticlassClassification":
        spread = scores.spread(lambda rows: scores.multiclass(actual[rows], predicted[rows]), len(pairs))
        return Measured(scores.multiclass(actual, predicted), spread, matrix, len(pairs), counts)
    if len(names) > 2:
        raise Unusable(f"BinaryClassification has two classes, but there are {len(names)}: {', '.join(names[:10])}.")
    return _binary(actual == len(names) - 1, predicted == len(names) - 1, values, matrix, counts, names)


def _binary(
    actual: Any,
    predicted: Any,
    values: Optional[Any],
    matrix: Dict[str, Any],
    counts: Mapping[str, int],
    names: List[str],
) -> Measured:
    """The positive class is the last by name: 1 of 0 and 1. A single class is positive unless it is called 0."""
    if names in (["0"], ["false"], ["False"], ["no"]):
        actual, predicted = ~actual, ~predicted

    def compute(rows: Any) -> Dict[str, float]:
        found = scores.binary(actual[rows], predicted[rows])
        return found if values is None else {**found, "auc": scores.auc(actual[rows], values[rows])}

    everything = np.arange(len(actual))
    constants = [scores.binary(actual, np.full(len(actual), each)) for each in (True, False)]
    best = {
        f"{name}_best_constant_classifier": max(each[name] for each in constants)
        for name in ("recall", "precision", "accuracy", "f0_5", "f1", "f2")
    }
    further = {**matrix, **({} if values is None else scores.curves(actual, values))}
    return Measured({**compute(everything), **best}, scores.spread(compute, len(actual)), further, len(actual), counts)


# -- documents --------------------------------------------------------------------------------------------------------------------


def statistics(contract: Contract, found: Measured) -> Dict[str, Any]:
    """statistics.json."""
    metrics = {
        name: {
            "value": number(value),
            "standard_deviation": number(found.spread[name]) if name in found.spread else "NaN",
        }
        for name, value in found.metrics.items()
    }
    return {
        "version": 0.0,
        "dataset": {"item_count": found.rows, "start_time": contract.start, "end_time": contract.end},
        f"{group(contract)}_metrics": {**found.further, **metrics},
    }


def constraints(contract: Contract, found: Measured) -> Dict[str, Any]:
    """What these metrics suggest: not to become worse."""
    asked = {
        name: {
            "threshold": number(value),
            "comparison_operator": f"{'Greater' if name in _WORSE_ABOVE else 'Less'}ThanThreshold",
        }
        for name, value in found.metrics.items()
        if not name.endswith("_best_constant_classifier")
    }
    return {"version": 0.0, f"{group(contract)}_constraints": asked}


def violations(contract: Contract, found: Measured, asked: Mapping[str, Any]) -> List[Violation]:
    """The metrics that are beyond their thresholds."""
    rows = asked.get(f"{group(contract)}_constraints")
    if not isinstance(rows, dict):
        raise Unusable(f"The baseline has no {group(contract)}_constraints: is it one of another problem_type?")
    broken: List[Violation] = []
    for name, rule in rows.items():
        value = found.metrics.get(name)
        if value is None:
            continue
        threshold, operator = float(rule["threshold"]), str(rule["comparison_operator"])
        if (value < threshold) if operator == "LessThanThreshold" else (value > threshold):
            around = found.spread.get(name, float("nan"))
            words = f"Metric {name} with {value} +/- {around} was {operator} '{rule['threshold']}'"
            broken.append({"constraint_check_type": operator, "metric_name": name, "description": words})
    return broken


def figures(found: Measured, broken: int) -> List[Dict[str, Any]]:
    """CloudWatch metrics."""
    lines = [{"MetricName": name, "Value": value} for name, value in found.metrics.items()]
    return [*lines, {"MetricName": "total_number_of_violations", "Value": broken}]
