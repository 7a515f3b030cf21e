"""The first pass: what the training part is like, column by column, in bounded memory, and the state that follows from it.

Means and variances are exact (Chan's updates) where bounds are known beforehand; where a bound is itself a quantile they come from the
same sketch, and are off by at most its rank error times the distance of the bounds. Categories beyond `MOST` different ones are counted
by Misra and Gries's algorithm: a count is then too low by at most `lost`.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from clary.toolkit.preparation.fitted import VERSION, bounded
from clary.toolkit.preparation.recipe import CATEGORY, DATE, NUMBER, TEXT, ColumnRecipe, Recipe
from clary.toolkit.preparation.sketch import Sketch
from clary.toolkit.preparation.splitting import FOLDS
from clary.toolkit.preparation.values import Array, BadValue, Coded, Values, derived, instant

MOST = 100_000  # different categories that are counted exactly
_PICTURED = 4096
_IQR = 1.3489795003921634  # of a standard normal distribution: quantile(0.75) - quantile(0.25)


class Moments:
    """Count, mean and sum of squared differences."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.low, self.high = math.inf, -math.inf

    def update(self, x: Array) -> None:
        if not len(x):
            return
        mean = float(x.mean())
        self.merge(len(x), mean, float(np.square(x - mean).sum()))
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))

    def merge(self, count: int, mean: float, squares: float) -> None:
        total = self.count + count
        if not total:
            return
        far = mean - self.mean
        self.squares += squares + far * far * self.count * count / total
        self.mean += far * count / total
        self.count = total

    @property
    def variance(self) -> float:
        return self.squares / self.count if self.count else math.nan


