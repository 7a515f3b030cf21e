"""The loop of feature groups over fakes: groups and records come by the real handlers, batches go to a writer that the tests hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from tests.api.house import GROUP
from tests.api.world import ACCOUNT, REGION, World

from clary.domain.errors import ClaryError, Unavailable
from clary.domain.features.groups import Group
from clary.domain.features.life import FLUSH_AFTER, TRY_AGAIN, Command, SeenGroup
from clary.domain.features.online import Stored
from clary.domain.resources import Scope
from clary.feature_ports import Batch
from clary.loops.core.loop import Loop
from clary.loops.features.subject import FeatureSubject, flusher, sweeper
from clary.testing.clock import FakeClock
from clary.testing.features import MemoryFeatures, puts
from clary.testing.observing import observing

SCOPE = Scope(ACCOUNT, REGION)
RUNTIME = "sagemaker-featurestore-runtime"


class Writer:
    """`loops.features.subject.HistoryWriter`: `refuses` is what it says instead of writing."""

    def __init__(self) -> None:
        self.written: list[tuple[str, list[str]]] = []
        self.forgotten: list[str] = []
        self.refuses: ClaryError | None = None

    async def prepare(self) -> None:
        await self._say_no()

    async def write(self, group: Group, batch: Batch) -> None:
        await self._say_no()
        self.written.append((batch.name, [line.history.identifier for line in batch.lines]))

    async def forget(self, group: Group) -> None:
        self.forgotten.append(group.key)

    async def _say_no(self) -> None:
        await asyncio.sleep(0)
        if self.refuses is not None:
            raise self.refuses


class FeatureHouse:
    """A control plane with nothing but feature groups."""

    def __init__(self) -> None:
        self.world = World({"b": {}})
        self.writer = Writer()
        self.start()

    def start(self) -> None:
        ports = self.world.ports
        subject = FeatureSubject(ports.features, ports.artifacts, self.writer, ports.clock)
        self.subject = observing(subject, ports.features, ports.artifacts)
        self.loop: Loop[Command, SeenGroup] = Loop(self.subject, ports.store, ports.clock, "owner", sweep_seconds=0.05)
        self.tasks = [
            asyncio.create_task(self.loop.run()),
            asyncio.create_task(flusher(self.subject, ports.features, self.loop.wake)),
        ]

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def passes(self, seconds: float) -> None:
        cast(FakeClock, self.world.ports.clock).advance(seconds)
        for arn in self.subject.arns.values():
            self.loop.wake(arn)

    async def create(self) -> None:
        await self.world("sagemaker", "CreateFeatureGroup", **GROUP)

    async def put(self, *identifiers: str) -> None:
        for name in identifiers:
            record = [{"FeatureName": "id", "ValueAsString": name}, {"FeatureName": "at", "ValueAsString": "1"}]
            await self.world(RUNTIME, "PutRecord", FeatureGroupName="people", Record=record)

    async def group(self) -> dict[str, Any]:
        return await self.world("sagemaker", "DescribeFeatureGroup", FeatureGroupName="people")

    async def status(self, wanted: str) -> None:
        async def reached() -> bool:
            return str((await self.group())["FeatureGroupStatus"]) == wanted

        await until(reached)

    async def is_there(self) -> bool:
        return await self.world.store.get("feature-group", SCOPE, "people") is not None


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while True:
            met = condition()
            if await met if asyncio.iscoroutine(met) else met:
                return
            await asyncio.sleep(0.005)


@pytest.fixture
async def house() -> AsyncIterator[FeatureHouse]:
    made = FeatureHouse()
    yield made
    await made.end()


async def test_a_group_is_created_and_its_history_written_once(house: FeatureHouse) -> None:
    await house.create()
    await house.status("Created")
    await house.put("a", "b")
    assert house.writer.written == []
    house.passes(FLUSH_AFTER)
    await until(lambda: house.writer.written)
    house.passes(FLUSH_AFTER)
    await house.put("c")
    house.passes(FLUSH_AFTER)
    await until(lambda: len(house.writer.written) == 2)
    assert [names for _, names in house.writer.written] == [["a", "b"], ["c"]]


async def test_a_group_whose_history_cannot_be_written_is_not_created(house: FeatureHouse) -> None:
    house.writer.refuses = Unavailable("no environment")
    await house.create()
    await house.status("CreateFailed")
    assert (await house.group())["FailureReason"] == "no environment"


async def test_what_cannot_be_written_waits_and_says_so(house: FeatureHouse) -> None:
    await house.create()
    await house.status("Created")
    house.writer.refuses = Unavailable("the bucket is gone")
    await house.put("a")
    house.passes(FLUSH_AFTER)

    async def blocked() -> bool:
        return bool((await house.group())["OfflineStoreStatus"]["Status"] == "Blocked")

    await until(blocked)
    assert (await house.group())["OfflineStoreStatus"]["BlockedReason"] == "the bucket is gone"
    house.writer.refuses = None
    house.passes(TRY_AGAIN)
    await until(lambda: house.writer.written)

    async def active() -> bool:
        return bool((await house.group())["OfflineStoreStatus"] == {"Status": "Active"})

    await until(active)


async def test_a_batch_that_was_begun_is_the_same_for_a_successor(house: FeatureHouse) -> None:
    await house.create()
    await house.status("Created")
    await house.put("a", "b")
    key = next(iter(house.subject.arns))
    begun = await house.world.ports.features.batch(key, 10)
    assert begun is not None
    await house.put("c")
    await house.end()
    house.start()
    house.passes(FLUSH_AFTER)
    await until(lambda: len(house.writer.written) == 2)
    assert house.writer.written[0] == (begun.name, ["a", "b"])
    assert house.writer.written[1][1] == ["c"]


async def test_a_deleted_group_writes_what_is_left_and_goes(house: FeatureHouse) -> None:
    await house.create()
    await house.status("Created")
    await house.put("a")
    key = next(iter(house.subject.arns))
    await house.world("sagemaker", "DeleteFeatureGroup", FeatureGroupName="people")

    async def gone() -> bool:
        return not await house.is_there()

    await until(gone)
    assert [names for _, names in house.writer.written] == [["a"]]
    assert house.writer.forgotten == [key]
    assert await house.world.ports.features.get(key, ["a"]) == {}


async def test_a_put_that_found_the_group_before_its_deletion_leaves_nothing_that_nobody_owns(
    house: FeatureHouse,
) -> None:
    await house.create()
    await house.status("Created")
    features = house.world.ports.features
    found, deleted = asyncio.Event(), asyncio.Event()
    change = features.change

    async def late(entries: Any, now: float) -> Any:
        found.set()
        await deleted.wait()
        return await change(entries, now)

    features.change = late  # type: ignore[method-assign]
    putting = asyncio.create_task(house.put("a"))
    await found.wait()
    key = next(iter(house.subject.arns))
    await house.world("sagemaker", "DeleteFeatureGroup", FeatureGroupName="people")

    async def gone() -> bool:
        return not await house.is_there()

    await until(gone)
    deleted.set()
    with pytest.raises(ClaryError, match="being deleted"):
        await putting
    assert await features.get(key, ["a"]) == {}
    assert await features.waiting() == {}


async def test_nobody_asks_what_waits_where_there_is_no_group(house: FeatureHouse) -> None:
    asked = asyncio.Event()
    waiting = house.world.ports.features.waiting

    async def noted(group: str | None = None) -> Any:
        asked.set()
        return await waiting(group)

    house.world.ports.features.waiting = noted  # type: ignore[method-assign]
    looking = asyncio.create_task(flusher(house.subject, house.world.ports.features, house.loop.wake))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asked.is_set()
    looking.cancel()


async def test_a_deletion_that_cannot_write_is_told_and_given_up_by_a_second_one(house: FeatureHouse) -> None:
    await house.create()
    await house.status("Created")
    await house.put("a")
    house.writer.refuses = Unavailable("the bucket is gone.")
    await house.world("sagemaker", "DeleteFeatureGroup", FeatureGroupName="people")
    await house.status("DeleteFailed")
    assert "Delete the feature group again" in (await house.group())["FailureReason"]
    await house.world("sagemaker", "DeleteFeatureGroup", FeatureGroupName="people")

    async def gone() -> bool:
        return not await house.is_there()

    await until(gone)
    assert house.writer.written == []


async def test_expired_records_go_although_nobody_asks_for_records() -> None:
    features, clock = MemoryFeatures(), FakeClock()
    rows = {"old": Stored(1.0, {"id": "old"}, clock.now() - 1), "new": Stored(1.0, {"id": "new"}, clock.now() + 1)}
    for name, row in rows.items():
        await features.change([puts("g", name, row, history=False)], clock.now())
    sweeping = asyncio.create_task(sweeper(features, clock))
    for _ in range(10):
        await asyncio.sleep(0)
    sweeping.cancel()
    assert list(await features.get("g", ["old", "new"])) == ["new"]
