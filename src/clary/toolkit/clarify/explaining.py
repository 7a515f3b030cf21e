"""SHAP and partial dependence over a dataset, by asking the model: the sections of analysis.json and the rows of explanations_shap."""

from __future__ import annotations

import csv
import json
import math
import os
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from clary.toolkit.clarify import shapley
from clary.toolkit.clarify.answers import ModelAnswer
from clary.toolkit.clarify.columns import Column, column, continuous, distinct, plain
from clary.toolkit.clarify.config import CustomerError, Pdp, Predictor, Shap, found
from clary.toolkit.clarify.dataset import rows_of_csv

Ask = Callable[[Sequence[Sequence[Any]]], List[ModelAnswer]]
_CATEGORIES = 50  # values of a category that a dependence shows at most
_ROWS = 1000  # rows that a dependence is the mean of at most


class Features:
    """What the model gets: names, cells by rows, and typed columns."""

    def __init__(self, names: Sequence[str], cells: Sequence[Sequence[Any]]) -> None:
        self.names = list(names)
        self.rows = [list(each) for each in zip(*cells)]
        self.columns = [column(name, each) for name, each in zip(names, cells)]


def scores(ask: Ask) -> shapley.Ask:
    """Ask for scores alone. CustomerError for a model that answers with none."""

    def asked(rows: List[List[Any]]) -> Any:
        answers = ask(rows)
        missing = next((each for each in answers if each.scores is None or any(map(math.isnan, each.scores))), None)
        if missing is not None:
            raise CustomerError(
                "SHAP and PDP need numeric scores, and the model answers {!r}: see predictor.probability".format(
                    missing.label
                )
            )
        if len({len(each.scores or ()) for each in answers}) != 1:
            raise CustomerError("The model answers with different numbers of scores")
        return np.array([each.scores for each in answers])

    return asked


def label_names(predictor: Predictor, count: int) -> List[str]:
    """The names of the model's outputs: label_headers, or label0 and so on."""
    if len(predictor.label_headers) == count:
        return [str(each) for each in predictor.label_headers]
    return ["label{}".format(at) for at in range(count)]


def baseline(shap: Shap, features: Features, text: str) -> List[List[Any]]:
    """The baseline's rows; `text` is the content of its file, where it has one. CustomerError for rows of another width."""
    given = shap.baseline
    if given is None:
        return shapley.clustered(features.columns, shap.clusters, shap.seed)
    rows = (
        _of_text(text)
        if isinstance(given, str)
        else [list(each.values()) if isinstance(each, dict) else each for each in given]
    )
    rows = [each["features"] if isinstance(each, dict) and "features" in each else each for each in rows]
    if len(rows) > 1 and [str(each).strip() for each in rows[0]] == features.names:
        rows = rows[1:]
    for at, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(features.names):
            width = len(row) if isinstance(row, list) else "no"
            raise CustomerError(
                "Invalid analysis config: methods.shap.baseline: row {} has {} values, and the model gets {} features: {}".format(
                    at + 1, width, len(features.names), ", ".join(features.names)
                )
            )
    if not rows:
        raise CustomerError("Invalid analysis config: methods.shap.baseline: it has no rows")
    return rows


def _of_text(text: str) -> List[Any]:
    if text.lstrip().startswith(("{", "[")):
        try:
            documents = [json.loads(line) for line in text.strip().splitlines()]
            return [next(iter(each.values())) if isinstance(each, dict) else each for each in documents]
        except (ValueError, StopIteration) as error:
            raise CustomerError("methods.shap.baseline is no JSON Lines: {}".format(error)) from None
    return list(rows_of_csv(text, "methods.shap.baseline"))


