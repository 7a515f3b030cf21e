"""The object store's index in SQL (SQLite by file, PostgreSQL by URL): `object_ports.Index`.

Owns the engine, its settings and the reads; writes go through one gathering thread (index_writer). With SQLite reads run where
they are called: a row costs less than handing it to another thread. Does not know: S3, blobs on disk.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import URL, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from clary.domain.errors import ClaryError
from clary.domain.objects.items import (
    ALWAYS,
    NULL_VERSION,
    Bucket,
    Condition,
    Fate,
    Item,
    Listed,
    Part,
    Upload,
    Written,
    successor,
)
from clary.stores.database import NO_DRIVER, connecting
from clary.stores.index_journal import Abandoned, Beside, Found, IndexUnusable, Keeper, adopt, check, find, snapshot
from clary.stores.index_rows import as_item, as_listed, as_upload, cut_off
from clary.stores.index_schema import METADATA, SCHEMA_VERSION, Statements
from clary.stores.index_space import Space
from clary.stores.index_writer import Writer
from clary.stores.index_writes import Writes, body_id
from clary.stores.journal import Journal
from clary.stores.outages import Outage
from clary.stores.readers import Readers

log = logging.getLogger("clary.index")
T = TypeVar("T")
Settle = Callable[[], Mapping[str, ClaryError]]
TOP = b"\xff" * 8  # above every key: UTF-8 has no byte 0xff
CHECKED = 256 << 20  # a larger file is not checked whole at start
IN_LIST = 10_000
SNAPSHOT_PAUSE = 60.0  # seconds after one, failed or not


class SqlIndex:
    """See `object_ports.Index`. Belongs to one event loop. `settle` runs in the writer's thread before each transaction: it
    makes the blobs that rows will name durable, and answers those it could not, whose rows are then refused with that error.
    `beside` is the journal that every commit goes into; without it nothing can be made again. `relieve` makes room for deletions on a
    full disk; whether it could. With `free` (the bytes that the disk has) room is held within the files of SQLite too."""

    def __init__(
        self,
        url: str,
        settle: Settle = dict,
        beside: Beside | None = None,
        relieve: Callable[[], bool] = lambda: False,
        free: Callable[[], int] | None = None,
    ) -> None:
        self._url = make_url(url)
        self._lite = self._url.get_backend_name() == "sqlite"
        self._engine = engine_of(self._url)
        self._error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        self._statements = Statements(self._engine)
        self._do = Writes(self._statements)
        self._beside = beside
        self._keeper = Keeper(self._statements, self._do, beside.journal) if beside is not None else None
        self._shortening: asyncio.Future[None] | None = None
        self._not_before = 0.0  # monotonic seconds of the next try of a snapshot
        self._closing = False
        self._space = Space(str(self._url.database), free) if self._lite and free is not None else None
        self._relieve = relieve
        self._prepare()
        self._settle = settle
        begin = ("BEGIN IMMEDIATE",) if self._lite else ("BEGIN", "SELECT pg_advisory_xact_lock(7236)")
        outage = Outage("object index", self._error, self._lite)
        self._writer = Writer(
            self._connect,
            self._error,
            begin,
            self._settled,
            outage,
            companion=self._keeper,
            relieve=relieve,
            ahead=self._ahead,
        )
        self._readers = Readers(self._connect, "index", self._lite, outage)

    def _settled(self) -> None:
        self._do.refused.update(self._settle())

    def _ahead(self) -> Callable[[Any], None] | None:
        """In the writer's thread, before deletions: where the disk has next to no room, what is held for them is given up, and the log
        starts again."""
        space = self._space
        if space is None or not space.scarce():
            return None
        if space.kept:
            self._relieve()
        self._move()
        return space.give_up if space.kept else None

    def _move(self) -> None:
        """From SQLite's log into its file, as much as there is room for."""
        raw = self._connect()
        try:
            raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except self._error as error:
            log.debug("no checkpoint: %s", error)
        finally:
            raw.close()

    def _connect(self) -> Any:
        return connection(self._engine, self._lite)

    def _prepare(self) -> None:
        """Make or check the schema. IndexUnusable names what is wrong and what to do. SQLite makes two files beside the index for that:
        where the disk has no room for them, what is held for deletions is given up."""
        where = self._url.render_as_string(hide_password=True)
        try:
            try:
                self._open(where)
            except (DatabaseError, self._error):
                if self._space is None or not self._space.scarce() or not self._relieve():
                    raise
                self._open(where)
        except (DatabaseError, self._error) as error:
            advice = (
                self._advice() if self._lite else "Is the server up, and does the setting `database` name it rightly?"
            )
            reason = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip("?.")
            raise IndexUnusable(f"The object index {where} cannot be opened: {reason}. {advice}") from error

    def _open(self, where: str) -> None:
        if self._lite:
            self._check_file(where)
        raw = self._connect()
        try:
            cursor = raw.cursor()
            found = self._found(cursor, where)
            if self._beside is not None:
                check(found, self._beside, where)
            METADATA.create_all(self._engine)
            if self._statements.run(cursor, "meta", name="schema").fetchone() is None:
                self._statements.run(cursor, "add_meta", name="schema", value=str(SCHEMA_VERSION))
            if self._beside is not None and self._keeper is not None:
                cursor.execute("BEGIN")
                adopt(self._statements, cursor, find(self._statements, cursor), self._beside.journal)
                cursor.execute("COMMIT")
                self._keeper.opened(cursor)
        finally:
            raw.close()

    def _advice(self) -> str:
        if self._space is not None and self._space.scarce():
            return "Its disk is full: free some space, and start again."
        return _ADVICE

    def _found(self, cursor: Any, where: str) -> Found:
        """What an index says of itself, before anything is made. IndexUnusable when a newer Clary wrote it."""
        tables = set(inspect(self._engine).get_table_names())
        row = self._statements.run(cursor, "meta", name="schema").fetchone() if "index_meta" in tables else None
        if row is not None and int(row[0]) > SCHEMA_VERSION:
            raise IndexUnusable(
                f"The object index {where} has schema {row[0]}, this Clary knows {SCHEMA_VERSION}: it was written by a newer Clary."
            )
        if row is None:
            return Found()
        return find(self._statements, cursor) if "commits" in tables else Found(rows=True)

    def _check_file(self, where: str) -> None:
        file = Path(self._url.database or "")
        if not file.is_file() or not file.stat().st_size:
            if self._beside is not None:
                check(Found(), self._beside, where)
        elif file.stat().st_size <= CHECKED:
            raw = self._connect()
            answer = raw.cursor().execute("PRAGMA quick_check(1)").fetchone()[0]
            raw.close()
            if answer != "ok":
                raise IndexUnusable(f"The object index {where} is damaged: {answer}. {_ADVICE}")

    def _one(self, statement: str, /, **values: Any) -> Callable[[Any], Any]:
        return lambda cursor: self._statements.run(cursor, statement, **values).fetchone()

    def _all(self, statement: str, /, **values: Any) -> Callable[[Any], list[Any]]:
        return lambda cursor: list(self._statements.run(cursor, statement, **values).fetchall())

    async def keep(self, within: float = 0.0) -> None:
        """Make the journal durable, and begin a snapshot when it is not whole or has grown long. Wait `within` seconds for one that is not
        whole."""
        if self._space is not None and self._space.wanting():
            await self._writer.run(self._space.hold)
            self._space.holds()
        elif self._space is not None and self._space.near():
            await asyncio.get_running_loop().run_in_executor(None, self._move)
        if self._beside is None:
            return
        loop, journal = asyncio.get_running_loop(), self._beside.journal
        due = await loop.run_in_executor(None, self._look_after, journal)
        if due and self._shortening is None and loop.time() >= self._not_before:
            self._shortening = loop.run_in_executor(None, self._shorten, journal)
            self._shortening.add_done_callback(self._shortened)
        if self._shortening is not None and within and not journal.whole:
            await asyncio.wait([self._shortening], timeout=within)

    def _look_after(self, journal: Journal) -> bool:
        journal.sync()
        return not journal.whole or journal.overgrown()

    def _shorten(self, journal: Journal) -> None:
        try:
            number = snapshot(self._connect, self._statements, journal, self._lite, lambda: not self._closing)
            log.info("wrote the rows of commit %d into the journal", number)
        except Abandoned:
            return
        except (OSError, self._error) as error:
            log.error("no snapshot could be written into the journal, it is tried again: %s", error)

    def _shortened(self, _: asyncio.Future[None]) -> None:
        self._shortening = None
        self._not_before = asyncio.get_running_loop().time() + SNAPSHOT_PAUSE

    async def fates(self, blobs: Set[str]) -> dict[str, Fate]:
        if self._beside is None or not blobs:
            return {}
        return await asyncio.get_running_loop().run_in_executor(None, self._beside.journal.fates, set(blobs))

    async def close(self) -> None:
        self._closing = True
        if self._shortening is not None:
            await asyncio.wait([self._shortening])
        await asyncio.get_running_loop().run_in_executor(None, self._writer.close)
        await self._readers.close()
        if self._beside is not None:
            self._beside.journal.close()
        self._engine.dispose()

    # -- buckets ---------------------------------------------------------------------------------------------------------------

    async def add_bucket(self, name: str, account: str, region: str, now: float) -> Bucket:
        id = await self._writer.run(lambda cursor: self._do.add_bucket(cursor, name, account, region, now))
        return Bucket(id, name, account, region, now)

    async def bucket(self, name: str) -> Bucket | None:
        row = await self._readers.short(self._one("bucket", name=name))
        return None if row is None else replace(Bucket(*row[:6]), documents=orjson.loads(row[6]))

    async def buckets(self, account: str) -> list[Bucket]:
        return [Bucket(*row) for row in await self._readers.short(self._all("buckets", account=account))]

    async def save_bucket(
        self, name: str, versioning: str | None = None, documents: Mapping[str, str | None] | None = None
    ) -> None:
        await self._writer.run(lambda cursor: self._do.save_bucket(cursor, name, versioning, dict(documents or {})))

    async def remove_bucket(self, name: str) -> None:
        await self._writer.run(lambda cursor: self._do.remove_bucket(cursor, name), urgent=True)

    # -- objects ---------------------------------------------------------------------------------------------------------------

    async def find(self, bucket: str, key: str, version: str = "") -> tuple[Bucket | None, Item | None]:
        row = await self._readers.short(self._one("find", name=bucket, k=key.encode()))
        if row is None:
            return None, None
        owner = Bucket(*row[:6])
        current = as_item(row[6:]) if row[6] is not None else None
        if not version or (current is not None and current.version == version):
            return owner, current
        old = await self._readers.short(self._one("old", b=owner.id, k=key.encode(), v=version))
        if old is None:
            return owner, None
        newest = current or await self.newest(owner.id, key)
        return owner, as_item(old, latest=newest is not None and newest.version == version)

    async def newest(self, bucket: int, key: str) -> Item | None:
        row = await self._readers.short(self._one("current", b=bucket, k=key.encode()))
        row = row or await self._readers.short(self._one("newest_old", b=bucket, k=key.encode()))
        return None if row is None else as_item(row)

    async def put(self, bucket: int, item: Item, condition: Condition = ALWAYS, body: bytes | None = None) -> Written:
        return await self._writer.run(lambda cursor: self._do.put(cursor, bucket, item, condition, body))

    async def bodies(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        rows = await self._readers.short(self._all("bodies", low=body_id(after), n=limit))
        return [(f"{id:010x}", bytes(body)) for id, body in rows]

    async def forget_bodies(self, blobs: Sequence[str]) -> None:
        def work(cursor: Any) -> None:
            for blob in blobs:
                self._statements.run(cursor, "drop_body", id=body_id(blob))

        await self._writer.run(work)

    async def tag(self, bucket: int, key: str, version: str, tags: Mapping[str, str]) -> None:
        await self._writer.run(lambda cursor: self._do.tag(cursor, bucket, key, version, dict(tags)))

    async def remove(
        self, bucket: int, keys: Sequence[tuple[str, str]], now: float, condition: Condition = ALWAYS
    ) -> list[Written]:
        return await self._writer.run(lambda cursor: self._do.remove(cursor, bucket, keys, now, condition), urgent=True)

    async def blobs_of(self, bucket: int, keys: Sequence[str]) -> dict[str, str]:
        mark = "?" if self._lite else "%s"
        found: dict[str, str] = {}
        for at in range(0, len(keys), IN_LIST):
            some = [key.encode() for key in keys[at : at + IN_LIST]]
            text = (
                f'SELECT "key", blob FROM objects WHERE bucket = {mark} AND "key" IN ({",".join([mark] * len(some))})'
            )
            rows = await self._readers.short(partial(_fetch, text, (bucket, *some)))
            found.update((bytes(key).decode(), blob) for key, blob in rows)
        return found

    # -- listings --------------------------------------------------------------------------------------------------------------

    async def page(
        self, bucket: int, prefix: str, after: str, limit: int, delimiter: str = "", start: str = ""
    ) -> Listed:
        low, high = _bounds(prefix, after)
        if (
            delimiter
            and after.endswith(delimiter)
            and after.startswith(prefix)
            and after.find(delimiter, len(prefix)) == len(after) - len(delimiter)
        ):
            low = (
                successor(after.encode()) or TOP
            )  # `after` is a common prefix of the page before: all of it is behind us
        return await self._readers.short(
            partial(self._page, bucket, prefix.encode(), max(low, start.encode()), high, limit, delimiter.encode())
        )

    def _page(
        self, bucket: int, prefix: bytes, low: bytes, high: bytes, limit: int, delimiter: bytes, cursor: Any
    ) -> Listed:
        """Rows until `limit` entries and one more are known. A run of keys under one common prefix costs one seek."""
        items: list[Item] = []
        prefixes: list[str] = []
        chunk = limit + 1 if not delimiter else min(limit + 1, 128)
        last = b""
        while limit > 0:
            rows = self._statements.run(cursor, "page", b=bucket, low=low, high=high, n=chunk).fetchall()
            skip = b""
            for row in rows:
                key = row[0]
                if skip and key < skip:
                    continue
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                if len(items) + len(prefixes) >= limit:
                    return Listed(items, prefixes, last.decode())
                if cut < 0:
                    items.append(as_listed(row))
                    last = key
                else:
                    last = key[: cut + len(delimiter)]
                    prefixes.append(last.decode())
                    skip = successor(last) or TOP
            if len(rows) < chunk:
                break
            low = max(skip, rows[-1][0] + b"\0")
        return Listed(items, prefixes)

    async def versions(
        self, bucket: int, prefix: str, after: tuple[str, str], limit: int, delimiter: str = ""
    ) -> Listed:
        return await self._readers.short(partial(self._versions, bucket, prefix, after, limit, delimiter))

    def _versions(
        self, bucket: int, prefix: str, after: tuple[str, str], limit: int, delimiter: str, cursor: Any
    ) -> Listed:
        marker, version = after
        low, high = _bounds(prefix, "" if version else marker)
        low = max(low, marker.encode()) if version else low
        items: list[Item] = []
        prefixes: list[str] = []
        # Entries of the marker's key, up to its version, were in the page before; that version may be gone since.
        before = self._place(bucket, marker, version, cursor) if version else float("inf")
        for item in self._merged(bucket, low, high, cursor):
            if item.key == marker and item.sequence >= before:
                continue
            cut = item.key.find(delimiter, len(prefix)) if delimiter else -1
            rolled = item.key[: cut + len(delimiter)] if cut >= 0 else ""
            if rolled and ((prefixes and prefixes[-1] == rolled) or marker == rolled):
                continue
            if len(items) + len(prefixes) >= limit:
                return cut_off(items, prefixes)
            if rolled:
                prefixes.append(rolled)
            else:
                items.append(item)
        return Listed(items, prefixes)

    def _place(self, bucket: int, key: str, version: str, cursor: Any) -> float:
        """Where a version stands, or stood, among those of its key: a version's name begins with it. Without the null version it is not
        known where that stood: before all others, so that none is left out."""
        if version != NULL_VERSION:
            return int(version[:16], 16) if re.fullmatch("[0-9a-f]{32}", version) else 0
        current = self._statements.run(cursor, "current", b=bucket, k=key.encode()).fetchone()
        row = current if current is not None and as_item(current).version == version else None
        row = row or self._statements.run(cursor, "old", b=bucket, k=key.encode(), v=version).fetchone()
        return float("inf") if row is None else as_item(row).sequence

    def _merged(self, bucket: int, low: bytes, high: bytes, cursor: Any) -> Iterator[Item]:
        """Both tables as one, by key and newest first."""

        def rows(name: str) -> Iterator[tuple[bytes, int, Any]]:
            at, seen = low, 0
            while True:
                found = self._statements.run(cursor, name, b=bucket, low=at, high=high, n=2000).fetchall()
                # A page may end inside a key's versions: begin again at that key and leave out what was seen.
                fresh = found[seen:]
                yield from ((row[0], -row[1], row) for row in fresh)
                if len(found) < 2000 or not fresh:
                    return
                at = found[-1][0]
                seen = sum(1 for row in found if row[0] == at)

        key = None
        for name, _, row in heapq.merge(rows("page_items"), rows("page_old")):
            yield as_item(row, latest=name != key)
            key = name

    # -- multipart -------------------------------------------------------------------------------------------------------------

    async def begin(self, upload: Upload) -> None:
        await self._writer.run(lambda cursor: self._do.begin(cursor, upload))

    async def upload(self, bucket: int, key: str, id: str) -> Upload | None:
        row = await self._readers.short(self._one("upload", id=id))
        return None if row is None or row[1] != bucket or bytes(row[2]) != key.encode() else as_upload(row)

    async def uploads(self, bucket: int, prefix: str, after: tuple[str, str], limit: int) -> list[Upload]:
        marker, id = after
        low, high = _bounds(prefix, "" if id else marker)
        rows = await self._readers.short(
            self._all("uploads", b=bucket, low=max(low, marker.encode()), high=high, n=limit + 1000)
        )
        found = [as_upload(row) for row in rows]
        return [u for u in found if not id or (u.key.encode(), u.id) > (marker.encode(), id)][:limit]

    async def add_part(self, upload: str, part: Part) -> Part | None:
        row = await self._writer.run(lambda cursor: self._do.add_part(cursor, upload, part))
        return None if row is None else Part(*row[1:])

    async def parts(self, upload: str) -> list[Part]:
        return [Part(*row[1:]) for row in await self._readers.short(self._all("parts", u=upload))]

    async def complete(self, upload: Upload, item: Item, condition: Condition = ALWAYS) -> Written:
        return await self._writer.run(lambda cursor: self._do.complete(cursor, upload, item, condition))

    async def abort(self, upload: str) -> bool:
        return await self._writer.run(lambda cursor: self._do.abort(cursor, upload), urgent=True)

    async def files(self) -> set[str]:
        return {row[0] for row in await self._readers.short(self._all("files"))}

    async def blobs_between(self, low: str, high: str) -> list[str]:
        current = await self._readers.short(self._all("blobs", low=low, high=high))
        return [row[0] for row in current + await self._readers.short(self._all("old_blobs", low=low, high=high))]


_ADVICE = (
    "Stop Clary and run `clary objects rebuild`, which makes it again from its journal, or put back a copy of the file."
)


def connection(engine: Engine, lite: bool) -> Any:
    """A raw connection in autocommit, ours alone: a pool would reset it after each use."""
    pooled = engine.raw_connection()
    raw = pooled.dbapi_connection
    pooled.detach()
    if not lite:
        raw.autocommit = True  # type: ignore[union-attr]
    return raw


def engine_of(url: URL) -> Engine:
    """The index's database, with the settings that make a commit durable."""
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        try:
            return create_engine(url, connect_args=connecting(url))
        except ImportError as error:
            raise IndexUnusable(NO_DRIVER.format(error.name or "psycopg")) from error
    engine = create_engine(url, poolclass=NullPool, connect_args={"isolation_level": None, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _set(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=10000",
            "cache_size=-8000",
            "mmap_size=268435456",
            "wal_autocheckpoint=4000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _fetch(text: str, values: tuple[Any, ...], cursor: Any) -> list[Any]:
    cursor.execute(text, values)
    return list(cursor.fetchall())


def _bounds(prefix: str, after: str) -> tuple[bytes, bytes]:
    """Keys of the prefix that come behind `after`: low <= key < high."""
    low = prefix.encode()
    if after:
        low = max(low, after.encode() + b"\0")
    return low, successor(prefix.encode()) or TOP
