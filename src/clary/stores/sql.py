"""The record store in SQL: `ports.Store` and `ports.Grants` on SQLite by file, or PostgreSQL by URL, which several control planes
may share.

Owns the connections, durability and what changes are told to whom. Writes go through one gathering thread (group commit); with
SQLite single reads run where they are called, since a row costs less than handing it to a thread, and lists run in a thread of
their own. Does not know what records mean.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import orjson

from clary.domain.conditions import terms
from clary.domain.errors import AlreadyExists, Stale
from clary.domain.grants import Grant, GrantChange, Granted
from clary.domain.resources import Lease, Query, Record, Scope
from clary.stores.answered import Answered
from clary.stores.changes import Feed, Noted, new_writer, record_of
from clary.stores.database import Database
from clary.stores.index_writer import Companion, Writer
from clary.stores.outages import Outage
from clary.stores.readers import Readers
from clary.stores.statements import GRANT_COLUMNS, Statements

T = TypeVar("T")
Row = Sequence[Any]


class SqlStore:
    """See `ports.Store` and `ports.Grants`. Make it with `open_store` on the event loop's thread; it belongs to that loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = Statements(database.dialect)
        self._answered = Answered(Path(database.url.database or "")) if database.lite else None
        by = new_writer()
        self._noted = Noted(self._sql, by, database.lite, self._answered or Companion())
        outage = Outage("record store", database.error, database.lite)
        self._writer = Writer(
            database.connect,
            database.error,
            database.begin,
            lambda: None,
            outage,
            what="record store",
            companion=self._noted,
        )
        self._readers = Readers(database.connect, "record", database.lite, outage)
        self._listeners: list[Callable[[Record], None]] = []
        self._grant_listeners: list[Callable[[GrantChange], None]] = []
        self._changes: set[asyncio.Task[bool]] = set()
        self._feed = Feed(database, self._sql, by, self._tell)
        self._following = False

    # -- reads -------------------------------------------------------------------------------------------------------------------

    async def get(self, kind: str, scope: Scope, name: str) -> Record | None:
        return await self._one("get", k=kind, a=scope.account, r=scope.region, n=name)

    async def by_arn(self, arn: str) -> Record | None:
        return await self._one("by_arn", arn=arn)

    async def made(self, by: str) -> Record | None:
        return await self._one("made", by=by) if by else None

    async def page(self, query: Query) -> list[Record]:
        rows = await self._readers.apart(lambda cursor: self._sql.page(cursor, query).fetchall())
        return [record_of(row) for row in rows]

    async def count(self, query: Query) -> int:
        row = await self._readers.apart(lambda cursor: self._sql.count(cursor, query).fetchone())
        return int(row[0])

    async def scopes(self, kind: str) -> list[Scope]:
        rows = await self._readers.apart(lambda cursor: self._sql.run(cursor, "scopes", k=kind).fetchall())
        return [Scope(account, region) for account, region in rows]

    # -- writes ------------------------------------------------------------------------------------------------------------------

    async def add(self, record: Record, made_by: str = "", alone: str = "") -> Record:
        text = _text(record)
        values = {
            "new_kind": record.kind,
            "new_account": record.scope.account,
            "new_region": record.scope.region,
            "new_name": record.name,
            "new_arn": record.arn,
            "new_status": record.status,
            "new_created": record.created,
            "new_modified": record.modified,
            "new_document": text,
            "new_version": 1,
            "new_made_by": made_by,
            "new_alone": alone,
        }
        stored = replace(record, document=orjson.loads(text), version=1)
        if not await self._change("add", values, stored):
            raise AlreadyExists(f"{record.kind} {record.name} exists")
        return stored

    async def save(self, record: Record, lease: Lease | None = None, change: GrantChange | None = None) -> Record:
        text = _text(record)
        values = {
            **_guard(record, lease),
            "new_status": record.status,
            "new_modified": record.modified,
            "new_document": text,
        }
        stored = replace(record, document=orjson.loads(text), version=record.version + 1)
        if not await self._change("save" if lease is None else "save_held", values, stored, change=change):
            raise Stale(f"{record.arn} or its machine changed since it was read, or the lease on it is gone")
        return stored

    async def remove(self, record: Record, lease: Lease | None = None) -> None:
        last = replace(record, version=record.version + 1)
        name = "remove" if lease is None else "remove_held"
        if not await self._change(name, _guard(record, lease), last, removed=True):
            raise Stale(f"{record.arn} changed since it was read, or the lease on it is gone")

    async def claim(
        self,
        kind: str,
        owner: str,
        now: float,
        lease_seconds: float,
        statuses: Sequence[str],
        limit: int,
        arns: Sequence[str] = (),
    ) -> list[Lease]:
        until = now + lease_seconds
        rows = await self._writer.run(
            lambda cursor: self._sql.claim(
                cursor, kind, owner, now, until, tuple(statuses), limit, tuple(arns)
            ).fetchall()
        )
        return [Lease(record_of(row), owner, until) for row in rows]

    async def release(self, lease: Lease) -> None:
        record = lease.record
        values = {"k": record.kind, "a": record.scope.account, "r": record.scope.region, "n": record.name}
        await self._writer.run(lambda cursor: self._sql.run(cursor, "release", **values, owner=lease.owner).rowcount)

    # -- grants ------------------------------------------------------------------------------------------------------------------

    async def granted(self, machine: str) -> Granted:
        rows = await self._readers.short(lambda cursor: self._sql.run(cursor, "granted", machine=machine).fetchall())
        version = int(rows[0][0]) if rows else 0
        return Granted(machine, version, tuple(_grant(row[1:]) for row in rows if row[1] is not None))

    async def write(self, change: GrantChange) -> None:
        if not await self._through(
            lambda cursor: self._guards(cursor, change) and self._grants(cursor, change), change
        ):
            raise Stale(f"what was given of the machine {change.machine} changed since it was read")

    def watch_grants(self, listener: Callable[[GrantChange], None]) -> Callable[[], None]:
        self._grant_listeners.append(listener)
        return lambda: self._grant_listeners.remove(listener) if listener in self._grant_listeners else None

    def _guards(self, cursor: Any, change: GrantChange) -> bool:
        """Whether what it takes may be written: the machine has the version that was read, and from now on the next one."""
        if not change.take:
            return True
        if not change.version:
            return bool(self._sql.run(cursor, "first_of_machine", machine=change.machine).rowcount)
        return bool(self._sql.run(cursor, "guard_machine", machine=change.machine, read=change.version).rowcount)

    def _grants(self, cursor: Any, change: GrantChange) -> bool:
        for key in change.release:
            self._sql.run(cursor, "touch_machine", of=key)
            self._sql.run(cursor, "give_back", of=key)
        if change.take:
            self._sql.run_many(cursor, "give", [_values(grant) for grant in change.take])
        return True

    # -- listeners and end -------------------------------------------------------------------------------------------------------

    def watch(self, listener: Callable[[Record], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        if not self._following:
            self._following = True
            self._feed.start()
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def close(self) -> None:
        if self._changes:
            await asyncio.wait(self._changes)
        self._listeners.clear()
        self._grant_listeners.clear()
        await self._feed.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._writer.close)
        if self._answered is not None:
            self._answered.close()
        await self._readers.close()
        self._database.close()

    async def _change(
        self,
        name: str,
        values: dict[str, Any],
        stored: Record,
        removed: bool = False,
        change: GrantChange | None = None,
    ) -> bool:
        """Run a write of a record, with what it takes and gives back; tell of it when it changed something."""

        def write(cursor: Any) -> bool:
            # The machine first: where that is refused nothing is written. Where the record is, the machine has another version for
            # nothing, and who decided by the one before decides again.
            if change is not None and not self._guards(cursor, change):
                return False
            was = self._id(cursor, stored) if removed else None
            if not self._sql.run(cursor, name, **values).rowcount:
                return False
            self._noted.note(stored, removed)
            self._index(cursor, stored, was)
            return change is None or self._grants(cursor, change)

        return await self._through(write, change, stored)

    async def _through(
        self, write: Callable[[Any], bool], change: GrantChange | None, stored: Record | None = None
    ) -> bool:
        """A caller that is cancelled meanwhile (its client hung up) stops neither the write nor the telling: what is committed is told."""
        task = asyncio.get_running_loop().create_task(self._written(write, change, stored))
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)

    async def _written(self, write: Callable[[Any], bool], change: GrantChange | None, stored: Record | None) -> bool:
        if not await self._writer.run(write):
            return False
        if change is not None:
            for listener in list(self._grant_listeners):
                listener(change)
        if stored is not None:
            self._tell(stored)
        return True

    def _id(self, cursor: Any, record: Record) -> int:
        row = self._sql.run(cursor, "id", arn=record.arn).fetchone()
        return int(row[0]) if row is not None else 0

    def _index(self, cursor: Any, stored: Record, was: int | None) -> None:
        """Write the terms that the record is found by, in the transaction that changes it. `was`: the id of one that is removed."""
        number = was if was is not None else self._id(cursor, stored)
        self._sql.run(cursor, "lose", resource_of=number)
        if was is None and (found := terms(stored)):
            rows = [{"new_term": key, "new_value": value, "new_resource": number} for key, value in found]
            self._sql.run_many(cursor, "find_by", rows)

    def _tell(self, record: Record) -> None:
        for listener in list(self._listeners):
            listener(record)

    async def _one(self, name: str, **values: Any) -> Record | None:
        row = await self._readers.short(lambda cursor: self._sql.run(cursor, name, **values).fetchone())
        return record_of(row) if row is not None else None


def open_store(url: str, refusal: str = "") -> SqlStore:
    """The store behind a SQLAlchemy URL, its schema made or brought up to date. StoreUnusable says why not and what to do; `refusal`
    is what it says instead of beginning with no records ("": it may)."""
    database = Database(url)
    database.prepare(refusal)
    return SqlStore(database)


def _grant(row: Sequence[Any]) -> Grant:
    """A row of `grants`, which has the fields in their order."""
    return Grant(*row)


def _values(grant: Grant) -> dict[str, Any]:
    """The same, to be written."""
    row = dataclasses.astuple(replace(grant, version=1))
    return {f"new_{column.name}": value for column, value in zip(GRANT_COLUMNS, row, strict=True)}


def _text(record: Record) -> str:
    return orjson.dumps(record.document).decode()


def _guard(record: Record, lease: Lease | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "k": record.kind,
        "a": record.scope.account,
        "r": record.scope.region,
        "n": record.name,
        "v": record.version,
    }
    return values if lease is None else {**values, "owner": lease.owner}
