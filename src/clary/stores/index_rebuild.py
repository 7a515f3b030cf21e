"""Making the object index again from its journal, when the index is lost, damaged or old.

Owns: the replay, and that nothing of what is there is replaced before the new index is whole. Nobody else may have the index or the
journal open. Does not know: blobs on disk (it is told whether their content is there).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import DatabaseError

from clary.stores.index import connection, engine_of
from clary.stores.index_journal import IndexUnusable
from clary.stores.index_schema import METADATA, SCHEMA_VERSION, Statements
from clary.stores.index_writes import Writes
from clary.stores.journal import Journal

AT_ONCE = 1000  # commits of the journal in one transaction
# What must be out of the way of a row, after a damaged line of the journal.
_BEFORE = {
    "add_bucket_as": "drop_bucket",
    "add_current": "drop_current",
    "add_old": "drop_old",
    "begin": "drop_upload",
    "add_part": "drop_part",
}


@dataclass(slots=True)
class Rebuilt:
    """What became of it. Objects are named as s3://BUCKET/KEY (with their version where it is not null)."""

    buckets: int = 0
    objects: int = 0  # current ones
    versions: int = 0  # older ones and delete markers
    commit: int = 0
    missing: list[str] = field(default_factory=list)  # left out: their content is not here
    torn: list[str] = field(default_factory=list)  # kept, with content of another size
    damage: list[str] = field(default_factory=list)  # of the journal


def rebuild(url: str, journal: Journal, size: Callable[[str], int], damaged: bool = False) -> Rebuilt:
    """Replace the index at `url` by one made from the journal; a SQLite file that was there is kept beside it. `size` answers a
    blob's bytes, -1 when it is not there. IndexUnusable when there is no journal, or it is damaged and `damaged` does not say to
    go on with what can be read; then nothing was changed."""
    if journal.last <= 0:
        raise IndexUnusable(f"There is no journal in {journal.folder}: the object index cannot be made again from it.")
    place = make_url(url)
    lite = place.get_backend_name() == "sqlite"
    fresh = _aside(place) if lite else place
    engine = engine_of(fresh)
    done = Rebuilt(commit=journal.last)
    raw = connection(engine, lite)
    try:
        METADATA.create_all(engine)
        cursor = raw.cursor()
        if lite:
            cursor.execute("PRAGMA synchronous=OFF")  # it is synced whole at the end
        cursor.execute("BEGIN")
        if not lite:
            for table in METADATA.sorted_tables:
                cursor.execute(f'DELETE FROM "{table.name}"')
        statements = Statements(engine)
        _replay(cursor, statements, journal, done, lite)
        if done.damage and not damaged:
            raise IndexUnusable(
                f"The journal is damaged: {done.damage[0]} (and {len(done.damage) - 1} more). Put a copy of it back, or let "
                "--damaged make what can be made of it. Nothing was changed."
            )
        _compare(cursor, statements, size, done)
        _finish(cursor, statements, journal, lite)
        cursor.execute("COMMIT")
        if lite:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (DatabaseError, engine.dialect.loaded_dbapi.Error) as error:
        raise IndexUnusable(f"The object index cannot be written: {error}. Nothing was changed.") from error
    finally:
        raw.close()
        engine.dispose()
    if lite:
        _replace(Path(str(fresh.database)), Path(str(place.database)))
    return done


def _aside(place: URL) -> URL:
    file = f"{place.database}.rebuilding"
    for suffix in ("", "-wal", "-shm"):
        Path(file + suffix).unlink(missing_ok=True)
    return place.set(database=file)


def _replay(cursor: Any, statements: Statements, journal: Journal, done: Rebuilt, lite: bool) -> None:
    for number, line in enumerate(journal.lines(done.damage), 1):
        for name, values in line.operations:
            _apply(cursor, statements, name, _as_stored(values), bool(done.damage))
        if lite and number % AT_ONCE == 0:
            cursor.execute("COMMIT")
            cursor.execute("BEGIN")


def _as_stored(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.encode() if name in ("k", "key") else value for name, value in values.items()}


def _apply(cursor: Any, statements: Statements, name: str, values: dict[str, Any], careful: bool) -> None:
    if careful and name in _BEFORE:
        short = {"b": values.get("bucket", values.get("id")), "k": values.get("key"), "n": values.get("number")}
        statements.run(cursor, _BEFORE[name], **{**values, **short, "u": values.get("upload")})
    statements.run(cursor, name, **values)
    if careful and name == "replace_current" and not cursor.rowcount:
        row = {**values, "bucket": values["b"], "key": values["k"]}
        statements.run(cursor, "add_current", **row)


def _compare(cursor: Any, statements: Statements, size: Callable[[str], int], done: Rebuilt) -> None:
    """Leave out what has no content any more; count the rest."""
    writes = Writes(statements)
    names = {row[0]: row[1] for row in statements.run(cursor, "all_buckets").fetchall()}
    done.buckets = len(names)
    gone: list[tuple[int, bytes, str]] = []
    for rows, is_current in (("contents", True), ("old_contents", False)):
        for bucket, key, version, expected, blob in _all(statements.run(cursor, rows)):
            found = size(blob) if blob else expected
            title = f"s3://{names.get(bucket, bucket)}/{bytes(key).decode()}" + f" {version}" * (version != "null")
            if found < 0:
                gone.append((bucket, bytes(key), version))
                done.missing.append(title)
                continue
            if found != expected:
                done.torn.append(title)
            done.objects += is_current
            done.versions += not is_current
    for bucket, key, version in gone:
        writes.forget(cursor, bucket, key, version)


def _all(cursor: Any) -> Iterator[Any]:
    while rows := cursor.fetchmany(AT_ONCE):
        yield from rows


def _finish(cursor: Any, statements: Statements, journal: Journal, lite: bool) -> None:
    statements.run(cursor, "add_meta", name="schema", value=str(SCHEMA_VERSION))
    statements.run(cursor, "add_meta", name="identity", value=journal.identity)
    statements.run(cursor, "add_commit", id=1, number=journal.last, line=b"")
    if not lite:
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence('buckets', 'id'), (SELECT COALESCE(MAX(id), 0) + 1 FROM buckets), false)"
        )


def _replace(fresh: Path, place: Path) -> None:
    """Sync the new file, put it in the old one's place, and keep that as index.db.replaced (with its log)."""
    descriptor = os.open(fresh, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    for suffix in ("", "-wal", "-shm"):
        old = Path(f"{place}{suffix}")
        if old.exists():
            os.replace(old, f"{place}.replaced{suffix}")
        Path(f"{fresh}{suffix}").unlink(missing_ok=True) if suffix else None
    os.replace(fresh, place)
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
