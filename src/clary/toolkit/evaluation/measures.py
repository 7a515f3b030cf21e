"""The metrics of predictions, by scikit-learn, under the names that SageMaker's monitors and briefs have for them.

`metrics` answers plain numbers; what is not defined (the ROC of one class) is left out, and `undefined` says why. Curves are thinned to
what a picture shows. Values under weights are in `resampling`; both agree.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from clary.toolkit.evaluation.resampling import PredictedRows

Array = Any  # numpy.ndarray

POINTS = 1000  # of a curve that are kept
BINS = 10  # of a calibration curve
GROUPS = {
    "binary": "binary_classification_metrics",
    "multiclass": "multiclass_classification_metrics",
    "regression": "regression_metrics",
}


def metrics(problem: str, truth: Array, predicted: PredictedRows, classes: int) -> Dict[str, float]:
    """Every metric of the problem that is defined."""
    if problem == "regression":
        return _regression(truth, predicted.numbers)
    return _binary(truth, predicted) if problem == "binary" else _multiclass(truth, predicted, classes)


def _regression(truth: Array, numbers: Array) -> Dict[str, float]:
    made = {
        "mae": float(sk.mean_absolute_error(truth, numbers)),
        "mse": float(sk.mean_squared_error(truth, numbers)),
        "rmse": float(sk.root_mean_squared_error(truth, numbers)),
    }
    if len(truth) > 1 and np.ptp(truth) > 0:
        made["r2"] = float(sk.r2_score(truth, numbers))
    return made


def _binary(truth: Array, predicted: PredictedRows) -> Dict[str, float]:
    labels, scores = predicted.labels, predicted.scores
    made = {
        "accuracy": float(sk.accuracy_score(truth, labels)),
        "precision": float(sk.precision_score(truth, labels, zero_division=0)),
        "recall": float(sk.recall_score(truth, labels, zero_division=0)),
        **{
            name: float(sk.fbeta_score(truth, labels, beta=beta, zero_division=0))
            for name, beta in (("f0_5", 0.5), ("f1", 1.0), ("f2", 2.0))
        },
        **_rates(truth, labels),
    }
    both = len(np.unique(truth)) == 2
    if both:
        made["balanced_accuracy"] = float(sk.balanced_accuracy_score(truth, labels))
    if scores is not None and both:
        made["roc_auc"] = made["auc"] = float(sk.roc_auc_score(truth, scores))
        made["pr_auc"] = float(sk.average_precision_score(truth, scores))
    if predicted.probabilities:
        made["log_loss"] = float(sk.log_loss(truth, scores, labels=[0, 1]))
        made["brier"] = float(sk.brier_score_loss(truth, scores, pos_label=1))
        made["expected_calibration_error"] = calibration_error(truth, scores)
    return made


def _rates(truth: Array, labels: Array) -> Dict[str, float]:
    (tn, fp), (fn, tp) = sk.confusion_matrix(truth, labels, labels=[0, 1])
    made: Dict[str, float] = {}
    if tp + fn:
        made["true_positive_rate"], made["false_negative_rate"] = float(tp / (tp + fn)), float(fn / (tp + fn))
    if tn + fp:
        made["true_negative_rate"], made["false_positive_rate"] = float(tn / (tn + fp)), float(fp / (tn + fp))
    return made


def _multiclass(truth: Array, predicted: PredictedRows, classes: int) -> Dict[str, float]:
    labels, scores = predicted.labels, predicted.scores
    made = {"accuracy": float(sk.accuracy_score(truth, labels))}
    if len(np.unique(truth)) > 1:
        made["balanced_accuracy"] = float(_quiet(sk.balanced_accuracy_score, truth, labels))
    for average, prefix in (("macro", ""), ("weighted", "weighted_")):
        how = {"average": average, "zero_division": 0}
        made[prefix + "precision"] = float(sk.precision_score(truth, labels, **how))
        made[prefix + "recall"] = float(sk.recall_score(truth, labels, **how))
        for name, beta in (("f0_5", 0.5), ("f1", 1.0), ("f2", 2.0)):
            made[prefix + name] = float(sk.fbeta_score(truth, labels, beta=beta, **how))
    every = np.arange(classes)
    if predicted.probabilities:
        shares = scores / scores.sum(axis=1, keepdims=True)
        made["log_loss"] = float(sk.log_loss(truth, shares, labels=every))
    if scores is not None and len(np.unique(truth)) == classes:
        rest = [sk.roc_auc_score(truth == each, scores[:, each]) for each in every]
        made["roc_auc"] = float(np.mean(rest))
    return made


def _quiet(function: Any, truth: Array, labels: Array) -> Any:
    """Without the warning that a class was predicted which the rows do not have."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(truth, labels)


