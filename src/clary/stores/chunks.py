"""Compresses summaries of one series: columns of the fewest bytes that hold them, the bytes of each place deflated apart.

Neighbouring summaries resemble each other (the same count, a sum that changes in its low digits), so bytes of the same place are mostly
equal: an idle minute costs a hundredth of a byte, a busy one 1 to 3, a distribution its filled buckets. Does not know files.

A chunk is a head and two parts: the plain one (times, counts, sums, bounds) and the distributions, which most readers leave.
"""

from __future__ import annotations

import itertools
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, cast

from clary.domain.metrics.datapoints import Summary, bucket, middle

VERSION = 3
OLDEST = 2  # that is still read
_HEAD = struct.Struct("<BHII")  # version, summaries, filled buckets, bytes of the first part
_UNKNOWN = 0xFFFF  # in place of a number of buckets: the distribution is not known
_LEVEL = 6
_NATURAL = (("B", 0xFF), ("H", 0xFFFF), ("I", 0xFFFF_FFFF))  # kinds of columns of whole numbers, narrowest first
_MIDDLES = "m"  # the kind of a column of buckets' middles: kept as the buckets' numbers


def encode(points: Mapping[int, Summary], start: int, step: int) -> bytes:
    """Summaries by time, all within 65,535 steps from `start`."""
    times = sorted(points)
    summaries = [points[at] for at in times]
    filled = [sorted(summary.buckets.items()) if summary.buckets else [] for summary in summaries]
    plain: Sequence[Sequence[float]] = (
        # steps from the one before: where none is missing, they are all the same
        [(at - before) // step for before, at in itertools.pairwise([start, *times])],
        [summary.count for summary in summaries],
        # of equal samples the sum is known: counts of events, which are most of what is kept, take half the room
        [0.0 if summary.low == summary.high else summary.total for summary in summaries],
        [summary.low for summary in summaries],
        [summary.high for summary in summaries],
    )
    gaps = [after - before for each in filled for (before, _), (after, _) in itertools.pairwise(each)]
    spread: Sequence[Sequence[float]] = (
        [_UNKNOWN if s.buckets is None else len(f) for s, f in zip(summaries, filled, strict=True)],
        array("h", [each[0][0] for each in filled if each]),
        gaps,
        [count for each in filled for _, count in each],
    )
    first, second = b"".join(map(_column, plain)), b"".join(map(_column, spread))
    return _HEAD.pack(VERSION, len(times), sum(map(len, filled)), len(first)) + first + second


def decode(data: bytes, start: int, step: int, spread: bool = True) -> Iterator[tuple[int, Summary]]:
    """(time, summary) in order of time, without their distributions if `spread` is not set, which is several times quicker.
    ValueError for what `encode` did not make."""
    version, count, filled, length = _HEAD.unpack_from(data)
    if not OLDEST <= version <= VERSION:
        raise ValueError(f"a chunk of version {version}")
    end = _HEAD.size + length
    if version == VERSION:
        body = _Body(data[_HEAD.size : end])
        steps, *plain = (body.column(count) for _ in range(5))
    else:
        steps, *plain = _columns_2(data[_HEAD.size : end], "Hdddd", [count] * 5)
    counts, totals, lows, highs = (array("d", column) for column in plain)
    spreads: Iterable[_Place | dict[int, float] | None] = itertools.repeat(None, count)
    if spread and version == VERSION:
        spreads = _spreads(data[end:], count, filled)
    elif spread:
        spreads = _spreads_2(data[end:], count, filled)
    at = start
    for many, n, total, low, high, buckets in zip(steps, counts, totals, lows, highs, spreads, strict=True):
        at += int(many) * step
        if isinstance(buckets, tuple):
            yield at, Kept(n, total, low, high, *buckets)
        else:
            yield at, Summary(n, n * low if low == high else total, low, high, buckets)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Of all distributions of a chunk, one after another: from each bucket's number to the next, and their counts."""

    gaps: array[int]
    weights: array[float]


_Place = tuple[
    _Columns, int, int, int, int
]  # of one distribution: columns, first bucket, first gap, first weight, buckets


class Kept(Summary):
    """A summary whose distribution stays packed until somebody needs it whole: a percentile does not."""

    __slots__ = ("_columns", "_first", "_gap", "_weight", "_width")

    def __init__(
        self,
        count: float,
        total: float,
        low: float,
        high: float,
        columns: _Columns,
        first: int,
        gap: int,
        weight: int,
        width: int,
    ) -> None:
        self.count, self.total, self.low, self.high = count, total, low, high
        self._columns: _Columns | None = columns
        self._first, self._gap, self._weight, self._width = first, gap, weight, width

    @property
    def buckets(self) -> dict[int, float] | None:
        if self._columns is not None:
            gaps = self._columns.gaps[self._gap : self._gap + self._width - 1]
            weights = self._columns.weights[self._weight : self._weight + self._width]
            numbers = itertools.accumulate(gaps, initial=self._first)
            self.buckets = dict(zip(numbers, map(float, weights), strict=True))
        found: dict[int, float] | None = _BUCKETS.__get__(self)
        return found

    @buckets.setter
    def buckets(self, value: dict[int, float] | None) -> None:
        self._columns = None
        _BUCKETS.__set__(self, value)

    def percentile(self, share: float) -> float | None:
        """From the top: those that are asked for lie there."""
        if self._columns is None or share <= 0:
            return super().percentile(share)
        above, weights, last = self.count - share * self.count + 1e-9, self._columns.weights, self._weight
        at = last + self._width - 1
        while at > last and (above := above - weights[at]) >= 0:
            at -= 1
        number = self._first + sum(self._columns.gaps[self._gap : self._gap + at - last])
        return min(max(middle(number), self.low), self.high)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Summary) and astuple(self) == astuple(other)

    __hash__ = None  # type: ignore[assignment]


