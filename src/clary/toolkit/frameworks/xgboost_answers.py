"""Predictions of the built-in XGBoost as text, JSON or recordio, and what `SAGEMAKER_INFERENCE_OUTPUT` selects of them.

Owns the forms of AWS's container, which changed with its versions (`Style`), the contents of a selection per objective (the container's
`serve_utils`), and the joining of an ensemble. Refuses NaN in JSON, where no JSON parser but Python's reads it. Pure; knows no requests.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from clary.toolkit import content, recordio
from clary.toolkit.inference import Response

CSV_REPLY = "text/csv; charset=utf-8"
_VOTED = ("multi:softmax", "binary:hinge")

_CLASS = ("predicted_label", "labels")
_SCORES = ("raw_score", "raw_scores")
_PROBABILITIES = ("probability", "probabilities")
VALID_SELECTIONS: Dict[str, Sequence[str]] = {
    "binary:logistic": (*_CLASS, *_PROBABILITIES, *_SCORES),
    "binary:logitraw": (*_CLASS, *_SCORES),
    "binary:hinge": (*_CLASS, *_SCORES),
    "multi:softmax": (*_CLASS, *_SCORES),
    "multi:softprob": (*_CLASS, *_PROBABILITIES, *_SCORES),
}
_REGRESSION = ("predicted_score",)
_ORDER = (*_CLASS, *_PROBABILITIES, *_SCORES, *_REGRESSION)  # of the members of a JSON answer, whatever was asked first

_ONE_PER_LINE = (1, 2, 2)  # the first image whose CSV has a line for each prediction, and that heeds Accept
_SELECTS = (1, 0, 1)  # the first with SAGEMAKER_INFERENCE_OUTPUT
_TAG = re.compile(r"(\d+)\.(\d+)(?:-(\d+))?")
_OLDEST = ("1", "latest")  # tags of the repository `xgboost`, the image of XGBoost 0.72

Writer = Callable[[Any, str], Response]


class Style(NamedTuple):
    """How an image answers. `lines`: a line for each prediction, else all on one line, joined by commas; `heeds_accept`: without a
    selection it answers as Accept asks, else always CSV; `selects`: it knows SAGEMAKER_INFERENCE_OUTPUT; `bare`: its JSON is the list
    of the predictions alone."""

    lines: bool = True
    heeds_accept: bool = True
    selects: bool = True
    bare: bool = False

    @classmethod
    def of(cls, image: str, multi_model: bool = False) -> Style:
        """An image that names no version is a new one. Multi-model endpoints have another server in all versions of the image
        (`handler_service`): one line of CSV, a bare list in JSON, no selection."""
        if multi_model:
            return cls(lines=False, selects=False, bare=True)
        version = _version(image)
        new = version >= _ONE_PER_LINE
        return cls(lines=new, heeds_accept=new, selects=version >= _SELECTS)


def _version(image: str) -> Tuple[float, ...]:
    """`.../sagemaker-xgboost:1.7-1` -> (1, 7, 1)."""
    repository, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    found = _TAG.match(tag)
    if found is not None:
        return tuple(float(part or 0) for part in found.groups())
    return (0.0, 72.0) if repository == "xgboost" and tag in _OLDEST else (math.inf,)


def combine(predictions: Sequence[Any], objective: str) -> Any:
    """The mean of an ensemble, or the majority's vote where predictions are classes."""
    stacked = np.stack(predictions)
    if objective not in _VOTED:
        return stacked.mean(axis=0, dtype=np.float32)
    votes = stacked.astype(np.int64)
    return np.array([np.bincount(column).argmax() for column in votes.T], dtype=np.float32)


def selected(text: str) -> List[str]:
    """The names in a value of SAGEMAKER_INFERENCE_OUTPUT."""
    return [name for name in text.replace(" ", "").lower().split(",") if name]


def writer(style: Style, batch: bool, selection: Sequence[str] = (), objective: str = "", classes: int = 0) -> Writer:
    """How one request's predictions are answered: `write(values, accept)`. `batch`: in a batch transform job. `classes`: how many
    the model tells apart, 0 where it does not say."""
    if selection and style.selects:
        return lambda values, accept: _selected(values, accept, objective, classes, selection, batch)
    if batch:
        return _lines
    return lambda values, accept: _plain(values, accept, style)


