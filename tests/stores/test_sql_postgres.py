"""The record store on PostgreSQL, as several control planes would use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest
from tests.stores.postgres import database, server, start, stop

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


def ended(server: str) -> int:
    """End every session but this one, as `pg_terminate_backend` does (57P01): how many."""
    with psycopg.connect(server, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchall()
    return len(rows)


async def test_sessions_that_the_server_ends_are_opened_again(server: str, database: str) -> None:
    store = open_store(database)
    stored = await store.add(record("a"))
    for n in range(3):
        assert await store.get("endpoint", HERE, "a") == stored
        assert ended(server) >= 2
        stored = await store.save(replace(stored, document={"n": n}))
    assert ended(server) >= 1
    assert await asyncio.gather(*(store.get("endpoint", HERE, "a") for _ in range(8))) == [stored] * 8
    await store.close()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_of_the_server_costs_no_write_and_doubles_none(server: str, database: str, mode: str) -> None:
    store = open_store(database)
    over, made, names = asyncio.Event(), list[str](), iter(range(100_000))

    async def writer() -> None:
        while not over.is_set():
            name = f"n{next(names)}"
            stored = await store.add(record(name))
            await store.save(replace(stored, document={"twice": False}))
            made.append(name)

    async def reader() -> None:
        while not over.is_set():
            if made:
                assert await store.get("endpoint", HERE, made[-1]) is not None
            await asyncio.sleep(0)

    async def restart() -> None:
        for _ in range(2):
            before = len(made)
            while len(made) < before + 50:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(stop, server, mode)
            await asyncio.to_thread(start, server)
        over.set()

    async with asyncio.TaskGroup() as group:
        for work in (*[writer] * 8, reader, reader, restart):
            group.create_task(work())
    for name in made:
        found = await store.get("endpoint", HERE, name)
        assert found is not None
        assert (found.version, found.document) == (2, {"twice": False})
    await store.close()
