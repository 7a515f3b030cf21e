"""The port `FeatureRecords` in SQL: `features.db` beside the records on SQLite, tables of the same database on PostgreSQL.

Two processes write: the one that serves records, and the control plane, which carries the log into the offline store. Writes that wait
share one fsync (`index_writer.Writer`). On SQLite a row is read where it is asked for, since that costs less than handing it to a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.sql import ClauseElement

from clary.domain.errors import ClaryError
from clary.domain.features.online import Change, History, Stored, closed
from clary.feature_ports import Batch, Entry, Line, Waiting
from clary.stores.compiled import Texts
from clary.stores.database import Database, StoreUnusable
from clary.stores.index_writer import Writer
from clary.stores.outages import Outage
from clary.stores.readers import Readers

VERSION = 1
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_ID = BigInteger().with_variant(Integer(), "sqlite")

METADATA = MetaData()
SCHEMA = Table("feature_schema", METADATA, Column("version", Integer, primary_key=True))
ONLINE = Table(
    "feature_online",
    METADATA,
    Column("grp", _TEXT, primary_key=True),
    Column("id", _TEXT, primary_key=True),
    Column("event", Float(53), nullable=False),
    Column("expires", Float(53)),
    Column("deleted", Integer, nullable=False),
    Column("document", Text, nullable=False),
    Index("feature_online_expires", "expires", sqlite_where=Column("expires").isnot(None)),
    sqlite_with_rowid=False,
)
HISTORY = Table(
    "feature_history",
    METADATA,
    Column("seq", _ID, primary_key=True, autoincrement=True),
    Column("grp", _TEXT, nullable=False),
    Column("written", Float(53), nullable=False),
    Column("document", Text, nullable=False),
    Index("feature_history_group", "grp", "seq"),
    sqlite_autoincrement=True,  # no number is given twice: batches are named by them
)
BATCHES = Table(
    "feature_batches",
    METADATA,
    Column("grp", _TEXT, primary_key=True),
    Column("first", _ID, nullable=False),
    Column("last", _ID, nullable=False),
)
CLOSED = Table(
    "feature_closed",
    METADATA,
    Column("grp", _TEXT, primary_key=True),
    Column("at", Float(53), nullable=False),
)
N, H, B, C = ONLINE.c, HISTORY.c, BATCHES.c, CLOSED.c
_REMEMBERED = 86_400.0  # seconds that a closed group is known after: no request that found it before takes as long
# Of a group, on a server: writes of records hold it together, who closes the group holds it alone. SQLite has one writer at a time.
_TOGETHER = "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 7236))"
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 7236))"
_GROUP: Any = bindparam("g")
_ID_IS: Any = bindparam("i")
_ROW = (N.event, N.document, N.expires, N.deleted)


def _statements() -> dict[str, ClauseElement]:
    here = (N.grp == _GROUP, N.id == _ID_IS)
    alive = (N.expires.is_(None) | (N.expires > bindparam("now")),)
    behind = (N.grp == _GROUP, N.id > bindparam("after"), *alive)
    lines = (H.grp == _GROUP, H.seq >= bindparam("first"), H.seq <= bindparam("last"))
    waiting = select(H.grp, func.count(), func.min(H.written)).group_by(H.grp)
    return {
        "get": select(*_ROW).where(*here),
        "remove": delete(ONLINE).where(*here),
        "insert": insert(ONLINE).values({c: bindparam(f"new_{c.name}") for c in N}),
        "all": select(N.id).where(*behind).order_by(N.id).limit(bindparam("most")),
        "shown": select(N.id).where(*behind, N.deleted == 0).order_by(N.id).limit(bindparam("most")),
        "size": select(func.coalesce(func.sum(func.length(N.document)), 0)).where(N.grp == _GROUP, N.deleted == 0),
        "expire": delete(ONLINE).where(N.expires <= bindparam("now")),
        "drop": delete(ONLINE).where(N.grp == _GROUP),
        "note": insert(HISTORY).values({c: bindparam(f"new_{c.name}") for c in H if c.name != "seq"}),
        "waiting": waiting,
        "waiting_of": waiting.where(H.grp == _GROUP),
        "begun": select(B.first, B.last).where(B.grp == _GROUP),
        "oldest": select(H.seq).where(H.grp == _GROUP).order_by(H.seq).limit(bindparam("most")),
        "begin": insert(BATCHES).values({c: bindparam(f"new_{c.name}") for c in B}),
        "lines": select(H.seq, H.written, H.document).where(*lines).order_by(H.seq),
        "forget": delete(HISTORY).where(H.grp == _GROUP, H.seq == bindparam("s")),
        "end": delete(BATCHES).where(B.grp == _GROUP),
        "drop_history": delete(HISTORY).where(H.grp == _GROUP),
        "closed": select(C.at).where(C.grp == _GROUP),
        "close": insert(CLOSED).values({c: bindparam(f"new_{c.name}") for c in C}),
        "unclose": delete(CLOSED).where(C.at <= bindparam("before")),
    }


class SqlFeatures:
    """See `feature_ports.FeatureRecords`. Make it with `open_features` on the event loop's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = Texts(_statements(), database.dialect)
        outage = Outage("feature store", database.error, database.lite)
        self._writer = Writer(
            database.connect, database.error, database.begin, lambda: None, outage, what="feature store"
        )
        self._readers = Readers(database.connect, "feature", database.lite, outage)

    async def get(self, group: str, identifiers: Sequence[str]) -> dict[str, Stored]:
        def read(cursor: Any) -> dict[str, Stored]:
            rows = {i: self._sql.run(cursor, "get", g=group, i=i).fetchone() for i in dict.fromkeys(identifiers)}
            return {i: _stored(row) for i, row in rows.items() if row is not None}

        return await self._readers.short(read)

    async def change(self, entries: Sequence[Entry], now: float) -> list[Change | ClaryError]:
        return await self._writer.run(lambda cursor: self._change(cursor, entries, now))

    def _change(self, cursor: Any, entries: Sequence[Entry], now: float) -> list[Change | ClaryError]:
        shut = {
            group for group in sorted({entry.group for entry in entries}) if self._is_closed(cursor, group, _TOGETHER)
        }
        return [closed() if entry.group in shut else self._write(cursor, entry, now) for entry in entries]

    def _is_closed(self, cursor: Any, group: str, lock: str) -> bool:
        if not self._database.lite:
            cursor.execute(lock, (group,))
        return self._sql.run(cursor, "closed", g=group).fetchone() is not None

    def _write(self, cursor: Any, entry: Entry, now: float) -> Change | ClaryError:
        row = self._sql.run(cursor, "get", g=entry.group, i=entry.identifier).fetchone()
        try:
            change = entry.decide(None if row is None else _stored(row))
        except ClaryError as error:
            return error
        if not change.keeps:
            if row is not None:
                self._sql.run(cursor, "remove", g=entry.group, i=entry.identifier)
            if change.row is not None:
                self._insert(cursor, entry, change.row)
        if change.history is not None:
            text = orjson.dumps(_told(change.history)).decode()
            self._sql.run(cursor, "note", new_grp=entry.group, new_written=now, new_document=text)
        return change

    def _insert(self, cursor: Any, entry: Entry, row: Stored) -> None:
        self._sql.run(
            cursor,
            "insert",
            new_grp=entry.group,
            new_id=entry.identifier,
            new_event=row.event,
            new_expires=row.expires,
            new_deleted=int(row.deleted),
            new_document=orjson.dumps(row.values).decode(),
        )

    async def identifiers(self, group: str, after: str, limit: int, deleted: bool, now: float) -> list[str]:
        name = "all" if deleted else "shown"
        rows = await self._readers.apart(
            lambda cursor: self._sql.run(cursor, name, g=group, after=after, most=limit, now=now).fetchall()
        )
        return [row[0] for row in rows]

    async def size(self, group: str) -> int:
        row = await self._readers.apart(lambda cursor: self._sql.run(cursor, "size", g=group).fetchone())
        return int(row[0])

    async def expire(self, now: float) -> int:
        def forget(cursor: Any) -> int:
            self._sql.run(cursor, "unclose", before=now - _REMEMBERED)
            return int(self._sql.run(cursor, "expire", now=now).rowcount)

        return await self._writer.run(forget)

    async def waiting(self, group: str | None = None) -> dict[str, Waiting]:
        name, given = ("waiting", {}) if group is None else ("waiting_of", {"g": group})
        rows = await self._readers.apart(lambda cursor: self._sql.run(cursor, name, **given).fetchall())
        return {of: Waiting(count, oldest) for of, count, oldest in rows}

    async def batch(self, group: str, most: int) -> Batch | None:
        return await self._writer.run(lambda cursor: self._batch(cursor, group, most))

    def _batch(self, cursor: Any, group: str, most: int) -> Batch | None:
        begun = self._sql.run(cursor, "begun", g=group).fetchone()
        if begun is None:
            numbers = [row[0] for row in self._sql.run(cursor, "oldest", g=group, most=most).fetchall()]
            if not numbers:
                return None
            begun = numbers[0], numbers[-1]
            self._sql.run(cursor, "begin", new_grp=group, new_first=begun[0], new_last=begun[1])
        rows = self._sql.run(cursor, "lines", g=group, first=begun[0], last=begun[1]).fetchall()
        lines = tuple(Line(number, written, _history(text)) for number, written, text in rows)
        return Batch(group, f"{begun[0]}-{begun[1]}", lines)

    async def written(self, batch: Batch) -> None:
        """By the numbers that the batch had: on PostgreSQL a line between them may have been committed since."""
        numbers = [{"g": batch.group, "s": line.number} for line in batch.lines]

        def forget(cursor: Any) -> None:
            if numbers:
                self._sql.run_many(cursor, "forget", numbers)
            self._sql.run(cursor, "end", g=batch.group)

        await self._writer.run(forget)

    async def close_group(self, group: str, now: float) -> None:
        def close(cursor: Any) -> None:
            if not self._is_closed(cursor, group, _ALONE):
                self._sql.run(cursor, "close", new_grp=group, new_at=now)

        await self._writer.run(close)

    async def drop(self, group: str) -> None:
        def forget(cursor: Any) -> None:
            for name in ("drop", "drop_history", "end"):
                self._sql.run(cursor, name, g=group)

        await self._writer.run(forget)

    async def close(self) -> None:
        await asyncio.to_thread(self._writer.close)
        await self._readers.close()
        self._database.close()


def open_features(url: str) -> SqlFeatures:
    """Make or check the tables. StoreUnusable for those of a newer Clary."""
    database = Database(url)
    with database.explained(), database.whole() as connection:
        database.alone(connection)
        METADATA.create_all(connection)
        found = connection.execute(select(SCHEMA.c.version)).scalar()
        if found is None:
            connection.execute(insert(SCHEMA).values(version=VERSION))
        elif found != VERSION:
            raise StoreUnusable(
                f"The features at {database.where} have schema {found}; Clary knows {VERSION}. A newer Clary wrote them: use "
                "that one."
            )
    return SqlFeatures(database)


def _stored(row: Sequence[Any]) -> Stored:
    event, document, expires, deleted = row
    return Stored(event, orjson.loads(document), expires, bool(deleted))


def _told(history: History) -> dict[str, Any]:
    return {
        "id": history.identifier,
        "event": history.event,
        "values": history.values,
        "invoked": history.invoked,
        "deleted": history.deleted,
    }


def _history(text: str) -> History:
    told = orjson.loads(text)
    return History(told["id"], told["event"], told["values"], told["invoked"], told["deleted"])
