"""The metrics under weights of the rows, many sets of weights at once; bootstrap intervals and paired tests made of them.

A bootstrap replicate draws as many rows as there are, with replacement: it is a weight for each row (how often it was drawn), so that
nothing is copied, and scores are sorted once for all replicates. Rows of one group are drawn together. The values are scikit-learn's with
`sample_weight` (the tests compare them). The paired test exchanges two models' predictions at random row by row (a randomisation test:
Fisher 1935; of AUC on ranks, Venkatraman and Begg 1996): how often is the difference as large as it is by chance alone? numpy only; pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from clary.toolkit.brief import BINARY, MAXIMIZE, METRICS, REGRESSION

Array = Any  # numpy.ndarray
Weighted = Callable[[Array], Array]  # (replicates, rows) -> (replicates,)

CELLS = 4_000_000  # weights that are in memory at once
LARGEST = 400_000_000  # rows times replicates; beyond, there are fewer replicates
LEAST = 200  # replicates of the largest data
RANKED = ("roc_auc", "pr_auc")  # that look at the order of scores alone


@dataclass(frozen=True)
class PredictedRows:
    """One model's predictions. Regression: `numbers`. Classes: `labels` (indexes), and `scores`, where it tells them: of two classes one
    column for the positive one, else one for each class; `probabilities`: whether scores are such."""

    problem: str
    numbers: Array = None
    labels: Array = None
    scores: Array = None
    probabilities: bool = False

    def only(self, rows: Array) -> PredictedRows:
        """The predictions of some of the rows."""
        some: Dict[str, Any] = {name: value[rows] for name, value in self._arrays().items()}
        return replace(self, **some)

    @staticmethod
    def joined(parts: Sequence[PredictedRows]) -> PredictedRows:
        """Predictions of several sets of rows, one after the other; of scores only where all have them."""
        every = [part._arrays() for part in parts]
        made: Dict[str, Any] = {
            name: np.concatenate([each[name] for each in every])
            for name in every[0]
            if all(name in each for each in every)
        }
        sure = all(part.probabilities for part in parts)
        return PredictedRows(parts[0].problem, probabilities=sure and "scores" in made, **made)

    def exchanged(self, other: PredictedRows, rows: Array) -> PredictedRows:
        """With the other's predictions in these rows."""
        theirs = other._arrays()
        made: Dict[str, Any] = {}
        for name, value in self._arrays().items():
            if name in theirs:
                made[name] = np.where(rows if value.ndim == 1 else rows[:, None], theirs[name], value)
        return replace(self, **made)

    def ranked(self) -> PredictedRows:
        """With ranks in place of scores: what two models' scores can be exchanged as."""
        assert self.scores is not None
        columns = self.scores if self.scores.ndim == 2 else self.scores[:, None]
        ranks = np.column_stack([_ranks(columns[:, number]) for number in range(columns.shape[1])])
        return replace(self, scores=ranks if self.scores.ndim == 2 else ranks[:, 0], probabilities=False)

    def _arrays(self) -> Dict[str, Array]:
        found = {"numbers": self.numbers, "labels": self.labels, "scores": self.scores}
        return {name: value for name, value in found.items() if value is not None}


