"""Values as preparation sees them, in a job and at serving: numbers as float64 with NaN, all else as codes of distinct texts.

Owns what counts as a number, a date, a missing value. This module, `fitted` and `serving` are copied into every model.tar.gz that
preparation makes, so that what was fitted is served by the code that fitted it: they import numpy, the standard library and one another.

The grammar of numbers is that of DuckDB's TRY_CAST to DOUBLE, by which jobs read text (a test compares the two).
"""

from __future__ import annotations

import datetime
import math
import re
from typing import Any, List, NamedTuple, Optional, Sequence, Union

import numpy as np

Array = Any  # numpy.ndarray
_BLANKS = " \t\n\v\f\r"
_DATE = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(?:(Z)|([+-])(\d{2}):?(\d{2})?)?)?",
    re.ASCII,
)
_EPOCH = datetime.date(1970, 1, 1).toordinal()


class Coded(NamedTuple):
    """`values[codes[row]]` is the row's text; None: missing."""

    codes: Array  # of integers
    values: List[Optional[str]]


Values = Union[Array, Coded]


class BadValue(ValueError):
    """A value is none of its column's kind, or a row is none of the data's form."""


def number(text: str) -> Optional[float]:
    """The number, NaN for one that is not finite (it counts as missing); None: it is no number."""
    if not text.isascii():
        return None
    stripped = text.strip(_BLANKS)
    if stripped[:2] == "+-":
        stripped = stripped[1:]
    try:
        value = float(stripped)
    except ValueError:
        return None
    return value if math.isfinite(value) else math.nan


def instant(text: str) -> Optional[int]:
    """Microseconds since 1970 in UTC of an ISO 8601 date or time (without a zone: UTC); None: it is none."""
    found = _DATE.fullmatch(text.strip(_BLANKS))
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, zone_hour, zone_minute = found.groups()
    try:
        days = datetime.date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:
        return None
    clock = [int(each or 0) for each in (hour, minute, second, zone_hour, zone_minute)]
    if clock[0] > 23 or clock[1] > 59 or clock[2] > 59 or clock[3] > 23 or clock[4] > 59:
        return None
    offset = (clock[3] * 60 + clock[4]) * (-1 if sign == "-" else 1)
    seconds = days * 86_400 + (clock[0] * 60 + clock[1] - offset) * 60 + clock[2]
    return seconds * 1_000_000 + int((fraction or "")[:6].ljust(6, "0"))


def numbers(texts: Sequence[Optional[str]], name: str, invalid: str) -> Array:
    """Texts as float64, missing ones NaN. BadValue for one that is no number, unless `invalid` is "missing"."""
    out = np.empty(len(texts), dtype=np.float64)
    for row, text in enumerate(texts):
        value = math.nan if text is None else number(text)
        if value is None:
            if invalid != "missing":
                raise BadValue("column {!r}: {!r} is not a number".format(name, str(text)[:80]))
            value = math.nan
        out[row] = value
    return out


def finite(array: Array) -> Array:
    """float64 with NaN where a number is not finite."""
    array = np.asarray(array, dtype=np.float64)
    holds = np.isfinite(array)
    return array if holds.all() else np.where(holds, array, np.nan)


def coded(texts: Sequence[Optional[str]]) -> Coded:
    """Texts by their distinct values."""
    known: Any = {}
    codes = np.fromiter((known.setdefault(text, len(known)) for text in texts), dtype=np.int64, count=len(texts))
    return Coded(codes, list(known))


def crossed(one: Coded, other: Coded) -> Coded:
    """The interaction of two: `a\\x1fb`; missing where either is."""
    width = max(len(other.values), 1)
    both, codes = np.unique(one.codes.astype(np.int64) * width + other.codes, return_inverse=True)
    made: List[Optional[str]] = []
    for pair in both.tolist():
        left, right = one.values[pair // width], other.values[pair % width]
        made.append(None if left is None or right is None else left + "\x1f" + right)
    return Coded(codes.reshape(-1), made)


def derived(how: str, one: Values, other: Values) -> Values:
    """Ratio, product, difference of two numbers, or the cross of two categories. What is not finite is missing."""
    if how == "cross":
        assert isinstance(one, Coded)
        assert isinstance(other, Coded)
        return crossed(one, other)
    with np.errstate(all="ignore"):
        made = one / other if how == "ratio" else one * other if how == "product" else one - other  # type: ignore[operator]
    return finite(made)
