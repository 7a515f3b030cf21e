"""How many commits of a SQLite file were answered, in a small file beside it: a file that holds fewer is not the newest.

A log (`records.db-wal`) that somebody deleted after a crash, an older copy put back, a copy of a file in use: each would begin from an
older state in silence. The number stands in the database's header (`user_version`, part of every commit) and, after the commit,
beside it. No sync: after a power cut the file beside is behind, never ahead. Does not know what is in the database.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from clary.stores.index_writer import Companion

TURN = 1 << 31  # the header holds 31 bits


class Answered(Companion):
    def __init__(self, database: Path) -> None:
        self._path = beside(database)
        self._number = self._changes = 0
        self._counts = False
        self._file = -1

    def opened(self, cursor: Any) -> None:
        self._number = int(cursor.execute("PRAGMA user_version").fetchone()[0])
        self._changes = cursor.connection.total_changes
        if self._file < 0:
            self._file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)

    def sealed(self, cursor: Any) -> None:
        changes = cursor.connection.total_changes
        self._counts = changes != self._changes  # what changes nothing must stay free of a sync
        if self._counts:
            cursor.execute(f"PRAGMA user_version={(self._number + 1) % TURN}")
            self._changes = changes

    def committed(self) -> None:
        if self._counts:
            self._number = (self._number + 1) % TURN
            with suppress(OSError):  # of a full disk: then it is behind, and says less
                os.pwrite(self._file, b"%010d\n" % self._number, 0)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def beside(database: Path) -> Path:
    return Path(f"{database}.commits")


def missing(database: Path, number: int) -> int:
    """How many answered commits a database whose header has `number` does not hold; 0 when it holds all, or nothing is known."""
    try:
        answered = int(beside(database).read_bytes()[:10])
    except (FileNotFoundError, ValueError):
        return 0
    behind = (answered - number) % TURN
    return behind if behind < TURN // 2 else 0