def calibration_error(truth: Array, scores: Array) -> float:
    """The expected calibration error (Guo et al. 2017): over ten equal bins, the mean distance of the mean probability from the share of
    positives, weighted by rows."""
    bins = np.clip((scores * BINS).astype(int), 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    gaps = np.bincount(bins, scores - truth, BINS)
    return float(np.abs(gaps).sum() / max(1, counts.sum()))


def undefined(problem: str, truth: Array, predicted: PredictedRows) -> List[str]:
    """Why metrics are left out."""
    if problem == "regression":
        return [] if len(truth) > 1 and np.ptp(truth) > 0 else ["r2: the target is the same in all rows"]
    reasons = []
    if predicted.scores is None:
        reasons.append(
            "roc_auc, pr_auc, log_loss, brier, calibration: the predictions are classes, without probabilities"
        )
    elif not predicted.probabilities:
        reasons.append("log_loss, brier, calibration: the scores are not probabilities from 0 to 1")
    if problem == "binary" and len(np.unique(truth)) < 2:
        reasons.append("roc_auc, pr_auc, balanced_accuracy: the rows have one class only")
    return reasons


def best_constant(problem: str, truth: Array, classes: int) -> Dict[str, float]:
    """What the best prediction of one and the same class for every row reaches, as SageMaker's monitors tell it."""
    label = int(np.bincount(truth, minlength=classes).argmax())
    constant = PredictedRows(problem, labels=np.full(len(truth), label))
    found = metrics(problem, truth, constant, classes)
    prefix = "" if problem == "binary" else "weighted_"
    told = ("accuracy", *(prefix + name for name in ("precision", "recall", "f0_5", "f1", "f2")))
    return {"{}_best_constant_classifier".format(name): found[name] for name in told}


def confusion(truth: Array, labels: Array, classes: Tuple[str, ...]) -> Dict[str, Dict[str, int]]:
    """Actual class -> predicted class -> rows."""
    counts = sk.confusion_matrix(truth, labels, labels=np.arange(len(classes)))
    return {one: {other: int(n) for other, n in zip(classes, row)} for one, row in zip(classes, counts)}


def curves(truth: Array, predicted: PredictedRows) -> Dict[str, Dict[str, List[float]]]:
    """Of two classes with scores: the ROC and the precision-recall curve, and the calibration curve of probabilities."""
    scores = predicted.scores
    if scores is None or scores.ndim != 1 or len(np.unique(truth)) < 2:
        return {}
    false, true, _ = sk.roc_curve(truth, scores)
    precisions, recalls, _ = sk.precision_recall_curve(truth, scores, drop_intermediate=True)
    made = {
        "receiver_operating_characteristic_curve": _thinned(false_positive_rates=false, true_positive_rates=true),
        "precision_recall_curve": _thinned(precisions=precisions, recalls=recalls),
    }
    if predicted.probabilities:
        shares, means = calibration_curve(truth, scores, n_bins=BINS, strategy="quantile")
        made["calibration_curve"] = _thinned(mean_probabilities=means, positive_shares=shares)
    return made


def _thinned(**arrays: Array) -> Dict[str, List[float]]:
    length = len(next(iter(arrays.values())))
    kept = np.unique(np.linspace(0, length - 1, min(length, POINTS)).round().astype(int))
    return {name: [float(each) for each in values[kept]] for name, values in arrays.items()}
