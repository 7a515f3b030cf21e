"""Compare, then try again: who loses decides again from what is there now; what is no lost race is raised at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from clary.domain.errors import AlreadyExists, Invalid, Stale
from clary.guarded import MADE_OR_CHANGED, TRIES, until_first
from clary.testing.store import MemoryStore
from clary.testing.stores import HERE, record


async def test_writers_at_once_lose_nothing() -> None:
    store = MemoryStore()
    await store.add(record("a", n=0))

    async def count() -> None:
        found = await store.get("endpoint", HERE, "a")
        assert found is not None
        await asyncio.sleep(0)  # the others read as well
        await store.save(replace(found, document={"n": found.document["n"] + 1}))

    await asyncio.gather(*(until_first(count) for _ in range(10)))
    found = await store.get("endpoint", HERE, "a")
    assert found is not None
    assert found.document == {"n": 10}


async def test_a_record_that_others_write_all_the_time_is_told_by_its_name() -> None:
    tries = []

    async def lose() -> None:
        tries.append(1)
        raise Stale("somebody was first")

    with pytest.raises(Stale, match=r"^Dashboard d is being changed by another request; try again\.$"):
        await until_first(lose, "Dashboard d")
    assert len(tries) == TRIES


async def test_what_is_no_lost_race_is_raised_at_once() -> None:
    tries = []

    async def taken() -> None:
        tries.append(1)
        raise AlreadyExists("taken")

    async def bad() -> None:
        tries.append(1)
        raise Invalid("bad")

    with pytest.raises(AlreadyExists, match="taken"):
        await until_first(taken)
    with pytest.raises(Invalid):
        await until_first(bad, lost=MADE_OR_CHANGED)
    assert len(tries) == 2


async def test_a_write_that_makes_or_changes_changes_what_another_made() -> None:
    store = MemoryStore()
    reads = 0

    async def put() -> str:
        nonlocal reads
        reads += 1
        found = await store.get("endpoint", HERE, "a")
        if reads == 1:
            await store.add(record("a", by="other"))
        if found is None:
            await store.add(record("a", by="me"))
            return "made"
        await store.save(replace(found, document={"by": "me"}))
        return "changed"

    assert await until_first(put, lost=MADE_OR_CHANGED) == "changed"
