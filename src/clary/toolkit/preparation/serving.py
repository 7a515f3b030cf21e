"""The fitted preparation as the first container of an inference pipeline: SageMaker's handler contract, for the scikit-learn image.

Rows come as CSV (the features' columns in the data's order, or with a first line that names columns), JSON (`{"instances": [...]}` of
objects or lists, or one of them) or JSON lines. Answers are CSV without a header, or JSON `{"instances": [[...]]}`, or npy.
"""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from .fitted import Preparation, load
from .values import Array, BadValue, Values, coded, numbers

STATE = "preparation.json"


class _Strict(csv.excel):
    """Quotes that do not close are an error."""

    strict = True


class BaseInferenceToolkitError(Exception):
    """By this name the inference toolkit knows an error that has a status of its own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status_code = status


class _Raw(str):
    """A number of JSON's, as it was written."""


def model_fn(model_dir: str) -> Preparation:
    """Load the state that stands beside the code."""
    return load(os.path.join(model_dir, STATE))


def input_fn(body: Any, content_type: str) -> Tuple[str, str]:
    """The body as text, with its kind; `predict_fn`, which knows the columns, reads it."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("text/csv", "application/json", "application/jsonlines", "application/x-jsonlines"):
        raise BaseInferenceToolkitError(
            415,
            "Content type {} is not supported: send text/csv, application/json or application/jsonlines.".format(
                content_type
            ),
        )
    try:
        return (body.decode("utf-8") if isinstance(body, (bytes, bytearray)) else body), kind
    except UnicodeDecodeError as error:
        raise BaseInferenceToolkitError(400, "The body is not UTF-8: {}".format(error)) from None


def predict_fn(data: Tuple[str, str], preparation: Preparation) -> Array:
    """The features of all rows."""
    try:
        return preparation.matrix(read(data[0], data[1], preparation.state))
    except BadValue as error:
        raise BaseInferenceToolkitError(400, str(error)) from None


def output_fn(matrix: Array, accept: str) -> Tuple[Any, str]:
    """CSV unless JSON or npy is asked for. Numbers are written so that reading them gives the same bits."""
    kind = accept.partition(";")[0].strip().lower()
    if kind == "application/json":
        rows = [[None if value != value else value for value in row] for row in matrix.tolist()]
        return json.dumps({"instances": rows}), "application/json"
    if kind == "application/x-npy":
        buffer = io.BytesIO()
        np.save(buffer, matrix, allow_pickle=False)
        return buffer.getvalue(), "application/x-npy"
    return to_csv(matrix), "text/csv"


def to_csv(matrix: Array) -> str:
    lines = [",".join(["" if value != value else repr(value) for value in row]) for row in matrix.tolist()]
    return "\n".join(lines) + "\n"


def read(text: str, kind: str, state: Mapping[str, Any]) -> Dict[str, Values]:
    """The rows of a body by column. BadValue says which row is not what it should be."""
    names = [each["name"] for each in state["inputs"]]
    if kind == "text/csv":
        columns = _of_csv(text, names)
    else:
        columns = _of_json(text, names, lines=kind != "application/json")
    nothing = {"", *state["missing"]}
    made: Dict[str, Values] = {}
    for each in state["inputs"]:
        texts = [None if value is None or value in nothing else value for value in columns[each["name"]]]
        made[each["name"]] = numbers(texts, each["name"], each["invalid"]) if each["kind"] == "number" else coded(texts)
    return made


def _of_csv(text: str, names: Sequence[str]) -> Dict[str, List[Optional[str]]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), _Strict) if row or len(names) == 1]
    except csv.Error as error:
        raise BadValue("the body is not CSV: {}".format(error)) from None
    while rows and not rows[-1]:
        rows.pop()
    if not rows:
        raise BadValue("the body has no rows")
    head = rows[0]
    if set(names) <= set(head) and len(set(head)) == len(head):
        places, rows, width = [head.index(name) for name in names], rows[1:], len(head)
    else:
        places, width = list(range(len(names))), len(names)
    for number, row in enumerate(rows, 1):
        if len(row) != width and not (width == 1 and not row):
            raise BadValue(
                "row {} has {} values; it needs {}, in this order: {} (or a first line that names the columns)".format(
                    number, len(row), width, ", ".join(names)
                )
            )
    return {name: [row[place] if row else None for row in rows] for name, place in zip(names, places)}


def _of_json(text: str, names: Sequence[str], lines: bool) -> Dict[str, List[Optional[str]]]:
    try:
        if lines:
            rows: Any = [_parse(line) for line in text.splitlines() if line.strip()]
        else:
            rows = _parse(text)
    except (ValueError, RecursionError) as error:
        raise BadValue("the body is not JSON: {}".format(error)) from None
    if isinstance(rows, dict):
        rows = rows["instances"] if isinstance(rows.get("instances"), list) else [rows]
    if isinstance(rows, list) and rows and not isinstance(rows[0], (dict, list)):
        rows = [rows]
    if not isinstance(rows, list) or not rows:
        raise BadValue("the body has no rows")
    return {
        name: [_member(row, name, place, number, len(names)) for number, row in enumerate(rows, 1)]
        for place, name in enumerate(names)
    }


def _parse(text: str) -> Any:
    return json.loads(text, parse_float=_Raw, parse_int=_Raw, parse_constant=_Raw)


def _member(row: Any, name: str, place: int, number: int, width: int) -> Optional[str]:
    if isinstance(row, dict) and "features" in row and isinstance(row["features"], list) and name != "features":
        row = row["features"]
    if isinstance(row, list) and len(row) != width:
        raise BadValue("row {} has {} values; it needs {}".format(number, len(row), width))
    if not isinstance(row, (dict, list)):
        raise BadValue("row {} is neither an object nor a list".format(number))
    value = row.get(name) if isinstance(row, dict) else row[place]
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    raise BadValue("row {}: {!r} is neither a text nor a number".format(number, name))
