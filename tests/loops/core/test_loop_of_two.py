"""Two control planes, each with its loop: whoever writes a record, the loop that holds its lease acts on it soon, and once."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.stores.postgres import database, server

from clary.domain.decisions import Decision
from clary.domain.errors import Stale
from clary.domain.resources import Record
from clary.loops.core.loop import Loop
from clary.stores.sql import open_store
from clary.testing.clock import FakeClock
from clary.testing.store import MemoryStore
from clary.testing.stores import Pair, record

__all__ = ["database", "server"]
SWEEP = 3600.0  # so that only the feed wakes a loop


@dataclass(frozen=True)
class Act:
    """On what the record asks for, by this number."""

    arn: str
    number: int


class Follower:
    """Does what a record asks for: once for each number."""

    kind = "endpoint"
    statuses = ("Creating",)

    def __init__(self, acted: list[tuple[str, int, float]]) -> None:
        self.acted = acted

    async def observe(self, record: Record) -> int:
        return int(record.document.get("done", 0))

    def decide(self, record: Record, observation: int, now: float) -> Decision[Act]:
        wanted = record.document["wanted"]
        if observation == wanted:
            return Decision(record)
        return Decision(replace(record, document={**record.document, "done": wanted}), (Act(record.arn, wanted),))

    async def run(self, command: Act, record: Record) -> None:
        self.acted.append((command.arn, command.number, asyncio.get_running_loop().time()))

    def absorb(self, record: Record, outcomes: Sequence[tuple[Act, Any]]) -> Record:
        return record


async def settled(store: Any, arn: str, number: int) -> Record:
    """The record, once that is done and saved."""
    async with asyncio.timeout(10):
        while (found := await store.by_arn(arn)).document.get("done") != number:
            await asyncio.sleep(0.005)
    return found


class TwoLoops:
    """Inherit and define a fixture `pair` of two stores on one database."""

    async def test_a_change_of_the_other_store_is_acted_on_soon_and_once(self, pair: Pair) -> None:
        """200 changes through the store without a loop: 0.5 s at the median, 2 s at most."""
        one, two = pair
        acted: list[tuple[str, int, float]] = []
        loop: Loop[Act, int] = Loop(Follower(acted), one, FakeClock(), "one", sweep_seconds=SWEEP)
        task = asyncio.create_task(loop.run())
        clock = asyncio.get_running_loop()
        asked: dict[tuple[str, int], float] = {}

        async def ask(name: str) -> None:
            current = await two.add(record(name, wanted=0, done=0))
            for number in range(1, 11):
                asked[current.arn, number] = clock.time()
                try:
                    await two.save(replace(current, document={**current.document, "wanted": number}))
                except Stale:
                    pytest.fail("the loop wrote a record that asked for nothing")
                current = await settled(two, current.arn, number)

        await asyncio.gather(*(ask(f"n{n}") for n in range(20)))
        waits = [at - asked[arn, number] for arn, number, at in acted]
        assert len(waits) == len(asked) == 200
        assert statistics.median(waits) <= 0.5
        assert max(waits) <= 2.0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def test_of_two_loops_one_acts(self, pair: Pair) -> None:
        """Both hear of each record; one holds its lease."""
        acted: list[tuple[str, int, float]] = []
        loops: list[Loop[Act, int]] = [
            Loop(Follower(acted), store, FakeClock(), owner, sweep_seconds=0.05)
            for store, owner in zip(pair, ("one", "two"), strict=True)
        ]
        tasks = [asyncio.create_task(loop.run()) for loop in loops]
        for n in range(40):
            await pair[n % 2].add(record(f"n{n}", wanted=1))
        for n in range(40):
            assert (await settled(pair[0], record(f"n{n}").arn, 1)).version == 2
        assert sorted(arn for arn, _, _ in acted) == sorted(record(f"n{n}").arn for n in range(40))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class TestMemory(TwoLoops):
    @pytest.fixture
    async def pair(self) -> Pair:
        one = MemoryStore()
        return one, one.beside()


class TestSqlite(TwoLoops):
    @pytest.fixture
    async def pair(self, tmp_path: Path) -> AsyncIterator[Pair]:
        url = f"sqlite:///{tmp_path / 'records.db'}"
        one, two = open_store(url), open_store(url)
        yield one, two
        await one.close()
        await two.close()


class TestPostgres(TwoLoops):
    @pytest.fixture
    async def pair(self, database: str) -> AsyncIterator[Pair]:
        one, two = open_store(database), open_store(database)
        yield one, two
        await one.close()
        await two.close()
