"""The gathering writer on a full disk."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from clary.domain.errors import NoRoom, Unavailable
from clary.stores.index_writer import Writer
from clary.stores.outages import Outage

NEVER = Outage("test", sqlite3.Error, lite=True)


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
    writer = Writer(disk.connect, sqlite3.Error, ("BEGIN",), lambda: None, NEVER, relieve=disk.relieve)

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


async def test_what_is_to_be_written_ahead_of_deletions_is_and_its_failure_is_not_theirs() -> None:
    disk = Disk()
    told: list[str] = []
    ahead: list[Any] = [lambda cursor: told.append("ahead")]
    writer = Writer(
        disk.connect, sqlite3.Error, ("BEGIN",), lambda: None, NEVER, ahead=lambda: ahead[0] if ahead else None
    )
    await writer.run(lambda cursor: told.append("put"))
    await writer.run(lambda cursor: told.append("delete"), urgent=True)
    assert told == ["put", "ahead", "delete"]

    def full(cursor: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    ahead[0] = full
    await writer.run(lambda cursor: told.append("delete"), urgent=True)
    ahead.clear()
    await writer.run(lambda cursor: told.append("delete"), urgent=True)
    assert told[3:] == ["delete", "delete"]
    writer.close()


class Locked(Disk):
    """A database that somebody else holds; `tried` counts how often it was waited for."""

    tried = 0

    def execute(self, statement: str) -> None:
        if statement == "BEGIN":
            self.tried += 1
            raise sqlite3.OperationalError("database is locked")


async def test_writes_that_wait_together_wait_once_for_who_holds_the_database() -> None:
    """Else the last of them would wait as often as there are others before it."""
    database = Locked()
    writer = Writer(database.connect, sqlite3.Error, ("BEGIN",), lambda: None, NEVER)
    first, *others = await asyncio.gather(*(writer.run(lambda cursor: None) for _ in range(20)), return_exceptions=True)
    assert {type(each) for each in (first, *others)} == {Unavailable}
    assert database.tried == 2  # the first by itself, then those that came meanwhile
    writer.close()
