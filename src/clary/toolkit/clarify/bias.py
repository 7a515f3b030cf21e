"""Bias metrics of SageMaker Clarify, over boolean arrays. Pure: numpy alone.

Formulas: "Measure Pre-training Bias" and "Measure Post-training Data and Model Bias" of the developer guide; where those leave a case
open (an empty class, 0/0), what AWS's own library smclarify answers. A facet divides the rows into d (disadvantaged: those that have the
facet's values) and a (the others).
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

Array = Any  # numpy.ndarray
_NEIGHBOURS, _FEW, _CELLS = 5, 9, 1 << 22


class Undefined(ValueError):
    """The metric has no value for these rows; the text says why."""


class Rows(NamedTuple):
    """What metrics are computed of: boolean arrays of one length. `facet`: the row belongs to d; `label`: its observed label is
    positive; `predicted`: its predicted one is; `groups`: any values; `features`: columns of a matrix, None where some are no numbers."""

    facet: Array
    label: Array
    predicted: Optional[Array] = None
    groups: Optional[Array] = None
    features: Optional[Array] = None


class _Counts(NamedTuple):
    """Of the rows of one side: all, true positives, false positives, false negatives, true negatives."""

    n: int
    tp: int
    fp: int
    fn: int
    tn: int


def divide(a: float, b: float) -> float:
    """a / b, where 0/0 is 0 and x/0 is infinite."""
    if b:
        return a / b
    return math.copysign(math.inf, a) if a else 0.0


def _minus(a: float, b: float) -> float:
    """a - b, where infinity minus infinity is 0."""
    return 0.0 if a == b else a - b


def _sides(rows: Rows) -> Tuple[_Counts, _Counts]:
    """The counts of a and of d; both have rows."""
    return _counts(rows, ~rows.facet, "Negated facet set"), _counts(rows, rows.facet, "Facet set")


def _counts(rows: Rows, side: Array, name: str) -> _Counts:
    label, predicted = rows.label[side], rows.predicted[side]  # type: ignore[index]
    if not len(label):
        raise Undefined("{} is empty".format(name))
    tp, fp = int((label & predicted).sum()), int((~label & predicted).sum())
    fn = int((label & ~predicted).sum())
    return _Counts(len(label), tp, fp, fn, len(label) - tp - fp - fn)


def _shares(facet: Array, positive: Array) -> Tuple[float, float]:
    """The share of positive rows in a and in d."""
    a, d = positive[~facet], positive[facet]
    if not len(a):
        raise Undefined("Negated facet set is empty")
    if not len(d):
        raise Undefined("Facet set is empty")
    return float(a.sum()) / len(a), float(d.sum()) / len(d)


def _distributions(rows: Rows) -> Tuple[Array, Array]:
    """The distributions of the label in a and in d, of the label's values that both of them have."""
    qa, qd = _shares(rows.facet, rows.label)
    pairs = [(a, d) for a, d in ((1 - qa, 1 - qd), (qa, qd)) if a and d]
    if not pairs:
        raise Undefined("The facet's two sides have no label in common, the dataset may be too small")
    pa, pd = np.array(pairs).T
    return pa, pd


def ci(rows: Rows) -> float:
    d = int(rows.facet.sum())
    a = len(rows.facet) - d
    if not d or not a:
        raise Undefined("Facet set is empty" if not d else "Negated facet set is empty")
    return (a - d) / (a + d)


def dpl(rows: Rows) -> float:
    qa, qd = _shares(rows.facet, rows.label)
    return qa - qd


def kl(rows: Rows) -> float:
    pa, pd = _distributions(rows)
    return float((pa * np.log(pa / pd)).sum())


def js(rows: Rows) -> float:
    pa, pd = _distributions(rows)
    p = (pa + pd) / 2
    return float(((pa * np.log(pa / p)).sum() + (pd * np.log(pd / p)).sum()) / 2)


def lp(rows: Rows) -> float:
    pa, pd = _distributions(rows)
    return float(np.sqrt(((pa - pd) ** 2).sum()))


def tvd(rows: Rows) -> float:
    pa, pd = _distributions(rows)
    return float(np.abs(pa - pd).sum() / 2)


def ks(rows: Rows) -> float:
    pa, pd = _distributions(rows)
    return float(np.abs(pa - pd).max())


