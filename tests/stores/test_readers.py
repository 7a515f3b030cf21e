"""Reads beside a writer (`stores/readers.py`): where they run, and what becomes of a connection that failed."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from clary.stores.outages import Outage
from clary.stores.readers import Readers

NEVER = Outage("test", sqlite3.Error, lite=True)


class Opened:
    """Connections to one file, counted."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0

    def __call__(self) -> sqlite3.Connection:
        self.count += 1
        return sqlite3.connect(self.path, check_same_thread=False)


@pytest.mark.parametrize("near", [True, False])
async def test_short_reads_stay_here_where_that_is_cheaper(tmp_path: Path, near: bool) -> None:
    readers = Readers(Opened(tmp_path / "a.db"), "test", near, NEVER)
    here = threading.get_ident()
    assert (await readers.short(lambda cursor: threading.get_ident()) == here) is near
    assert await readers.apart(lambda cursor: threading.get_ident()) != here
    await readers.close()


async def test_a_connection_is_used_again_unless_a_read_failed_on_it(tmp_path: Path) -> None:
    connect = Opened(tmp_path / "a.db")
    readers = Readers(connect, "test", False, NEVER)
    for _ in range(3):
        assert await readers.apart(lambda cursor: cursor.execute("SELECT 1").fetchone()) == (1,)
    assert connect.count == 1
    with pytest.raises(sqlite3.OperationalError):
        await readers.apart(lambda cursor: cursor.execute("SELECT * FROM nothing"))
    assert await readers.apart(lambda cursor: cursor.execute("SELECT 1").fetchone()) == (1,)
    assert connect.count == 2
    await readers.close()
