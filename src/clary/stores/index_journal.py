"""The object index and its journal: which belongs to which, what a commit adds to the journal, and a snapshot of the rows.

Owns: the number of every commit, the rules by which a start trusts an index. Does not know: files of the journal (journal.py).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import ClaryError
from clary.stores.index_schema import BUCKETS, HISTORY, OBJECTS, PARTS, SCHEMA_VERSION, UPLOADS, Statements
from clary.stores.index_writer import Companion
from clary.stores.index_writes import Writes
from clary.stores.journal import Journal, Operation, encode

AT_ONCE = 500
BREATH = 0.002  # seconds between so many rows: requests go first


class IndexUnusable(ClaryError):
    """The index is damaged, older than its blobs, or was written by a newer Clary. Refuse to start; nothing was changed."""


class Keeper(Companion):
    """Numbers the commits of an index and writes them into its journal: the line goes into the transaction (one row, overwritten by
    the next), and into the file once that is committed. So no fsync is added, and a process that is killed in between leaves the
    line where its successor finds it."""

    def __init__(self, statements: Statements, writes: Writes, journal: Journal) -> None:
        self._statements, self._writes, self._journal = statements, writes, journal
        self._number = 0
        self._line = b""

    def opened(self, cursor: Any) -> None:
        """Go on from the last commit there is; its line is written when the journal lacks just that."""
        number, line = self._statements.run(cursor, "commit").fetchone()
        self._number = int(number)
        if line and self._number == self._journal.last + 1:
            self._journal.append(self._number, bytes(line))
        elif self._number != self._journal.last:
            self._journal.whole = False  # a power cut took its end: a snapshot makes up for it

    def begun(self) -> None:
        self._writes.changes, self._writes.freed, self._line = [], [], b""

    def sealed(self, cursor: Any) -> None:
        if self._writes.changes:
            self._line = encode(self._number + 1, self._writes.changes, self._writes.freed)
            self._statements.run(cursor, "set_commit", number_=self._number + 1, line_=self._line)

    def committed(self) -> None:
        if self._line:
            self._number += 1
            self._journal.append(self._number, self._line)


@dataclass(frozen=True, slots=True)
class Beside:
    """What lies beside an index: its journal, whether there are blobs, and the command that makes an index again."""

    journal: Journal
    blobs: bool = False
    command: str = "clary objects rebuild"


@dataclass(frozen=True, slots=True)
class Found:
    """What an index says of itself: identity "" when it never had a journal, the number of its last commit, whether it has rows."""

    identity: str = ""
    number: int = 0
    rows: bool = False


def find(statements: Statements, cursor: Any) -> Found:
    """Read an index whose tables are all there."""
    row = statements.run(cursor, "meta", name="identity").fetchone()
    commit = statements.run(cursor, "commit").fetchone()
    looks = ("first_bucket", "first_object", "first_old")
    rows = any(statements.run(cursor, each).fetchone() is not None for each in looks)
    return Found(row[0] if row else "", int(commit[0]) if commit else 0, rows)


def check(found: Found, beside: Beside, where: str) -> None:
    """IndexUnusable unless this index knows all that is beside it."""
    journal, command = beside.journal, beside.command
    again = f"run `{command}`: it makes the index again from its journal in {journal.folder}"
    if not found.identity and not found.rows:
        if journal.last > 0:
            raise IndexUnusable(
                f"The object index {where} is missing or empty, and objects are here: {again}. Nothing was changed."
            )
        if beside.blobs:
            raise IndexUnusable(
                f"The object index {where} is missing or empty, and only it can name the blobs that are here: put it back. (`{command}` "
                f"needs its journal, and there is none in {journal.folder}.) To begin with an empty store, move "
                f"{journal.folder.parent / 'blobs'} away. Nothing was changed."
            )
    elif journal.identity and found.identity != journal.identity and (found.identity or journal.last > 0):
        raise IndexUnusable(
            f"The object index {where} is not that of the objects here, or older than them: {again}. Or put the right one back. "
            "Nothing was changed."
        )
    elif found.number < journal.last:
        raise IndexUnusable(
            f"The object index {where} is older than the objects here (it ends at commit {found.number} of {journal.last}): {again}. Or "
            "put the newest index back. Nothing was changed."
        )


def adopt(statements: Statements, cursor: Any, found: Found, journal: Journal) -> None:
    """Give index and journal to each other, once `check` has passed. An index of a Clary that kept no journal gets a number that the
    journal lacks, so that a snapshot is due."""
    identity = found.identity
    if not identity:
        identity = secrets.token_hex(16)
        statements.run(cursor, "add_meta", name="identity", value=identity)
        statements.run(cursor, "add_commit", id=1, number=int(found.rows), line=b"")
        statements.run(cursor, "set_meta", name_="schema", value_=str(SCHEMA_VERSION))
    if journal.identity != identity:
        journal.begin(identity)


class Abandoned(Exception):
    """Nobody waits for the snapshot any more."""


def snapshot(
    connect: Callable[[], Any], statements: Statements, journal: Journal, lite: bool, go_on: Callable[[], bool]
) -> int:
    """Write all rows into the journal as they are at one commit; its number. Reads beside the writer, on a connection of its own.
    OSError, the driver's errors, Abandoned when `go_on` says no."""
    journal.turn()
    raw = connect()
    try:
        cursor = raw.cursor()
        cursor.execute("BEGIN" if lite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        number = int(statements.run(cursor, "commit").fetchone()[0])
        journal.snapshot(number, _rows(statements, cursor, lite, go_on))
        cursor.execute("COMMIT")
    finally:
        raw.close()
    return number


def _rows(statements: Statements, cursor: Any, lite: bool, go_on: Callable[[], bool]) -> Iterator[Operation]:
    for select, table, add in (
        ("all_buckets", BUCKETS, "add_bucket_as"),
        ("all_objects", OBJECTS, "add_current"),
        ("all_history", HISTORY, "add_old"),
        ("all_uploads", UPLOADS, "begin"),
        ("all_parts", PARTS, "add_part"),
    ):
        names = [str(column.name) for column in table.columns]
        text = statements.texts[select].sql
        cursor.execute(text if lite else f"DECLARE rows CURSOR FOR {text}")
        while rows := _some(cursor, lite):
            for row in rows:
                yield add, dict(zip(names, row, strict=True))
            if not go_on():
                raise Abandoned
            time.sleep(BREATH)
        if not lite:
            cursor.execute("CLOSE rows")


def _some(cursor: Any, lite: bool) -> list[Any]:
    if not lite:
        cursor.execute(f"FETCH {AT_ONCE} FROM rows")
    found: list[Any] = cursor.fetchmany(AT_ONCE)
    return found
