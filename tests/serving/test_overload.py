"""Overload and outliers through a front on real sockets."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter

import pytest
from tests.serving.fakes import ACCOUNT, REGION, Answer, Bench, Predict, echo, replica, route, until, variant

from clary.serving.queue import Variant
from clary.toolkit import frames


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        yield bench


def served(bench: Bench) -> Variant:
    return bench.front.endpoints[ACCOUNT, REGION, "iris"].variants["AllTraffic"]


def taking(seconds: float) -> Predict:
    async def predict(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await asyncio.sleep(seconds)
        return await echo(batch)

    return predict


async def timed(bench: Bench) -> tuple[Answer, float]:
    began = perf_counter()
    return await bench.invoke(), perf_counter() - began


async def test_at_twice_the_capacity_what_is_too_much_is_refused_at_once_and_nothing_is_late(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1", 2), timeout=4.0)))
    await bench.replica("r1", taking(0.05), workers=2, batch=1)  # 40 a second
    tasks = []
    for _ in range(600):
        tasks.append(asyncio.create_task(timed(bench)))
        await asyncio.sleep(0.0125)
    answers = [await task for task in tasks]
    statuses = Counter(answer.status for answer, _ in answers)
    assert set(statuses) == {200, 503}, statuses
    assert statuses[200] >= 0.9 * 40 * 7.5 * 0.9  # of the nominal capacity, which a busy machine does not reach
    refused = [(answer, took) for answer, took in answers if answer.status == 503]
    assert {answer.headers["x-amzn-errortype"] for answer, _ in refused} == {"ServiceUnavailable"}
    said = {json.loads(answer.body)["Message"] for answer, _ in refused}
    assert all("Endpoint iris is overloaded: " in text and "2 s of work or more. Try again." in text for text in said)
    assert sorted(took for _, took in refused)[len(refused) // 2] < 0.5


async def test_a_queue_that_workers_left_behind_is_refused_before_it_is_late(bench: Bench) -> None:
    """It was let in while four workers served; one is left, and it is known how quick that one is."""
    await bench.put(route(variant("AllTraffic", 1, replica("r1", 4), timeout=20.0)))
    fake = await bench.replica("r1", taking(0.5), workers=4, batch=1)
    began = perf_counter()
    tasks = [asyncio.create_task(timed(bench)) for _ in range(100)]
    await until(lambda: len(served(bench).queue) == 96)
    await bench.put(route(variant("AllTraffic", 1, replica("r1", 1), timeout=20.0), revision=2))
    for pid in list(fake.running)[1:]:
        fake.end(pid)
    await until(lambda: any(task.done() and task.result()[0].status == 503 for task in tasks), 30)
    assert perf_counter() - began < 15, "long before the deadline"
    for task in tasks:
        task.cancel()


async def test_a_slow_replica_of_three_gets_little(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"), replica("r2"), replica("r3"))))
    slow = await bench.replica("r1", taking(0.1), batch=1)
    for name in ("r2", "r3"):
        await bench.replica(name, taking(0.01), batch=1)
    stop = False

    async def client() -> None:
        while not stop:
            assert (await bench.invoke()).status == 200

    clients = [asyncio.create_task(client()) for _ in range(2)]
    await until(lambda: served(bench).unfit, 30)
    assert bench.front.replicas["r1"].health.slow
    before, arrivals = len(slow.seen), served(bench).counters.arrivals
    await until(lambda: served(bench).counters.arrivals > arrivals + 150, 20)
    assert len(slow.seen) - before <= 2
    slow.predict = taking(0.01)
    bench.front.replicas["r1"].health.probed = (0.0, 0)  # as if the last probe were long ago
    await until(lambda: not served(bench).unfit, 30)
    stop = True
    await asyncio.gather(*clients)


async def test_a_replica_that_fails_alone_is_out(bench: Bench) -> None:
    async def fails(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        return [(request.id, 500, b"", b"broken") for request in batch]

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), replica("r2"))))
    broken = await bench.replica("r1", fails, batch=1)
    await bench.replica("r2", taking(0.005), batch=1)
    statuses: Counter[int] = Counter()

    async def client() -> None:
        while not served(bench).unfit:
            statuses[(await bench.invoke()).status] += 1

    await asyncio.wait_for(asyncio.gather(*(client() for _ in range(3))), 20)
    assert bench.front.replicas["r1"].health.out_until
    before = len(broken.seen)
    assert [(await bench.invoke()).status for _ in range(20)] == [200] * 20
    assert len(broken.seen) == before
    broken.predict = taking(0.005)  # as quick as its sibling, which would else be the slow one
    await until(lambda: perf_counter() > bench.front.replicas["r1"].health.out_until, 30)

    async def revive() -> None:
        while served(bench).unfit:
            assert (await bench.invoke()).status == 200

    await asyncio.wait_for(asyncio.gather(*(revive() for _ in range(3))), 20)


async def test_without_a_fit_replica_the_others_serve(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"), replica("r2"))))
    await bench.replica("r1", batch=1)
    gone = await bench.replica("r2", batch=1)
    bench.front.replicas["r1"].health.out(perf_counter())
    served(bench).unfit = True
    await gone.stop()
    await until(lambda: not bench.front.replicas["r2"].workers)
    assert (await bench.invoke()).status == 200
