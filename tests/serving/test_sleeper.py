"""A variant with a latency objective whose last replica went: a real front, fake replicas. Requests wait, and one is called for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.serving.fakes import ACCOUNT, REGION, Bench, replica, route, until, variant

from clary.domain.endpoints.routes import Boost, EndpointRoute, VariantView

BOOST = Boost(objective=5.0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as made:
        yield made


def routed(*names: str, sleeps: bool, revision: int, draining: bool = False) -> EndpointRoute:
    replicas = [replica(name, 4, draining=draining) for name in names]
    return route(variant("AllTraffic", 1, *replicas, sleeps=sleeps, boost=BOOST, timeout=20.0), revision=revision)


def view(bench: Bench) -> VariantView:
    seen = bench.front.view(ACCOUNT, REGION, "iris")
    assert seen is not None
    return seen.variants[0]


async def test_the_last_replica_goes_and_a_request_calls_for_another(bench: Bench) -> None:
    told: list[EndpointRoute] = []
    bench.front.changed = told.append
    await bench.put(routed("r1", sleeps=False, revision=1))
    await bench.replica("r1")
    assert (await bench.invoke(b"one")).body == b"one"
    await bench.put(routed("r1", sleeps=True, revision=2, draining=True))
    await bench.put(routed(sleeps=True, revision=3))
    told.clear()
    waiting = asyncio.create_task(bench.invoke(b"two"))
    await until(lambda: bool(told))
    assert view(bench).queued == 1
    await bench.put(routed("r2", sleeps=False, revision=4))
    await bench.replica("r2")
    assert (await waiting).body == b"two"


async def test_who_comes_while_the_last_one_drains_is_not_forgotten(bench: Bench) -> None:
    told: list[EndpointRoute] = []
    bench.front.changed = told.append
    await bench.put(routed("r1", sleeps=False, revision=1))
    await bench.replica("r1")
    await bench.put(routed("r1", sleeps=True, revision=2, draining=True))
    waiting = asyncio.create_task(bench.invoke(b"late"))
    await until(lambda: view(bench).queued == 1)
    told.clear()
    await bench.put(routed(sleeps=True, revision=3))
    await until(lambda: bool(told))
    await bench.put(routed("r2", sleeps=False, revision=4))
    await bench.replica("r2")
    assert (await waiting).body == b"late"


async def test_without_leave_to_sleep_nothing_is_held(bench: Bench) -> None:
    await bench.put(routed(sleeps=False, revision=1))
    assert (await bench.invoke(b"one")).status == 503


async def test_it_is_called_for_until_one_comes(bench: Bench) -> None:
    told: list[EndpointRoute] = []
    bench.front.changed = told.append
    await bench.put(routed(sleeps=True, revision=1))
    told.clear()
    waiting = asyncio.create_task(bench.invoke(b"one"))
    await until(lambda: len(told) >= 2)
    await bench.put(routed("r1", sleeps=False, revision=2))
    await bench.replica("r1")
    assert (await waiting).body == b"one"
