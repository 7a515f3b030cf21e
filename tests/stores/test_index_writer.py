"""The gathering writer on a full disk."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from clary.domain.errors import NoRoom
from clary.stores.index_writer import Writer


class Disk:
    """A database on a disk that takes no commit while it is full."""

    def __init__(self) -> None:
        self.full = False
        self.held = 1  # how often there is something to give up

    def connect(self) -> Disk:
        return self

    def cursor(self) -> Disk:
        return self

    def execute(self, statement: str) -> None:
        if self.full and statement == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")

    def relieve(self) -> bool:
        self.held -= 1
        self.full = self.held < 0
        return self.held >= 0

    def close(self) -> None: ...


async def test_on_a_full_disk_deletions_are_given_room_and_the_rest_is_told() -> None:
    disk = Disk()
    writer = Writer(disk.connect, sqlite3.Error, ("BEGIN",), lambda: None, relieve=disk.relieve)

    def write(name: str, urgent: bool = False) -> Any:
        return writer.run(lambda cursor: name, urgent=urgent)

    assert await write("before") == "before"
    disk.full = True
    with pytest.raises(NoRoom, match="database or disk is full"):
        await write("put")
    assert disk.held == 1
    first, *rest = await asyncio.gather(
        write("put"), write("put"), write("delete", urgent=True), return_exceptions=True
    )
    assert isinstance(first, NoRoom)
    assert rest[-1] == "delete"
    disk.full = True  # and what was held is used up
    with pytest.raises(NoRoom):
        await write("delete", urgent=True)
    disk.full = False
    assert await write("after") == "after"
    writer.close()
