"""How right a variant may be while its labels have not come: estimated accuracy of a classifier, estimated errors of a regression. Pure.

CBPE (confidence based performance estimation): a classifier that answers with a probability says itself how often it is right. Accuracy is
the mean of that probability where class 1 is predicted, and of the rest where class 0 is. Where labelled rows show that the probabilities
are wrong, they are calibrated first: by isotonic regression over bins, where it lowers the calibration error of rows that it was not
fitted to. DLE (direct loss estimation): a model of the errors of labelled rows (`losses.py`) estimates those of the others.

Both are NannyML's definitions. Both see what the inputs do to the model; neither sees that other answers became right (concept drift).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from clary.domain.monitoring.captured import Row, Value
from clary.domain.monitoring.losses import COLUMNS, LossModel
from clary.domain.monitoring.quality import CLASSES, REGRESSION, ROLLING, SHOWN, SURE, LabelRule

BINS = 100  # of a probability
_COARSE = 10  # bins of these for the calibration error
ENOUGH = 2000  # labelled rows that teach, where the reference has more
OF_A_REQUEST = 100  # rows of a request that are learned from
OUTPUT = "output"  # the prediction, as a column of what is learned from

Counted = list[list[float]]  # by bin of the probability: rows, of these with label 1, sum of the probabilities


class Lesson(NamedTuple):
    """A row with the error that its label showed."""

    row: Row
    error: float


class Estimates(NamedTuple):
    """Over some rows without labels: the sums of what was estimated (rows right; or absolute errors), of its variance, and of squared
    errors."""

    rows: int = 0
    total: float = 0.0
    variance: float = 0.0
    squares: float = 0.0
    start: float = 0.0
    end: float = 0.0

    def plus(self, other: Estimates) -> Estimates:
        if not self.rows or not other.rows:
            return self if self.rows else other
        start, end = min(self.start, other.start), max(self.end, other.end)
        variance, squares = self.variance + other.variance, self.squares + other.squares
        return Estimates(self.rows + other.rows, self.total + other.total, variance, squares, start, end)


def _halves() -> list[Counted]:
    return [[[0.0, 0.0, 0.0] for _ in range(BINS)] for _ in range(2)]


@dataclass
class Estimate:
    """`halves`: labelled rows by turns, so that each judges what the other taught; `map`: the probability that stands for each bin's, None:
    as they are; `between` and `outside`: predictions within (0, 1), and those that are no probabilities; `learned`: labelled rows that
    taught."""

    rule: LabelRule
    halves: list[Counted] = field(default_factory=_halves)
    map: list[float] | None = None
    lessons: list[Lesson] = field(default_factory=list)
    models: list[LossModel] = field(default_factory=list)
    variance: float = 0.0
    learned: int = 0
    between: int = 0
    outside: int = 0
    open: Estimates = field(default_factory=lambda: Estimates())
    full: list[Estimates] = field(default_factory=list)

    # -- rows without labels ----------------------------------------------------------------------------------------------------------

    def take(self, predictions: Sequence[Value], rows: Sequence[Row], problem: str, at: float) -> None:
        """What was predicted for the rows of one request. `problem` is "" while nothing is known of it."""
        for prediction, row in zip(predictions, rows, strict=True):
            one = None
            if _probability(prediction) is None:
                self.outside += 1
            else:
                self.between += prediction not in (0.0, 1.0)
            if problem == REGRESSION:
                one = self._loss(prediction, row, at)
            elif not self.outside:
                one = self._right(prediction, at)
            if one is not None:
                self.open = self.open.plus(one)
            if self.open.rows >= self.rule.window:
                self.full, self.open = [*self.full, self.open][-SHOWN:], Estimates()

    def _right(self, prediction: Value, at: float) -> Estimates | None:
        score = _probability(prediction)
        if score is None:
            return None
        chance = score if self.map is None else self.map[_bin(score)]
        right = chance if score >= self.rule.threshold else 1.0 - chance
        return Estimates(1, right, right * (1.0 - right), 0.0, at, at)

    def _loss(self, prediction: Value, row: Row, at: float) -> Estimates | None:
        if not self.models or not isinstance(prediction, float):
            return None
        asked = features(row, prediction)
        return Estimates(1, self.models[0].loss(asked), self.variance, self.models[1].loss(asked), at, at)

    # -- rows with labels -------------------------------------------------------------------------------------------------------------

    @property
    def enough(self) -> int:
        return min(self.rule.reference, ENOUGH)

    def wants(self, problem: str) -> bool:
        """Whether the rows of requests are to be kept until their labels come."""
        return not self.models and self._of_errors(problem)

    def learn(self, predictions: Sequence[Value], labels: Sequence[Value], rows: Sequence[Row], problem: str) -> None:
        """From the rows of a request whose labels came, until `enough` have taught. `rows` may lack, of a classifier."""
        if self.learned >= self.enough:
            return
        if problem == CLASSES:
            self._count(predictions, labels)
        elif problem == REGRESSION:
            for prediction, label, row in zip(predictions, labels, rows, strict=False):
                if isinstance(prediction, float) and isinstance(label, float):
                    self.lessons.append(Lesson(features(row, prediction), abs(prediction - label)))
            self.learned = len(self.lessons)
            if self.learned >= self.enough:
                self._fit()

    def _count(self, predictions: Sequence[Value], labels: Sequence[Value]) -> None:
        for prediction, label in zip(predictions, labels, strict=False):
            score = _probability(prediction)
            if score is not None and label in (0.0, 1.0):
                counted = self.halves[self.learned % 2][_bin(score)]
                for place, value in enumerate((1.0, float(label), score)):
                    counted[place] += value
                self.learned += 1
        if self.learned >= self.enough and self.map is None:
            self.map, self.halves = calibration(self.halves), _halves()
            self._begin()

    def _fit(self) -> None:
        rows, errors = [lesson.row for lesson in self.lessons], [lesson.error for lesson in self.lessons]
        mean = sum(errors) / len(errors)
        self.variance = sum((error - mean) ** 2 for error in errors) / len(errors)
        self.models = [LossModel.fitted(rows, errors), LossModel.fitted(rows, [error * error for error in errors])]
        self.lessons = []
        self._begin()

    def _begin(self) -> None:
        """What was estimated before it had learned does not count."""
        self.open, self.full = Estimates(), []

    # -- telling ----------------------------------------------------------------------------------------------------------------------

    def phase(self, problem: str) -> str:
        """Why nothing is estimated, in words; "" where something is."""
        if self._of_errors(problem):
            return "" if self.models else f"learns from labelled rows: {self.learned} of {self.enough}"
        return "" if self.between and not self.outside else "needs answers that are probabilities of class 1"

    def _of_errors(self, problem: str) -> bool:
        return problem == REGRESSION or (not problem and self.outside > 0)

    def rolling(self) -> Estimates:
        newest = self.open
        for window in self.full[-ROLLING:]:
            newest = newest.plus(window)
        return newest

    def told(self, problem: str) -> dict[str, Any]:
        """What `clary drift` shows, as JSON takes it."""
        phase = self.phase(problem)
        return {
            "method": "DLE" if self._of_errors(problem) else "CBPE",
            "phase": phase,
            "calibrated": self.map is not None,
            "learned": self.learned,
            "rolling": None if phase else self._figures(self.rolling(), problem),
            "windows": [] if phase else [self._figures(each, problem) for each in self.full],
        }

    def _figures(self, sums: Estimates, problem: str) -> dict[str, Any] | None:
        if not sums.rows:
            return None
        mean, spread = sums.total / sums.rows, SURE * math.sqrt(sums.variance) / sums.rows
        shown = {"rows": sums.rows, "start": sums.start, "end": sums.end}
        if problem == REGRESSION:
            errors = {"mae": mean, "rmse": math.sqrt(sums.squares / sums.rows)}
            return {**shown, **errors, "lower": max(0.0, mean - spread), "upper": mean + spread}
        return {**shown, "accuracy": mean, "lower": max(0.0, mean - spread), "upper": min(1.0, mean + spread)}

    # -- over a restart ---------------------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        names = [name for name in self.__dataclass_fields__ if name not in ("rule", "models")]
        return {**{name: getattr(self, name) for name in names}, "models": [each.document() for each in self.models]}

    @classmethod
    def read(cls, rule: LabelRule, document: Mapping[str, Any]) -> Estimate:
        """What `document` wrote, as JSON gives it back; of an older Clary's {} a new one."""
        made = cls(rule, **document)
        made.lessons = [Lesson(*each) for each in made.lessons]
        made.models = [LossModel.read(each) for each in document.get("models", ())]
        made.open, made.full = Estimates(*made.open), [Estimates(*each) for each in made.full]
        return made