_BUCKETS: Any = Summary.__dict__["buckets"]  # the slot, below the property


def _spreads(data: bytes, count: int, filled: int) -> Iterator[_Place | dict[int, float] | None]:
    body = _Body(data)
    widths = body.column(count)
    some = sum(0 < width != _UNKNOWN for width in widths)
    firsts, gaps, weights = body.column(some), body.column(filled - some), body.column(filled)
    columns = _Columns(cast("array[int]", gaps), weights)
    first, at = map(int, firsts), 0
    before = 0  # distributions: each has one gap fewer than buckets
    for width in map(int, widths):
        if width == _UNKNOWN:
            yield None
        elif not width:
            yield {}
        else:
            yield columns, next(first), at - before, at, width
            at, before = at + width, before + 1


def _spreads_2(data: bytes, count: int, filled: int) -> Iterator[dict[int, float] | None]:
    widths, keys, weights = _columns_2(data, "Hhd", [count, filled, filled])
    numbers, first = [int(key) for key in keys], 0
    for width in map(int, widths):
        if width == _UNKNOWN:
            yield None
            continue
        yield dict(zip(numbers[first : first + width], weights[first : first + width], strict=True))
        first += width


def _column(values: Sequence[float]) -> bytes:
    """Its kind, and its bytes by significance."""
    if isinstance(values, array):
        return values.typecode.encode() + _apart(values)
    if all(value >= 0 and value == int(value) for value in values) and not any(map(_negative_zero, values)):
        most = max(values, default=0)
        for kind, limit in _NATURAL:
            if most <= limit:
                return kind.encode() + _apart(array(kind, map(int, values)))
    numbers = {value: bucket(value) for value in set(values)}
    if all(middle(number) == value for value, number in numbers.items()):
        return _MIDDLES.encode() + _apart(array("h", [numbers[value] for value in values]))
    return b"d" + _apart(array("d", values))


def _negative_zero(value: float) -> bool:
    return value == 0 and str(value)[0] == "-"


def _apart(column: array[float] | array[int]) -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    data = column.tobytes()
    size = column.itemsize
    return b"".join(_deflated(data[place::size]) for place in range(size)) if data else b""


def _deflated(plane: bytes) -> bytes:
    """What repeats itself is deflated as usual; what is noise, or a skewed few values, is shorter when no repetition is looked for."""
    made = []
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY):
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, strategy=strategy)
        made.append(deflate.compress(plane) + deflate.flush())
    return min(made, key=len)


class _Body:
    """Columns, one after another."""

    def __init__(self, data: bytes) -> None:
        self._left = data

    def column(self, length: int) -> array[float]:
        kind, self._left = self._left[:1].decode("latin-1"), self._left[1:]
        if kind == _MIDDLES:
            numbers = self._together("h", length)
            middles = {number: middle(int(number)) for number in set(numbers)}
            return array("d", [middles[number] for number in numbers])
        if not kind or kind not in "BHIhd":
            raise ValueError(f"a column of kind {kind!r}")
        return self._together(kind, length)

    def _together(self, kind: str, length: int) -> array[float]:
        column: array[float] = array(kind)
        size = column.itemsize
        data = bytearray(length * size)
        for place in range(size if length else 0):
            data[place::size] = self._plane(length)
        return _from(column, data)

    def _plane(self, length: int) -> bytes:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            plane = inflate.decompress(self._left, length)
            plane += inflate.flush()
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if len(plane) != length:
            raise ValueError("a chunk that was cut short")
        self._left = inflate.unused_data
        return plane


def _columns_2(data: bytes, kinds: str, lengths: Sequence[int]) -> list[array[float]]:
    """Of version 2: all columns of a part were deflated together, and their kinds were fixed."""
    try:
        body = memoryview(zlib.decompress(data))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    columns = []
    for kind, length in zip(kinds, lengths, strict=True):
        column: array[float] = array(kind)
        size = column.itemsize
        if len(body) < length * size:
            raise ValueError("a chunk that was cut short")
        apart = bytearray(length * size)
        for place in range(size):
            apart[place::size] = body[place * length : (place + 1) * length]
        columns.append(_from(column, apart))
        body = body[length * size :]
    return columns


def _from(column: array[float], data: bytearray) -> array[float]:
    column.frombytes(bytes(data))
    if sys.byteorder == "big":
        column.byteswap()
    return column
