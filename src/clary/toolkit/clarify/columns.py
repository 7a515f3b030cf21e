"""Columns of a dataset as Clarify sees them: which are numbers, which are categories, and which rows are positive. Pure: numpy alone."""

from __future__ import annotations

import math
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

Array = Any  # numpy.ndarray
_MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"))
_CONTINUOUS = 0.05  # share of distinct values from which integers are not categories


class Unfit(ValueError):
    """A column cannot be used as the configuration says; the text is for the user."""


class Column(NamedTuple):
    """`kind`: "int", "float" or "text". Numbers are float64, NaN where missing (integers without loss up to 2**53); texts are str, None
    where missing."""

    name: str
    kind: str
    values: Array


def column(name: str, given: Sequence[Any]) -> Column:
    """A column of what a file holds: texts, or the values of JSON and Parquet. Numbers that are all whole are integers, however they are
    written: a label of 0.0 and 1.0 is a category, not a quantity."""
    numbers = np.empty(len(given), dtype=float)
    for at, value in enumerate(given):
        number = _number(value)
        if number is None:
            return Column(name, "text", np.array([_text(each) for each in given], dtype=object))
        numbers[at] = number
    seen = numbers[~np.isnan(numbers)]
    whole = len(seen) > 0 and bool(np.isfinite(seen).all()) and bool((seen == np.floor(seen)).all())
    return Column(name, "int" if whole else "float", numbers)


def _number(value: Any) -> Optional[float]:
    """None: it is none."""
    if value is None:
        return math.nan
    if isinstance(value, (bool, list, dict)):
        return None
    if isinstance(value, str):
        value = value.strip()
        if value.lower() in _MISSING:
            return math.nan
        if "_" in value:  # which Python takes for a digit's neighbour
            return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> Optional[str]:
    if value is None or value == "":
        return None
    return plain(value)


def plain(value: Any) -> str:
    """A value as its text: whole numbers without a fraction, truth values as JSON has them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def distinct(values: Column) -> List[Any]:
    """The values in the order in which they first come, missing ones left out: int, float or str."""
    if values.kind == "text":
        return [each for each in dict.fromkeys(values.values.tolist()) if each is not None]
    found = dict.fromkeys(values.values[~np.isnan(values.values)].tolist())
    return [int(each) for each in found] if values.kind == "int" else list(found)


def continuous(values: Column, wanted: Sequence[Any]) -> bool:
    """Whether the column is a quantity, of which `wanted` is a threshold: numbers with a fraction, and integers of which at least one in
    twenty is another (but for two values, which are categories in the smallest dataset). With several values wanted, it is not."""
    if values.kind == "text" or len(wanted) > 1:
        return False
    if values.kind == "float":
        return True
    different = len(distinct(values))
    return different > 2 and different / max(1, int((~np.isnan(values.values)).sum())) >= _CONTINUOUS


def chosen(values: Column, wanted: Sequence[Any], quantity: bool, top: Optional[float] = None) -> Tuple[Array, str]:
    """The rows with one of these values, or, of a quantity, with one over the threshold; and the values as reports show them, such as
    "1" or "(40, 90]". `top`: the largest value, if another column has a larger one."""
    if quantity:
        return _over(values, wanted, top)
    return member(values, wanted), ",".join(plain(each) for each in wanted)


def _over(values: Column, wanted: Sequence[Any], top: Optional[float]) -> Tuple[Array, str]:
    if len(wanted) != 1 or (threshold := _number(wanted[0])) is None or math.isnan(threshold):
        raise Unfit(
            "column {!r} is continuous (it holds {}), so it needs exactly one numeric threshold, not {!r}".format(
                values.name, "fractions" if values.kind == "float" else "many integers", list(wanted)
            )
        )
    seen = values.values[~np.isnan(values.values)]
    highest = max(float(seen.max()) if len(seen) else threshold, threshold if top is None else top)
    whole = values.kind == "int" and float(threshold).is_integer()
    shown = [str(int(each)) if whole else repr(float(each)) for each in (threshold, highest)]
    return np.nan_to_num(values.values, nan=-math.inf) > threshold, "({}, {}]".format(*shown)


def member(values: Column, wanted: Sequence[Any]) -> Array:
    """The rows whose value is among those wanted, which may be written as numbers or as texts."""
    if values.kind == "text":
        texts = {plain(each) for each in wanted}
        if texts & {"true", "false"}:
            return np.array(
                [each is not None and each.lower() in {t.lower() for t in texts} for each in values.values], dtype=bool
            )
        return np.array([each in texts for each in values.values], dtype=bool)
    found = np.zeros(len(values.values), dtype=bool)
    for each in wanted:
        number = float(each) if isinstance(each, bool) else _number(each)
        if number is not None:
            found |= values.values == number
    return found
