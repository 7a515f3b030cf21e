"""Metrics of predictions against labels. numpy only; each function takes arrays of equal length.

Formulas are the usual ones; where a quotient is 0 / 0 the metric is 0. AUC is the probability that a positive row scores above a negative
one, ties counting half (Mann-Whitney).
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import numpy as np

_SHARE, _SAMPLES, _LEAST = 0.8, 5, 200
_POINTS = 1000  # of a curve


def ratio(above: float, below: float) -> float:
    return float(above / below) if below else 0.0


def f_score(precision: float, recall: float, beta: float) -> float:
    return ratio((1 + beta**2) * precision * recall, beta**2 * precision + recall)


def binary(actual: Any, predicted: Any) -> Dict[str, float]:
    """Of booleans."""
    tp, fp = float(np.sum(actual & predicted)), float(np.sum(~actual & predicted))
    fn, tn = float(np.sum(actual & ~predicted)), float(np.sum(~actual & ~predicted))
    recall, precision = ratio(tp, tp + fn), ratio(tp, tp + fp)
    return {
        "recall": recall,
        "precision": precision,
        "accuracy": ratio(tp + tn, tp + tn + fp + fn),
        "true_positive_rate": recall,
        "true_negative_rate": ratio(tn, tn + fp),
        "false_positive_rate": ratio(fp, fp + tn),
        "false_negative_rate": ratio(fn, fn + tp),
        "f0_5": f_score(precision, recall, 0.5),
        "f1": f_score(precision, recall, 1),
        "f2": f_score(precision, recall, 2),
    }


def auc(actual: Any, scores: Any) -> float:
    """Of booleans and numbers; 0 where there is one class alone."""
    positives = int(np.sum(actual))
    negatives = len(actual) - positives
    if not positives or not negatives:
        return 0.0
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((np.sum(ranks[actual]) - positives * (positives + 1) / 2) / (positives * negatives))


def curves(actual: Any, scores: Any) -> Dict[str, Dict[str, List[float]]]:
    """ROC and precision over recall, from the highest threshold down, at most 1,000 points."""
    order = np.argsort(-scores, kind="stable")
    hits, ordered = actual[order], scores[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    if len(ends) > _POINTS:
        ends = ends[np.linspace(0, len(ends) - 1, _POINTS).astype(int)]
    tp = np.cumsum(hits)[ends].astype(float)
    fp = (ends + 1) - tp
    positives, negatives = float(np.sum(actual)), float(np.sum(~actual))
    zero = np.zeros(1)
    rates = [
        np.concatenate([zero, found / total if total else found * 0])
        for found, total in ((fp, negatives), (tp, positives))
    ]
    return {
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": rates[0].tolist(),
            "true_positive_rates": rates[1].tolist(),
        },
        "precision_recall_curve": {
            "precisions": np.concatenate([zero + 1, tp / (tp + fp)]).tolist(),
            "recalls": rates[1].tolist(),
        },
    }


def multiclass(actual: Any, predicted: Any) -> Dict[str, float]:
    """Of codes of classes; weighted by how many rows each class has."""
    found = dict.fromkeys(("recall", "precision", "f0_5", "f1", "f2"), 0.0)
    for code in np.unique(actual):
        one = binary(actual == code, predicted == code)
        weight = float(np.mean(actual == code))
        for name in found:
            found[name] += weight * one[name]
    return {
        "accuracy": float(np.mean(actual == predicted)),
        **{f"weighted_{name}": value for name, value in found.items()},
    }


def regression(actual: Any, predicted: Any) -> Dict[str, float]:
    """Of numbers. R2 is 0 where all labels are equal."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors = predicted - actual
        mse = float(np.mean(errors**2))
        total = float(np.mean((actual - np.mean(actual)) ** 2))
    return {
        "mae": float(np.mean(np.abs(errors))),
        "mse": mse,
        "rmse": float(np.sqrt(mse)),
        "r2": 1 - mse / total if total else 0.0,
    }


def spread(compute: Callable[[Any], Dict[str, float]], rows: int, seed: int = 0) -> Dict[str, float]:
    """The standard deviation of each metric over five samples of 80 % of the rows, from 200 rows on; {} below."""
    if rows < _LEAST:
        return {}
    random = np.random.default_rng(seed)
    found = [compute(random.choice(rows, int(rows * _SHARE), replace=False)) for _ in range(_SAMPLES)]
    return {name: float(np.std([each[name] for each in found])) for name in found[0]}


def confusion(actual: Any, predicted: Any, names: List[str]) -> Dict[str, Dict[str, int]]:
    """actual -> predicted -> rows. Arrays of codes, which are places in `names`."""
    size = len(names)
    table = np.bincount(actual * size + predicted, minlength=size * size).reshape(size, size)
    return {name: {other: int(table[i, j]) for j, other in enumerate(names)} for i, name in enumerate(names)}


def coded(actual: List[str], predicted: List[str]) -> Tuple[Any, Any, List[str]]:
    """Labels as codes of their sorted names; `1.0` and `1` are one name."""
    both = [plain(value) for value in (*actual, *predicted)]
    names, codes = np.unique(np.array(both), return_inverse=True)
    return codes[: len(actual)], codes[len(actual) :], [str(name) for name in names]


def plain(label: str) -> str:
    try:
        number = float(label)
    except ValueError:
        return label.strip()
    return str(int(number)) if np.isfinite(number) and number == int(number) else repr(number)
