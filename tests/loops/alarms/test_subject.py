"""The alarm loop over fakes: it evaluates, keeps history, tells actions, follows children."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.alarms import evaluation
from clary.domain.alarms.turn import Act, Command, SeenAlarm
from clary.domain.errors import NotFound, Stale
from clary.domain.metrics.datapoints import Datapoint, Series, single
from clary.domain.resources import Query, Record, Scope
from clary.loops.alarms.subject import HISTORY, KEEP_HISTORY, AlarmPorts, AlarmSubject, attach, keep
from clary.loops.core.loop import Loop
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.observing import observing, ports_of
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "us-east-1")
TOPIC = "arn:aws:sns:us-east-1:000000000000:t"


class House:
    def __init__(self) -> None:
        self.told: list[Act] = []
        self.clock = FakeClock(1_800_000_000.0)
        self.ports = AlarmPorts(MemoryStore(), MemoryDatapoints(), self.clock, {"sns": self.tell})
        self.subject = observing(AlarmSubject(self.ports), *ports_of(self.ports))
        self.loop: Loop[Command, SeenAlarm] = Loop(
            self.subject, self.ports.store, self.clock, "owner", sweep_seconds=0.05
        )

    async def tell(self, record: Record, act: Act) -> None:
        if act.action.endswith(":gone"):
            raise NotFound("There is no such topic.")
        self.told.append(act)

    async def make(self, name: str, **changes: Any) -> Record:
        request = {
            "AlarmName": name,
            "Namespace": "N",
            "MetricName": name,
            "Statistic": "Sum",
            "Period": 10,
            "EvaluationPeriods": 1,
            "Threshold": 0.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
            **changes,
        }
        if "Metrics" in request:
            request = {key: request[key] for key in request.keys() - {"Namespace", "MetricName", "Statistic", "Period"}}
        now = self.clock.now()
        arn = f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{name}"
        document = evaluation.document(request, [], now)
        return await self.ports.store.add(Record("alarm", SCOPE, name, arn, "INSUFFICIENT_DATA", now, now, document))

    def put(self, name: str, value: float) -> None:
        series = Series.of("N", name, {})
        self.ports.datapoints.put(SCOPE, [Datapoint(series, self.clock.now(), single(value), True)])

    async def tag(self, name: str, number: int) -> None:
        """Somebody else writes to the record, however often it takes."""
        while True:
            record = await self.ports.store.get("alarm", SCOPE, name)
            assert record is not None
            try:
                await self.ports.store.save(replace(record, document={**record.document, "tags": [number]}))
            except Stale:
                continue
            await asyncio.sleep(0)
            return

    async def status(self, name: str) -> str:
        record = await self.ports.store.get("alarm", SCOPE, name)
        assert record is not None
        return record.status

    async def history(self) -> list[str]:
        page = await self.ports.store.page(Query(HISTORY, SCOPE, descending=False, limit=100))
        return [record.document["HistorySummary"] for record in page]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    leave = attach(made.subject, made.loop, made.ports)
    task = asyncio.create_task(made.loop.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    leave()


async def until(probe: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    async with asyncio.timeout(60):
        while await probe() != wanted:
            await asyncio.sleep(0.005)


async def test_an_alarm_goes_to_alarm_keeps_history_and_tells(house: House) -> None:
    record = await house.make("a", AlarmActions=[TOPIC])
    await until(lambda: house.status("a"), "OK")
    house.put("a", 3.0)
    house.loop.wake(record.arn)
    await until(lambda: house.status("a"), "ALARM")
    await until(lambda: asyncio.sleep(0, [act.action for act in house.told]), [TOPIC])
    wanted = [
        "Alarm updated from INSUFFICIENT_DATA to OK",
        "Alarm updated from OK to ALARM",
        f"Successfully executed action {TOPIC}",
    ]
    await until(house.history, wanted)


async def test_a_change_that_was_not_saved_leaves_no_trace(house: House) -> None:
    record = await house.make("a", AlarmActions=[TOPIC])
    await until(lambda: house.status("a"), "OK")

    async def busy() -> None:
        for number in range(200):
            await house.tag("a", number)

    writing = asyncio.create_task(busy())
    house.put("a", 3.0)
    house.loop.wake(record.arn)
    await writing
    await until(lambda: house.status("a"), "ALARM")
    await until(lambda: asyncio.sleep(0, len(house.told)), 1)
    assert [line for line in await house.history() if line.startswith("Alarm")] == [
        "Alarm updated from INSUFFICIENT_DATA to OK",
        "Alarm updated from OK to ALARM",
    ]


async def test_actions_that_nobody_takes_are_in_the_history(house: House) -> None:
    nobody = "arn:aws:lambda:us-east-1:0:function:f"
    await house.make("a", OKActions=[nobody, f"{TOPIC}:gone"])
    await until(lambda: house.status("a"), "OK")

    async def failed() -> list[str]:
        return sorted(line for line in await house.history() if line.startswith("Failed"))

    await until(failed, [f"Failed to execute action {nobody}", f"Failed to execute action {TOPIC}:gone"])


async def test_a_composite_alarm_is_looked_at_when_a_child_moves(house: House) -> None:
    child = await house.make("child")
    await house.make("parent", AlarmRule="ALARM(child)")
    await until(lambda: house.status("parent"), "OK")
    house.put("child", 1.0)
    house.loop.wake(child.arn)
    await until(lambda: house.status("parent"), "ALARM")


async def test_history_is_kept_once_and_for_two_weeks() -> None:
    house = House()
    record = await house.make("a")
    entry = {"AlarmName": "a", "HistoryItemType": "StateUpdate", "HistorySummary": "s", "Timestamp": house.clock.now()}
    for _ in range(2):
        await keep(house.ports.store, record, entry)
    assert await house.history() == ["s"]
    late = {**entry, "HistorySummary": "t", "Timestamp": house.clock.now() + KEEP_HISTORY + 1}
    await keep(house.ports.store, record, late)
    assert await house.history() == ["t"]


async def test_an_alarm_on_metric_math(house: House) -> None:
    def stat(id: str, metric: str) -> dict[str, Any]:
        metric_stat = {"Metric": {"Namespace": "N", "MetricName": metric}, "Period": 10, "Stat": "Sum"}
        return {"Id": id, "MetricStat": metric_stat, "ReturnData": False}

    queries = [{"Id": "rate", "Expression": "100 * bad / total"}, stat("bad", "errors"), stat("total", "requests")]
    house.put("errors", 3.0)
    house.put("requests", 10.0)
    house.clock.advance(10)
    record = await house.make("math", Metrics=queries, Threshold=20.0)
    await until(lambda: house.status("math"), "ALARM")
    house.clock.advance(60)
    house.loop.wake(record.arn)
    await until(lambda: house.status("math"), "OK")
