"""Turns by weight: shares by themselves, then shares of traffic through a front on real sockets, while routes change."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.serving.fakes import ACCOUNT, REGION, Bench, read_answer, replica, route, signed, variant

from clary.serving.routing import Shares


@pytest.mark.parametrize(
    "weights", [{"a": 1, "b": 1}, {"a": 9, "b": 1}, {"a": 0.7, "b": 0.2, "c": 0.1}, {"a": 1, "b": 999},
     {"a": 3, "b": 0}, {"a": 1 / 3, "b": 2 / 3}]
)  # fmt: skip
def test_shares_are_within_a_tenth_of_a_percent_over_10_000_requests(weights: dict[str, float]) -> None:
    turns = Shares(weights)
    chosen = Counter(turns.choose() for _ in range(10_000))
    total = sum(weights.values())
    for name, weight in weights.items():
        assert abs(chosen[name] / 10_000 - weight / total) <= 0.001


def test_shares_come_smoothly() -> None:
    turns = Shares({"a": 5, "b": 1, "c": 1})
    assert "".join(turns.choose() or "" for _ in range(7)) == "aabacaa"


def test_no_weight_is_no_choice() -> None:
    assert Shares({}).choose() is None
    assert Shares({"a": 0}).choose() is None


# -- through a front ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        yield bench


async def invoked(bench: Bench, count: int) -> Counter[str]:
    """Send so many requests over one connection; who answered them."""
    reader, writer = await asyncio.open_unix_connection(bench.http)
    request = signed()

    async def send() -> None:
        for _ in range(count):
            writer.write(request)
            await writer.drain()

    sending = asyncio.create_task(send())
    seen: Counter[str] = Counter()
    for _ in range(count):
        answer = await read_answer(reader)
        assert answer.status == 200
        seen[answer.headers["x-amzn-invoked-production-variant"]] += 1
    await sending
    writer.close()
    return seen


async def test_shares_of_traffic_are_within_a_tenth_of_a_percent(bench: Bench) -> None:
    weights = {"a": 0.7, "b": 0.2, "c": 0.1, "d": 0.0}
    await bench.put(route(*(variant(name, weight, replica(name)) for name, weight in weights.items())))
    for name in weights:
        await bench.replica(name)
    seen = await invoked(bench, 10_000)
    for name, weight in weights.items():
        assert abs(seen[name] / 10_000 - weight) <= 0.001, seen


async def test_a_route_that_changes_no_weight_changes_no_turn(bench: Bench) -> None:
    """As with a scaling loop that puts a route every second: a rare variant must still come to its turn."""
    variants = (variant("often", 99, replica("r1")), variant("rare", 1, replica("r2")))
    await bench.put(route(*variants))
    await bench.replica("r1")
    await bench.replica("r2")
    seen: Counter[str] = Counter()
    for revision in range(2, 42):
        seen += await invoked(bench, 30)
        await bench.put(route(*variants, revision=revision))
    assert sum(seen.values()) == 1200
    assert seen["rare"] == 12


async def test_new_weights_hold_from_the_next_request_on(bench: Bench) -> None:
    await bench.put(route(variant("a", 1, replica("r1")), variant("b", 0, replica("r2"))))
    await bench.replica("r1")
    await bench.replica("r2")
    assert set(await invoked(bench, 20)) == {"a"}
    await bench.put(route(variant("a", 0, replica("r1")), variant("b", 1, replica("r2")), revision=2))
    assert set(await invoked(bench, 20)) == {"b"}
    assert bench.front.endpoints[ACCOUNT, REGION, "iris"].route.revision == 2