def cddl(rows: Rows) -> float:
    return _conditional_disparity(rows, rows.label)


def cddpl(rows: Rows) -> float:
    return _conditional_disparity(rows, rows.predicted)


def _conditional_disparity(rows: Rows, positive: Array) -> float:
    """Mean over the groups, weighted by their size, of the share of d among those rejected less that among those accepted."""
    if rows.groups is None:
        raise Undefined("Group variable is empty or not provided")
    if not positive.any():
        raise Undefined("No positive labels in set")
    if positive.all():
        raise Undefined("No negative labels in set")
    total = 0.0
    for group in _distinct(rows.groups):
        own = rows.groups == group
        accepted, rejected = own & positive, own & ~positive
        shares = [divide(int((side & rows.facet).sum()), int(side.sum())) for side in (rejected, accepted)]
        total += int(own.sum()) * (shares[0] - shares[1])
    return total / len(positive)


def _distinct(values: Array) -> List[Any]:
    return list(dict.fromkeys(values.tolist()))


def dppl(rows: Rows) -> float:
    qa, qd = _shares(rows.facet, rows.predicted)
    return qa - qd


def di(rows: Rows) -> float:
    qa, qd = _shares(rows.facet, rows.predicted)
    return divide(qd, qa)


def dca(rows: Rows) -> float:
    a, d = _sides(rows)
    return _minus(*(divide(side.tp + side.fn, side.tp + side.fp) for side in (a, d)))


def dcr(rows: Rows) -> float:
    a, d = _sides(rows)
    return _minus(*(divide(side.tn + side.fp, side.tn + side.fn) for side in (d, a)))


def rd(rows: Rows) -> float:
    a, d = _sides(rows)
    return _minus(*(divide(side.tp, side.tp + side.fn) for side in (a, d)))


def sd(rows: Rows) -> float:
    a, d = _sides(rows)
    return _minus(*(divide(side.tn, side.tn + side.fp) for side in (d, a)))


def dar(rows: Rows) -> float:
    a, d = _sides(rows)
    return _minus(*(divide(side.tp, side.tp + side.fp) for side in (a, d)))


def drr(rows: Rows) -> float:
    a, d = _sides(rows)
    return _minus(*(divide(side.tn, side.tn + side.fn) for side in (d, a)))


def ad(rows: Rows) -> float:
    a, d = _sides(rows)
    return _minus(*((side.tp + side.tn) / side.n for side in (a, d)))


def te(rows: Rows) -> float:
    a, d = _sides(rows)
    return _minus(*(divide(side.fn, side.fp) for side in (d, a)))


def ge(rows: Rows) -> float:
    """Generalized entropy with alpha 2 of the benefits 1 + predicted - label."""
    benefits = rows.predicted.astype(float) - rows.label + 1  # type: ignore[union-attr]
    mean = benefits.mean()
    if not mean:
        raise Undefined(
            "All predicted labels are false negatives. There should be at least one prediction that is not false negative."
        )
    return float((((benefits / mean) ** 2) - 1).sum() / (2 * len(benefits)))


