"""A fitted preparation: what was learnt of the training part, as JSON, and its use on rows.

Owns the arithmetic, which is that of scikit-learn's transformers (SimpleImputer, StandardScaler, RobustScaler, MinMaxScaler,
KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, TargetEncoder, HashingVectorizer) operation by operation, each element by itself: the
result of a row depends neither on its neighbours nor on how many there are. Knows no files and no recipe.
"""

from __future__ import annotations

import json
from typing import Any, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from .values import Array, BadValue, Coded, Values, derived, instant

VERSION = 1
Feature = Tuple[str, Array]
State = Mapping[str, Any]
_DAY = 86_400_000_000


class Preparation:
    """`state` is plain JSON: `inputs` (name, kind, invalid of each source column of a row), `columns` (what is done), `missing`."""

    def __init__(self, state: State) -> None:
        if state.get("version") != VERSION:
            raise ValueError("this preparation has version {}, not {}".format(state.get("version"), VERSION))
        self.state = state
        self.inputs: Sequence[Mapping[str, Any]] = state["inputs"]
        self._columns = [_Column(each) for each in state["columns"]]
        self.names = [name for column in self._columns for name in column.names]

    def transform(self, rows: Mapping[str, Values], folds: Optional[Array] = None) -> List[Feature]:
        """The features of rows, given by source column. `folds`: of rows of the training part, whose target encodings leave out the
        fold of the row itself; -1 of other rows. BadValue for an unknown category where that is an error."""
        made: List[Feature] = []
        for column in self._columns:
            made += zip(column.names, column.apply(column.source(rows), folds))
        return made

    def column(self, place: int, values: Array) -> Array:
        """Numbers of one column after its own steps; of bins their numbers."""
        return self._columns[place].number(values)

    def matrix(self, rows: Mapping[str, Values]) -> Array:
        """The features as one float64 matrix."""
        return np.column_stack([array for _, array in self.transform(rows)])


def load(path: str) -> Preparation:
    with open(path, encoding="utf-8") as file:
        return Preparation(json.load(file))


class _Column:
    """One column's state: `name, kind, derived, of, flag, fill, low, high, bins, center, scale, times, plus, encode, categories,
    table, default, unknown, features, parts, names`. `fold_tables` is there only while the training part is written."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.name: str = state["name"]
        self.names: List[str] = list(state["names"])
        self._index = {text: place for place, text in enumerate(state.get("categories") or ())}
        self._hasher: Any = None

    def source(self, rows: Mapping[str, Values]) -> Values:
        state = self._state
        if state.get("derived"):
            one, other = state["of"]
            return derived(state["derived"], rows[one], rows[other])
        return rows[self.name]

    def apply(self, values: Values, folds: Optional[Array]) -> List[Array]:
        kind = self._state["kind"]
        if kind == "number":
            made, gone = self._number(values), np.isnan(np.asarray(values))
        elif kind == "category":
            assert isinstance(values, Coded)
            made, gone = self._category(values, folds), _missing(values)
        elif kind == "text":
            assert isinstance(values, Coded)
            made, gone = self._text(values), _missing(values)
        else:
            assert isinstance(values, Coded)
            made, gone = self._date(values), _missing(values)
        return [*made, gone.astype(np.float64)] if self._state.get("flag") else made

    def number(self, values: Any) -> Array:
        state, x = self._state, bounded(values, self._state)
        if state.get("fill") is not None:
            x = np.where(np.isnan(x), state["fill"], x)
        return binned(x, state["bins"]) if state.get("bins") is not None else scaled(x, state)

    def _number(self, values: Any) -> List[Array]:
        state, x = self._state, self.number(values)
        if state.get("bins") is not None and state["encode"] == "one_hot":
            return [(x == place).astype(np.float64) for place in range(len(state["bins"]) - 1)]
        return [x]

    def _category(self, values: Coded, folds: Optional[Array]) -> List[Array]:
        state, fill = self._state, self._state.get("fill")
        texts = [fill if text is None else text for text in values.values]
        if state["unknown"] == "error":
            strange = next((text for text in texts if text is not None and text not in self._index), None)
            if strange is not None:
                raise BadValue(
                    "column {!r}: {!r} is a category that training did not see".format(self.name, strange[:80])
                )
        places = np.array([-1 if text is None else self._index.get(text, -1) for text in texts], dtype=np.int64)
        if state["encode"] == "one_hot":
            where = places[values.codes]
            return [(where == number).astype(np.float64) for number in range(len(self._index))]
        if state["encode"] == "ordinal":
            table = places.astype(np.float64)
            table[[place for place, text in enumerate(texts) if text is None]] = np.nan
            return [table[values.codes]]
        return [self._by_target(places, values.codes, folds)]

    def _by_target(self, places: Array, codes: Array, folds: Optional[Array]) -> Array:
        state = self._state
        if folds is None:
            table = np.array([*state["table"], state["default"]], dtype=np.float64)
            return table[places][codes]
        whole = (state["table"], state["default"])
        tables = np.array([[*table, default] for table, default in (*state["fold_tables"], whole)], dtype=np.float64)
        own = len(tables) - 1
        return tables[np.where(folds < 0, own, folds % own), places[codes]]

    def _text(self, values: Coded) -> List[Array]:
        """Each distinct text once. scikit-learn's hashing has no state; it is imported where a recipe wants it."""
        if self._hasher is None:
            from sklearn.feature_extraction.text import HashingVectorizer

            self._hasher = HashingVectorizer(n_features=self._state["features"], norm="l2", alternate_sign=True)
        found = self._hasher.transform(["" if text is None else text for text in values.values]).toarray()
        return list(found.T[:, values.codes]) if len(values.values) else [np.empty(0) for _ in self.names]

    def _date(self, values: Coded) -> List[Array]:
        moments = [None if text is None else instant(text) for text in values.values]
        if self._state["invalid"] != "missing":
            for moment, text in zip(moments, values.values):
                if moment is None and text is not None:
                    raise BadValue(
                        "column {!r}: {!r} is not a date of the form 2026-01-31T23:59:59".format(self.name, text[:80])
                    )
        there = np.array([each is not None for each in moments], dtype=bool)
        known = np.array([each for each in moments if each is not None], dtype=np.int64)
        made = []
        for part in self._state["parts"]:
            table = np.full(len(moments), np.nan)
            table[there] = parts_of(known, part)
            made.append(table[values.codes])
        return made