class Numbers:
    """What is learnt of a column of numbers."""

    def __init__(self, column: ColumnRecipe) -> None:
        self._column = column
        self.missing = 0
        self.raw, self.moments = Moments(), Moments()
        self.sketch = Sketch() if column.sketched else None
        self.sample: List[Array] = []
        self._kept, self._stride, self._phase = 0, 1, 0
        self._fixed = {"low": column.bound.get("min"), "high": column.bound.get("max")}

    def update(self, values: Values, *_: Any) -> None:
        given: Any = values
        gone = np.isnan(given)
        x = given[~gone] if gone.any() else given
        self.missing += len(values) - len(x)
        self.raw.update(x)
        if self._fixed["low"] is None and self._fixed["high"] is None:
            self.moments = self.raw
        else:
            self.moments.update(bounded(x, self._fixed))
        if self.sketch is not None:
            self.sketch.update(x)
        self._picture(x)

    def _picture(self, x: Array) -> None:
        """Every 2**n-th value, of which there are at most `_PICTURED`."""
        taken = x[self._phase :: self._stride]
        self._phase = (self._phase - len(x)) % self._stride
        self.sample.append(np.array(taken))
        self._kept += len(taken)
        while self._kept > _PICTURED:
            self.sample = [np.concatenate(self.sample)[::2].copy()]
            self._kept, self._stride = len(self.sample[0]), self._stride * 2
            self._phase = 0

    def state(self) -> Dict[str, Any]:
        column = self._column
        if not self.raw.count and (
            column.fill in ("mean", "median", "most_frequent")
            or column.normalise != "none"
            or "quantiles" in column.bins
        ):
            raise BadValue(
                "column {!r} has no value in the training part: drop it, or fill it with a value of your own".format(
                    column.name
                )
            )
        made: Dict[str, Any] = {**self._fixed}
        made.update(self._quantile_bounds())
        moments = self._bounded_moments(made)
        made["fill"] = self._fill(made, moments)
        if made["fill"] is not None:
            value, total = made["fill"], Moments()
            total.merge(moments.count, moments.mean, moments.squares)
            total.merge(self.missing, value, 0.0)
            total.low, total.high = moments.low, moments.high
            if self.missing:
                total.low, total.high = min(total.low, value), max(total.high, value)
            moments = total
        if column.bins:
            made.update(self._bins())
            return made
        made.update(self._scale(made, moments))
        return made

    def _quantile_bounds(self) -> Dict[str, float]:
        bound = self._column.bound
        if self.sketch is None or not self.raw.count:
            return {}
        if "quantiles" in bound:
            low, high = self.sketch.quantiles(bound["quantiles"])
            return {"low": low, "high": high}
        if "robust_z" in bound:
            first, middle, third = self.sketch.quantiles([0.25, 0.5, 0.75])
            reach = bound["robust_z"] * (third - first) / _IQR
            return {"low": middle - reach, "high": middle + reach} if reach > 0 else {}
        return {}

    def _bounded_moments(self, state: Mapping[str, Any]) -> Moments:
        if self.sketch is None or not ("quantiles" in self._column.bound or "robust_z" in self._column.bound):
            return self.moments
        values, weights = self.sketch.items()
        made = Moments()
        if len(values):
            x = bounded(values, state)
            mean = float(np.average(x, weights=weights))
            made.merge(
                self.raw.count,
                mean,
                float((weights * np.square(x - mean)).sum()) * self.raw.count / float(weights.sum()),
            )
            made.low = max(self.raw.low, state["low"]) if state.get("low") is not None else self.raw.low
            made.high = min(self.raw.high, state["high"]) if state.get("high") is not None else self.raw.high
        return made

    def _fill(self, state: Mapping[str, Any], moments: Moments) -> Optional[float]:
        fill = self._column.fill
        if fill is None:
            return None
        if isinstance(fill, dict):
            return float(fill["value"])
        if fill == "mean":
            return moments.mean
        if fill == "median":
            assert self.sketch is not None
            return float(bounded(np.array(self.sketch.quantiles([0.5])), state)[0])
        raise BadValue(
            "columns.{}.fill: most_frequent is of a category; a number has mean, median or a value".format(
                self._column.name
            )
        )

    def _bins(self) -> Dict[str, Any]:
        bins = self._column.bins
        if "edges" in bins:
            return {"bins": [-1.0, *(float(edge) for edge in bins["edges"]), 1.0], "encode": self._column.encode}
        assert self.sketch is not None
        edges = self.sketch.quantiles(np.linspace(0, 1, bins["quantiles"] + 1).tolist())
        kept = [edge for place, edge in enumerate(edges) if place == 0 or edge - edges[place - 1] > 1e-8]
        return {"bins": kept if len(kept) > 1 else [edges[0], edges[0]], "encode": self._column.encode}

    def _scale(self, state: Mapping[str, Any], moments: Moments) -> Dict[str, Any]:
        how = self._column.normalise
        if how == "standard":
            scale = math.sqrt(moments.variance)
            return {
                "center": moments.mean,
                "scale": scale if scale > 10 * np.finfo(float).eps * abs(moments.mean) and scale > 0 else 1.0,
            }
        if how == "minmax":
            width = moments.high - moments.low
            times = 1.0 / (width if width > 10 * np.finfo(float).eps else 1.0)
            return {"times": times, "plus": 0.0 - moments.low * times}
        if how == "robust":
            return self._robust(state)
        return {}

    def _robust(self, state: Mapping[str, Any]) -> Dict[str, Any]:
        assert self.sketch is not None
        if state.get("fill") is None or not self.missing:
            first, middle, third = bounded(np.array(self.sketch.quantiles([0.25, 0.5, 0.75])), state).tolist()
        else:
            values, weights = self.sketch.items()
            if not self.sketch.error:
                x = np.concatenate([bounded(values, state), np.full(self.missing, state["fill"])])
                first, middle, third = np.quantile(x, [0.25, 0.5, 0.75]).tolist()
            else:
                x, w = np.append(bounded(values, state), state["fill"]), np.append(weights, float(self.missing))
                order = np.argsort(x, kind="stable")
                ranks = np.cumsum(w[order]) - w[order] / 2
                first, middle, third = np.interp(np.array([0.25, 0.5, 0.75]) * w.sum(), ranks, x[order]).tolist()
        return {"center": middle, "scale": third - first if third > first else 1.0, "how": "robust"}


