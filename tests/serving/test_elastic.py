"""Workers that come with demand and go without it: a real front, fake replicas, a real clock with short rests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.serving.fakes import ACCOUNT, REGION, Bench, echo, replica, route, until, variant

from clary.domain.endpoints.routes import EndpointRoute, VariantView
from clary.serving.elastic import LOOK
from clary.toolkit import frames


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as made:
        yield made


def serverless(*names: str, most: int = 4, warm: int = 0, rest: float = 60.0, revision: int = 1) -> EndpointRoute:
    replicas = [replica(name, most) for name in names]
    return route(
        variant("AllTraffic", 1, *replicas, sleeps=True, concurrency=most, warm=warm, rest=rest, timeout=20.0),
        revision=revision,
    )


def view(bench: Bench) -> VariantView:
    seen = bench.front.view(ACCOUNT, REGION, "iris")
    assert seen is not None
    return seen.variants[0]


class Gate:
    """A model that answers when it is opened, and tells how many requests were in it at once."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside = self.most = 0

    async def predict(self, batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.open.wait()
        self.inside -= 1
        return await echo(batch)


async def test_a_request_waits_for_a_replica_and_the_control_plane_hears_of_it(bench: Bench) -> None:
    told: list[EndpointRoute] = []
    bench.front.changed = told.append
    await bench.put(serverless())
    told.clear()
    waiting = asyncio.create_task(bench.invoke(b"hello"))
    await until(lambda: bool(told))
    assert (view(bench).queued, view(bench).idle) == (1, 0.0)
    await bench.put(serverless("r1", revision=2))
    await bench.replica("r1")
    assert (await waiting).body == b"hello"
    assert view(bench).setups == 1
    assert view(bench).setup_seconds > 0
    [counted] = bench.front.counts()
    assert dict(counted.models)["setups"] == 1


async def test_as_many_workers_come_as_requests_wait_and_no_more_than_allowed(bench: Bench) -> None:
    gate = Gate()
    await bench.put(serverless("r1", most=3))
    fake = await bench.replica("r1", gate.predict, batch=1)
    assert fake.workers == 1
    running = [asyncio.create_task(bench.invoke(b"%d" % n)) for n in range(3)]
    await until(lambda: gate.inside == 3)
    refused = await bench.invoke(b"one more")
    assert (refused.status, refused.headers["x-amzn-errortype"]) == (429, "ThrottlingException")
    assert b"MaxConcurrency" in refused.body
    gate.open.set()
    assert [(await task).body for task in running] == [b"0", b"1", b"2"]
    assert (gate.most, view(bench).errors_4xx, view(bench).errors_5xx) == (3, 1, 0)
    assert (await bench.invoke(b"again")).status == 200


async def test_a_slow_request_after_quick_ones_holds_up_nobody_who_may_have_a_worker(bench: Bench) -> None:
    gate = Gate()
    gate.open.set()
    await bench.put(serverless("r1", most=3))
    await bench.replica("r1", gate.predict, batch=1)
    for n in range(3):
        await bench.invoke(b"quick %d" % n)
    gate.open.clear()
    running = [asyncio.create_task(bench.invoke(b"%d" % n)) for n in range(3)]
    await until(lambda: gate.inside == 3)
    gate.open.set()
    assert [(await task).body for task in running] == [b"0", b"1", b"2"]


async def test_workers_that_nobody_needs_leave_and_come_back(bench: Bench) -> None:
    await bench.put(serverless("r1", rest=0.2))
    fake = await bench.replica("r1")
    assert (await bench.invoke(b"1")).status == 200
    await until(lambda: not fake.running)
    assert bench.state("r1") == "ready"  # the model is loaded: it can be woken
    assert view(bench).idle > 0
    for number in range(3):
        assert (await bench.invoke(b"%d" % number)).body == b"%d" % number
    assert len(fake.running) <= 1  # or none, if this test itself was held up for as long as the rest


async def test_provisioned_workers_stay(bench: Bench) -> None:
    gate = Gate()
    await bench.put(serverless("r1", most=4, warm=2, rest=0.2))
    fake = await bench.replica("r1", gate.predict, workers=2, batch=1)
    running = [asyncio.create_task(bench.invoke(b"%d" % n)) for n in range(4)]
    await until(lambda: gate.inside == 4)
    assert (await bench.invoke(b"one more")).status == 429
    gate.open.set()
    assert {(await task).status for task in running} == {200}
    [counted] = bench.front.counts()
    assert (counted.warm, counted.concurrency, counted.arrivals) == (2, 4, 4)
    assert dict(counted.models)["spilled"] == 2, "two more than are provisioned; who is refused is none of them"
    assert (await bench.invoke(b"alone")).status == 200
    [counted] = bench.front.counts()
    assert dict(counted.models)["spilled"] == 2
    await until(lambda: len(fake.running) == 2)
    await until(lambda: view(bench).idle > 2 * LOOK)  # so often it was looked who may leave
    assert len(fake.running) == 2


async def test_a_model_that_cannot_be_loaded_answers_those_who_wait_and_is_tried_again(bench: Bench) -> None:
    await bench.put(serverless())
    waiting = asyncio.create_task(bench.invoke(b"1"))
    await until(lambda: view(bench).queued == 1)
    await bench.put(serverless("r1", revision=2))
    reader, writer = await asyncio.open_unix_connection(bench.workers)
    hello = {"version": 1, "role": "zygote", "replica": "r1", "token": "token-of-r1", "pid": 1}
    writer.write(frames.control(frames.HELLO, hello))
    await reader.readexactly(8)
    writer.write(frames.control(frames.FAILED, {"kind": "load", "message": "no such file"}))
    assert (await waiting).status == 424
    assert (await bench.invoke(b"2")).status == 503
    writer.close()
    await bench.put(serverless(revision=3))
    again = asyncio.create_task(bench.invoke(b"3"))
    await until(lambda: view(bench).queued == 1)
    await bench.put(serverless("r2", revision=4))
    await bench.replica("r2")
    assert (await again).body == b"3"


async def test_a_draining_replica_is_no_hope_but_the_next_one_is(bench: Bench) -> None:
    await bench.put(serverless("r1"))
    await bench.replica("r1")
    draining = route(
        variant("AllTraffic", 1, replica("r1", 4, draining=True), sleeps=True, concurrency=4, timeout=20.0), revision=2
    )
    await bench.put(draining)
    waiting = asyncio.create_task(bench.invoke(b"held"))
    await until(lambda: view(bench).queued == 1)
    await bench.put(serverless("r2", revision=3))
    await bench.replica("r2")
    assert (await waiting).body == b"held"
