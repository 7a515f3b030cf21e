"""Serves what `training.py` made: `inference.py` of its archive. Rows come as CSV (or a JSON list of rows), answers are JSON:
`{"probabilities": [[...]], "labels": [...], "predicted_label": [...]}`, or `{"prediction": [...]}` of a regression."""

import io
import json
import os
from typing import Any, Dict, Tuple


def model_fn(folder: str) -> Dict[str, Any]:
    import joblib

    found: Dict[str, Any] = joblib.load(os.path.join(folder, "model.joblib"))
    return found


def input_fn(body: Any, content_type: str) -> Any:
    import numpy

    kind = content_type.partition(";")[0].strip().lower()
    text = body.decode("utf-8") if isinstance(body, (bytes, bytearray)) else body
    if kind == "text/csv":
        return numpy.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)
    if kind == "application/json":
        given = json.loads(text)
        return numpy.atleast_2d(numpy.asarray(given["instances"] if isinstance(given, dict) else given, dtype=float))
    raise ValueError(f"rows come as text/csv or application/json, not {content_type}")


def predict_fn(rows: Any, found: Dict[str, Any]) -> Dict[str, Any]:
    if found["classes"] is None:
        return {"prediction": found["model"].predict(rows).reshape(-1).tolist()}
    shares = found["model"].predict_proba(rows)
    labels = found["classes"]
    best = [labels[at] for at in shares.argmax(axis=1).tolist()]
    return {"probabilities": shares.tolist(), "labels": labels, "predicted_label": best}


def output_fn(answer: Dict[str, Any], accept: str) -> Tuple[str, str]:
    return json.dumps(answer), "application/json"
