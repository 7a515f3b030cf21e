"""The `Datapoints` port in one SQLite file: a log of what came, and chunks of summaries by the second, minute, five minutes and hour.

A `put` is one row of the log, committed and fsynced; the summaries themselves stay in memory until a sweep merges them into
their chunks (`chunks.py`) and drops the log behind them, a few series at a time, so that nobody waits for it. Each series tells up to which
row it is merged: a process that dies in between reads the rest of the log again and counts nothing twice.

Minutes that are older than 15 days are rolled up into five minutes (`rollup.py`). Disk is bounded twice: each tier keeps its time, and
beyond `limit` bytes the oldest week of five minutes goes first, then the oldest minutes. Does not know statistics, alarms, who puts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from clary.domain.errors import Unavailable
from clary.domain.metrics.datapoints import Datapoint, Series, Summary
from clary.domain.resources import Scope
from clary.stores import chunks, rollup

log = logging.getLogger(__name__)

DAY = 86_400
SLICE = 20  # series that are merged while a put waits
LOG_BYTES = 32 << 20  # of the log, beyond which a put asks for a sweep by itself
LIMIT = 4 << 30  # bytes; the setting datapoint_disk
CHECKED = 256 << 20  # bytes; a larger file is not checked whole at start


@dataclass(frozen=True, slots=True)
class Tier:
    """Summaries of `step` seconds, in chunks of `span`, kept for `keep`."""

    step: int
    span: int
    keep: float


SECOND = Tier(1, 600, 3 * 3600 + 600)
MINUTE = Tier(rollup.FINE, 6 * 3600, rollup.AFTER)
FIVE = Tier(rollup.STEP, rollup.SPAN, 63 * DAY)
HOUR = Tier(3600, 30 * DAY, 3 * 365 * DAY)
TIERS = (SECOND, MINUTE, FIVE, HOUR)
WRITTEN = (SECOND, MINUTE, HOUR)  # by what comes; minutes become five minutes later
_BY_STEP = {tier.step: tier for tier in TIERS}

_SCHEMA = (
    """
create table if not exists series (
    id integer primary key, account text not null, region text not null, namespace text not null, metric text not null,
    dimensions text not null, unit text not null, last real not null, merged integer not null default 0,
    unique (account, region, namespace, metric, dimensions, unit));
create table if not exists log (seq integer primary key, entries blob not null);
create table if not exists marks (name text primary key, value text not null) without rowid;
create table if not exists chunks (
    series integer not null, step integer not null, start integer not null, data blob not null,
    unique (series, step, start));
