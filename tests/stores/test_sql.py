"""The record store on SQLite: conformance, and what is its own: durability, schema versions, damage."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Inspector, inspect

from clary.domain.errors import Unavailable
from clary.domain.resources import Query
from clary.stores.answered import TURN, beside, missing
from clary.stores.database import Database, StoreUnusable
from clary.stores.schema import VERSION
from clary.stores.sql import SqlStore, open_store
from clary.testing.stores import HERE, StoreConformance, record


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'records.db'}"


class TestSqlite(StoreConformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqlStore]:
        store = open_store(url(tmp_path))
        yield store
        await store.close()


async def test_records_outlive_the_store(tmp_path: Path) -> None:
    first = open_store(url(tmp_path))
    added = await first.add(record("a", n=1))
    await first.close()
    second = open_store(url(tmp_path))
    assert await second.get("endpoint", HERE, "a") == added
    await second.close()


_WRITER = """
import asyncio, sys
from clary.stores.sql import open_store
from clary.testing.stores import record

async def main():
    store = open_store(sys.argv[1])
    async def one(n):
        await store.add(record(f"n{n}"))
        print(f"n{n}", flush=True)
    for start in range(0, 100000, 8):
        await asyncio.gather(*(one(n) for n in range(start, start + 8)))

asyncio.run(main())
"""


def _write_until_killed(folder: Path) -> list[str]:
    process = subprocess.Popen([sys.executable, "-c", _WRITER, url(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    answered = [process.stdout.readline().strip() for _ in range(100)]
    os.kill(process.pid, signal.SIGKILL)
    answered += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    return answered


async def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    answered = _write_until_killed(tmp_path)
    store = open_store(url(tmp_path))
    for name in answered:
        assert await store.get("endpoint", HERE, name) is not None
    await store.close()


async def test_reads_see_every_write_answered_before(tmp_path: Path) -> None:
    store = open_store(url(tmp_path))

    async def one(n: int) -> None:
        added = await store.add(record(f"n{n}"))
        assert await store.get("endpoint", HERE, f"n{n}") == added
        assert len(await store.page(Query("endpoint", HERE, name_contains=f"n{n}", limit=1))) == 1

    await asyncio.gather(*(one(n) for n in range(50)))
    await store.close()


def test_a_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    Database(url(tmp_path)).prepare()
    connection = sqlite3.connect(tmp_path / "records.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreUnusable, match=r"schema 9999.*newer Clary"):
        open_store(url(tmp_path))
    assert not list(tmp_path.glob("*.schema-*"))


def first_schema(folder: Path, records: int = 50) -> None:
    """Records as the first Clary wrote them, with a commit that is in the journal only."""
    connection = sqlite3.connect(folder / "records.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript((Path(__file__).parent / "schema-0001.sql").read_text())
    for n in range(records):
        connection.execute(
            "INSERT INTO resources (kind, account, region, name, arn, status, created, modified, version, document) "
            "VALUES (?, ?, ?, ?, ?, '', 1.0, 1.0, 1, '{}')",
            ("endpoint", HERE.account, HERE.region, f"n{n}", f"arn:n{n}"),
        )
    connection.close()


async def names(store: SqlStore) -> set[str]:
    return {found.name for found in await store.page(Query("endpoint", HERE, limit=1000))}


def shape(database: Database) -> dict[str, set[tuple[object, ...]]]:
    """Columns, indexes and constraints."""
    found = inspect(database.engine)
    return {
        table: {(row["name"], str(row["type"]), row["nullable"], row["default"]) for row in found.get_columns(table)}
        | {
            (row["name"], *row["column_names"], str(row.get("dialect_options", {}).get("sqlite_where")))
            for row in _indexes(found, table)
        }
        for table in found.get_table_names()
    }


def _indexes(found: Inspector, table: str) -> list[Any]:
    return [*found.get_indexes(table), *found.get_unique_constraints(table)]


async def test_an_older_schema_is_migrated_after_a_copy(tmp_path: Path) -> None:
    first_schema(tmp_path)
    store = open_store(url(tmp_path))
    assert len(await names(store)) == 50
    await store.add(record("new"), "call")
    assert await store.made("call")
    await store.close()
    made, migrated = Database(f"sqlite:///{tmp_path / 'made.db'}"), Database(url(tmp_path))
    made.prepare()
    assert shape(migrated) == shape(made)  # but for the order of columns
    copy = Database(f"sqlite:///{tmp_path / 'records.db.schema-0001'}")
    assert copy._version() == "0001"
    for database in (made, migrated, copy):
        database.close()


_PREPARE = """
import os, signal, sys
from alembic.script import ScriptDirectory  # once, not in each of the processes that are killed
from sqlalchemy import event
from clary.stores.database import Database