def _lines(values: Any, accept: str) -> Response:
    """Of batch jobs: a line of text for each prediction, whatever was asked for."""
    return Response(200, "".join("{}\n".format(v) for v in values.tolist()).encode(), _named(accept))


def _plain(values: Any, accept: str, style: Style) -> Response:
    listed = values.tolist()
    if accept == content.CSV:
        return Response(200, _csv(listed, style).encode(), CSV_REPLY)
    if accept == content.JSON:
        whole = listed if style.bare else {"predictions": [{"score": v} for v in listed]}
        return Response(200, _json(whole).encode(), content.JSON)
    if accept == content.JSON_LINES:
        return Response(200, "".join(_json({"score": v}) + "\n" for v in listed).encode(), content.JSON_LINES)
    rows = [v if isinstance(v, list) else [v] for v in listed]
    return Response(200, recordio.write(recordio.build({}, {"score": row}) for row in rows), content.RECORDIO)


def _csv(listed: List[Any], style: Style) -> str:
    if not style.lines:
        return ",".join(map(str, listed))
    return "".join((",".join(map(str, v)) if isinstance(v, list) else str(v)) + "\n" for v in listed)


def _selected(
    values: Any, accept: str, objective: str, classes: int, selection: Sequence[str], batch: bool
) -> Response:
    picked = [select(value, objective, selection, classes) for value in values]
    if accept == content.JSON:
        return Response(200, _json({"predictions": picked}).encode(), content.JSON)
    if accept == content.JSON_LINES:
        return Response(200, "".join(_json(p) + "\n" for p in picked).encode(), content.JSON_LINES)
    if accept == content.RECORDIO:
        records = (recordio.build({}, {k: _numbers(v) for k, v in p.items()}) for p in picked)
        return Response(200, recordio.write(records), content.RECORDIO)
    lines = [",".join(_cell(p[name]) for name in selection) for p in picked]
    return Response(200, ("\n".join(lines) + ("\n" if batch else "")).encode(), CSV_REPLY)


def select(value: Any, objective: str, selection: Sequence[str], classes: int = 0) -> Dict[str, Any]:
    """The named contents of one prediction (a numpy number, or an array of one for each class); NaN for one that the objective does
    not have."""
    valid = VALID_SELECTIONS.get(objective, _REGRESSION)
    plain = (
        value.tolist()
    )  # Python's numbers: what is computed of them below is computed in double precision, as AWS does
    ordered = sorted(set(selection), key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    return {name: _CONTENTS[name](plain, objective, classes) if name in valid else math.nan for name in ordered}


def _label(value: Any, objective: str, classes: int) -> Any:
    if objective == "multi:softprob":
        return int(np.argmax(value))
    if objective == "binary:logistic":
        return int(value > 0.5)
    if objective == "binary:logitraw":
        return int(value > 0)
    return value


def _labels(value: Any, objective: str, classes: int) -> Any:
    if objective.startswith("binary:"):
        return [0, 1]
    return list(range(classes)) if classes else math.nan


def _score(value: Any, objective: str, classes: int) -> Any:
    """Of class 1 where there are two, of the winner where there are more; multi:softmax tells the class alone."""
    return max(value) if isinstance(value, list) else value


def _scores(value: Any, objective: str, classes: int) -> Any:
    """One for each class. Of multi:softmax AWS's container makes a pair like those of two classes, and so does this."""
    return value if isinstance(value, list) else [1.0 - value, value]


_CONTENTS: Dict[str, Callable[[Any, str, int], Any]] = {
    "predicted_label": _label,
    "labels": _labels,
    "probability": _score,
    "probabilities": _scores,
    "raw_score": _score,
    "raw_scores": _scores,
    "predicted_score": lambda value, objective, classes: value,
}


def _cell(value: Any) -> str:
    return '"[{}]"'.format(", ".join(map(str, value))) if isinstance(value, list) else str(value)


def _numbers(value: Any) -> List[float]:
    return value if isinstance(value, list) else [value]


def _named(accept: str) -> str:
    return CSV_REPLY if accept == content.CSV else accept


def _json(value: Any) -> str:
    """JSON with null in the place of what is no number there: NaN and the infinities."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