def features(row: Row, prediction: Value) -> Row:
    """What errors are learned from: the request's columns and the prediction."""
    asked = (name for name in row if name.startswith("input."))
    return {OUTPUT: prediction, **{name: row[name] for name in islice(asked, COLUMNS - 1)}}


def calibration(halves: Sequence[Counted]) -> list[float] | None:
    """The probability that stands for each bin's. None: rows that were not fitted show that they are better as they are."""
    one, other = halves
    before = sum(_wrong(counted, None) for counted in halves)
    after = _wrong(one, isotonic(other)) + _wrong(other, isotonic(one))
    if after >= before:
        return None
    return isotonic([[a + b for a, b in zip(*both, strict=True)] for both in zip(one, other, strict=True)])


def isotonic(counted: Counted) -> list[float]:
    """Rising shares of label 1 by bin, nearest to those counted (pool adjacent violators); bins without rows lie on the line between their
    neighbours. As they are, where there are no rows at all."""
    blocks: list[list[float]] = []  # label 1, rows, bins with rows
    filled = [place for place, (rows, _, _) in enumerate(counted) if rows]
    for place in filled:
        blocks.append([counted[place][1], counted[place][0], 1])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] > blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = [ours + theirs for ours, theirs in zip(blocks[-1], last, strict=True)]
    levels = [hits / rows for hits, rows, bins in blocks for _ in range(int(bins))]
    return [_between(filled, levels, place) for place in range(BINS)]