def prepare(url, left):
    database = Database(url)

    def killed(*_):
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def copy(found):  # is not made by statements
        killed()
        Database._copy(database, found)
        killed()

    database._copy = copy
    for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(database.engine, moment, killed)
    database.prepare()

for moment, folder in enumerate(sys.argv[1:]):
    child = os.fork()
    if not child:
        prepare(f"sqlite:///{folder}/records.db", moment)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(status, flush=True)
    if status != -signal.SIGKILL:
        sys.exit(status)
"""


@pytest.mark.parametrize("old", [True, False], ids=["migration", "first start"])
def test_a_start_that_is_killed_anywhere_in_the_schemas_making_is_made_good_by_the_next(
    tmp_path: Path, old: bool
) -> None:
    """faults.md 45: it begins anew where nothing was committed; nothing is half."""
    folders = [tmp_path / str(moment) for moment in range(80)]
    for folder in folders:
        folder.mkdir()
        if old:
            first_schema(folder, records=3)
    done = subprocess.run(
        [sys.executable, "-c", _PREPARE, *map(str, folders)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    statuses = [int(line) for line in done.stdout.split()]
    assert statuses[-1] == 0  # it was killed at every place that there is
    assert len(statuses) > 15
    for folder in folders[: len(statuses)]:
        assert asyncio.run(_opened(folder)) == (3 if old else 0)
        if old:  # whenever it was killed, there is a whole copy of what was before
            copy = sqlite3.connect(folder / "records.db.schema-0001")
            assert copy.execute("SELECT count(*) FROM resources").fetchone() == (3,)
            assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
            copy.close()


async def _opened(folder: Path) -> int:
    """How many records there are, in a store that works."""
    store = open_store(url(folder))
    found = len(await names(store))
    await store.add(record("new"), "call")
    assert await store.made("call")
    await store.close()
    return found


def test_the_newest_migration_is_the_schema_that_is_made() -> None:
    from alembic.script import ScriptDirectory

    from clary.stores.database import MIGRATIONS

    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == VERSION


@pytest.mark.parametrize("damage", [b"not a database at all" * 100, None])
async def test_damage_is_refused_with_advice(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "records.db"
    if damage is None:
        store = open_store(url(tmp_path))
        for n in range(200):
            await store.add(record(f"n{n}", text="x" * 500))
        await store.close()
        data = bytearray(path.read_bytes())
        data[8192:40960] = os.urandom(40960 - 8192)
        damage = bytes(data)
    path.write_bytes(damage)
    with pytest.raises(StoreUnusable, match=r"Restore records\.db"):
        open_store(url(tmp_path))
    assert path.read_bytes() == damage


def test_other_databases_are_refused() -> None:
    with pytest.raises(StoreUnusable, match="SQLite or PostgreSQL"):
        Database("mysql://x/y")


async def test_what_a_cancelled_caller_wrote_is_told(tmp_path: Path) -> None:
    store = open_store(url(tmp_path))
    told = asyncio.Event()
    store.watch(lambda _: told.set())
    caller = asyncio.create_task(store.add(record("a")))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    async with asyncio.timeout(60):
        await told.wait()
    assert await store.get("endpoint", HERE, "a") is not None
    await store.close()


async def test_a_full_disk_refuses_writes_clearly_and_reads_go_on(tmp_path: Path) -> None:
    store = open_store(url(tmp_path))
    kept = await store.add(record("kept"))
    await store._writer.run(lambda cursor: cursor.execute("PRAGMA max_page_count=40"))
    with pytest.raises(Unavailable, match=r"record store cannot be written: database or disk is full"):
        await store.add(record("big", text="x" * 1_000_000))
    assert await store.get("endpoint", HERE, "kept") == kept
    assert await store.get("endpoint", HERE, "big") is None
    await store.add(record("later", text="x" * 1_000_000))  # room again: the writer begins anew by itself
    await store.close()


async def test_another_writer_that_holds_the_file_is_waited_for_and_then_told(tmp_path: Path) -> None:
    store = open_store(url(tmp_path))
    await store._writer.run(lambda cursor: cursor.execute("PRAGMA busy_timeout=50"))
    other = sqlite3.connect(tmp_path / "records.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        await store.add(record("a"))
    assert await store.count(Query("endpoint", HERE)) == 0
    other.execute("ROLLBACK")
    other.close()
    await store.add(record("a"))
    await store.close()


NO_DRIVER = """
import sys
sys.modules["psycopg"] = None  # as where the extra is not installed
from clary.domain.errors import ClaryError
from clary.stores.database import Database
from clary.stores.index import SqlIndex
for open in (Database, SqlIndex):
    try:
        open("postgresql://clary@db/clary")
    except ClaryError as error:
        print(error.message)
