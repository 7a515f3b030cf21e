"""What threads may hold at once fits the memory that they were given."""

from __future__ import annotations

import pytest

from clary.toolkit.preparation.scanning import CSV, JSON_LINES, PARQUET, SMALLEST_BUFFER, Scan, scan


@pytest.mark.parametrize("memory", [64 << 20, 256 << 20, 1 << 30])
@pytest.mark.parametrize("threads", [1, 2, 16, 96])
@pytest.mark.parametrize("columns", [1, 30, 300])
def test_buffers_of_all_threads_and_the_next_ones_fit(memory: int, threads: int, columns: int) -> None:
    found = scan(CSV, memory, threads, columns)
    assert 1 <= found.threads <= threads
    assert found.buffer >= SMALLEST_BUFFER
    assert (2 * found.threads + 1) * found.buffer <= memory


def test_memory_enough_gives_all_threads_and_the_largest_buffer() -> None:
    assert scan(CSV, 1 << 30, 8, 30) == Scan(8, 16 << 20)


def test_a_thread_of_json_holds_34_mebibytes() -> None:
    assert [scan(JSON_LINES, memory << 20, 8, 0).threads for memory in (64, 128, 256, 1024)] == [1, 2, 5, 8]


def test_threads_of_parquet_follow_its_columns() -> None:
    assert [scan(PARQUET, 256 << 20, 8, columns).threads for columns in (0, 30, 100, 1000)] == [8, 4, 1, 1]


def test_less_memory_for_each_thread_until_one_is_left() -> None:
    halves = [Scan(5, 9 << 20)]
    while halves[-1] != halves[-1].halved():
        halves.append(halves[-1].halved())
    assert [each.threads for each in halves] == [5, 2, 1]
