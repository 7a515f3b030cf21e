"""What a node has to tell of its logs, and what it has told."""

from __future__ import annotations

import os
from pathlib import Path

from clary.domain.resources import Scope
from clary.stores.node_logs import WEEK, NodeLogs

HERE = Scope("0" * 12, "us-east-1")


def write(path: str, *lines: str) -> None:
    with open(path, "a") as file:
        file.writelines(f"{1000 + number}\t{line}\n" for number, line in enumerate(lines))


def test_what_was_told_is_not_told_again_also_after_a_restart(tmp_path: Path) -> None:
    logs = NodeLogs(tmp_path / "logs", tmp_path / "notes")
    path = logs.open(HERE, "group", "stream", 1.0)
    assert logs.pending() == []
    write(path, "one", "two")
    [piece] = logs.pending()
    assert piece.lines == ((1000, "one"), (1001, "two"))
    assert logs.pending() == [piece]  # nobody said that it was told
    logs.told(piece)
    assert logs.pending() == []
    write(path, "three")
    [later] = NodeLogs(tmp_path / "logs", tmp_path / "notes").pending()
    assert (later.begin, later.lines) == (piece.end, ((1000, "three"),))


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    logs = NodeLogs(tmp_path / "logs", tmp_path / "notes")
    path = logs.open(HERE, "group", "stream", 1.0)
    with open(path, "a") as file:
        file.write("1000\thalf")
    assert logs.pending() == []


def test_a_stream_that_is_told_and_old_is_removed(tmp_path: Path) -> None:
    logs = NodeLogs(tmp_path / "logs", tmp_path / "notes")
    old, kept = logs.open(HERE, "group", "old", 1.0), logs.open(HERE, "group", "kept", 1.0)
    write(old, "told")
    write(kept, "not told")
    for piece in logs.pending():
        if piece.stream == "old":
            logs.told(piece)
    for path in (old, kept):
        os.utime(path, (1.0, 1.0))
    logs.sweep(WEEK)
    assert os.path.exists(old)
    logs.sweep(WEEK + 2.0)
    assert not os.path.exists(old)
    assert [piece.stream for piece in logs.pending()] == ["kept"]
