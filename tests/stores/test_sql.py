"""The record store on SQLite: conformance, and what is its own: durability, schema versions, damage."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import inspect

from clary.domain.errors import Unavailable
from clary.domain.resources import Query
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


def test_an_older_schema_is_migrated_after_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(url(tmp_path)).prepare()
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions / "r1.py").write_text("revision = '0001'\ndown_revision = None\ndef upgrade(): raise AssertionError\n")
    (versions / "r2.py").write_text(
        "from alembic import op\nrevision = '0002'\ndown_revision = '0001'\n"
        "def upgrade(): op.execute('CREATE TABLE further (x INTEGER)')\n"
    )
    monkeypatch.setattr("clary.stores.database.MIGRATIONS", tmp_path / "migrations")
    monkeypatch.setattr("clary.stores.database.VERSION", "0002")
    database = Database(url(tmp_path))
    database.prepare()
    assert "further" in inspect(database.engine).get_table_names()
    assert database._version() == "0002"
    copy = Database(f"sqlite:///{tmp_path / 'records.db.schema-0001'}")
    assert copy._version() == "0001"
    database.close()
    copy.close()


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
