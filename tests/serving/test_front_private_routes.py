"""A private route: its caller proves itself on the workers' socket and then speaks HTTP there; nobody else reaches the route."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.serving.fakes import ACCOUNT, REGION, Answer, Bench, replica, route, variant

from clary.domain.endpoints.routes import EndpointRoute
from clary.toolkit import frames
from clary.toolkit.transform.calls import Away, Caller

NAME = "job/:transform"
TOKEN = "of the job"
ENDPOINT = (ACCOUNT, REGION, NAME)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        yield bench


def private(most: int = 1 << 20) -> EndpointRoute:
    made = route(variant("job", 1, replica("r1")), name=NAME, max_payload=most)
    return replace(made, caller=hashlib.sha256(TOKEN.encode()).hexdigest())


def caller(bench: Bench, token: str = TOKEN, name: str = NAME) -> Caller:
    return Caller(f"unix:{bench.workers}", (ACCOUNT, REGION, name), token)


async def test_its_caller_has_bodies_predicted_one_after_another(bench: Bench) -> None:
    await bench.put(private(8 << 20))
    fake = await bench.replica("r1")
    own = caller(bench)
    for body in (b"1,2\n", b"x" * (3 << 20), b"3\n"):
        said = await asyncio.to_thread(own.predict, body, {"Content-Type": "text/csv", "Accept": "a/b"}, 30.0)
        assert (said.status, said.body) == (200, body)
    assert {(request.content_type, request.accept) for [request] in fake.seen} == {("text/csv", "a/b")}
    assert len(bench.front.connections) == 1, "over one connection"
    assert bench.front.counts() == [], "no client's requests"
    await asyncio.to_thread(own.close)


async def test_the_model_s_own_errors_and_deadlines_come_back(bench: Bench) -> None:
    async def refuse(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]] | None:
        if batch[0].body == b"hang":
            return None
        return [(request.id, 415, frames.result_meta("text/plain"), b"not that") for request in batch]

    await bench.put(private())
    await bench.replica("r1", predict=refuse)
    own = caller(bench)
    assert await asyncio.to_thread(own.predict, b"1", {}, 30.0) == (415, b"", "not that")
    said = await asyncio.to_thread(own.predict, b"hang", {}, 0.2)
    assert (said.status, "timed out" in said.message) == (0, True)
    await asyncio.to_thread(own.close)


async def test_a_body_beyond_the_route_s_own_limit(bench: Bench) -> None:
    await bench.put(private(1000))
    await bench.replica("r1")
    own = caller(bench)
    said = await asyncio.to_thread(own.predict, b"x" * 1001, {}, 30.0)
    assert (said.status, "1001 bytes, and the limit is 1000" in said.message) == (400, True)
    await asyncio.to_thread(own.close)


async def test_who_proves_nothing_is_away_from_it(bench: Bench) -> None:
    await bench.put(private())
    await bench.put(route(variant("v", 1, replica("r2")), name="public"))
    for stranger in (caller(bench, "wrong"), caller(bench, name="nothing"), caller(bench, "", "public")):
        with pytest.raises(Away, match="does not know the job"):
            await asyncio.to_thread(stranger.predict, b"1", {}, 5.0)


async def test_no_client_reaches_it_by_any_name(bench: Bench) -> None:
    await bench.put(private())
    await bench.replica("r1")
    for name, more in (("job", {}), ("job", {"X-Amzn-SageMaker-Inference-Component": ":transform"})):
        answer: Answer = await bench.invoke(b"1", name, **more)
        assert answer.status == 400
        assert b"not found" in answer.body


async def test_a_route_that_is_dropped_or_without_replicas_is_asked_again_later(bench: Bench) -> None:
    await bench.put(private())
    fake = await bench.replica("r1")
    own = caller(bench)
    assert (await asyncio.to_thread(own.predict, b"1", {}, 30.0)).status == 200
    await fake.stop()
    await bench.put(replace(private(), revision=2, variants=(variant("job", 1),)))
    with pytest.raises(Away, match="no healthy replica"):
        await asyncio.to_thread(own.predict, b"1", {}, 30.0)
    await bench.front.drop(*ENDPOINT)
    with pytest.raises(Away, match="has no route here"):
        await asyncio.to_thread(own.predict, b"1", {}, 30.0)
    await asyncio.to_thread(own.close)


async def test_a_front_that_drains_lets_its_caller_go(bench: Bench) -> None:
    await bench.put(private())
    await bench.replica("r1")
    own = caller(bench)
    bench.front.draining = True
    assert (await asyncio.to_thread(own.predict, b"1", {}, 30.0)).status == 200, "what is asked is answered"
    assert not bench.front.connections, "and the connection was the last one's"
