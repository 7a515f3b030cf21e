"""The change feed: what one store wrote, every other store on the same database hears.

Each write of a record is a row of `changes`, in the write's own transaction. On SQLite a reader asks `PRAGMA data_version` ten times a
second (5 us; it changes when another connection committed) and then reads the rows behind the last one that it saw. On PostgreSQL each
commit sends one NOTIFY, which says where its rows are; a reader has a connection that listens. Rows are deleted after an hour. A
reader that may have missed some (it is behind the deletions, or its connection broke) hears every record once instead.

Owns the rows, their order and their age. Does not know what records mean, and who listens.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import orjson

from clary.domain.resources import Record, Scope
from clary.stores.database import Database
from clary.stores.index_writer import Companion
from clary.stores.statements import Statements

log = logging.getLogger(__name__)

POLL = 0.1  # seconds between two looks at a SQLite file
KEEP = 3600.0  # seconds that a row stays
_PRUNE = 60.0  # seconds between two deletions
_PRUNED_AT_ONCE = 5000  # rows
_NOTIFY = (  # [who, after which number, up to which one]
    "SELECT last, pg_notify('clary_changes', json_build_array(%s::text, %s::bigint, last)::text) "
    "FROM (SELECT currval('changes_seq_seq') AS last) AS newest"
)
_AT_ONCE = 200  # records that are told before others get the event loop
_LONGEST_PAUSE = 5.0  # seconds between two tries to listen again

Tell = Callable[[Record], None]


class Noted(Companion):
    """Writes the rows of a transaction, before it commits. `note` and all hooks run in the writer's thread."""

    def __init__(self, sql: Statements, by: str, lite: bool, inner: Companion) -> None:
        self._sql, self._by, self._lite, self._inner = sql, by, lite, inner
        self._rows: list[dict[str, Any]] = []
        self._pruned = 0.0
        self._last = self._sent = 0  # with PostgreSQL: the number of the newest row of its own

    def note(self, record: Record, removed: bool) -> None:
        """`record` as it is stored now, or was. What is removed is kept in the row: no reader could look it up any more."""
        self._rows.append(
            {
                "new_kind": record.kind,
                "new_arn": record.arn,
                "new_version": record.version,
                "new_removed": _kept(record) if removed else "",
                "new_made_by": self._by,
                "new_at": 0.0,
            }
        )

    def opened(self, cursor: Any) -> None:
        self._inner.opened(cursor)

    def begun(self) -> None:
        self._rows.clear()
        self._inner.begun()

    def sealed(self, cursor: Any) -> None:
        if self._rows:
            now = time.time()
            for row in self._rows:
                row["new_at"] = now
            self._sql.run_many(cursor, "note", self._rows)
            if not self._lite:
                self._sent = int(cursor.execute(_NOTIFY, (self._by, self._last)).fetchone()[0])
            if now - self._pruned > _PRUNE:
                done = self._sql.run(cursor, "prune", old=now - KEEP, most=_PRUNED_AT_ONCE).rowcount
                self._pruned = now if done < _PRUNED_AT_ONCE - 1 else 0.0
        self._inner.sealed(cursor)

    def committed(self) -> None:
        self._last = self._sent
        self._inner.committed()


