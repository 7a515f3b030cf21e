"""Shadow variants on real sockets: who gets copies, what is made of both answers, and that no client ever feels it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.fakes import ACCOUNT, REGION, Bench, Pipe, echo, replica, route, until, variant
from tests.serving.test_front import code
from tests.serving.test_pipelines import held, saying, serial

from clary.domain.endpoints.routes import EndpointRoute, EndpointView, ShadowView
from clary.toolkit import frames


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        yield bench


def shadowed(sample: float = 1.0, *, revision: int = 1, **shadow: Any) -> EndpointRoute:
    return route(
        variant("A", 1, replica("a"), key="A@1"),
        variant("S", sample, replica("s"), key="S@1", shadow_of="A@1", sample=sample, **shadow),
        revision=revision,
    )


def seen(bench: Bench) -> ShadowView:
    view = bench.front.view(ACCOUNT, REGION, "iris")
    assert view is not None
    [found] = [v.shadow for v in view.variants if v.shadow is not None]
    return found


def bodies(fake: Any) -> list[bytes]:
    return [request.body for batch in fake.seen for request in batch]


async def test_a_copy_goes_to_the_shadow_and_its_answer_nowhere(bench: Bench) -> None:
    await bench.put(shadowed())
    await bench.replica("a", saying(b"-own"))
    shadow = await bench.replica("s", saying(b"-shadow"))
    answer = await bench.invoke(b"x", Accept="a/b", X_Amzn_SageMaker_Inference_Id="i1")
    assert answer.body == b"x-own"
    assert answer.headers["x-amzn-invoked-production-variant"] == "A"
    await until(lambda: seen(bench).differed == 1)
    [[request]] = shadow.seen
    assert (request.body, request.content_type, request.accept) == (b"x", "text/csv", "a/b")
    assert request.headers == {"x-amzn-sagemaker-inference-id": "i1"}


async def test_both_answers_are_compared(bench: Bench) -> None:
    async def parrot(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        meta = frames.result_meta("text/other")
        return [(r.id, 500 if r.body == b"3" else 200, meta, b"?" if r.body == b"2" else r.body) for r in batch]

    await bench.put(shadowed())
    await bench.replica("a")
    await bench.replica("s", parrot)
    for number in range(4):
        assert (await bench.invoke(b"%d" % number)).body == b"%d" % number
    await until(lambda: seen(bench).agreed + seen(bench).differed == 4)
    found = seen(bench)
    assert (found.mirrored, found.skipped, found.agreed, found.differed, found.failed) == (4, 0, 2, 2, 1)
    other, broken = found.samples
    assert (other.request, other.status, other.answer) == ("2", 200, "2")
    assert (other.shadow_status, other.shadow_answer) == (200, "?")
    assert broken.shadow_status == 424
    assert other.seconds > 0
    assert other.shadow_seconds > 0
    view = bench.front.view(ACCOUNT, REGION, "iris")
    assert view is not None
    assert EndpointView.from_json(json.loads(json.dumps(view.to_json()))) == view


@pytest.mark.parametrize("size", [10, 1 << 20, (1 << 20) + 1])
async def test_large_answers_are_compared_too(bench: Bench, size: int) -> None:
    turn = iter((b"", b"!"))

    async def second_differs(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        return [(r.id, 200, frames.result_meta(""), b"x" * (size - 1) + (next(turn) or b"x")) for r in batch]

    async def same(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        return [(r.id, 200, frames.result_meta(""), b"x" * size) for r in batch]

    await bench.put(shadowed())
    await bench.replica("a", same)
    await bench.replica("s", second_differs)
    for number in range(2):
        await bench.invoke(b"%d" % number)
        await until(lambda n=number: seen(bench).agreed + seen(bench).differed == n + 1)  # type: ignore[misc]
    assert (seen(bench).agreed, seen(bench).differed) == (1, 1)


@pytest.mark.parametrize(("sample", "copies"), [(0.1, 5), (0.5, 25), (0.98, 49), (1.0, 50), (0.0, 0)])
async def test_the_sample_is_exact(bench: Bench, sample: float, copies: int) -> None:
    await bench.put(shadowed(sample))
    await bench.replica("a")
    await bench.replica("s")
    for number in range(50):
        await bench.invoke(b"%d" % number)
    await until(lambda: seen(bench).agreed == copies)
    assert seen(bench).mirrored == copies


async def test_a_shadow_that_hangs_is_not_waited_for_and_takes_no_more_than_its_queue(bench: Bench) -> None:
    gate = asyncio.Event()
    await bench.put(shadowed(queue_requests=2))
    await bench.replica("a")
    shadow = await bench.replica("s", held(gate), batch=1)
    for number in range(10):
        async with asyncio.timeout(60):
            assert (await bench.invoke(b"%d" % number)).status == 200
    await until(lambda: (seen(bench).mirrored, seen(bench).skipped) == (3, 7))
    gate.set()
    await until(lambda: seen(bench).agreed == 3)
    assert bodies(shadow) == [b"0", b"1", b"2"]


async def test_a_shadow_that_is_not_there_costs_nothing(bench: Bench) -> None:
    await bench.put(
        route(variant("A", 1, replica("a"), key="A@1"), variant("S", 1, key="S@1", shadow_of="A@1", sample=1))
    )
    await bench.replica("a")
    assert (await bench.invoke(b"x")).status == 200
    await until(lambda: seen(bench).skipped == 1)


async def test_a_shadow_that_is_late_meets_its_own_deadline(bench: Bench) -> None:
    await bench.put(shadowed(timeout=0.2))
    await bench.replica("a")
    shadow = await bench.replica("s", held(asyncio.Event()))
    assert (await bench.invoke(b"x")).status == 200
    await until(lambda: seen(bench).failed == 1)
    await until(lambda: bool(shadow.killed))


async def test_nobody_can_ask_the_shadow(bench: Bench) -> None:
    await bench.put(shadowed())
    await bench.replica("a")
    await bench.replica("s")
    answer = await bench.invoke(b"x", X_Amzn_SageMaker_Target_Variant="S")
    assert (answer.status, code(answer)) == (400, "ValidationError")


async def test_what_is_refused_is_not_copied_and_a_retry_is_copied_once(bench: Bench) -> None:
    await bench.put(shadowed())
    await bench.replica("a")
    shadow = await bench.replica("s")
    assert (await bench.invoke(b"x", X_Amzn_SageMaker_Target_Model="m")).status == 400
    retry = {"amz_sdk_invocation_id": "one", "amz_sdk_request": "attempt=1; max=3"}
    for _ in range(2):
        assert (await bench.invoke(b"x", **retry)).status == 200
    await until(lambda: seen(bench).agreed == 1)
    assert bodies(shadow) == [b"x"]


async def test_a_client_that_hung_up_is_still_not_predicted_for(bench: Bench) -> None:
    """The comparison alone is no reason to run a prediction."""
    gate = asyncio.Event()
    await bench.put(shadowed())
    own = await bench.replica("a", held(gate), batch=1)
    shadow = await bench.replica("s")
    first = asyncio.create_task(bench.invoke(b"1"))
    await until(lambda: len(own.seen) == 1)
    second = asyncio.create_task(bench.invoke(b"2"))
    await until(lambda: len(bench.front.endpoints[ACCOUNT, REGION, "iris"].variants["A@1"].queue) == 1)
    second.cancel()
    await until(lambda: sum(not c.busy for c in bench.front.connections) == len(bench.front.connections) - 1)
    gate.set()
    assert (await first).status == 200
    await until(lambda: seen(bench).agreed == 1)
    assert bodies(own) == bodies(shadow) == [b"1"]


async def test_a_copy_goes_out_once_the_client_has_its_answer(bench: Bench) -> None:
    gate = asyncio.Event()
    await bench.put(shadowed())
    own = await bench.replica("a", held(gate))
    shadow = await bench.replica("s")
    asking = asyncio.create_task(bench.invoke(b"x"))
    await until(lambda: len(own.seen) == 1)
    assert (shadow.seen, seen(bench).mirrored) == ([], 0)
    gate.set()
    assert (await asking).status == 200
    await until(lambda: seen(bench).agreed == 1)


async def test_figures_survive_a_new_weight_and_end_with_the_shadow(bench: Bench) -> None:
    await bench.put(shadowed())
    await bench.replica("a")
    shadow = await bench.replica("s")
    await bench.invoke(b"1")
    await until(lambda: seen(bench).agreed == 1)
    await bench.put(shadowed(0.0, revision=2))
    await bench.invoke(b"2")
    assert seen(bench).mirrored == 1
    await bench.put(route(variant("A", 1, replica("a"), key="A@1"), revision=3))
    await bench.invoke(b"3")
    assert bodies(shadow) == [b"1"]


async def test_copies_that_wait_end_with_their_shadow(bench: Bench) -> None:
    await bench.put(shadowed())
    await bench.replica("a", echo)
    await bench.invoke(b"1")
    waiting = bench.front.endpoints[ACCOUNT, REGION, "iris"].variants["S@1"].queue
    await until(lambda: len(waiting) == 1)
    [copy] = waiting
    await bench.put(route(variant("A", 1, replica("a"), key="A@1"), revision=2))
    assert copy.done
    assert bench.front.endpoints[ACCOUNT, REGION, "iris"].variants["A@1"].counters.arrivals == 1


async def test_a_pipeline_is_copied_as_the_client_sent_it(bench: Bench) -> None:
    first, second = serial().variants
    await bench.put(route(first, second, variant("S", 1, replica("s"), key="S@1", shadow_of=first.key, sample=1)))
    await bench.replica("wash1", saying(b"-washed"))
    await bench.replica("predict1", saying(b"-predicted"))
    shadow = await bench.replica("s", saying(b"-washed-predicted"))
    assert (await bench.invoke(b"x", Accept="a/b")).body == b"x-washed-predicted"
    await until(lambda: seen(bench).agreed == 1)
    [[request]] = shadow.seen
    assert (request.body, request.accept) == (b"x", "a/b")


async def test_a_streamed_answer_is_not_copied(bench: Bench) -> None:
    async def one(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        await pipe.chunk(b"piece", frames.LAST)

    await bench.put(shadowed())
    await bench.replica("a", stream=one)
    shadow = await bench.replica("s")
    answer = await bench.stream(b"streamed")
    await answer.piece()
    answer.hang_up()
    assert (await bench.invoke(b"whole")).status == 200
    await until(lambda: seen(bench).agreed == 1)
    assert bodies(shadow) == [b"whole"]