def shap(
    asked: Shap, predictor: Predictor, features: Features, rows: List[List[Any]], ask: Ask, folder: str
) -> Tuple[Dict[str, Any], Any]:
    """The section `kernel_shap`, and local attributions (rows, features, outputs) of the features to explain, which are written to
    explanations_shap/out.csv in `folder` if that is asked for."""
    named = {found(features.names, each, "methods.shap.features_to_explain") for each in asked.features}
    chosen = sorted(named) or list(range(len(features.names)))
    rest = tuple(at for at in range(len(features.names)) if at not in chosen)
    groups = [(at,) for at in chosen] + ([rest] if rest else [])
    explainer = shapley.Explainer(scores(ask), rows, groups, asked.samples, asked.seed, asked.logit)
    local = []
    for number, row in enumerate(features.rows, 1):
        local.append(explainer.explain(row)[: len(chosen)])
        if number % 100 == 0:
            print("{} of {} rows explained".format(number, len(features.rows)), flush=True)
    values = np.array(local)
    labels = label_names(predictor, values.shape[2])
    whole = shapley.aggregate(values, asked.aggregation)
    names = [features.names[at] for at in chosen]
    if asked.local:
        _write(os.path.join(folder, "explanations_shap", "out.csv"), ["{}_{}".format(name, label) for label in labels for name in names],
               (np.concatenate([row[:, at] for at in range(len(labels))]).tolist() for row in values))  # fmt: skip
    if asked.baseline is None:
        _write(os.path.join(folder, "explanations_shap", "baseline.csv"), features.names, rows)
    section = {
        label: {
            "expected_value": float(explainer.expected[at]),
            "global_shap_values": {name: float(value) for name, value in zip(names, whole[:, at])},
        }
        for at, label in enumerate(labels)
    }
    return section, values


def _write(path: str, header: Sequence[str], rows: Any) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow(["" if each is None else each for each in row])


def dependence(asked: Pdp, features: Features, ask: Ask, top: Sequence[str]) -> List[Dict[str, Any]]:
    """The section `pdp`: of each feature a grid of values, and the mean score with all rows set to each of them. `top`: the features of
    which SHAP says that they matter most, for when none is named."""
    names = asked.features or tuple(top[: asked.top])
    rows = features.rows
    if len(rows) > _ROWS:
        rows = [rows[at] for at in np.linspace(0, len(rows) - 1, _ROWS).astype(int)]
    places = [found(features.names, name, "methods.pdp.features") for name in names]
    return [_dependence(asked, features, at, rows, scores(ask)) for at in places]


def _dependence(asked: Pdp, features: Features, at: int, rows: List[List[Any]], ask: shapley.Ask) -> Dict[str, Any]:
    own = features.columns[at]
    numeric = own.kind != "text" and continuous(own, ())
    values, shares = _grid(own, asked.resolution) if numeric else _categories(own)
    predictions = [ask([[*row[:at], value, *row[at + 1 :]] for row in rows]).mean(axis=0) for value in values]
    return {
        "feature_name": own.name,
        "data_type": "numerical" if numeric else "categorical",
        "feature_values": values,
        "model_predictions": np.array(predictions).T.tolist(),
        "data_distribution": shares,
    }


def _grid(own: Column, resolution: int) -> Tuple[List[float], List[float]]:
    """Equal steps from the smallest to the largest value, and the share of rows that are nearest to each."""
    seen = own.values[np.isfinite(own.values)]
    if not len(seen):
        raise CustomerError("methods.pdp: feature {!r} has no finite value".format(own.name))
    points = np.linspace(seen.min(), seen.max(), resolution)
    nearest = np.abs(seen[:, None] - points[None, :]).argmin(axis=1)
    return points.tolist(), (np.bincount(nearest, minlength=resolution) / len(own.values)).tolist()


def _categories(own: Column) -> Tuple[List[Any], List[float]]:
    """The values that come most often, and their shares."""
    counts = {value: int((own.values == value).sum()) for value in distinct(own)}
    most = sorted(counts, key=lambda each: (-counts[each], plain(each)))[:_CATEGORIES]
    return most, [counts[each] / len(own.values) for each in most]