create index if not exists chunks_by_time on chunks (step, start);
"""
    + rollup.SCHEMA
)

Head = dict[int, dict[int, dict[int, Summary]]]  # series -> step -> time -> what no chunk has yet


class FileDatapoints:
    """`ports.Datapoints` over a folder. May be used from any thread. Unavailable when the disk does not take or give."""

    def __init__(self, root: str | os.PathLike[str], limit: int = LIMIT) -> None:
        folder = Path(root)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._limit = limit
        self._lock = threading.Lock()
        self._db = _open(folder / "datapoints.db")
        self._ids: dict[tuple[Scope, Series], int] = {}
        self._last: dict[int, float] = {}
        self._head: Head = {}
        self._seq = 0
        self._logged = 0
        self._told_of = ""  # what went last, so that the log has it once
        self._restore()

    # -- writes ------------------------------------------------------------------------------------------------------------------

    def put(
        self, scope: Scope, datapoints: Sequence[Datapoint], marks: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Keep all of these, and the marks with them, or nothing. Returns when they are on disk."""
        with self._lock, self._transaction():
            fresh: dict[tuple[Scope, Series], int] = {}
            entries = [self._entry(scope, datapoint, fresh) for datapoint in datapoints]
            blob = orjson.dumps(entries)
            if entries:
                self._db.execute("insert into log (seq, entries) values (?, ?)", (self._seq + 1, blob))
            self._db.executemany("insert or replace into marks values (?, ?)", marks.items())
            self._db.execute("commit")
            self._ids |= fresh
            if entries:
                self._seq += 1
                self._logged += len(blob)
                for entry in entries:
                    self._take(entry)
            full = self._logged > LOG_BYTES
        if full:
            self._merge()

    def marks(self, prefix: str = "") -> dict[str, str]:
        """Marks whose names begin so."""
        with self._lock, _told():
            return dict(
                self._db.execute("select name, value from marks where substr(name, 1, ?) = ?", (len(prefix), prefix))
            )

    def unmark(self, names: Sequence[str]) -> None:
        with self._lock, self._transaction():
            self._db.executemany("delete from marks where name = ?", [(name,) for name in names])
            self._db.execute("commit")

    def sweep(self, now: float) -> None:
        """Merge what came into chunks; forget what is too old, or too much."""
        self._merge()
        self._roll_up(now)
        with self._lock, self._transaction():
            for tier in (SECOND, FIVE, HOUR):
                before = (tier.step, now - tier.keep - tier.span)
                self._db.execute("delete from chunks where step = ? and start < ?", before)
            self._db.execute("delete from sealed where start < ?", (now - FIVE.keep - FIVE.span,))
            gone = "last < ? and not exists (select 1 from chunks where chunks.series = series.id)"
            self._db.execute(f"delete from series where {gone}", (now - HOUR.keep,))
            self._db.execute("commit")
        while self._size() > self._limit and self._drop_oldest():
            pass
        with self._lock, _told():
            self._db.executescript("pragma incremental_vacuum")  # execute() would free one page
            self._db.execute("pragma wal_checkpoint(truncate)").fetchall()
            self._ids = {key: id for key, id in self._ids.items() if self._last.get(id, now) >= now - HOUR.keep}

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # -- reads -------------------------------------------------------------------------------------------------------------------

    def get(
        self, scope: Scope, series: Series, start: float, end: float, period: int, spread: bool = False
    ) -> list[tuple[float, Summary]]:
        """See `ports.Datapoints`."""
        step = _step(start, period)
        windows: dict[int, Summary] = {}
        for at, summary in self._between(scope, series, step, start, end, spread):
            window = int((at - start) // period)
            known = windows.get(window)
            if known is None:
                windows[window] = summary
            else:
                known.merge(summary)
        return [(start + window * period, windows[window]) for window in sorted(windows)]

    def regions(self, account: str) -> list[str]:
        with self._lock:
            return sorted({scope.region for scope, _ in self._ids if scope.account == account})

    def find(self, scope: Scope, namespace: str = "", metric: str = "", since: float = 0.0) -> list[Series]:
        """Series with these names ("" for any) that had a datapoint since then; by namespace, metric, dimensions and unit."""
        with self._lock:
            found = [
                series
                for (owner, series), id in self._ids.items()
                if owner == scope
                and (not namespace or series.namespace == namespace)
                and (not metric or series.metric == metric)
                and self._last.get(id, 0.0) >= since
            ]
        return sorted(found, key=lambda series: (series.namespace, series.metric, series.dimensions, series.unit))

    def _between(
        self, scope: Scope, series: Series, step: int, start: float, end: float, spread: bool
    ) -> Iterator[tuple[int, Summary]]:
        """Summaries of one tier with start <= time < end, each a copy; of five minutes also the minutes that will become some. One time may
        come twice."""
        tiers = (FIVE, MINUTE) if step == FIVE.step else (_BY_STEP[step],)
        stored: list[tuple[int, bytes, int]] = []
        recent: list[tuple[int, Summary]] = []
        with self._lock, _told():
            for id in self._matching(scope, series):
                for tier in tiers:
                    stored += self._stored(id, tier, start, end)
                    for at, summary in self._head.get(id, {}).get(tier.step, {}).items():
                        if start <= at < end:
                            copy = Summary()
                            copy.merge(summary)
                            recent.append((at, copy))
        for begin, data, fine in stored:
            for at, summary in chunks.decode(data, begin, fine, spread):
                if start <= at < end:
                    yield at, summary
        yield from recent

    def _stored(self, id: int, tier: Tier, start: float, end: float) -> Iterator[tuple[int, bytes, int]]:
        """Chunks that may have points in this time: where each begins, and its step."""
        asked = "select start, data from chunks where series = ? and step = ? and start >= ? and start < ?"
        rows = self._db.execute(asked, (id, tier.step, int(start // tier.span) * tier.span, end)).fetchall()
        if tier is MINUTE:
            rows += rollup.sealed(self._db, id, start, end)
        return ((begin, data, tier.step) for begin, data in rows)

    def _matching(self, scope: Scope, series: Series) -> list[int]:
        if series.unit:
            id = self._ids.get((scope, series))
            return [] if id is None else [id]
        asked = (
            "select id from series where account = ? and region = ? and namespace = ? and metric = ? and dimensions = ?"
        )
        values = (scope.account, scope.region, series.namespace, series.metric, _text(series))
        return [id for (id,) in self._db.execute(asked, values)]

    # -- the log -----------------------------------------------------------------------------------------------------------------

    def _entry(self, scope: Scope, datapoint: Datapoint, fresh: dict[tuple[Scope, Series], int]) -> list[Any]:
        key = (scope, datapoint.series)
        id = self._ids.get(key) or fresh.get(key)
        if id is None:
            series = datapoint.series
            names = (scope.account, scope.region, series.namespace, series.metric, _text(series), series.unit)
            asked = (
                "insert into series (account, region, namespace, metric, dimensions, unit, last) values (?, ?, ?, ?, ?, ?, ?) "
                "on conflict do update set last = excluded.last returning id"
            )
            ((id,),) = self._db.execute(asked, (*names, datapoint.at)).fetchall()
            fresh[key] = id
        s = datapoint.summary
        buckets = None if s.buckets is None else [x for pair in s.buckets.items() for x in pair]
        return [id, datapoint.at, datapoint.fine, s.count, s.total, s.low, s.high, buckets]

    def _take(self, entry: Sequence[Any]) -> None:
        """An entry of the log into memory, once for each tier that has it."""
        id, at, fine, count, total, low, high, flat = entry
        buckets = None if flat is None else dict(zip(flat[::2], flat[1::2], strict=True))
        summary = Summary(count, total, low, high, buckets)
        self._last[id] = max(at, self._last.get(id, 0.0))
        steps = self._head.setdefault(id, {})
        for tier in WRITTEN if fine else WRITTEN[1:]:
            begin = int(at // tier.step) * tier.step
            steps.setdefault(tier.step, {}).setdefault(begin, Summary()).merge(summary)

    def _restore(self) -> None:
        with _told():
            merged: dict[int, int] = {}
            for id, account, region, namespace, metric, dimensions, unit, last, seq in self._db.execute(
                "select * from series"
            ):
                pairs = tuple((name, value) for name, value in orjson.loads(dimensions))
                self._ids[Scope(account, region), Series(namespace, metric, pairs, unit)] = id
                self._last[id], merged[id] = last, seq
            self._seq = max(merged.values(), default=0)
            for seq, blob in self._db.execute("select seq, entries from log order by seq"):
                self._seq = max(self._seq, seq)
                self._logged += len(blob)
                for entry in orjson.loads(blob):
                    if merged.get(entry[0], 0) < seq:
                        self._take(entry)

    # -- chunks ------------------------------------------------------------------------------------------------------------------

    def _merge(self) -> None:
        with self._lock:
            reached, waiting, self._logged = self._seq, list(self._head), 0
        for at in range(0, len(waiting), SLICE):
            with self._lock, self._transaction():
                slice = [id for id in waiting[at : at + SLICE] if id in self._head]
                for id in slice:
                    self._merge_series(id)
                self._db.execute("commit")
                for id in slice:
                    del self._head[id]
        with self._lock, self._transaction():
            self._db.execute("delete from log where seq <= ?", (reached,))
            self._db.execute("commit")

    def _merge_series(self, id: int) -> None:
        for step, points in self._head[id].items():
            span = _BY_STEP[step].span
            by_chunk: dict[int, dict[int, Summary]] = {}
            for at, summary in points.items():
                by_chunk.setdefault(at // span * span, {})[at] = summary
            for start, fresh in by_chunk.items():
                key = (id, step, start)
                row = self._db.execute(
                    "select data from chunks where series = ? and step = ? and start = ?", key
                ).fetchone()
                held = dict(chunks.decode(row[0], start, step)) if row is not None else {}
                for at, summary in fresh.items():
                    held.setdefault(at, Summary()).merge(summary)
                written = "insert or replace into chunks (series, step, start, data) values (?, ?, ?, ?)"
                self._db.execute(written, (*key, chunks.encode(held, start, step)))
        self._db.execute("update series set merged = ?, last = ? where id = ?", (self._seq, self._last[id], id))

    def _roll_up(self, now: float) -> None:
        with self._lock, _told():
            due = rollup.due(self._db, now)
        for series, start in due:
            with self._lock, _told():
                week = rollup.read(self._db, series, start)
            data = rollup.rolled(week)  # takes a while: puts need not wait for it
            with self._lock, self._transaction():
                rollup.replace(self._db, week, data)
                self._db.execute("commit")

    def _size(self) -> int:
        with self._lock, _told():
            (pages,) = self._db.execute("pragma page_count").fetchone()
            (free,) = self._db.execute("pragma freelist_count").fetchone()
            (size,) = self._db.execute("pragma page_size").fetchone()
        return int((pages - free) * size)

    def _drop_oldest(self) -> bool:
        """The oldest week of five minutes, else the oldest day of minutes, of which the last stays."""
        with self._lock, self._transaction():
            gone = ""
            for tier, span, what in ((FIVE, FIVE.span, "week of five-minute"), (MINUTE, DAY, "day of one-minute")):
                asked = "select min(start), max(start) from chunks where step = ?"
                oldest, newest = self._db.execute(asked, (tier.step,)).fetchone()
                if oldest is not None and (tier is FIVE or newest - oldest >= DAY):
                    self._db.execute("delete from chunks where step = ? and start < ?", (tier.step, oldest + span))
                    gone = f"the oldest {what} points is"
                    break
            self._db.execute("commit")
        if gone and gone != self._told_of:
            log.warning("datapoints take more than %d MiB: %s gone", self._limit >> 20, gone)
        self._told_of = gone
        return bool(gone)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with _told():
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("rollback")
                raise


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(f"The datapoints cannot be read or written: {error}. Check the free disk space.") from error


def _step(start: float, period: int) -> int:
    """The coarsest tier whose summaries fall whole into the windows."""
    return max(tier.step for tier in TIERS if tier.step == 1 or (period % tier.step == 0 and start % tier.step == 0))


def _text(series: Series) -> str:
    return orjson.dumps(series.dimensions).decode()


def _open(path: Path) -> sqlite3.Connection:
    """The database, made when it is not there. A damaged one is put aside: metrics are not worth a control plane that stays down."""
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if not path.exists() or isinstance(error, sqlite3.OperationalError):
            raise Unavailable(f"The datapoints in {path} cannot be opened: {error}.") from error
        aside = path.with_suffix(f".damaged-{os.stat(path).st_mtime_ns}")
        log.error("%s is damaged (%s): it is now %s, and a new file of datapoints is started", path, error, aside.name)
        for ending in ("-wal", "-shm"):
            Path(f"{path}{ending}").unlink(missing_ok=True)
        path.rename(aside)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("pragma auto_vacuum = incremental")
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.executescript(_SCHEMA)
        if path.stat().st_size <= CHECKED:
            (sound,) = connection.execute("pragma quick_check(1)").fetchone()
            if sound != "ok":
                raise sqlite3.DatabaseError(sound)
    except BaseException:
        connection.close()
        raise
    return connection
