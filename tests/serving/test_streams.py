"""Answers in pieces through a front on real sockets: what comes when, what breaks, who is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.serving.fakes import ACCOUNT, Bench, Pipe, Streamed, call, replica, route, signed, until, variant

from clary.serving import replicas, streams
from clary.toolkit import frames

PATH = "/endpoints/iris/invocations-response-stream"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        yield bench


async def words(request: frames.Request, pipe: Pipe) -> None:
    """Answers with the words of the body."""
    await pipe.begin()
    for word in request.body.split():
        await pipe.chunk(word)
    await pipe.chunk(b"", frames.LAST)


def exception(event: object) -> tuple[str, dict[str, str]]:
    headers = event.headers  # type: ignore[attr-defined]
    assert headers[":message-type"] == "exception"
    return headers[":exception-type"], json.loads(event.payload)  # type: ignore[attr-defined]


def worker(bench: Bench, name: str = "r1") -> replicas.Worker:
    return bench.front.replicas[name].workers[0]


async def test_pieces_come_as_events(bench: Bench) -> None:
    async def model(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin("text/event-stream", [("x-amzn-sagemaker-custom-attributes", "a=b"), ("set-cookie", "c")])
        await pipe.chunk(b"one")
        await pipe.chunk(b"two", frames.LAST)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", stream=model)
    answer = await bench.stream(b"hello", X_Amzn_SageMaker_Accept="text/x", X_Amzn_SageMaker_Inference_Id="i1")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert answer.headers["x-amzn-sagemaker-content-type"] == "text/event-stream"
    assert answer.headers["x-amzn-invoked-production-variant"] == "AllTraffic"
    assert answer.headers["x-amzn-sagemaker-custom-attributes"] == "a=b"
    assert answer.headers["x-amzn-requestid"]
    assert "set-cookie" not in answer.headers
    assert [await answer.piece(), await answer.piece()] == [b"one", b"two"]
    assert await answer.rest() == []
    [[request]] = fake.seen
    assert (request.body, request.accept) == (b"hello", "text/x")
    assert request.headers == {"x-amzn-sagemaker-inference-id": "i1"}
    view = bench.front.view(ACCOUNT, "us-east-1", "iris")
    assert view is not None
    assert (view.variants[0].completed, view.variants[0].in_flight) == (1, 0)


async def test_the_first_piece_arrives_before_the_second_is_made(bench: Bench) -> None:
    go = asyncio.Event()

    async def model(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        await pipe.chunk(b"first")
        await go.wait()
        await pipe.chunk(b"second")
        await pipe.chunk(b"", frames.LAST)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", stream=model)
    answer = await bench.stream()
    assert await answer.piece() == b"first"
    go.set()
    assert await answer.piece() == b"second"
    assert await answer.rest() == []


async def test_requests_follow_on_the_same_connection_and_at_the_same_worker(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", stream=words)
    for _ in range(3):
        answer = await bench.stream(b"a b")
        assert [event.payload for event in await answer.rest()] == [b"a", b"b"]
        answer.hang_up()
        assert (await bench.invoke(b"plain")).body == b"plain"
    first = await Streamed.ask(bench.http, signed(b"a", path=PATH) + signed(b"whole"))
    assert [event.payload for event in await first.rest()] == [b"a"]
    assert b"whole" in await first.reader.readuntil(b"whole")


async def test_a_model_that_does_not_stream_is_one_piece(bench: Bench) -> None:
    async def whole(request: frames.Request, pipe: Pipe) -> None:
        pipe.writer.write(frames.results([(request.id, 200, frames.result_meta("text/csv"), request.body)]))

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", stream=whole)
    answer = await bench.stream(b"1,2,3")
    assert answer.headers["x-amzn-sagemaker-content-type"] == "text/csv"
    assert [event.payload for event in await answer.rest()] == [b"1,2,3"]


async def test_a_worker_from_before_an_upgrade_is_asked_for_the_whole_answer(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", version=1)  # it would close at a STREAM frame, which it does not know
    answer = await bench.stream(b"1,2,3")
    assert [event.payload for event in await answer.rest()] == [b"1,2,3"]


async def test_an_empty_answer_has_no_piece(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", stream=words)
    answer = await bench.stream(b"")
    assert (answer.status, await answer.rest()) == (200, [])


# -- errors -----------------------------------------------------------------------------------------------------------------------


async def test_before_the_first_piece_an_error_is_a_model_error(bench: Bench) -> None:
    async def fails(request: frames.Request, pipe: Pipe) -> None:
        pipe.writer.write(frames.results([(request.id, 500, frames.result_meta("text/plain"), b"no words")]))

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", stream=fails)
    answer = await bench.stream()
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (424, "ModelError")
    said = json.loads(answer.body)
    assert (said["OriginalStatusCode"], said["OriginalMessage"]) == (500, "no words")


async def test_a_model_that_breaks_on_the_way_is_an_exception_in_the_stream(bench: Bench) -> None:
    async def breaks(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        await pipe.chunk(b"one")
        await pipe.chunk(b"ValueError: out of words " + b"x" * 5000, frames.BROKEN)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", stream=breaks)
    answer = await bench.stream()
    part, event = await answer.rest()
    assert part.payload == b"one"
    name, said = exception(event)
    assert (name, said["ErrorCode"]) == ("ModelStreamError", "StreamBroken")
    assert "ValueError: out of words" in said["Message"]
    assert len(said["Message"]) == 2048
    view = bench.front.view(ACCOUNT, "us-east-1", "iris")
    assert view is not None
    assert (view.variants[0].model_errors, view.variants[0].in_flight, fake.killed) == (1, 0, [])


async def test_a_worker_that_dies_on_the_way_breaks_the_stream(bench: Bench) -> None:
    async def dies(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        await pipe.chunk(b"one")
        pipe.writer.close()
        raise ConnectionError

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", stream=dies)
    answer = await bench.stream()
    part, event = await answer.rest()
    name, said = exception(event)
    assert (part.payload, name, said["ErrorCode"]) == (b"one", "ModelStreamError", "StreamBroken")
    assert (await bench.invoke(b"later")).body == b"later"


async def test_no_first_piece_in_time_is_the_ordinary_timeout(bench: Bench) -> None:
    async def hangs(request: frames.Request, pipe: Pipe) -> None:
        await asyncio.Event().wait()

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), timeout=0.2)))
    fake = await bench.replica("r1", stream=hangs)
    answer = await bench.stream()
    assert (answer.status, json.loads(answer.body)["OriginalStatusCode"]) == (424, 0)
    await until(lambda: fake.killed == [100])


async def test_a_pause_longer_than_the_timeout_ends_the_stream_and_the_worker(bench: Bench) -> None:
    async def stops(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        await pipe.chunk(b"one")
        await asyncio.Event().wait()

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), timeout=1.0)))
    fake = await bench.replica("r1", stream=stops)
    answer = await bench.stream()
    part, event = await answer.rest()
    name, said = exception(event)
    assert (part.payload, name, said["ErrorCode"]) == (b"one", "ModelStreamError", "ModelInvocationTimeExceeded")
    await until(lambda: fake.killed == [100])
    assert (await bench.invoke(b"later")).body == b"later"


async def test_a_stream_may_take_longer_than_the_timeout_while_pieces_come(bench: Bench) -> None:
    async def slowly(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        for _ in range(8):
            await asyncio.sleep(0.25)
            await pipe.chunk(b"x")
        await pipe.chunk(b"", frames.LAST)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), timeout=1.5)))
    await bench.replica("r1", stream=slowly)
    answer = await bench.stream()
    assert len(await answer.rest()) == 8


@pytest.mark.parametrize(
    "nonsense",
    [
        frames.chunk(1, frames.MORE, b"before it began"),
        frames.begun(1, frames.result_meta("text/plain")) * 2,
        frames.chunk(1, frames.LAST),
    ],
)
async def test_pieces_out_of_order_end_the_worker_only(bench: Bench, nonsense: bytes) -> None:
    async def model(request: frames.Request, pipe: Pipe) -> None:
        assert request.id == 1
        pipe.writer.write(nonsense)
        await asyncio.Event().wait()

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), replica("r2"))))
    await bench.replica("r1", stream=model)
    answer = await bench.stream()
    assert answer.status == 424 or exception((await answer.rest())[-1])[1]["ErrorCode"] == "StreamBroken"


# -- clients ----------------------------------------------------------------------------------------------------------------------


async def test_a_client_that_hangs_up_stops_the_model(bench: Bench) -> None:
    stopped = asyncio.Event()

    async def endless(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        while not pipe.cancelled.is_set():
            await pipe.chunk(b"x" * 100)
            await asyncio.sleep(0.001)
        await pipe.chunk(b"", frames.CANCELLED)
        stopped.set()

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", stream=endless)
    answer = await bench.stream()
    await answer.piece()
    answer.hang_up()
    await asyncio.wait_for(stopped.wait(), 5)
    assert (await bench.invoke(b"later")).body == b"later"
    assert fake.killed == []


async def test_a_machine_that_stood_still_is_no_fault_of_the_models(bench: Bench) -> None:
    """Nothing ran for longer than a model has to stop: it is given the time to hear of it all the same."""
    stopped = asyncio.Event()

    async def endless(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        await pipe.chunk(b"x")
        await pipe.cancelled.wait()
        await pipe.chunk(b"", frames.CANCELLED)
        stopped.set()

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", stream=endless)
    answer = await bench.stream()
    await answer.piece()
    answer.hang_up()
    while bench.front.connections:
        await asyncio.sleep(0)
    time.sleep(replicas.STOPPING + 0.1)  # noqa: ASYNC251  # this is what stands still: front, zygote and worker
    await asyncio.wait_for(stopped.wait(), 5)
    assert (await bench.invoke(b"later")).body == b"later"
    assert fake.killed == []


async def test_a_model_that_does_not_stop_is_killed(bench: Bench, tmp_path: Path) -> None:
    async def deaf(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        await pipe.chunk(b"x")
        await asyncio.Event().wait()

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", stream=deaf)
    answer = await bench.stream()
    await answer.piece()
    answer.hang_up()
    await until(lambda: fake.killed == [100])
    assert (await bench.invoke(b"later")).body == b"later"


async def test_a_client_that_hangs_up_before_its_turn_costs_the_model_nothing(bench: Bench) -> None:
    go = asyncio.Event()

    async def model(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        await go.wait()
        await pipe.chunk(request.body, frames.LAST)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", stream=model)
    first = await bench.stream(b"first")
    gone = asyncio.create_task(bench.stream(b"gone"))
    await until(lambda: len(bench.front.endpoints[ACCOUNT, "us-east-1", "iris"].variants["AllTraffic"].queue) == 1)
    gone.cancel()
    await until(lambda: len(bench.front.connections) == 1)
    go.set()
    assert await first.piece() == b"first"
    assert [event.payload for event in await (await bench.stream(b"last")).rest()] == [b"last"]
    assert [batch[0].body for batch in fake.seen] == [b"first", b"last"]


async def test_a_client_that_does_not_read_brakes_the_model_and_fills_no_memory(bench: Bench) -> None:
    """64 MB, of which the front never holds more than a small part; the client reads all of it in the end."""
    made = 0
    piece = bytes(64 << 10)

    async def gushes(request: frames.Request, pipe: Pipe) -> None:
        nonlocal made
        pipe.writer.transport.set_write_buffer_limits(high=0)
        await pipe.begin()
        for _ in range(1024):
            await pipe.chunk(piece)
            made += len(piece)
        await pipe.chunk(b"", frames.LAST)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), timeout=5.0)))
    await bench.replica("r1", stream=gushes)
    answer = await bench.stream()

    def held() -> int:
        [connection] = bench.front.connections
        assert connection.transport is not None
        return connection.transport.get_write_buffer_size()

    await until(lambda: held() > 64 << 10)
    last = -1
    while made > last:  # it makes no more once everything between it and the client is full
        last = made
        await asyncio.sleep(0.1)
    assert held() < 2 << 20
    assert made < 8 << 20
    assert (await bench.stream(b"other", name="nobody")).status == 400
    assert sum(len(event.payload) for event in await answer.rest()) == 64 << 20


async def test_a_slow_client_is_no_fault_of_the_models(bench: Bench) -> None:
    """The time between pieces is not counted while the client does not read."""
    piece = bytes(256 << 10)

    async def gushes(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        for _ in range(40):
            await pipe.chunk(piece)
        await pipe.chunk(b"", frames.LAST)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"), timeout=1.0)))
    await bench.replica("r1", stream=gushes)
    answer = await bench.stream()
    [connection] = bench.front.connections
    await until(lambda: connection.transport is not None and connection.transport.get_write_buffer_size() > 0)
    await asyncio.sleep(1.5)
    assert [event.payload for event in await answer.rest()] == [piece] * 40


# -- retries ----------------------------------------------------------------------------------------------------------------------


def attempt(number: int) -> bytes:
    headers = {"amz-sdk-invocation-id": "i-1", "amz-sdk-request": f"attempt={number}; max=3"}
    return signed(b"a b c", headers=headers, path=PATH)


async def test_a_retry_before_the_first_piece_finds_the_same_stream(bench: Bench) -> None:
    go = asyncio.Event()

    async def late(request: frames.Request, pipe: Pipe) -> None:
        await go.wait()
        await words(request, pipe)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", stream=late)
    first = asyncio.create_task(Streamed.ask(bench.http, attempt(1)))
    await until(lambda: len(fake.seen) == 1)
    first.cancel()  # the client's own timeout
    second = asyncio.create_task(Streamed.ask(bench.http, attempt(2)))
    await until(lambda: any(c.stream is not None for c in bench.front.connections))
    third = asyncio.create_task(Streamed.ask(bench.http, attempt(3)))
    with pytest.raises(asyncio.IncompleteReadError):
        await second  # whoever is given up is closed
    go.set()
    assert [event.payload for event in await (await third).rest()] == [b"a", b"b", b"c"]
    assert len(fake.seen) == 1, "the model ran once"


async def test_pieces_wait_for_a_client_between_two_attempts(bench: Bench) -> None:
    go = asyncio.Event()

    async def late(request: frames.Request, pipe: Pipe) -> None:
        await go.wait()
        await words(request, pipe)

    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", stream=late)
    first = asyncio.create_task(Streamed.ask(bench.http, attempt(1)))
    await until(lambda: len(fake.seen) == 1)
    first.cancel()
    await until(lambda: not bench.front.connections)
    go.set()
    await until(lambda: not worker(bench).flight)  # all of it was made while nobody was there
    assert (await bench.invoke(b"plain")).body == b"plain"
    second = await Streamed.ask(bench.http, attempt(2))
    assert [event.payload for event in await second.rest()] == [b"a", b"b", b"c"]
    assert [len(batch) for batch in fake.seen] == [1, 1]
    assert not bench.front.joins.running


async def test_a_plain_request_with_the_same_id_is_another_prediction(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1", stream=words)
    headers = {"amz-sdk-invocation-id": "i-1", "amz-sdk-request": "attempt=1; max=3"}
    assert (await call(bench.http, signed(b"a b c", headers=headers))).body == b"a b c"
    answer = await Streamed.ask(bench.http, attempt(1))
    assert [event.payload for event in await answer.rest()] == [b"a", b"b", b"c"]
    assert len(fake.seen) == 2


def test_the_limits_are_as_documented() -> None:
    assert streams.STREAM_SECONDS == 480
