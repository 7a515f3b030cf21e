"""The evaluation metrics that SageMaker's container adds to xgboost's own, on plain numpy.

Owns their arithmetic (as scikit-learn defines it: a class that is absent counts 0 with zero division). Predictions arrive
transformed: probabilities, class numbers or values.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

Array = Any


def custom_metric(names: Sequence[str]) -> Callable[[Array, Any], List[Tuple[str, float]]]:
    """A function for `xgboost.train(custom_metric=...)` that computes all of `names`."""

    def evaluate(predictions: Array, data: Any) -> List[Tuple[str, float]]:
        labels = data.get_label()
        return [(name, METRICS[name](labels, predictions)) for name in names]

    return evaluate


def classes(predictions: Array) -> Array:
    """Class numbers out of probabilities (one column or several) or of class numbers themselves."""
    if predictions.ndim > 1 and predictions.shape[1] > 1:
        return predictions.argmax(axis=1)
    flat = predictions.reshape(-1)
    if bool(((flat >= 0) & (flat <= 1)).all()):
        return (flat > 0.5).astype(np.int64)
    return flat.astype(np.int64)


def _counts(labels: Array, predictions: Array) -> Tuple[Array, Array, Array]:
    """True positives, predicted and actual counts per class."""
    actual, guessed = labels.astype(np.int64), classes(predictions)
    size = int(max(actual.max(initial=0), guessed.max(initial=0))) + 1
    present = np.zeros(size, dtype=bool)
    present[actual] = present[guessed] = True
    hits = np.bincount(actual[actual == guessed], minlength=size)
    return hits[present], np.bincount(guessed, minlength=size)[present], np.bincount(actual, minlength=size)[present]


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _accuracy(labels: Array, predictions: Array) -> float:
    return float((labels.astype(np.int64) == classes(predictions)).mean())


def _balanced_accuracy(labels: Array, predictions: Array) -> float:
    hits, _, actual = _counts(labels, predictions)
    return float(_ratio(hits, actual)[actual > 0].mean())


def _f1_macro(labels: Array, predictions: Array) -> float:
    hits, guessed, actual = _counts(labels, predictions)
    return float(_ratio(2 * hits, guessed + actual).mean())


def _precision_macro(labels: Array, predictions: Array) -> float:
    hits, guessed, _ = _counts(labels, predictions)
    return float(_ratio(hits, guessed).mean())


def _recall_macro(labels: Array, predictions: Array) -> float:
    hits, _, actual = _counts(labels, predictions)
    return float(_ratio(hits, actual).mean())


def _binary(labels: Array, predictions: Array) -> Tuple[float, float, float]:
    """Hits, predicted and actual of class 1."""
    actual, guessed = labels.astype(np.int64) == 1, classes(predictions) == 1
    return float((actual & guessed).sum()), float(guessed.sum()), float(actual.sum())


def _f1_binary(labels: Array, predictions: Array) -> float:
    hits, guessed, actual = _binary(labels, predictions)
    return 2 * hits / (guessed + actual) if guessed + actual else 0.0


def _precision(labels: Array, predictions: Array) -> float:
    hits, guessed, _ = _binary(labels, predictions)
    return hits / guessed if guessed else 0.0


def _recall(labels: Array, predictions: Array) -> float:
    hits, _, actual = _binary(labels, predictions)
    return hits / actual if actual else 0.0


def _mse(labels: Array, predictions: Array) -> float:
    return float(((labels - predictions.reshape(labels.shape)) ** 2).mean())


def _r2(labels: Array, predictions: Array) -> float:
    rest = float(((labels - predictions.reshape(labels.shape)) ** 2).sum())
    total = float(((labels - labels.mean()) ** 2).sum())
    return 1 - rest / total if total else 0.0


METRICS: Dict[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1_macro,
    "f1_binary": _f1_binary,
    "f1_macro": _f1_macro,
    "mse": _mse,
    "precision": _precision,
    "precision_macro": _precision_macro,
    "precision_micro": _accuracy,  # over all classes micro averages equal accuracy
    "r2": _r2,
    "recall": _recall,
    "recall_macro": _recall_macro,
    "recall_micro": _accuracy,
}
