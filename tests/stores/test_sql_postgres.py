"""The record store on PostgreSQL, as several control planes would use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.stores.postgres import database, server

from clary.ports import Store
from clary.stores.database import Database, StoreUnusable
from clary.stores.sql import SqlStore, open_store
from clary.testing.stores import HERE, StoreConformance, record

__all__ = ["database", "server"]


class TestPostgres(StoreConformance):
    @pytest.fixture
    async def store(self, database: str) -> AsyncIterator[SqlStore]:
        store = open_store(database)
        yield store
        await store.close()

    async def passed(self, store: Store, seconds: float) -> None:
        """Leases go by the server's clock, which nobody sets: move them instead."""
        assert isinstance(store, SqlStore)
        await store._writer.run(
            lambda cursor: cursor.execute("UPDATE resources SET claimed_until = claimed_until - %s", (seconds,))
        )


async def test_two_control_planes_share_records_and_never_a_lease(database: str) -> None:
    one, two = open_store(database), open_store(database)
    for n in range(40):
        await one.add(record(f"n{n}"))
    claims = await asyncio.gather(
        *(store.claim("endpoint", owner, 1.0, 30.0, ("Creating",), 5) for store, owner in ((one, "1"), (two, "2")) * 4)
    )
    holders: dict[str, str] = {}
    for lease in (lease for claim in claims for lease in claim):
        assert holders.setdefault(lease.record.arn, lease.owner) == lease.owner
    first = await one.get("endpoint", HERE, "n0")
    assert first is not None
    outcomes = await asyncio.gather(
        *(store.save(replace(first, document={"by": n})) for n, store in enumerate((one, two) * 5)),
        return_exceptions=True,
    )
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    await one.close()
    await two.close()


async def test_tables_are_made_once_by_many(database: str) -> None:
    databases = [Database(database) for _ in range(4)]
    await asyncio.gather(*(asyncio.to_thread(d._create) for d in databases))
    store = open_store(database)
    await store.add(record("a"))
    await store.close()


def test_a_server_out_of_reach_is_refused_in_words() -> None:
    with pytest.raises(StoreUnusable, match=r"cannot be opened: .*\. Is the server up"):
        open_store("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