"""


def test_a_missing_driver_is_told_with_the_extra_that_has_it() -> None:
    done = subprocess.run([sys.executable, "-c", NO_DRIVER], capture_output=True, text=True, check=True)
    said = "PostgreSQL needs the driver psycopg, which is not installed: `pip install 'clary[postgres]'` adds it."
    assert done.stdout.splitlines() == [said, said]


@pytest.mark.parametrize("content", [None, b"", "tables of another"])
def test_no_records_are_refused_where_there_should_be_some(tmp_path: Path, content: bytes | str | None) -> None:
    file = tmp_path / "records.db"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE other (x)")
    before = file.read_bytes() if file.exists() else None
    with pytest.raises(StoreUnusable, match="put them back"):
        open_store(f"sqlite:///{file}", "put them back")
    if not isinstance(content, str):
        assert (file.read_bytes() if file.exists() else None) == before


async def test_a_log_that_was_deleted_after_a_kill_is_noticed(tmp_path: Path) -> None:
    _write_until_killed(tmp_path)
    assert (tmp_path / "records.db-wal").stat().st_size
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path, kept)
    (tmp_path / "records.db-wal").unlink()
    with pytest.raises(
        StoreUnusable, match=r"older than what was answered.*the last \d+ writes are missing.*records.db-wal"
    ):
        open_store(url(tmp_path))
    await open_store(url(kept)).close()  # with its log it is the newest
    (tmp_path / "records.db.commits").unlink()
    await open_store(url(tmp_path)).close()  # whoever insists


async def test_a_copy_of_records_in_use_is_noticed_when_it_is_not_the_newest(tmp_path: Path) -> None:
    store = open_store(url(tmp_path))
    await store.add(record("a"))
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(tmp_path / "records.db", copy)  # without its log
    await store.add(record("b"))
    shutil.copy(tmp_path / "records.db.commits", copy)
    await store.close()
    with pytest.raises(StoreUnusable, match="the last 2 writes are missing"):  # they were in the log
        open_store(url(copy))
    older = tmp_path / "older"
    older.mkdir()
    shutil.copy(tmp_path / "records.db", older)
    again = open_store(url(tmp_path))
    await again.add(record("c"))
    await again.close()
    shutil.copy(older / "records.db", tmp_path / "records.db")
    with pytest.raises(StoreUnusable, match="the last 1 writes are missing"):
        open_store(url(tmp_path))


async def test_a_log_with_a_torn_end_holds_all_that_was_answered(tmp_path: Path) -> None:
    answered = _write_until_killed(tmp_path)
    with (tmp_path / "records.db-wal").open("ab") as file:
        file.write(os.urandom(3000))  # a frame that was under way
    store = open_store(url(tmp_path))
    for name in answered:
        assert await store.get("endpoint", HERE, name) is not None
    await store.close()


async def test_what_changes_nothing_counts_as_no_write(tmp_path: Path) -> None:
    store = open_store(url(tmp_path))
    await store.add(record("a"))
    before = (tmp_path / "records.db.commits").read_bytes()
    assert await store.claim("job", "me", 1.0, 1.0, ("Pending",), 10) == []
    assert (tmp_path / "records.db.commits").read_bytes() == before
    await store.close()


def test_numbers_turn_over(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    assert missing(file, 5) == 0
    for answered, number, behind in ((5, 5, 0), (5, 6, 0), (6, 5, 1), (0, TURN - 1, 1), (TURN - 1, 0, 0)):
        beside(file).write_bytes(b"%010d\n" % answered)
        assert missing(file, number) == behind
    for torn in (b"", b"00"):
        beside(file).write_bytes(torn)
        assert missing(file, 5) == 0