def ft(rows: Rows) -> float:
    """Flip test: what the five nearest rows of a got, less what the rows of d got, over the rows of d."""
    if rows.features is None:
        raise Undefined("FlipTest does not support non-numeric columns")
    _shares(rows.facet, rows.predicted)
    if not np.isfinite(rows.features).all():
        raise Undefined("FlipTest does not support missing values")
    theirs, own = rows.features[~rows.facet], rows.features[rows.facet]
    got = rows.predicted[~rows.facet]  # type: ignore[index]
    model = rows.predicted[rows.facet]  # type: ignore[index]
    count = _NEIGHBOURS if len(theirs) > _FEW else 1
    as_a = np.empty(len(own), dtype=bool)
    step = max(1, _CELLS // len(theirs))
    for start in range(0, len(own), step):
        some = own[start : start + step]
        distances = np.zeros((len(some), len(theirs)))
        for column in range(own.shape[1]):  # summed in the columns' order: equal rows get equal distances
            distances += (some[:, column, None] - theirs[None, :, column]) ** 2
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
        as_a[start : start + step] = got[nearest].sum(axis=1) * 2 > count
    return (int((model & ~as_a).sum()) - int((~model & as_a).sum())) / len(own)


Metric = Callable[[Rows], float]
PRE_TRAINING: Dict[str, Tuple[str, Metric]] = {
    "CDDL": ("Conditional Demographic Disparity in Labels (CDDL)", cddl),
    "CI": ("Class Imbalance (CI)", ci),
    "DPL": ("Difference in Positive Proportions in Labels (DPL)", dpl),
    "JS": ("Jensen-Shannon Divergence (JS)", js),
    "KL": ("Kullback-Liebler Divergence (KL)", kl),
    "KS": ("Kolmogorov-Smirnov Distance (KS)", ks),
    "LP": ("L-p Norm (LP)", lp),
    "TVD": ("Total Variation Distance (TVD)", tvd),
}
POST_TRAINING: Dict[str, Tuple[str, Metric]] = {
    "AD": ("Accuracy Difference (AD)", ad),
    "CDDPL": ("Conditional Demographic Disparity in Predicted Labels (CDDPL)", cddpl),
    "DAR": ("Difference in Acceptance Rates (DAR)", dar),
    "DCA": ("Difference in Conditional Acceptance (DCA)", dca),
    "DCR": ("Difference in Conditional Rejection (DCR)", dcr),
    "DI": ("Disparate Impact (DI)", di),
    "DPPL": ("Difference in Positive Proportions in Predicted Labels (DPPL)", dppl),
    "DRR": ("Difference in Rejection Rates (DRR)", drr),
    "FT": ("Flip Test (FT)", ft),
    "GE": ("Generalized Entropy (GE)", ge),
    "RD": ("Recall Difference (RD)", rd),
    "SD": ("Specificity Difference (SD)", sd),
    "TE": ("Treatment Equality (TE)", te),
}


def report(rows: Rows, table: Dict[str, Tuple[str, Metric]], names: Sequence[str]) -> List[Dict[str, Any]]:
    """The metrics in Clarify's form, by name: `{"name", "description", "value"}`; `value` is None, and `error` says why, where a metric
    has none."""
    found = []
    for name in sorted(names):
        description, metric = table[name]
        entry: Dict[str, Any] = {"name": name, "description": description}
        try:
            entry["value"] = shown(metric(rows))
        except Undefined as error:
            entry.update(value=None, error=str(error))
        found.append(entry)
    return found


def shown(value: float) -> Any:
    """A number as JSON can have it: infinity is a text."""
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def performance(label: Array, predicted: Array) -> Tuple[List[Dict[str, Any]], List[float]]:
    """The model's performance over all rows, as `{"name", "description", "value"}`, and the shares of true positives, false positives,
    false negatives and true negatives."""
    found = _counts(Rows(label, label, predicted), np.ones(len(label), dtype=bool), "Dataset")
    n, tp, fp, fn, tn = found
    recall, precision = divide(tp, tp + fn), divide(tp, tp + fp)
    of = "Proportion of inputs "
    rows = (
        ("Accuracy", of + "assigned the correct predicted label by the model.", (tp + tn) / n),
        ("Proportion of Positive Predictions in Labels", of + "assigned in positive predicted label.", (tp + fp) / n),
        ("Proportion of Negative Predictions in Labels", of + "assigned the negative predicted label.", (tn + fn) / n),
        (
            "True Positive Rate / Recall",
            of + "with positive observed label correctly assigned the positive predicted label.",
            recall,
        ),
        (
            "True Negative Rate / Specificity",
            of + "with negative observed label correctly assigned the negative predicted label.",
            divide(tn, tn + fp),
        ),
        (
            "Acceptance Rate / Precision",
            of + "with positive predicted label that actually have a positive observed label.",
            precision,
        ),
        (
            "Rejection Rate",
            of + "with negative predicted label that actually have a negative observed label.",
            divide(tn, tn + fn),
        ),
        ("Conditional Acceptance", "Ratio between the positive observed labels and positive predicted labels.", divide(tp + fn, tp + fp)),
        ("Conditional Rejection", "Ratio between the negative observed labels and negative predicted labels.", divide(tn + fp, tn + fn)),
        ("F1 Score", "Harmonic mean of precision and recall.", divide(2 * precision * recall, precision + recall)),
    )  # fmt: skip
    listed = [{"name": name, "description": words, "value": shown(value)} for name, words, value in rows]
    return listed, [tp / n, fp / n, fn / n, tn / n]
