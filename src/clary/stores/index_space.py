"""Room inside of the index's own files, held for deletions on a full disk: there nobody else can take it.

A deletion writes rows too (a delete marker adds one). SQLite writes them to its log first, then moves them into its file (a checkpoint);
neither may have to grow when there is no room. So the log is made long ahead of time (a checkpoint lets it start again, and it is never
shortened), and the file holds a row of nothing that is removed when room is scarce: its pages are free then, and the next rows go there.
While the disk is nearly full, rows are moved often, so that the file has grown before there is no room for it. Does not know: what is
deleted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

SIZE = 4 << 20  # bytes of the row: some ten thousand delete markers
LOG = 8 << 20  # a deletion of a thousand keys writes half of it
ROOMY = 4 * (SIZE + LOG)  # free bytes from which it is held
NEAR = 4 * ROOMY  # free bytes below which rows are moved each second
SCARCE = 2 << 20  # free bytes below which it is given up


class Space:
    """Of the SQLite file `path`. `free` answers the bytes that its disk has free."""

    def __init__(self, path: str, free: Callable[[], int]) -> None:
        self._path, self._free = path, free
        self._held: bool | None = None  # None: nobody has looked

    def wanting(self) -> bool:
        """Whether there is something to hold, and room for it."""
        if self._held and not self._short_log():
            return False
        return self._free() >= ROOMY

    def hold(self, cursor: Any) -> None:
        """A write: make the row, unless it is there."""
        cursor.execute("CREATE TABLE IF NOT EXISTS space (filler BLOB NOT NULL)")
        if cursor.execute("SELECT 1 FROM space").fetchone() is None:
            cursor.execute("INSERT INTO space VALUES (zeroblob(?))", (SIZE,))

    def holds(self) -> None:
        """The row is there. Make the log long; without the room for that it stays as it is."""
        self._held = True
        if self._short_log():
            with suppress(OSError):
                descriptor = os.open(f"{self._path}-wal", os.O_WRONLY | os.O_CLOEXEC)
                try:
                    os.posix_fallocate(descriptor, 0, LOG)
                finally:
                    os.close(descriptor)

    def scarce(self) -> bool:
        """Whether what is held is needed now."""
        return self._free() < SCARCE

    def near(self) -> bool:
        """Whether it may be soon."""
        return self._free() < NEAR

    @property
    def kept(self) -> bool:
        """Whether the row may be there."""
        return self._held is not False

    def give_up(self, cursor: Any) -> None:
        """A write: the pages of the row are free. It counts as gone when it is found gone: this write may yet fail."""
        made = cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'space'").fetchone() is not None
        if made and cursor.execute("SELECT 1 FROM space").fetchone() is not None:
            cursor.execute("DELETE FROM space")
        else:
            self._held = False

    def _short_log(self) -> bool:
        try:
            return os.stat(f"{self._path}-wal").st_blocks * 512 < LOG
        except FileNotFoundError:
            return False