def _ranks(values: Array) -> Array:
    """1, 2, ... by size; equal values share their mean rank."""
    found, counts = np.unique(values, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[np.searchsorted(found, values)]


# -- the metrics under weights ------------------------------------------------------------------------------------------------


def names(problem: str, predicted: PredictedRows) -> Tuple[str, ...]:
    """The metrics that these predictions allow."""
    wanted = [name for name, (_, problems) in METRICS.items() if problem in problems]
    if problem == REGRESSION:
        return tuple(wanted)
    scored = ("roc_auc", "pr_auc") if predicted.scores is not None else ()
    sure = ("log_loss", "brier") if predicted.probabilities else ()
    return tuple(
        name for name in wanted if name not in ("roc_auc", "pr_auc", "log_loss", "brier") or name in (*scored, *sure)
    )


def weighted(
    problem: str, truth: Array, predicted: PredictedRows, classes: int, wanted: Sequence[str]
) -> Dict[str, Weighted]:
    """Metric -> its values under weights. NaN where it is not defined: no row of a class, no variance."""
    if problem == REGRESSION:
        return {name: _regression(name, truth, predicted.numbers) for name in wanted}
    made: Dict[str, Weighted] = {}
    for name in wanted:
        if name in RANKED:
            made[name] = _ranking(name, truth, predicted, classes)
        elif name in ("log_loss", "brier"):
            made[name] = _mean(_losses(name, truth, predicted))
        else:
            made[name] = _counted(name, problem, truth, predicted.labels, classes)
    return made


def _mean(losses: Array) -> Weighted:
    return lambda weights: weights @ losses / weights.sum(axis=1)


def _regression(name: str, truth: Array, numbers: Array) -> Weighted:
    errors = numbers - truth
    if name == "mae":
        return _mean(np.abs(errors))
    squares = _mean(errors**2)
    if name == "mse":
        return squares
    if name == "rmse":
        return lambda weights: np.sqrt(squares(weights))
    centred = truth - truth.mean()  # a sum of squares minus the square of a sum loses digits far from 0

    def r2(weights: Array) -> Array:
        total = weights.sum(axis=1)
        variance = weights @ centred**2 / total - (weights @ centred / total) ** 2
        return 1.0 - _over(squares(weights), variance, np.nan)

    return r2


def _losses(name: str, truth: Array, predicted: PredictedRows) -> Array:
    scores = predicted.scores
    assert scores is not None
    if name == "brier":
        return (scores - truth) ** 2
    tiny = np.finfo(scores.dtype).eps  # scikit-learn's bound
    if scores.ndim == 1:
        right = np.where(truth == 1, scores, 1.0 - scores)
    else:
        right = (scores / scores.sum(axis=1, keepdims=True))[np.arange(len(truth)), truth]
    return -np.log(np.clip(right, tiny, 1.0 - tiny))


def _counted(name: str, problem: str, truth: Array, labels: Array, classes: int) -> Weighted:
    """Metrics of the confusion matrix: of the positive class, or the mean over all classes."""
    if name == "accuracy":
        return _mean((truth == labels).astype(float))
    present = np.union1d(truth, labels)
    every = np.arange(classes)
    wanted = np.array([1]) if problem == BINARY and name != "balanced_accuracy" else every[np.isin(every, present)]
    hits = np.stack([(truth == each) & (labels == each) for each in wanted], axis=1).astype(float)
    actual = np.stack([truth == each for each in wanted], axis=1).astype(float)
    told = np.stack([labels == each for each in wanted], axis=1).astype(float)

    def rate(weights: Array) -> Array:
        true, positives, claims = weights @ hits, weights @ actual, weights @ told
        if name == "balanced_accuracy":
            return np.nanmean(_over(true, positives, np.nan), axis=1)
        if name == "recall":
            return _over(true, positives, 0.0).mean(axis=1)
        if name == "precision":
            return _over(true, claims, 0.0).mean(axis=1)
        return _over(2.0 * true, positives + claims, 0.0).mean(axis=1)  # f1

    return rate


def _over(above: Array, below: Array, otherwise: float) -> Array:
    out = np.full(np.broadcast(above, below).shape, otherwise, dtype=float)
    return np.divide(above, below, out=out, where=below != 0)


def _ranking(name: str, truth: Array, predicted: PredictedRows, classes: int) -> Weighted:
    scores = predicted.scores
    assert scores is not None
    if scores.ndim == 1:
        return _curve(name, truth == 1, scores)
    rest = [_curve(name, truth == each, scores[:, each]) for each in range(classes)]  # each class against the rest
    return lambda weights: np.mean([each(weights) for each in rest], axis=0)


def _curve(name: str, truth: Array, scores: Array) -> Weighted:
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = truth[order].astype(float)

    def area(weights: Array) -> Array:
        drawn = weights[:, order]
        true = np.cumsum(drawn * hits, axis=1)[:, ends]
        false = np.cumsum(drawn * (1.0 - hits), axis=1)[:, ends]
        if name == "pr_auc":  # average precision: a sum of steps, no line between points that could not be reached
            recall = _over(true, true[:, -1:], np.nan)
            steps = np.diff(recall, axis=1, prepend=0.0)
            return (steps * _over(true, true + false, 0.0)).sum(axis=1)
        steps = np.diff(false, axis=1, prepend=0.0)
        heights = true - np.diff(true, axis=1, prepend=0.0) / 2.0
        return _over((steps * heights).sum(axis=1), true[:, -1] * false[:, -1], np.nan)

    return area


# -- the bootstrap ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A value with what the bootstrap says of it; NaN where too few replicates defined it."""

    value: float
    deviation: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Plan:
    """How to draw: replicates, confidence and seed, and what is drawn together."""

    replicates: int
    confidence: float = 0.95
    seed: int = 0

    def of(self, rows: int) -> int:
        """The replicates of so many rows: all, or what a minute or two allows, but LEAST."""
        return min(self.replicates, max(LEAST, LARGEST // max(1, rows)))


def draws(rows: int, groups: Optional[Array], plan: Plan) -> Any:
    """Weights, (some replicates, rows) at a time."""
    generator = np.random.default_rng(plan.seed)
    number = rows if groups is None else int(groups.max()) + 1
    left = plan.of(rows)
    while left:
        some = min(left, max(1, CELLS // rows))
        picked = generator.integers(0, number, (some, number)) + (np.arange(some) * number)[:, None]
        counts = np.bincount(picked.ravel(), minlength=some * number).reshape(some, number).astype(float)
        yield counts if groups is None else counts[:, groups]
        left -= some


def replicated(metrics: Mapping[str, Weighted], rows: int, groups: Optional[Array], plan: Plan) -> Dict[str, Array]:
    """Each metric's value in each replicate. The same plan draws the same rows, so that models can be compared replicate by replicate."""
    found: Dict[str, List[Array]] = {name: [] for name in metrics}
    for weights in draws(rows, groups, plan):
        with np.errstate(invalid="ignore", divide="ignore"):
            for name, metric in metrics.items():
                found[name].append(metric(weights))
    return {name: np.concatenate(values) if values else np.empty(0) for name, values in found.items()}


def interval(value: float, replicates: Array, plan: Plan) -> Interval:
    """The percentile interval. NaN when a metric is not defined in more than a tenth of the replicates."""
    sound = replicates[np.isfinite(replicates)]
    if len(sound) < max(2.0, 0.9 * len(replicates)):
        return Interval(value, np.nan, np.nan, np.nan)
    tail = (1.0 - plan.confidence) / 2.0
    lower, upper = np.quantile(sound, [tail, 1.0 - tail])
    return Interval(value, float(sound.std(ddof=1)), float(lower), float(upper))


# -- the paired test ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """One metric of two models on the same rows. `difference` is ours minus theirs; `p_value` of the randomisation test (two-sided,
    NaN where none was made); `verdict`: better, worse, or not shown."""

    difference: Interval
    p_value: float
    verdict: str


def compared(
    name: str,
    truth: Array,
    ours: PredictedRows,
    theirs: PredictedRows,
    classes: int,
    groups: Optional[Array],
    plan: Plan,
) -> Comparison:
    """The paired test of one metric: better or worse is what both the bootstrap's interval of the difference and the randomisation
    test say."""
    rows = len(truth)
    both = [weighted(ours.problem, truth, each, classes, [name]) for each in (ours, theirs)]
    ones = np.ones((1, rows))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(both[0][name](ones)[0] - both[1][name](ones)[0])
    drawn = [replicated(each, rows, groups, plan)[name] for each in both]
    difference = interval(value, drawn[0] - drawn[1], plan)
    p_value = exchanged(name, truth, ours, theirs, classes, groups, plan)
    return Comparison(difference, p_value, verdict(METRICS[name][0], difference, p_value, plan))


def verdict(direction: str, difference: Interval, p_value: float, plan: Plan) -> str:
    """better, worse, or not shown. A test that was not made (NaN) says nothing against the interval."""
    low, high = (difference.lower, difference.upper)
    if direction != MAXIMIZE:
        low, high = -high, -low
    if np.isfinite(p_value) and p_value > 1.0 - plan.confidence:
        return "not shown"
    return "better" if low > 0 else "worse" if high < 0 else "not shown"


def exchanged(
    name: str,
    truth: Array,
    ours: PredictedRows,
    theirs: PredictedRows,
    classes: int,
    groups: Optional[Array],
    plan: Plan,
) -> float:
    """The p value of the randomisation test: the share of exchanges whose difference is at least as large, the real one counted in."""
    rows = len(truth)
    if name in RANKED:
        ours, theirs = ours.ranked(), theirs.ranked()
    ones = np.ones((1, rows))

    def gap(one: PredictedRows, other: PredictedRows) -> float:
        pair = [weighted(one.problem, truth, each, classes, [name])[name](ones)[0] for each in (one, other)]
        return float(pair[0] - pair[1])

    with np.errstate(invalid="ignore", divide="ignore"):
        real = abs(gap(ours, theirs))
        if not np.isfinite(real):
            return float("nan")
        generator = np.random.default_rng([plan.seed, 1])
        number = rows if groups is None else int(groups.max()) + 1
        times = plan.of(rows * 4)
        as_large = 1
        for _ in range(times):
            picked = generator.random(number) < 0.5
            mask = picked if groups is None else picked[groups]
            as_large += abs(gap(ours.exchanged(theirs, mask), theirs.exchanged(ours, mask))) >= real * (1 - 1e-12)
    return as_large / (times + 1)
