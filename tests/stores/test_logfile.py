"""One file of lines, from any place in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clary.stores import logfile


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s.log")


def fill(path: str, lines: list[tuple[int, str]]) -> None:
    Path(path).write_bytes(b"".join(logfile.encode(ms, text) for ms, text in lines))


SIZES = st.lists(st.sampled_from([0, 1, 10, 1000, 65_530, 65_536, 70_000, 140_000, 262_144]), max_size=12)


@settings(max_examples=40, deadline=None)
@given(sizes=SIZES)
def test_backward_is_forward_turned_round(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    path = str(tmp_path_factory.mktemp("logfile") / "s.log")
    fill(path, [(at, "x" * size) for at, size in enumerate(sizes)])
    end = logfile.whole(path)
    lines = list(logfile.forward(path, 0))
    assert [(line.ms, len(line.text)) for line in lines] == list(enumerate(sizes))
    assert list(logfile.backward(path, end, 0)) == lines[::-1]
    for line in lines:
        assert list(logfile.forward(path, line.start, line.end)) == [line]
        assert next(logfile.backward(path, line.end, 0)) == line
        assert logfile.seek(path, line.ms) == line.start
    assert logfile.seek(path, len(sizes)) == end


@pytest.mark.parametrize("size", [300_000, 600_000, 5_000_000])
def test_a_line_too_long_is_cut(path: str, size: int) -> None:
    Path(path).write_bytes(b"1\ta\n2\t" + b"x" * size + b"\n3\tb\n")
    lines = list(logfile.forward(path, 0))
    assert [line.ms for line in lines] == [1, 2, 3]
    assert len(lines[1].text) == logfile.MAX_LINE
    assert lines[1].text.endswith(logfile.CUT)
    assert list(logfile.backward(path, logfile.whole(path), 0)) == lines[::-1]


def test_a_message_too_long_is_cut_when_it_is_written() -> None:
    line = logfile.encode(1, "é" * 200_000)
    assert len(line) <= logfile.MAX_LINE + 3
    assert logfile.decode(line[2:-1]).endswith("é [truncated]")


def test_seek_finds_the_first_of_equal_times(path: str) -> None:
    fill(path, [(ms, "x" * 500) for ms in (1, 5, 9) for _ in range(1000)])
    for ms, wanted in ((0, 0), (1, 0), (2, 1000), (5, 1000), (6, 2000), (9, 2000), (10, 3000)):
        assert logfile.seek(path, ms) == wanted * len(logfile.encode(1, "x" * 500))


def test_a_file_that_is_gone_is_empty(path: str) -> None:
    assert list(logfile.forward(path, 0)) == []
    assert logfile.whole(path) == logfile.origin(path) == logfile.seek(path, 5) == 0
    assert not logfile.give_back(path, 1 << 20)


def test_giving_back_keeps_offsets(path: str) -> None:
    fill(path, [(ms, "x" * 100) for ms in range(10_000)])
    lines = list(logfile.forward(path, 0))
    if not logfile.give_back(path, lines[5000].start):
        pytest.skip("this filesystem cannot free the front of a file")
    begin = logfile.origin(path)
    kept = list(logfile.forward(path, begin))
    assert kept == lines[-len(kept) :]
    assert 5000 <= len(kept) < 5100
    assert list(logfile.backward(path, logfile.whole(path), begin)) == kept[::-1]
    assert logfile.seek(path, 0) == kept[0].start
    assert logfile.seek(path, 7000) == lines[7000].start
