"""What is kept of a column: counts by type, moments, sketches. One pass, bounded, mergeable."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

import numpy as np

from clary.toolkit.monitor.sketches import Distinct, Frequencies, Quantiles

INTEGRAL, FRACTIONAL, STRING, UNKNOWN = "Integral", "Fractional", "String", "Unknown"
_INTEGER = r"^\s*[+-]?\d+\s*$"
_NUMBER = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$"


@dataclass
class Moments:
    """Count, mean and squared deviations (Welford, merged as Chan et al. 1979), extremes. A sum of 1e300 and its like may be infinite."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    def update(self, values: Any) -> None:
        """An array of float64."""
        if not len(values):
            return
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(np.mean(values))
            other = Moments(
                len(values), mean, float(np.sum((values - mean) ** 2)), float(np.min(values)), float(np.max(values))
            )
        self.merge(other)

    def merge(self, other: "Moments") -> None:
        if not other.count:
            return
        total = self.count + other.count
        step = other.mean - self.mean
        with np.errstate(over="ignore", invalid="ignore"):
            self.squares += other.squares + float(np.float64(step) ** 2) * self.count * other.count / total
        self.mean += step * other.count / total
        self.count = total
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)

    @property
    def deviation(self) -> float:
        """Of the population, as Deequ's."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


@dataclass
class ColumnProfile:
    """A column so far. `missing` are empty and NaN ones."""

    integral: int = 0
    fractional: int = 0
    text: int = 0
    missing: int = 0
    moments: Moments = field(default_factory=Moments)
    quantiles: Quantiles = field(default_factory=Quantiles)
    distinct: Distinct = field(default_factory=Distinct)
    frequencies: Frequencies = field(default_factory=Frequencies)

    @property
    def present(self) -> int:
        return self.integral + self.fractional + self.text

    @property
    def kind(self) -> str:
        """AWS's inferred type: all integers, all numbers, something else, nothing."""
        if not self.present:
            return UNKNOWN
        if self.text:
            return STRING
        return FRACTIONAL if self.fractional else INTEGRAL

    def update(self, array: Any) -> None:
        """An Arrow array of any type."""
        import pyarrow as pa

        kind = array.type
        if pa.types.is_dictionary(kind):
            array = array.dictionary_decode()
            kind = array.type
        if pa.types.is_integer(kind):
            self._numbers(array, len(array) - array.null_count)
        elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            self._fractions(array)
        elif pa.types.is_null(kind):
            self.missing += len(array)
        else:
            self._texts(_as_text(array))

    def _numbers(self, array: Any, integral: int) -> None:
        values = array.drop_null().cast("float64").to_numpy(zero_copy_only=False)
        if not integral:
            values = values[~np.isnan(values)]
        self.missing += len(array) - len(values)
        self.integral += integral
        self.fractional += len(values) - integral
        self._measured(values)

    def _fractions(self, array: Any) -> None:
        """Of numbers some of which are whole: they count as integers, unless all are, since then the type alone says what they are."""
        values = array.drop_null().cast("float64").to_numpy(zero_copy_only=False)
        values = values[~np.isnan(values)]
        whole = int(np.count_nonzero(values == np.floor(values)))
        whole = 0 if whole == len(values) else whole
        self.missing += len(array) - len(values)
        self.integral += whole
        self.fractional += len(values) - whole
        self._measured(values)

    def _measured(self, values: Any) -> None:
        if len(values):
            self.moments.update(values)
            self.quantiles.update(values)
            self.distinct.update_numbers(values)

    def _texts(self, array: Any) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        filled = array.drop_null()
        filled = filled.filter(pc.not_equal(filled, ""))
        for kind, integral in (("int64", True), ("float64", False)):
            try:
                values = filled.cast(kind)
            except pa.ArrowInvalid:
                continue
            self.missing += len(array) - len(filled)
            if integral:
                self._numbers(values, len(values))
            else:
                whole = int(pc.sum(pc.match_substring_regex(filled, _INTEGER)).as_py() or 0)
                numbers = values.to_numpy(zero_copy_only=False)
                known = numbers[~np.isnan(numbers)]
                self.missing += len(numbers) - len(known)
                self.integral += whole
                self.fractional += len(known) - whole
                self._measured(known)
            return
        self._mixed(array, filled)

    def _mixed(self, array: Any, filled: Any) -> None:
        """Texts, of which some may be numbers."""
        import pyarrow.compute as pc

        numeric = pc.match_substring_regex(filled, _NUMBER)
        missing = pc.is_in(pc.utf8_lower(filled), value_set=_missing_words())
        words = filled.filter(pc.and_not(pc.invert(numeric), missing))
        numbers = filled.filter(numeric)
        self.missing += len(array) - len(words) - len(numbers)
        if len(numbers):
            self._texts(pc.utf8_trim_whitespace(numbers))
        if not len(words):
            return
        if not self.text:
            self._remember_numbers()
        self.text += len(words)
        self._count(words)

    def _remember_numbers(self) -> None:
        """The first text makes a column of numbers one of categories: the numbers before it are counted as their sketch knows them."""
        for level, values in enumerate(self.quantiles.levels()):
            self.frequencies.update((_plain(value), 1 << level) for value in values)

    def _count(self, words: Any) -> None:
        import pyarrow.compute as pc

        counted = pc.value_counts(words)
        texts, counts = counted.field(0).to_pylist(), counted.field(1).to_pylist()
        self.frequencies.update(zip(texts, counts))
        self.distinct.update_texts(texts)

    def merge(self, other: "ColumnProfile") -> None:
        """With the same column of another host."""
        if self.text and not other.text:
            other._remember_numbers()
        elif other.text and not self.text:
            self._remember_numbers()
        for name in ("integral", "fractional", "text", "missing"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("moments", "quantiles", "distinct", "frequencies"):
            getattr(self, name).merge(getattr(other, name))


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _missing_words() -> Any:
    import pyarrow as pa

    return pa.array(["nan", "null"])


def _as_text(array: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_string(array.type):
        return array
    try:
        return array.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())


@dataclass
class Profile:
    """All columns of the rows of one shape, by position."""

    names: List[str]
    rows: int = 0
    columns: List[ColumnProfile] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.columns:
            self.columns = [ColumnProfile() for _ in self.names]

    def update(self, arrays: List[Any], pool: Optional[Any] = None) -> None:
        """One Arrow array for each column, of equal length."""
        if arrays:
            self.rows += len(arrays[0])
        run = pool.map if pool is not None else map
        list(run(lambda pair: pair[0].update(pair[1]), zip(self.columns, arrays)))

    def merge(self, other: "Profile") -> None:
        self.rows += other.rows
        for own, theirs in zip(self.columns, other.columns):
            own.merge(theirs)

    def by_name(self) -> Dict[str, ColumnProfile]:
        return dict(zip(self.names, self.columns))
