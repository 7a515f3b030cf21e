"""How many summaries of one series become few bytes: columns, their bytes sorted by significance, then deflated.

Neighbouring summaries resemble each other (the same count, a sum that changes in its low digits), so bytes of the same place are mostly
equal: an idle minute costs a fraction of a byte, a busy one 6 to 12, a distribution its filled buckets. Refuses to know files.
"""

from __future__ import annotations

import itertools
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence

from clary.domain.datapoints import Summary

VERSION = 2
_HEAD = struct.Struct("<BHII")  # version, summaries, filled buckets, bytes of the first part
_UNKNOWN = 0xFFFF  # in place of a number of buckets: the distribution is not known
_LEVEL = 6


def encode(points: Mapping[int, Summary], start: int, step: int) -> bytes:
    """Summaries by time, all within 65,535 steps from `start`."""
    times = sorted(points)
    summaries = [points[at] for at in times]
    filled = [sorted(summary.buckets.items()) if summary.buckets else [] for summary in summaries]
    plain = (
        # steps from the one before: where none is missing, they are all the same
        array("H", [(at - before) // step for before, at in itertools.pairwise([start, *times])]),
        array("d", [summary.count for summary in summaries]),
        # of equal samples the sum is known: counts of events, which are most of what is kept, take half the room
        array("d", [0.0 if summary.low == summary.high else summary.total for summary in summaries]),
        array("d", [summary.low for summary in summaries]),
        array("d", [summary.high for summary in summaries]),
    )
    spread = (
        array("H", [_UNKNOWN if s.buckets is None else len(f) for s, f in zip(summaries, filled, strict=True)]),
        array("h", [number for each in filled for number, _ in each]),
        array("d", [count for each in filled for _, count in each]),
    )
    first = zlib.compress(b"".join([_apart(column) for column in plain]), _LEVEL)
    second = zlib.compress(b"".join([_apart(column) for column in spread]), _LEVEL)
    return _HEAD.pack(VERSION, len(times), sum(map(len, filled)), len(first)) + first + second


def decode(data: bytes, start: int, step: int, spread: bool = True) -> Iterable[tuple[int, Summary]]:
    """(time, summary) in order of time, without their distributions if `spread` is not set, which is several times quicker.
    ValueError for what `encode` did not make."""
    version, count, filled, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"a chunk of version {version}")
    end = _HEAD.size + length
    steps, counts, totals, lows, highs = _columns(data[_HEAD.size : end], "Hdddd", [count] * 5)
    widths: Iterable[float] = itertools.repeat(_UNKNOWN, count)
    numbers: list[int] = []
    weights: Sequence[float] = ()
    if spread:
        widths, keys, weights = _columns(data[end:], "Hhd", [count, filled, filled])
        numbers = [int(key) for key in keys]
    at, first = start, 0
    for many, n, total, low, high, width in zip(steps, counts, totals, lows, highs, widths, strict=True):
        buckets: dict[int, float] | None = None
        if width != _UNKNOWN:
            last = first + int(width)
            buckets = dict(zip(numbers[first:last], weights[first:last], strict=True)) if width else {}
            first = last
        at += int(many) * step
        yield at, Summary(n, n * low if low == high else total, low, high, buckets)


def _columns(data: bytes, kinds: str, lengths: Sequence[int]) -> list[array[float]]:
    try:
        body = memoryview(zlib.decompress(data))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    columns = []
    for kind, length in zip(kinds, lengths, strict=True):
        column, body = _together(kind, length, body)
        columns.append(column)
    return columns


def _apart(column: array[float] | array[int]) -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    data = column.tobytes()
    size = column.itemsize
    return b"".join(data[place::size] for place in range(size))


def _together(kind: str, length: int, body: memoryview) -> tuple[array[float], memoryview]:
    column: array[float] = array(kind)
    size = column.itemsize
    if len(body) < length * size:
        raise ValueError("a chunk that was cut short")
    data = bytearray(length * size)
    for place in range(size):
        data[place::size] = body[place * length : (place + 1) * length]
    column.frombytes(bytes(data))
    if sys.byteorder == "big":
        column.byteswap()
    return column, body[length * size :]