def bounded(x: Array, state: State) -> Array:
    """Values beyond the bounds become the bound; NaN stays."""
    low, high = state.get("low"), state.get("high")
    if low is not None:
        x = np.where(x < low, low, x)
    return np.where(x > high, high, x) if high is not None else x


def binned(x: Array, edges: Sequence[float]) -> Array:
    """The number of each value's bin, as KBinsDiscretizer has it: what lies beyond the outer edges is in the outer bins. NaN stays."""
    found = np.searchsorted(np.asarray(edges[1:-1], dtype=np.float64), x, side="right").astype(np.float64)
    return np.where(np.isnan(x), np.nan, found)


def scaled(x: Array, state: State) -> Array:
    if state.get("center") is not None:
        return (x - state["center"]) / state["scale"]
    return x * state["times"] + state["plus"] if state.get("times") is not None else x


def parts_of(moments: Array, part: str) -> Array:
    """A part of instants (int64, microseconds since 1970), as float64; weekday 0 is Monday. Whole numbers all along, but for `seconds`."""
    if part == "seconds":
        return moments / 1_000_000
    days, rest = moments // _DAY, moments % _DAY
    if part == "weekday":
        return ((days + 3) % 7).astype(np.float64)
    if part in ("hour", "minute"):
        return (rest // 3_600_000_000 if part == "hour" else rest // 60_000_000 % 60).astype(np.float64)
    dates = days.astype("datetime64[D]")
    years, months = dates.astype("datetime64[Y]"), dates.astype("datetime64[M]")
    month = (months - years).astype(np.int64)
    made = {
        "year": years.astype(np.int64) + 1970,
        "quarter": month // 3 + 1,
        "month": month + 1,
        "day": (dates - months.astype("datetime64[D]")).astype(np.int64) + 1,
        "day_of_year": (dates - years.astype("datetime64[D]")).astype(np.int64) + 1,
    }
    return made[part].astype(np.float64)


def _missing(values: Coded) -> Array:
    return np.array([text is None for text in values.values], dtype=bool)[values.codes]