def _between(filled: Sequence[int], levels: Sequence[float], place: int) -> float:
    below = max((at for at, each in enumerate(filled) if each <= place), default=None)
    above = min((at for at, each in enumerate(filled) if each >= place), default=None)
    if below is None and above is None:
        return (place + 0.5) / BINS
    if below is None or above is None or below == above:
        return levels[above if below is None else below]  # type: ignore[index]
    share = (place - filled[below]) / (filled[above] - filled[below])
    return levels[below] + share * (levels[above] - levels[below])


def _wrong(counted: Counted, mapped: Sequence[float] | None) -> float:
    """The calibration error: over coarse bins, how far the mean probability is from the share of label 1, weighted by rows."""
    groups = [[0.0, 0.0] for _ in range(_COARSE)]
    for place, (rows, hits, scores) in enumerate(counted):
        if rows:
            chance = scores / rows if mapped is None else mapped[place]
            group = groups[min(_COARSE - 1, int(chance * _COARSE))]
            group[0] += chance * rows
            group[1] += hits
    total = sum(rows for rows, _, _ in counted)
    return sum(abs(told - hits) for told, hits in groups) / max(1.0, total)


def _bin(score: float) -> int:
    return min(BINS - 1, int(score * BINS))


def _probability(prediction: Value) -> float | None:
    return prediction if isinstance(prediction, float) and 0.0 <= prediction <= 1.0 else None
