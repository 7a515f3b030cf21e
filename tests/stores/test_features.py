"""`stores/features.py` on SQLite and PostgreSQL: as the port says, over a restart, and with two processes at once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.stores.postgres import database, server

from clary.domain.errors import ClaryError
from clary.domain.features.online import Change, Stored
from clary.feature_ports import Entry
from clary.stores.database import StoreUnusable
from clary.stores.features import SqlFeatures, open_features
from clary.testing.features import FeatureRecordsConformance, puts

__all__ = ["database", "server"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'features.db'}"


class TestSqlite(FeatureRecordsConformance):
    @pytest.fixture
    async def features(self, url: str) -> AsyncIterator[SqlFeatures]:
        store = open_features(url)
        yield store
        await store.close()


class TestPostgres(FeatureRecordsConformance):
    @pytest.fixture
    async def features(self, database: str) -> AsyncIterator[SqlFeatures]:
        store = open_features(database)
        yield store
        await store.close()


@pytest.mark.parametrize("of", ["url", "database"])
async def test_who_closes_a_group_waits_for_a_write_under_way(of: str, request: pytest.FixtureRequest) -> None:
    """So what is dropped after it is all that the group had."""
    where = request.getfixturevalue(of)
    first, second = open_features(where), open_features(where)
    began, goes_on = threading.Event(), threading.Event()

    def slow(stored: Stored | None) -> Change:
        began.set()
        goes_on.wait(10)
        return Change(Stored(1.0, {"n": "1"}))

    writing = asyncio.create_task(first.change([Entry("g", "a", slow)], 1.0))
    await asyncio.to_thread(began.wait, 10)
    closing = asyncio.create_task(second.close_group("g", 2.0))
    done, _ = await asyncio.wait([closing], timeout=0.2)
    assert not done
    goes_on.set()
    await asyncio.gather(writing, closing)
    [late] = await first.change([puts("g", "b", Stored(1.0, {}))], 3.0)
    assert isinstance(late, ClaryError)
    await second.drop("g")
    assert await first.get("g", ["a", "b"]) == {}
    await first.close()
    await second.close()


async def test_a_second_process_sees_what_the_first_wrote_and_finishes_its_batch(url: str) -> None:
    first, second = open_features(url), open_features(url)
    await first.change([puts("g", "a", Stored(1.0, {"n": "1"})), puts("g", "b", None)], 1.0)
    begun = await first.batch("g", 1)
    assert begun is not None
    assert await second.batch("g", 10) == begun
    await second.written(begun)
    after = await first.batch("g", 10)
    assert after is not None
    assert [line.history.identifier for line in after.lines] == ["b"]
    assert (await second.get("g", ["a"]))["a"].values == {"n": "1"}
    await first.close()
    await second.close()


async def test_tables_of_a_newer_clary_are_refused(url: str, tmp_path: Path) -> None:
    await open_features(url).close()
    with sqlite3.connect(tmp_path / "features.db") as connection:
        connection.execute("UPDATE feature_schema SET version = 2")
    connection.close()
    with pytest.raises(StoreUnusable, match="newer Clary"):
        open_features(url)
