"""How many threads may read a table, and by which buffers, so that what they hold at once fits a given memory.

The figures are DuckDB 2.0's. A thread that reads CSV holds the buffer that it is in and the next one, for the row across both; the consumer
may be so slow that all of them wait. JSON is read by a buffer of 32 MiB a thread that no option makes smaller. A thread that reads Parquet
holds a page and its values for each column. Every thread holds a vector of 2,048 values for each column.

They are a start, not a promise: a row may be of any size. Who reads goes on with half the threads when memory runs out.
"""

from __future__ import annotations

from typing import NamedTuple

CSV, JSON_LINES, PARQUET = "csv", "jsonlines", "parquet"
LARGEST_BUFFER, SMALLEST_BUFFER = 16 << 20, 4 << 20  # bytes; more than DuckDB's longest line, 2,000,000
_PER_THREAD = {CSV: 0, JSON_LINES: 34 << 20, PARQUET: 0}
_PER_COLUMN = {CSV: 64 << 10, JSON_LINES: 192 << 10, PARQUET: 3 << 19}


class Scan(NamedTuple):
    threads: int
    buffer: int  # bytes, of CSV

    def halved(self) -> Scan:
        return Scan(max(1, self.threads // 2), SMALLEST_BUFFER)


def scan(form: str, memory: int, threads: int, columns: int) -> Scan:
    """For `memory` bytes. A quarter stays for what waits to be consumed."""
    usable = memory - memory // 4
    each = _PER_THREAD[form] + columns * _PER_COLUMN[form]
    if form == CSV:
        count = max(1, min(threads, (usable - SMALLEST_BUFFER) // (each + 2 * SMALLEST_BUFFER)))
        buffer = (usable - count * each) // (2 * count + 1)
        return Scan(count, max(SMALLEST_BUFFER, min(LARGEST_BUFFER, buffer)))
    return Scan(max(1, min(threads, usable // max(1, each))), SMALLEST_BUFFER)
