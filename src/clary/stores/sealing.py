"""One-minute points that nobody changes any more: a week of a series becomes one sealed chunk, of which percentiles are right to 5 %.

CloudWatch takes datapoints of the last two weeks, so older minutes are still; one that does come joins the sealed chunk at the next sweep.
Where the disk is short, sealed chunks lose their distributions first (most of the bytes, read the least), then the oldest go.

Each function is one short hold of the caller's lock, except that `sealed` computes without it. Does not know files, locks and when.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from clary.domain.metrics.datapoints import Summary, coarse
from clary.stores import chunks

DAY = 86_400
STEP = 60
SPAN = 7 * DAY
AFTER = 15 * DAY  # CloudWatch's own bound of one-minute points
AT_ONCE = 100  # weeks of a series that one sweep seals: ten seconds of one core at most
BARED = 50  # chunks that lose their distributions while a put waits

SCHEMA = """
create table if not exists sealed (
    series integer not null, start integer not null, bare integer not null default 0, data blob not null,
    unique (series, start));
create index if not exists sealed_by_time on sealed (bare, start);
"""


@dataclass(frozen=True, slots=True)
class Week:
    """What there is of one series' week: its chunks, and what was sealed before."""

    series: int
    start: int
    chunks: tuple[tuple[int, bytes], ...]
    sealed: bytes | None


def due(db: sqlite3.Connection, now: float) -> list[tuple[int, int]]:
    """(series, start of a week) that may be sealed now, some of them."""
    before = int(now - AFTER) // SPAN * SPAN
    asked = f"select distinct series, start / {SPAN} * {SPAN} from chunks where step = ? and start < ? limit ?"
    return [(series, start) for series, start in db.execute(asked, (STEP, before, AT_ONCE))]


def read(db: sqlite3.Connection, series: int, start: int) -> Week:
    asked = "select start, data from chunks where series = ? and step = ? and start >= ? and start < ? order by start"
    held = db.execute(asked, (series, STEP, start, start + SPAN)).fetchall()
    row = db.execute("select data from sealed where series = ? and start = ?", (series, start)).fetchone()
    return Week(series, start, tuple(held), row[0] if row else None)


def sealed(week: Week) -> bytes:
    """The week as one chunk."""
    held: dict[int, Summary] = {}
    parts: list[tuple[int, bytes]] = list(week.chunks)
    if week.sealed is not None:
        parts.append((week.start, week.sealed))
    for start, data in parts:
        for at, summary in chunks.decode(data, start, STEP):
            known = held.get(at)
            if known is None:
                held[at] = coarse(summary)
            else:
                known.merge(coarse(summary))
    return chunks.encode(held, week.start, STEP)


def replace(db: sqlite3.Connection, week: Week, data: bytes) -> None:
    """In place of its chunks, if none of them changed meanwhile: then it is due again."""
    if read(db, week.series, week.start) != week:
        return
    written = "insert or replace into sealed (series, start, bare, data) values (?, ?, 0, ?)"
    db.execute(written, (week.series, week.start, data))
    gone = "delete from chunks where series = ? and step = ? and start >= ? and start < ?"
    db.execute(gone, (week.series, STEP, week.start, week.start + SPAN))


def between(db: sqlite3.Connection, series: int, start: float, end: float) -> Iterable[tuple[int, bytes]]:
    """Sealed chunks that may have points in this time."""
    asked = "select start, data from sealed where series = ? and start >= ? and start < ?"
    return db.execute(asked, (series, int(start) // SPAN * SPAN, end)).fetchall()


def bare_oldest(db: sqlite3.Connection) -> bool:
    """Distributions of some of the oldest chunks go. False: none is left."""
    rows = db.execute("select rowid, data from sealed where bare = 0 order by start limit ?", (BARED,)).fetchall()
    for row, data in rows:
        db.execute("update sealed set bare = 1, data = ? where rowid = ?", (chunks.without_spreads(data), row))
    return bool(rows)


def drop_oldest(db: sqlite3.Connection) -> bool:
    """The oldest week goes. False: nothing is sealed."""
    (oldest,) = db.execute("select min(start) from sealed").fetchone()
    if oldest is None:
        return False
    db.execute("delete from sealed where start <= ?", (oldest,))
    return True


def forget(db: sqlite3.Connection, before: float) -> None:
    db.execute("delete from sealed where start < ?", (before - SPAN,))