class Feed:
    """What other stores change, told on the event loop: `tell` gets each changed record as it is now, and each removed one as it was
    last. `start` and `close` on the loop's thread; making it decides from where on it hears."""

    def __init__(self, database: Database, sql: Statements, by: str, tell: Tell) -> None:
        self._database, self._sql, self._by, self._tell = database, sql, by, tell
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._listening: Any = None if database.lite else self._listen()
        self._connection: Any = database.connect()
        self._last = self._newest() if database.lite else 0

    def start(self) -> None:
        """Begin to tell. Once."""
        loop = asyncio.get_running_loop()
        if self._database.lite:
            self._task = loop.create_task(self._polled(), name="change feed")
        else:
            self._thread = threading.Thread(target=self._heard, args=(loop,), name="change feed", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        for connection in (self._connection, self._listening):
            if connection is not None:
                connection.close()

    # -- SQLite ------------------------------------------------------------------------------------------------------------------

    async def _polled(self) -> None:
        seen = -1
        while True:
            try:
                version = self._connection.execute("PRAGMA data_version").fetchone()[0]
                if version != seen:
                    await self._read_on()
                    seen = version
            except self._database.error:
                log.exception("the change feed could not be read; next try in %g s", POLL)
            await asyncio.sleep(POLL)

    async def _read_on(self) -> None:
        """Tell what is behind the last row that was seen."""
        cursor = self._connection.cursor()
        oldest, newest = self._sql.run(cursor, "ends").fetchone()
        if newest is None or newest == self._last:
            return
        if self._last < oldest - 1:  # rows that it did not see were deleted
            self._last = newest
            await self._tell_all(self._everything(self._connection))
            return
        rows = self._sql.run(cursor, "changed_by_others", after=self._last, last=newest, by=self._by).fetchall()
        self._last = newest
        await self._tell_all(self._records(cursor, rows))

    def _newest(self) -> int:
        return int(self._sql.run(self._connection.cursor(), "ends").fetchone()[1] or 0)

    # -- PostgreSQL --------------------------------------------------------------------------------------------------------------

    def _listen(self) -> Any:
        connection = self._database.connect()
        connection.execute("LISTEN clary_changes")
        return connection

    def _heard(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread: wait for notices; after a broken connection listen again, and tell everything, since some may be lost."""
        pause = 0.1
        while not self._closed:
            try:
                if self._listening is None:
                    self._listening = self._listen()
                    self._connection = self._database.connect()
                    self._hand_over(loop, self._everything(self._connection))
                    pause = 0.1
                for notice in self._listening.notifies(timeout=0.5):
                    self._notice(loop, notice.payload)
            except self._database.error as error:
                if self._closed:
                    return
                log.warning("the change feed lost its database (%s); listening again in %.1f s", error, pause)
                for connection in (self._listening, self._connection):
                    with suppress(self._database.error, AttributeError):
                        connection.close()
                self._listening = None
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _notice(self, loop: asyncio.AbstractEventLoop, payload: str) -> None:
        by, after, last = json.loads(payload)
        if by != self._by:
            cursor = self._connection.cursor()
            rows = self._sql.run(cursor, "changed_by", after=after, last=last, by=by).fetchall()
            self._hand_over(loop, self._records(cursor, rows))

    def _hand_over(self, loop: asyncio.AbstractEventLoop, records: Iterator[Record]) -> None:
        """Wait until they were told: a reader that is slower than the writers must not gather them in memory."""
        while batch := [record for _, record in zip(range(_AT_ONCE), records, strict=False)]:
            if loop.is_closed():
                return
            asyncio.run_coroutine_threadsafe(self._tell_all(iter(batch)), loop).result()

    # -- both --------------------------------------------------------------------------------------------------------------------

    def _records(self, cursor: Any, rows: Sequence[tuple[str, str]]) -> Iterator[Record]:
        """The records that the rows name, each once: as they are now, or as they were last."""
        last: dict[str, str] = dict(rows)  # of several rows the last one
        for arn, removed in last.items():
            row = self._sql.run(cursor, "by_arn", arn=arn).fetchone()
            if row is not None:
                yield record_of(row)
            elif removed:
                yield record_of(orjson.loads(removed))

    def _everything(self, connection: Any) -> Iterator[Record]:
        cursor = connection.cursor()
        after = 0
        while rows := self._sql.run(cursor, "all", after=after, most=_AT_ONCE).fetchall():
            after = rows[-1][0]
            yield from (record_of(row[1:]) for row in rows)

    async def _tell_all(self, records: Iterator[Record]) -> None:
        for number, record in enumerate(records, 1):
            self._tell(record)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)


def new_writer() -> str:
    """How a store marks its rows, so that it does not hear itself."""
    return uuid.uuid4().hex


def record_of(row: Sequence[Any]) -> Record:
    """A row of `Statements`' record columns."""
    kind, account, region, name, arn, status, created, modified, document, version = row
    return Record(kind, Scope(account, region), name, arn, status, created, modified, orjson.loads(document), version)


def _kept(record: Record) -> str:
    """A row as `record_of` takes it, as JSON."""
    kind, scope, name, arn = record.kind, record.scope, record.name, record.arn
    columns = [kind, scope.account, scope.region, name, arn, record.status, record.created, record.modified]
    return orjson.dumps([*columns, orjson.dumps(record.document).decode(), record.version]).decode()
