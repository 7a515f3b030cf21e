"""Predictions of the built-in XGBoost as text, JSON or recordio, and what `SAGEMAKER_INFERENCE_OUTPUT` selects of them.

Owns the forms (the container's `serve_utils`: a CSV reply is comma-joined, a line each for batch jobs; JSON is
`{"predictions": [{"score": x}]}`) and the joining of an ensemble. Pure; knows no requests.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, Sequence

import numpy as np

from clary.toolkit import content, recordio
from clary.toolkit.inference import Response

CSV_REPLY = "text/csv; charset=utf-8"
_VOTED = ("multi:softmax", "binary:hinge")

_CLASS = ("predicted_label", "labels")
VALID_SELECTIONS: Dict[str, Sequence[str]] = {
    "binary:logistic": (*_CLASS, "probability", "probabilities", "raw_score", "raw_scores"),
    "binary:logitraw": (*_CLASS, "raw_score", "raw_scores"),
    "binary:hinge": (*_CLASS, "raw_score", "raw_scores"),
    "multi:softmax": _CLASS,
    "multi:softprob": (*_CLASS, "probability", "probabilities", "raw_score", "raw_scores"),
}
_REGRESSION = ("predicted_score",)

Writer = Callable[[Any, str], Response]


def combine(predictions: Sequence[Any], objective: str) -> Any:
    """The mean of an ensemble, or the majority's vote where predictions are classes."""
    stacked = np.stack(predictions)
    if objective not in _VOTED:
        return stacked.mean(axis=0, dtype=np.float32)
    votes = stacked.astype(np.int64)
    return np.array([np.bincount(column).argmax() for column in votes.T], dtype=np.float32)


def writer(objective: str, selected: Sequence[str], batch: bool) -> Writer:
    """How one request's predictions are answered: `write(values, accept)`."""
    if selected:
        return lambda values, accept: _selected(values, accept, objective, selected, batch)
    if batch:
        return lambda values, accept: _plain(values, accept, "\n")
    return plain_scores


def plain_scores(values: Any, accept: str) -> Response:
    """The writer without selection and outside batch jobs."""
    return _plain(values, accept, ",")


def _plain(values: Any, accept: str, joint: str) -> Response:
    listed = values.tolist()
    if accept == content.CSV:
        body = joint.join(map(str, listed)) + ("\n" if joint == "\n" else "")
        return Response(200, body.encode(), CSV_REPLY)
    if accept == content.JSON:
        return Response(200, json.dumps({"predictions": [{"score": v} for v in listed]}).encode(), content.JSON)
    if accept == content.JSON_LINES:
        return Response(200, "".join(json.dumps({"score": v}) + "\n" for v in listed).encode(), content.JSON_LINES)
    rows = [v if isinstance(v, list) else [v] for v in listed]
    return Response(200, recordio.write(recordio.build({}, {"score": row}) for row in rows), content.RECORDIO)


def _selected(values: Any, accept: str, objective: str, selected: Sequence[str], batch: bool) -> Response:
    picked = [select(value, objective, selected) for value in values]
    if accept == content.JSON:
        return Response(200, json.dumps({"predictions": picked}).encode(), content.JSON)
    if accept == content.JSON_LINES:
        return Response(200, "".join(json.dumps(p) + "\n" for p in picked).encode(), content.JSON_LINES)
    if accept == content.RECORDIO:
        records = (recordio.build({}, {k: _numbers(v) for k, v in p.items()}) for p in picked)
        return Response(200, recordio.write(records), content.RECORDIO)
    lines = [",".join(_cell(p[name]) for name in selected) for p in picked]
    return Response(200, ("\n".join(lines) + ("\n" if batch else "")).encode(), CSV_REPLY)


def select(value: Any, objective: str, selected: Sequence[str]) -> Dict[str, Any]:
    """The named contents of one prediction; NaN (null is no number) for one that the objective does not have."""
    valid = VALID_SELECTIONS.get(objective, _REGRESSION)
    return {name: _CONTENTS[name](value, objective) if name in valid else float("nan") for name in selected}


def _label(value: Any, objective: str) -> float:
    if objective == "multi:softprob":
        return int(np.argmax(value))
    if objective == "binary:logistic":
        return int(value > 0.5)
    if objective == "binary:logitraw":
        return int(value > 0)
    return float(value)


def _labels(value: Any, objective: str) -> Any:
    if objective.startswith("binary:"):
        return [0, 1]
    return list(range(len(value))) if getattr(value, "ndim", 0) else float("nan")


def _probability(value: Any, objective: str) -> float:
    if objective == "multi:softprob":
        return float(np.max(value))
    return float(max(value, 1 - value))


def _probabilities(value: Any, objective: str) -> List[float]:
    if objective == "multi:softprob":
        return [float(v) for v in value]
    return [float(1 - value), float(value)]


def _raw_score(value: Any, objective: str) -> float:
    return float(value) if objective in ("binary:hinge", "binary:logitraw") else _probability(value, objective)


def _raw_scores(value: Any, objective: str) -> List[float]:
    return _probabilities(value, objective)


_CONTENTS: Dict[str, Callable[[Any, str], Any]] = {
    "predicted_label": _label,
    "labels": _labels,
    "probability": _probability,
    "probabilities": _probabilities,
    "raw_score": _raw_score,
    "raw_scores": _raw_scores,
    "predicted_score": lambda value, objective: float(value),
}


def _cell(value: Any) -> str:
    return '"[{}]"'.format(", ".join(map(str, value))) if isinstance(value, list) else str(value)


def _numbers(value: Any) -> List[float]:
    return value if isinstance(value, list) else [value]
