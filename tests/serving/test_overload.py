"""Overload: simulated by a clock of numbers, then (with outliers) through a front on real sockets."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import random
from collections import Counter, deque
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter

import pytest
from tests.serving.fakes import ACCOUNT, REGION, Answer, Bench, Predict, echo, replica, route, until, variant

from clary.serving.overload import SHARE, Drain, Refusals, most_waiting, surplus
from clary.serving.queue import Variant
from clary.toolkit import frames

LOOK = 0.05  # seconds between looks, as the front takes them


def overloaded(
    load: float, service: float, workers: int, timeout: float, seconds: float, capped: bool
) -> tuple[float, list[float], int]:
    """An open loop at `load` times the capacity: answers in time per second of what was possible, how long others waited for
    their refusal, and how many ran into their deadline."""
    drain, queue, numbers = Drain(), deque[float](), itertools.count()
    randoms = random.Random(3)
    rate = load * workers / service
    events: list[tuple[float, int, str, float]] = [
        (0.0, next(numbers), "arrive", 0.0),
        (LOOK, next(numbers), "look", 0.0),
    ]
    busy = answered = good = late = 0
    most = 2048
    refused: list[float] = []
    known: float | None = None
    while events:
        now, _, what, arrived = heapq.heappop(events)
        if what == "arrive" and now < seconds:
            heapq.heappush(events, (now + randoms.expovariate(rate), next(numbers), "arrive", 0.0))
            if len(queue) >= most:
                refused.append(0.0)
            else:
                queue.append(now)
        elif what == "look" and now < seconds:
            heapq.heappush(events, (now + LOOK, next(numbers), "look", 0.0))
            while queue and queue[0] + timeout <= now:
                queue.popleft()
                late += 1
            drain.look(now, answered, len(queue), known, timeout)
            if capped:
                most = most_waiting(drain.rate(), timeout, 2048)
                if queue and drain.sure():
                    for _ in range(surplus(drain.rate(), len(queue), queue[-1] + timeout - now)):
                        refused.append(now - queue.pop())
        elif what == "done":
            busy -= 1
            answered += 1
            known = workers / service
            if now <= arrived + timeout:
                good += now <= seconds
            else:
                late += 1
        while queue and busy < workers:
            busy += 1
            heapq.heappush(events, (now + service * randoms.uniform(0.8, 1.2), next(numbers), "done", queue.popleft()))
    return good / (seconds * workers / service), refused, late


@pytest.mark.parametrize(("service", "workers", "timeout"), [(0.02, 2, 2.0), (0.5, 4, 10.0), (5.0, 2, 60.0)])
def test_at_twice_the_capacity_goodput_stays_and_refusals_come_at_once(
    service: float, workers: int, timeout: float
) -> None:
    seconds = 30 * timeout
    goodput, refused, late = overloaded(2.0, service, workers, timeout, seconds, True)
    assert goodput >= 0.9
    assert late == 0
    assert refused
    assert sorted(refused)[int(0.99 * len(refused))] <= 0.05
    # without the cap everybody waits too long, and most who get a turn are late
    goodput, _, late = overloaded(2.0, service, workers, timeout, seconds, False)
    assert late > 0
    assert goodput < 0.9


def test_below_capacity_nothing_is_refused() -> None:
    goodput, refused, late = overloaded(0.9, 0.02, 2, 2.0, 60.0, True)
    assert (refused, late) == ([], 0)
    assert goodput > 0.85


def test_a_short_burst_is_taken_whole() -> None:
    """300 requests at once where 100 a second are answered: they wait for 3 s, of 60 that they have."""
    drain = Drain()
    for look in range(100):
        waiting = max(0, 300 - look * 5)
        drain.look(look * LOOK, 300 - waiting, waiting, None, 60.0)
        assert waiting <= most_waiting(drain.rate(), 60.0, 2048)
        assert not surplus(drain.rate(), waiting, 60.0 - look * LOOK)


def test_a_first_prediction_that_is_slow_dooms_nobody() -> None:
    """It takes 8 s to warm up, all others 10 ms: 94 wait meanwhile."""
    drain = Drain()
    answered, now = 0, 0.0
    while now < 9.0:
        drain.look(now, answered, 95 - answered, None, 60.0)
        assert not (drain.sure() and surplus(drain.rate(), 95 - answered, 60.0 - now))
        now += LOOK
        answered = 0 if now < 8.0 else min(94, int((now - 8.0) / 0.01))


@pytest.mark.parametrize(("rate", "timeout", "seconds"), [(1000.0, 60.0, 2.0), (100.0, 60.0, 5.0), (100.0, 4.0, 1.0)])
def test_a_stall_of_a_moment_refuses_nobody(rate: float, timeout: float, seconds: float) -> None:
    """Requests come at 70 % of what the workers can do, and all workers stand still for so long: the queue will be short again."""
    drain = Drain()
    for look in range(int(seconds / LOOK)):
        waiting = 1 + int(0.7 * rate * look * LOOK)
        drain.look(look * LOOK, 0, waiting, rate, timeout)
        cap = most_waiting(drain.rate(), timeout, 1 << 20)
        assert waiting <= cap, (look * LOOK, cap)
        assert not (drain.sure() and surplus(drain.rate(), waiting, timeout - look * LOOK))


def test_workers_that_hang_are_noticed() -> None:
    drain = Drain()
    for look in range(40):
        drain.look(look * LOOK, look * 5, 50, 100.0, 60.0)
    before = most_waiting(drain.rate(), 60.0, 2048)
    for look in range(40, 1200):
        drain.look(look * LOOK, 200, 50, 100.0, 60.0)
    after = most_waiting(drain.rate(), 60.0, 2048)
    assert before == 2048
    assert after < 30


def test_half_of_the_deadline_may_be_waited_for() -> None:
    assert SHARE == 0.5
    assert most_waiting(10.0, 60.0, 2048) == 300
    assert most_waiting(0.001, 60.0, 2048) == 1
    assert most_waiting(None, 60.0, 2048) == 2048


def test_refusals_are_told_of_at_once_and_then_every_so_often() -> None:
    refusals = Refusals()
    told = [(second, number) for second in range(25) if (number := refusals.due(float(second)))]
    assert told == [(0, 1), (10, 10), (20, 10)]


# -- through a front ---------------------------------------------------------------------------------------------------------------


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
