"""One-minute points that are older than 15 days become points of five minutes, a week of a series in a chunk, as on CloudWatch.

CloudWatch takes datapoints of the last two weeks, so older minutes are still; one that does come joins its five minutes at the next sweep.
Each function is one short hold of the caller's lock, except that `rolled` computes without it. Does not know files, locks and when.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from clary.domain.metrics.datapoints import Summary
from clary.stores import chunks

DAY = 86_400
FINE, STEP = 60, 300
SPAN = 7 * DAY
AFTER = 15 * DAY  # CloudWatch's own bound of one-minute points
AT_ONCE = 100  # weeks of a series that one sweep rolls up: ten seconds of one core at most

# `sealed`: weeks of minutes as the version before kept them. Nothing is written there; each goes when it is rolled up, or too old.
SCHEMA = """
create table if not exists sealed (
    series integer not null, start integer not null, bare integer not null default 0, data blob not null,
    unique (series, start));
"""


@dataclass(frozen=True, slots=True)
class Week:
    """What there is of one series' week: chunks of minutes, and of five minutes what was rolled up before."""

    series: int
    start: int
    minutes: tuple[tuple[int, bytes], ...]
    rolled: bytes | None


def due(db: sqlite3.Connection, now: float) -> list[tuple[int, int]]:
    """(series, start of a week) that may be rolled up now, some of them."""
    before = int(now - AFTER) // SPAN * SPAN
    asked = (
        f"select distinct series, start / {SPAN} * {SPAN} from chunks where step = ? and start < ? "
        "union select series, start from sealed limit ?"
    )
    return [(series, start) for series, start in db.execute(asked, (FINE, before, AT_ONCE))]


def read(db: sqlite3.Connection, series: int, start: int) -> Week:
    asked = "select start, data from chunks where series = ? and step = ? and start >= ? and start < ? order by start"
    minutes = db.execute(asked, (series, FINE, start, start + SPAN)).fetchall()
    minutes += db.execute("select start, data from sealed where series = ? and start = ?", (series, start)).fetchall()
    asked = "select data from chunks where series = ? and step = ? and start = ?"
    row = db.execute(asked, (series, STEP, start)).fetchone()
    return Week(series, start, tuple(minutes), row[0] if row else None)


def rolled(week: Week) -> bytes:
    """The week as one chunk."""
    held: dict[int, Summary] = {}
    parts = [(start, data, FINE) for start, data in week.minutes]
    if week.rolled is not None:
        parts.append((week.start, week.rolled, STEP))
    for start, data, step in parts:
        for at, summary in chunks.decode(data, start, step):
            held.setdefault(at // STEP * STEP, Summary()).merge(summary)
    return chunks.encode(held, week.start, STEP)


def replace(db: sqlite3.Connection, week: Week, data: bytes) -> None:
    """In place of its minutes, if none of them changed meanwhile: then it is due again."""
    if read(db, week.series, week.start) != week:
        return
    written = "insert or replace into chunks (series, step, start, data) values (?, ?, ?, ?)"
    db.execute(written, (week.series, STEP, week.start, data))
    gone = "delete from chunks where series = ? and step = ? and start >= ? and start < ?"
    db.execute(gone, (week.series, FINE, week.start, week.start + SPAN))
    db.execute("delete from sealed where series = ? and start = ?", (week.series, week.start))


def sealed(db: sqlite3.Connection, series: int, start: float, end: float) -> Iterable[tuple[int, bytes]]:
    """Weeks of the version before that may have minutes in this time."""
    asked = "select start, data from sealed where series = ? and start >= ? and start < ?"
    return db.execute(asked, (series, int(start) // SPAN * SPAN, end)).fetchall()
