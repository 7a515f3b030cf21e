"""Grants in memory, on SQLite and on PostgreSQL: two stores on one database each time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.stores.postgres import database, server

from clary.stores.sql import open_store
from clary.testing.grants import GrantPair, GrantsConformance
from clary.testing.store import MemoryStore

__all__ = ["database", "server"]


class TestMemory(GrantsConformance):
    @pytest.fixture
    async def grant_pair(self) -> GrantPair:
        one = MemoryStore()
        return one, one.beside()


class TestSqlite(GrantsConformance):
    @pytest.fixture
    async def grant_pair(self, tmp_path: Path) -> AsyncIterator[GrantPair]:
        url = f"sqlite:///{tmp_path / 'records.db'}"
        one, two = open_store(url), open_store(url)
        yield one, two
        await one.close()
        await two.close()


class TestPostgres(GrantsConformance):
    @pytest.fixture
    async def grant_pair(self, database: str) -> AsyncIterator[GrantPair]:
        one, two = open_store(database), open_store(database)
        yield one, two
        await one.close()
        await two.close()
