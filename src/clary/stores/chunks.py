"""How many summaries of one series become few bytes: columns, their bytes sorted by significance, then deflated.

Neighbouring summaries resemble each other (the same count, a sum that changes in its low digits), so bytes of the same place are mostly
equal: an idle minute costs a fraction of a byte, a busy one 6 to 12, a distribution its filled buckets. Refuses to know files.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping

from clary.domain.datapoints import Summary

VERSION = 1
_HEAD = struct.Struct("<BHI")  # version, summaries, filled buckets
_UNKNOWN = 0xFFFF  # in place of a number of buckets: the distribution is not known
_LEVEL = 6


def encode(points: Mapping[int, Summary], start: int, step: int) -> bytes:
    """Summaries by time, all within 65,535 steps from `start`."""
    times = sorted(points)
    summaries = [points[at] for at in times]
    filled = [sorted(summary.buckets.items()) if summary.buckets else [] for summary in summaries]
    columns = (
        array("H", [(at - start) // step for at in times]),
        array("d", [summary.count for summary in summaries]),
        # of equal samples the sum is known: counts of events, which are most of what is kept, take half the room
        array("d", [0.0 if summary.low == summary.high else summary.total for summary in summaries]),
        array("d", [summary.low for summary in summaries]),
        array("d", [summary.high for summary in summaries]),
        array("H", [_UNKNOWN if s.buckets is None else len(f) for s, f in zip(summaries, filled, strict=True)]),
        array("h", [number for each in filled for number, _ in each]),
        array("d", [count for each in filled for _, count in each]),
    )
    body = b"".join(_apart(column) for column in columns)
    return _HEAD.pack(VERSION, len(times), sum(map(len, filled))) + zlib.compress(body, _LEVEL)


def decode(data: bytes, start: int, step: int, spread: bool = True) -> Iterable[tuple[int, Summary]]:
    """(time, summary) in order of time, without their distributions if `spread` is not set, which is several times quicker.
    ValueError for what `encode` did not make."""
    version, count, filled = _HEAD.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"a chunk of version {version}")
    try:
        body = memoryview(zlib.decompress(memoryview(data)[_HEAD.size :]))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    sizes = (("H", count), ("d", count), ("d", count), ("d", count), ("d", count), ("H", count), ("h", filled))
    columns = []
    for kind, length in (*sizes, ("d", filled)):
        column, body = _together(kind, length, body)
        columns.append(column)
        if not spread and len(columns) == 5:
            offsets, counts, totals, lows, highs = columns
            for offset, n, total, low, high in zip(offsets, counts, totals, lows, highs, strict=True):
                yield start + int(offset) * step, Summary(n, n * low if low == high else total, low, high, None)
            return
    offsets, counts, totals, lows, highs, widths = columns[:6]
    numbers, weights = [int(number) for number in columns[6]], columns[7]
    at = 0
    for offset, n, total, low, high, width in zip(offsets, counts, totals, lows, highs, widths, strict=True):
        buckets: dict[int, float] | None = None
        if width != _UNKNOWN:
            end = at + int(width)
            buckets = dict(zip(numbers[at:end], weights[at:end], strict=True)) if width else {}
            at = end
        yield start + int(offset) * step, Summary(n, n * low if low == high else total, low, high, buckets)


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
