"""The two passes over the data: one that learns of the training part, one that transforms every row.

Everything that is learnt is learnt of rows of the training part whose target is known. Knows no files: a source gives the batches, twice
the same, and what is transformed is handed on.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Deque, Dict, Iterator, List, Mapping, NamedTuple, Optional, Protocol, Tuple, TypeVar

import numpy as np

from clary.toolkit.preparation.fitted import Feature, Preparation
from clary.toolkit.preparation.fitting import Fit, Moments
from clary.toolkit.preparation.recipe import CATEGORY, DATE, TIME, Recipe, Target
from clary.toolkit.preparation.sketch import Sketch
from clary.toolkit.preparation.splitting import LEFT_OUT, Splitter, times
from clary.toolkit.preparation.values import Array, BadValue, Coded, Values, instant, number

MOST_CLASSES = 1000


class RowBatch(NamedTuple):
    """`rows`: by source column; `split`: the values that the split goes by; `first`: how many rows came before these."""

    rows: Dict[str, Values]
    split: Optional[Values]
    size: int
    first: int


class Batches(Protocol):
    """Where rows come from: the same ones in the same order each time."""

    def batches(self, recipe: Recipe, names: Tuple[str, ...] = ...) -> Iterator[RowBatch]: ...


@dataclass
class LabelCounts:
    """The target as it was seen: rows of each class and part, or moments by part for a number."""

    target: Target
    counts: Dict[str, Array] = field(default_factory=dict)
    moments: List[Moments] = field(default_factory=list)
    missing: int = 0

    def update(self, values: Values, parts: Array, number_of_parts: int) -> Array:
        """Look at the target of all rows; where it is known."""
        if not isinstance(values, Coded):
            there = ~np.isnan(values)
            while len(self.moments) < number_of_parts:
                self.moments.append(Moments())
            for part, moments in enumerate(self.moments):
                moments.update(values[there & (parts == part)])
            self.missing += int((~there).sum())
            return there
        present = [text is not None for text in values.values]
        there = np.array(present, dtype=bool)[values.codes]
        self.missing += int((~there).sum())
        inside = there & (parts >= 0)
        cells = values.codes[inside] * number_of_parts + parts[inside]
        found = np.bincount(cells, minlength=len(values.values) * number_of_parts).reshape(-1, number_of_parts)
        for text, sizes in zip(values.values, found):
            if text is not None and sizes.any():
                self.counts[text] = self.counts.get(text, 0) + sizes
        if len(self.counts) > MOST_CLASSES:
            raise BadValue(
                "The target {!r} has more than {:,} different values, and is no number: it looks like text. Name another target, or say "
                "`target: {{column: {}, kind: number}}` if it is one.".format(
                    self.target.column, MOST_CLASSES, self.target.column
                )
            )
        return there

    @property
    def classes(self) -> List[str]:
        """In order; the positive one of two last."""
        found = _in_order(self.counts)
        if self.target.positive is not None and len(found) == 2:
            found.sort(key=lambda text: text == self.target.positive)
        return found

    def check(self, rows: int) -> None:
        """BadValue for a target that nothing can be learnt of."""
        name, positive = self.target.column, self.target.positive
        if self.missing == rows:
            raise BadValue("The target {!r} is missing in all {:,} rows.".format(name, rows))
        if self.target.kind != CATEGORY:
            low, high = min(each.low for each in self.moments), max(each.high for each in self.moments)
            if low == high:
                raise BadValue("The target {!r} is {:g} in every row: there is nothing to learn.".format(name, low))
            return
        if len(self.counts) == 1:
            raise BadValue(
                "The target {!r} has one class only, {!r}: there is nothing to learn.".format(
                    name, next(iter(self.counts))
                )
            )
        if positive is not None and (positive not in self.counts or len(self.counts) != 2):
            shown = ", ".join(repr(each) for each in self.classes[:10])
            raise BadValue(
                "target.positive: {!r} is not one of two classes; the target has {}.".format(positive, shown)
            )


def _in_order(texts: Mapping[str, Any]) -> List[str]:
    """By number where all are numbers, else by text."""
    found = {text: number(text) for text in texts}
    if all(value is not None for value in found.values()):
        return sorted(texts, key=lambda text: (found[text], text))
    return sorted(texts)


@dataclass
class Learnt:
    """What the first pass found."""

    recipe: Recipe
    fit: Fit
    state: Dict[str, Any]
    labels: Optional[LabelCounts]
    cuts: List[float]
    rows: int = 0
    sizes: List[int] = field(default_factory=list)
    left_out: int = 0

    @property
    def encodes_by_target(self) -> bool:
        return any(column.encode == "target" for column in self.recipe.columns)


def learn(source: Batches, recipe: Recipe, threads: int = 1) -> Learnt:
    """The first pass. BadValue for data that the recipe does not fit."""
    cuts = _cuts(source, recipe)
    fit, splitter = Fit(recipe), Splitter(recipe.split, cuts)
    labels = LabelCounts(recipe.target) if recipe.target else None
    learnt = Learnt(recipe, fit, {}, labels, cuts, sizes=[0] * len(recipe.split.parts))
    by_target = _ByTarget(labels) if labels and learnt.encodes_by_target else None
    with ThreadPoolExecutor(threads) as pool:
        for batch in source.batches(recipe):
            parts = splitter.parts(batch.size, batch.split)
            learnt.rows += batch.size
            there = np.ones(batch.size, dtype=bool)
            if labels is not None:
                there = labels.update(batch.rows[labels.target.column], parts, len(learnt.sizes))
            sizes = np.bincount(parts[there & (parts >= 0)], minlength=len(learnt.sizes))
            learnt.sizes = [size + int(more) for size, more in zip(learnt.sizes, sizes)]
            learnt.left_out += int((~there | (parts == LEFT_OUT)).sum())
            training = there & (parts == 0)
            rows = {name: taken(values, training) for name, values in batch.rows.items()}
            folds = target = None
            if by_target is not None and labels is not None:
                folds = splitter.folds(
                    int(training.sum()), None if batch.split is None else taken(batch.split, training)
                )
                target = by_target.numbers(rows[labels.target.column])
            update = partial(fit.update, rows=rows, folds=folds, target=target)
            list(pool.map(update, range(len(fit.learners))))
    _check(learnt)
    if by_target is not None:
        by_target.settle(fit)
    learnt.state = fit.state()
    if labels is not None:
        if any(labels.target.column in each["names"] for each in learnt.state["columns"]):
            raise BadValue(
                "a feature would be called {!r}, as the target is: rename the column".format(labels.target.column)
            )
        learnt.state["target"] = {
            "name": labels.target.column,
            "classes": labels.classes if labels.target.kind == CATEGORY else None,
        }
    return learnt


def _check(learnt: Learnt) -> None:
    if not learnt.rows:
        raise BadValue("The data has no rows.")
    if learnt.labels is not None:
        learnt.labels.check(learnt.rows)
    if not learnt.sizes[0]:
        raise BadValue("The training part has none of the {:,} rows.".format(learnt.rows))


class _ByTarget:
    """The target as a number for encodings. Of two classes the one seen first is 0 until all rows were seen."""

    def __init__(self, labels: LabelCounts) -> None:
        self._labels = labels
        self._first: Optional[str] = None

    def numbers(self, values: Values) -> Array:
        if not isinstance(values, Coded):
            return values
        if len(self._labels.counts) > 2:
            raise BadValue(
                "Encoding by the target needs a number or two classes; {!r} has more.".format(
                    self._labels.target.column
                )
            )
        if self._first is None:
            self._first = next(iter(self._labels.counts), None)
        return np.array([float(text != self._first) for text in values.values])[values.codes]

    def settle(self, fit: Fit) -> None:
        if self._first is not None and self._labels.classes[-1] == self._first:
            for learner in fit.learners:
                if hasattr(learner, "flip"):
                    learner.flip()


def _cuts(source: Batches, recipe: Recipe) -> List[float]:
    """The instants where further parts begin: as the recipe says, or by shares, which takes a look at the times alone."""
    split = recipe.split
    if split.by != TIME:
        return []
    if split.cuts:
        made = [instant(str(cut)) if split.kind == DATE else number(str(cut)) for cut in split.cuts]
        for place, each in enumerate(made):
            if each is None:
                raise BadValue("split.cuts[{}]: {!r} is not a {}".format(place, split.cuts[place], split.kind))
        found = [float(each) for each in made if each is not None]
        if sorted(set(found)) != found:
            raise BadValue("split.cuts: must go up")
        return found
    sketch = Sketch()
    for batch in source.batches(recipe, ("",)):
        assert batch.split is not None
        moments = times(batch.split)
        sketch.update(moments[~np.isnan(moments)])
    if not sketch.count:
        raise BadValue("Column {!r}, which the split goes by, has no time in any row.".format(split.column))
    return sketch.quantiles(np.cumsum(list(split.parts.values()))[:-1].tolist())


def taken(values: Values, mask: Array) -> Values:
    """The rows that a mask names."""
    return Coded(values.codes[mask], values.values) if isinstance(values, Coded) else values[mask]


class Made(NamedTuple):
    """A transformed batch: features in order, the target before them (None without one), and the part of each row (LEFT_OUT: none)."""

    features: List[Feature]
    target: Optional[Feature]
    parts: Array


T = TypeVar("T")


def transform(
    source: Batches, learnt: Learnt, finish: Callable[[Made], T], write: Callable[[T], None], threads: int = 1
) -> None:
    """The second pass: `finish` is given every batch, by several threads; `write` what it answers, in order, by one."""
    preparation, splitter = Preparation(learnt.state), Splitter(learnt.recipe.split, learnt.cuts)
    waiting: Deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for batch in source.batches(learnt.recipe):
                dealt = _dealt(learnt, splitter, batch)
                waiting.append(pool.submit(partial(_made, finish, preparation, batch, *dealt)))
                if len(waiting) > threads:
                    write(waiting.popleft().result())
            while waiting:
                write(waiting.popleft().result())
        finally:
            for each in waiting:
                each.cancel()


def _dealt(learnt: Learnt, splitter: Splitter, batch: RowBatch) -> Tuple[Array, Optional[Array], Optional[Feature]]:
    """Parts, folds and target of a batch: dealt in order, hence not by several threads."""
    parts, target = splitter.parts(batch.size, batch.split), None
    labels = learnt.labels
    if labels is not None:
        values = batch.rows[labels.target.column]
        target = (labels.target.column, numbered(values, learnt.state["target"]["classes"]))
        parts = np.where(np.isnan(target[1]), LEFT_OUT, parts)
    folds = None
    if learnt.encodes_by_target:
        folds, training = np.full(batch.size, -1, dtype=np.int64), parts == 0
        folds[training] = splitter.folds(
            int(training.sum()), None if batch.split is None else taken(batch.split, training)
        )
    return parts, folds, target


def numbered(values: Values, classes: Optional[List[str]]) -> Array:
    """The target as float64: itself, or the place of its class."""
    if not isinstance(values, Coded):
        return values
    places = {text: float(place) for place, text in enumerate(classes or ())}
    return np.array([np.nan if text is None else places.get(text, np.nan) for text in values.values])[values.codes]


def _made(
    finish: Callable[[Made], T],
    preparation: Preparation,
    batch: RowBatch,
    parts: Array,
    folds: Optional[Array],
    target: Optional[Feature],
) -> T:
    return finish(Made(preparation.transform(batch.rows, folds), target, parts))