class Categories:
    """How often each category is, and by fold with what target, where that encodes it."""

    def __init__(self, column: ColumnRecipe) -> None:
        self._column = column
        self.missing = 0
        self.rows = 0
        self.lost = 0
        self.counts: Dict[str, int] = {}
        self._sums: Dict[str, Array] = {}
        self._all = np.zeros((2, FOLDS))

    def update(self, values: Values, folds: Optional[Array], target: Optional[Array]) -> None:
        assert isinstance(values, Coded)
        sizes = np.bincount(values.codes, minlength=len(values.values))
        self.rows += len(values.codes)
        for text, size in zip(values.values, sizes.tolist()):
            if text is None:
                self.missing += size
            elif size:
                self.counts[text] = self.counts.get(text, 0) + size
        if self._column.encode == "target" and folds is not None and target is not None:
            self._by_target(values, folds, target)
        if len(self.counts) > MOST:
            self._forget()

    def _by_target(self, values: Coded, folds: Array, target: Array) -> None:
        cells = values.codes * FOLDS + folds
        wide = len(values.values) * FOLDS
        counts = np.bincount(cells, minlength=wide).reshape(-1, FOLDS)
        sums = np.bincount(cells, weights=target, minlength=wide).reshape(-1, FOLDS)
        self._all[0] += counts.sum(axis=0)
        self._all[1] += sums.sum(axis=0)
        fill = self._fill_text()
        for place, text in enumerate(values.values):
            text = fill if text is None else text
            if text is not None and counts[place].any():
                self._sums[text] = self._sums.get(text, 0.0) + np.stack([counts[place], sums[place]])

    def flip(self) -> None:
        """Count the other one of two classes."""
        self._all[1] = self._all[0] - self._all[1]
        self._sums = {text: np.stack([sums[0], sums[0] - sums[1]]) for text, sums in self._sums.items()}

    def _fill_text(self) -> Optional[str]:
        fill = self._column.fill
        return str(fill["value"]) if isinstance(fill, dict) else None

    def _forget(self) -> None:
        """Take so much from every count that half of the categories are left."""
        cut = int(np.partition(np.fromiter(self.counts.values(), dtype=np.int64), MOST // 2)[MOST // 2])
        self.lost += cut
        self.counts = {text: count - cut for text, count in self.counts.items() if count > cut}
        self._sums = {text: sums for text, sums in self._sums.items() if text in self.counts}

    def kept(self) -> List[str]:
        """The categories that get a place, in order of their texts."""
        counts = dict(self.counts)
        fill = self.fill()
        if fill is not None and self.missing:
            counts[fill] = counts.get(fill, 0) + self.missing
        often = [text for text, count in counts.items() if count >= self._column.min_count]
        most = (
            self._column.max_categories
            if self._column.encode == "one_hot"
            else max(self._column.max_categories, 10_000)
        )
        if len(often) > most:
            often = sorted(often, key=lambda text: (-counts[text], text))[:most]
        return sorted(often)

    def fill(self) -> Optional[str]:
        if self._column.fill == "most_frequent":
            if not self.counts:
                raise BadValue(
                    "column {!r} has no value in the training part: drop it, or fill it with a value of your own".format(
                        self._column.name
                    )
                )
            return min(self.counts, key=lambda text: (-self.counts[text], text))
        return self._fill_text()

    def state(self) -> Dict[str, Any]:
        column, kept = self._column, self.kept()
        made: Dict[str, Any] = {
            "fill": self.fill(),
            "encode": column.encode,
            "categories": kept,
            "unknown": column.unknown,
        }
        if column.encode == "target":
            made.update(self._encodings(kept))
        return made

    def _encodings(self, kept: Sequence[str]) -> Dict[str, Any]:
        """Smoothed means of all of the training part, and for each fold those without it. `target` rows only."""
        folds = self._column.folds
        groups = [np.arange(FOLDS) % folds != fold for fold in range(folds)]
        nothing = np.zeros((2, FOLDS))
        if self._column.fill == "most_frequent" and self.missing:
            raise BadValue(
                "columns.{}.fill: encoding by the target takes none or a value, not most_frequent".format(
                    self._column.name
                )
            )
        sums = [self._sums.get(text, nothing) for text in kept]
        whole = np.ones(FOLDS, dtype=bool)
        table, default = self._table(sums, whole)
        return {
            "table": table,
            "default": default,
            "smooth": self._column.smooth,
            "fold_tables": [self._table(sums, group) for group in groups],
        }

    def _table(self, sums: Sequence[Array], of: Array) -> Tuple[List[float], float]:
        total = self._all[:, of].sum(axis=1)
        mean = float(total[1] / total[0]) if total[0] else 0.0
        smooth, made = self._column.smooth, []
        for each in sums:
            count, total_here = each[:, of].sum(axis=1).tolist()
            made.append((total_here + smooth * mean) / (count + smooth) if count + smooth else mean)
        return made, mean


class Texts:
    """What is told of texts and dates: they have no state."""

    def __init__(self, column: ColumnRecipe) -> None:
        self._column = column
        self.missing, self.rows = 0, 0
        self.first, self.last = math.inf, -math.inf

    def update(self, values: Values, *_: Any) -> None:
        assert isinstance(values, Coded)
        self.rows += len(values.codes)
        gone = np.array([text is None for text in values.values], dtype=bool)
        if self._column.kind == DATE:
            sizes = np.bincount(values.codes, minlength=len(values.values))
            moments = [None if text is None else instant(text) for text in values.values]
            for place, (text, moment) in enumerate(zip(values.values, moments)):
                if moment is None and text is not None:
                    if self._column.invalid != "missing":
                        words = "column {!r} holds dates, but one is {!r}. Dates look like 2026-01-31 or 2026-01-31T23:59:59; say "
                        words += "`kind: category` or `invalid: missing` otherwise."
                        raise BadValue(words.format(self._column.name, text[:80]))
                    gone[place] = True
            known = [moment for moment, size in zip(moments, sizes.tolist()) if moment is not None and size]
            if known:
                self.first, self.last = min(self.first, *known), max(self.last, *known)
        self.missing += int(gone[values.codes].sum())

    def state(self) -> Dict[str, Any]:
        column = self._column
        if column.kind == TEXT:
            return {"features": column.features}
        return {"parts": list(column.parts), "invalid": column.invalid}


Learner = Any  # Numbers | Categories | Texts
_LEARNERS = {NUMBER: Numbers, CATEGORY: Categories, TEXT: Texts, DATE: Texts}


class Fit:
    """Learners of all columns of a recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.learners: List[Learner] = [_LEARNERS[column.kind](column) for column in recipe.columns]

    def update(self, place: int, rows: Mapping[str, Values], folds: Optional[Array], target: Optional[Array]) -> None:
        """Let one column's learner see rows of the training part."""
        with np.errstate(all="ignore"):  # what is not finite in the end is said then
            self._update(place, rows, folds, target)

    def _update(self, place: int, rows: Mapping[str, Values], folds: Optional[Array], target: Optional[Array]) -> None:
        self.learners[place].update(source(self.recipe.columns[place], rows), folds, target)

    def state(self) -> Dict[str, Any]:
        """The fitted preparation as plain JSON, and `fold_tables` of target encodings in it. BadValue."""
        with np.errstate(all="ignore"):
            return self._state()

    def _state(self) -> Dict[str, Any]:
        recipe, columns = self.recipe, []
        for column, learner in zip(recipe.columns, self.learners):
            made = {"name": column.name, "kind": column.kind, "flag": column.missing_flag, **learner.state()}
            if column.derived:
                made.update({"derived": column.derived, "of": list(column.of)})
            _check(column.name, made)
            made["names"] = _names(column, made)
            columns.append({name: value for name, value in made.items() if value is not None})
        twice = _twice([name for each in columns for name in each["names"]])
        if twice:
            raise BadValue(
                "two features would be called {!r}: rename a column, or derive under another name".format(twice)
            )
        inputs = [
            {
                "name": name,
                "kind": recipe.inputs[name],
                "invalid": next((c.invalid for c in recipe.columns if c.name == name), "error"),
            }
            for name in recipe.features_from
        ]
        return {"version": VERSION, "inputs": inputs, "missing": list(recipe.missing), "columns": columns}


def _check(name: str, state: Mapping[str, Any]) -> None:
    """BadValue where values were so large that a statistic is not finite."""
    for what in ("low", "high", "fill", "center", "scale", "times", "plus", "default"):
        value = state.get(what)
        if isinstance(value, float) and not math.isfinite(value):
            words = "column {!r}: its values are too large to compute with (up to {}); bound it, or take another step"
            raise BadValue(words.format(name, "1.8e308"))


def source(column: ColumnRecipe, rows: Mapping[str, Values]) -> Values:
    """The column's values in rows: its own, or derived."""
    return derived(column.derived, rows[column.of[0]], rows[column.of[1]]) if column.derived else rows[column.name]


def _names(column: ColumnRecipe, state: Mapping[str, Any]) -> List[str]:
    name = column.name
    if column.kind == DATE:
        made = ["{}_{}".format(name, part) for part in column.parts]
    elif column.kind == TEXT:
        made = ["{}_{}".format(name, number) for number in range(column.features)]
    elif column.encode == "one_hot" and column.bins:
        made = ["{}_{}".format(name, number) for number in range(len(state["bins"]) - 1)]
    elif column.encode == "one_hot":
        made = ["{}_{}".format(name, text.replace("\x1f", "_")) for text in state["categories"]]
    else:
        made = [name]
    return [*made, name + "_missing"] if column.missing_flag else made


def _twice(names: Sequence[str]) -> str:
    known = set()
    for name in names:
        if name in known:
            return name
        known.add(name)
    return ""
