"""`stores/features.py` on SQLite: as the port says, and over a restart."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clary.domain.features.online import Stored
from clary.stores.database import StoreUnusable
from clary.stores.features import SqlFeatures, open_features
from clary.testing.features import FeatureRecordsConformance, puts


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'features.db'}"


class TestSqlite(FeatureRecordsConformance):
    @pytest.fixture
    async def features(self, url: str) -> AsyncIterator[SqlFeatures]:
        store = open_features(url)
        yield store
        await store.close()


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
