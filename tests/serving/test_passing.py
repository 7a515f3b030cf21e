"""Answers that are too large to be held: through the front in pieces, on real sockets, and by hand where time plays a part."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.serving.fakes import Answer, Bench, FakeReplica, call, read_answer, replica, route, signed, until, variant
from tests.serving.test_capture import CONFIG, kept
from tests.serving.test_front import attempt, code, message
from tests.serving.test_pipelines import serial
from tests.serving.test_shadow import seen, shadowed

from clary.serving.front import Front
from clary.serving.http import Connection
from clary.serving.passing import KEPT, STALLED, Passing
from clary.serving.prediction import Brake, Prediction, Taker
from clary.serving.replicas import Link
from clary.toolkit import frames

MIB = 1 << 20
META = frames.result_meta("application/octet-stream")


def content(size: int, mark: bytes = b"abcdefg") -> bytes:
    return (mark * (size // len(mark) + 1))[:size]


async def sized(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
    """Answers with as many bytes as the body says; `-N` is an error of N bytes."""
    return [(r.id, 200 if int(r.body) >= 0 else 500, META, content(abs(int(r.body)))) for r in batch]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        await bench.put(route(variant("AllTraffic", 1, replica("r1", 2), timeout=20.0)))
        yield bench


async def test_a_large_answer_arrives_whole(bench: Bench) -> None:
    fake = await bench.replica("r1", sized)
    for size in (MIB, MIB + 1, 7 * MIB + 13, 25 * MIB):
        answer = await bench.invoke(b"%d" % size)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["x-amzn-invoked-production-variant"] == "AllTraffic"
        assert answer.body == content(size)
    assert len(fake.seen) == 4
    assert (await bench.invoke(b"3")).body == b"abc"


async def test_the_connection_goes_on_behind_it(bench: Bench) -> None:
    await bench.replica("r1", sized)
    reader, writer = await asyncio.open_unix_connection(bench.http)
    writer.write(signed(b"2000000") + signed(b"3") + signed(b"3000000"))
    sizes = [len((await read_answer(reader)).body) for _ in range(3)]
    assert sizes == [2_000_000, 3, 3_000_000]
    writer.close()


async def test_beyond_the_limit_it_is_a_model_error_that_names_size_and_setting(bench: Bench) -> None:
    """The toolkit's workers do not send it; a process of a model that does anyway gains nothing by it."""
    await bench.replica("r1", sized)
    answer = await bench.invoke(b"%d" % (25 * MIB + 1))
    assert (answer.status, code(answer), json.loads(answer.body)["OriginalStatusCode"]) == (424, "ModelError", 413)
    for part in (str(25 * MIB + 1), str(25 * MIB), "(setting max_answer)", "InvokeEndpointWithResponseStream"):
        assert part in message(answer)
    assert len((await bench.invoke(b"%d" % (25 * MIB))).body) == 25 * MIB


async def test_a_small_limit_holds_too(bench: Bench) -> None:
    bench.front.endpoints.clear()
    bench.front.max_answer = 1000
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    await bench.replica("r1", sized)
    answer = await bench.invoke(b"1001")
    assert (answer.status, code(answer)) == (424, "ModelError")
    assert "has 1001 bytes; the limit is 1000 (setting max_answer)" in message(answer)
    assert len((await bench.invoke(b"1000")).body) == 1000


async def test_of_an_error_only_its_beginning_is_kept(bench: Bench) -> None:
    await bench.replica("r1", sized)
    answer = await bench.invoke(b"%d" % -(30 * MIB))
    assert (answer.status, code(answer)) == (424, "ModelError")
    assert json.loads(answer.body)["OriginalMessage"] == content(frames.MAX_ERROR).decode()


async def test_large_and_small_answers_of_one_batch(bench: Bench) -> None:
    gate = asyncio.Event()

    async def gated(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        if batch[0].body == b"1":
            await gate.wait()
        return await sized(batch)

    fake = await bench.replica("r1", gated)
    first = asyncio.create_task(bench.invoke(b"1"))
    await until(lambda: bench.front.replicas["r1"].busy == 1)
    sizes = [3, 2 * MIB, 70_000, 5, 3 * MIB + 1, MIB]
    rest = [asyncio.create_task(bench.invoke(b"%d" % size)) for size in sizes]
    await until(lambda: len(bench.front.endpoints[next(iter(bench.front.endpoints))].variants["AllTraffic"].queue) == 6)
    gate.set()
    assert [len((await one).body) for one in [first, *rest]] == [1, *sizes]
    assert [len(batch) for batch in fake.seen] == [1, 6]


async def test_a_client_that_does_not_read_stops_its_worker_and_nobody_else(bench: Bench) -> None:
    """What the front has of its answer is what a socket and a transport hold; the other worker goes on."""
    fake = await bench.replica("r1", sized, workers=2, batch=1)
    reader, writer = await asyncio.open_unix_connection(bench.http, limit=1 << 12)
    writer.write(signed(b"%d" % (20 * MIB)))
    await reader.readuntil(b"\r\n\r\n")
    held = bench.front.replicas["r1"].workers
    await until(lambda: any(worker.link._held for worker in held))  # the brake is on
    for size in (5, 3 * MIB):
        assert len((await bench.invoke(b"%d" % size)).body) == size
    connections = [c for c in bench.front.connections if c.busy]
    assert [c.transport.get_write_buffer_size() < 2 * MIB for c in connections if c.transport] == [True]
    assert len(await reader.readexactly(20 * MIB)) == 20 * MIB  # and when it reads, it gets all of it
    assert len(fake.seen) == 3
    writer.close()


async def test_a_client_that_hangs_up_lets_go_of_the_worker(bench: Bench) -> None:
    await bench.replica("r1", sized, batch=1)
    reader, writer = await asyncio.open_unix_connection(bench.http, limit=1 << 12)
    writer.write(signed(b"%d" % (20 * MIB)))
    await reader.readuntil(b"\r\n\r\n")
    await until(lambda: bench.front.replicas["r1"].workers[0].link._held)
    writer.transport.abort()
    assert (await bench.invoke(b"5")).body == b"abcde"


async def test_a_worker_that_dies_in_the_middle_breaks_the_connection(bench: Bench) -> None:
    """The client sees that it is not whole; a second head in the body would be worse than anything."""

    class Dying(FakeReplica):
        async def _worker(self, pid: int) -> None:
            reader, writer = await self._dial("worker", pid)
            _kind, count, payload = await read_frame_of(reader)
            [request] = frames.requests(payload, count)
            frame = frames.results([(request.id, 200, META, content(5 * MIB))])
            writer.write(frame[: 3 * MIB])
            await writer.drain()
            writer.close()

    fake = await Dying(bench.workers, "r1", sized).start()
    bench.replicas.append(fake)
    await until(lambda: bench.state("r1") == "ready")
    reader, writer = await asyncio.open_unix_connection(bench.http)
    writer.write(signed(b"1"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % (5 * MIB) in head
    body = await reader.read()
    assert len(body) < 5 * MIB
    assert body == content(len(body))
    writer.close()


async def read_frame_of(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    length, kind, _, count = frames.HEADER.unpack(await reader.readexactly(8))
    return kind, count, await reader.readexactly(length)


async def test_a_retry_gets_the_large_answer_that_its_first_attempt_did_not_wait_for(bench: Bench) -> None:
    gate = asyncio.Event()

    async def gated(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await gate.wait()
        return await sized(batch)

    fake = await bench.replica("r1", gated)
    size = 3 * MIB
    _, writer = await asyncio.open_unix_connection(bench.http)
    writer.write(attempt(1, b"%d" % size))
    await until(lambda: bool(fake.seen))
    writer.transport.abort()
    await until(lambda: not bench.front.connections)
    gate.set()
    answer = await call(bench.http, attempt(2, b"%d" % size))
    assert answer.body == content(size)
    again = await call(bench.http, attempt(3, b"%d" % size))
    assert again.body == content(size)
    assert len(fake.seen) == 1


async def test_what_is_too_large_to_be_kept_for_a_retry_runs_again(bench: Bench) -> None:
    gate = asyncio.Event()

    async def gated(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        await gate.wait()
        return await sized(batch)

    fake = await bench.replica("r1", gated)
    _, writer = await asyncio.open_unix_connection(bench.http)
    writer.write(attempt(1, b"%d" % (KEPT + 1)))
    await until(lambda: bool(fake.seen))
    writer.transport.abort()
    await until(lambda: not bench.front.connections)
    gate.set()
    await until(lambda: not bench.front.joins.running)
    assert len((await call(bench.http, attempt(2, b"%d" % (KEPT + 1)))).body) == KEPT + 1
    assert len(fake.seen) == 2


async def test_it_goes_on_to_the_next_container(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        await bench.put(serial())
        await bench.replica("wash1", sized)
        predict = await bench.replica("predict1")
        answer = await bench.invoke(b"%d" % (5 * MIB))
        assert answer.body == content(5 * MIB)
        assert predict.seen[0][0].body == content(5 * MIB)
        refused = await bench.invoke(b"%d" % (25 * MIB + 1))
        assert (refused.status, json.loads(refused.body)["OriginalStatusCode"]) == (424, 413)
        assert "the limit between containers is 26214400 (setting max_payload)" in message(refused)


async def test_a_shadow_compares_large_answers_by_their_ends(tmp_path: Path) -> None:
    async def other(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        return [(r.id, 200, META, content(int(r.body) - 1) + b"!") for r in batch]

    async with Bench(tmp_path) as bench:
        await bench.put(shadowed())
        await bench.replica("a", sized)
        shadow = await bench.replica("s", sized)
        assert len((await bench.invoke(b"%d" % (2 * MIB))).body) == 2 * MIB
        await until(lambda: seen(bench).agreed == 1)
        shadow.predict = other
        assert len((await bench.invoke(b"%d" % (2 * MIB))).body) == 2 * MIB
        await until(lambda: seen(bench).differed == 1)


async def test_it_is_captured(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        await bench.put(route(variant("main", 1, replica("r1"), capture=CONFIG)))
        await bench.replica("r1", sized)
        assert len((await bench.invoke(b"%d" % (2 * MIB))).body) == 2 * MIB
        [(_, [record])] = await kept(bench)
        output = record["captureData"]["endpointOutput"]
        assert (output["encoding"], output["observedContentType"]) == ("BASE64", "application/octet-stream")
        assert len(output["data"]) == 4 * ((2 * MIB + 2) // 3)


async def test_an_asynchronous_endpoint_takes_what_its_requests_may_have(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        wanted = route(variant("AllTraffic", 1, replica("r1")), max_payload=1_000_000_000)
        await bench.put(type(wanted)(**{**{k: getattr(wanted, k) for k in wanted.__slots__}, "asynchronous": True}))
        [endpoint] = bench.front.endpoints.values()
        [only] = endpoint.variants.values()
        assert (only.most_answer, only.answer_setting) == (1_000_000_000, "")


async def test_one_asked_for_in_pieces_by_a_worker_of_before_streams(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
        await bench.replica("r1", sized, version=1)
        answer = await bench.stream(b"%d" % (30 * MIB))
        assert answer.status == 200
        whole = b"".join([event.payload for event in await answer.rest()])
        assert whole == content(30 * MIB)
        answer.hang_up()


async def test_a_large_request_is_put_together_beside_the_loop(bench: Bench) -> None:
    fake = await bench.replica("r1")
    body = content(5 * MIB)
    answer: Answer = await bench.invoke(body)
    assert answer.body == body
    assert fake.seen[0][0].body == body


# -- the brake, by hand -----------------------------------------------------------------------------------------------------------


class Line:
    """The worker's side."""

    def __init__(self) -> None:
        self.reading = True
        self.place = ("r1", 1)

    def pause(self) -> None:
        assert self.reading
        self.reading = False

    def resume(self) -> None:
        assert not self.reading
        self.reading = True

    def cancel(self, prediction: Any) -> None:
        raise AssertionError("a large answer is not cancelled")


class Reader:
    """A client that takes pieces, and is its own waiter."""

    def __init__(self) -> None:
        self.gone = False
        self.brake: Brake | None = None
        self.told: list[bytes] = []

    def answer(self, response: bytes) -> None:
        raise AssertionError("it comes in pieces")

    def take(self, head: bytes, size: int, brake: Brake) -> Taker | None:
        self.brake = brake
        self.told = [head]
        return self

    def piece(self, data: bytes) -> None:
        self.told.append(data)

    def end(self) -> None:
        self.told.append(b"END")

    def broke(self) -> None:
        self.told.append(b"BROKEN")


class Timers:
    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        assert seconds == STALLED
        self.calls.append(call)

    def fire(self) -> None:
        calls, self.calls = self.calls, []
        for one in calls:
            one()


def begun(*readers: Reader) -> tuple[Passing, Line, Timers]:
    line, timers = Line(), Timers()
    prediction = Prediction(readers[0], b"", b"", False)
    prediction.waiters = list(readers[1:])
    passing = Passing(line, timers.later)
    assert passing.begin(prediction, b"HEAD", 100)
    return passing, line, timers


def test_the_slowest_reader_sets_the_pace() -> None:
    quick, slow = Reader(), Reader()
    passing, line, _ = begun(quick, slow)
    passing.piece(b"1")
    passing.pause(slow)
    passing.pause(quick)
    passing.resume(quick)
    assert not line.reading
    passing.resume(slow)
    assert line.reading
    passing.piece(b"2")
    passing.end()
    assert quick.told == slow.told == [b"HEAD", b"1", b"2", b"END"]


def test_who_does_not_read_for_long_is_hung_up_on_and_the_others_go_on() -> None:
    quick, stuck = Reader(), Reader()
    passing, line, timers = begun(quick, stuck)
    passing.pause(stuck)
    timers.fire()
    assert line.reading
    passing.piece(b"1")
    passing.end()
    assert stuck.told == [b"HEAD", b"BROKEN"]
    assert quick.told == [b"HEAD", b"1", b"END"]


def test_who_reads_a_little_now_and_then_is_not() -> None:
    slow = Reader()
    passing, line, timers = begun(slow)
    for _ in range(5):
        passing.pause(slow)
        passing.resume(slow)
        timers.fire()
        passing.piece(b"1")
    assert line.reading
    passing.end()
    assert slow.told == [b"HEAD", *[b"1"] * 5, b"END"]


def test_an_answer_that_ends_or_breaks_while_its_reader_is_slow_lets_the_worker_go() -> None:
    for over, word in ((Passing.end, b"END"), (Passing.broke, b"BROKEN")):
        slow = Reader()
        passing, line, timers = begun(slow)
        passing.pause(slow)
        over(passing)
        assert line.reading
        timers.fire()
        assert slow.told == [b"HEAD", word]


def test_who_hangs_up_lets_the_worker_go() -> None:
    slow = Reader()
    passing, line, _ = begun(slow)
    passing.pause(slow)
    passing.left(slow)
    assert line.reading
    passing.piece(b"1")
    passing.end()
    assert slow.told == [b"HEAD"]


class Timed(Front):
    """Tells how much CPU its callbacks took."""

    longest = 0.0

    def _timed(self, call: Callable[[bytes], None], data: bytes) -> None:
        began = time.thread_time()
        call(data)
        self.longest = max(self.longest, time.thread_time() - began)

    def connection(self) -> Connection:
        front = self

        class Measured(Connection):
            def data_received(self, data: bytes) -> None:
                front._timed(super().data_received, data)

        return Measured(self)

    def link(self) -> Link:
        front = self

        class Measured(Link):
            def data_received(self, data: bytes) -> None:
                front._timed(super().data_received, data)

        return Measured(self.loop, self.replicas.get, self.links)


async def test_no_moment_of_the_loop_is_long(tmp_path: Path) -> None:
    """A large answer, a batch of large ones, and a large request: of each the whole was copied three times at once."""
    async with Bench(tmp_path, kind=Timed) as bench:
        await bench.put(route(variant("AllTraffic", 1, replica("r1", 2))))
        fake = await bench.replica("r1", sized, workers=2)
        assert len((await bench.invoke(b"%d" % (25 * MIB))).body) == 25 * MIB
        await asyncio.gather(*(bench.invoke(b"%d" % MIB) for _ in range(32)))
        assert len(fake.seen) > 1
        assert (await bench.invoke(b"5" + b" " * (24 * MIB))).body == b"abcde"
        assert isinstance(bench.front, Timed)
        assert 0 < bench.front.longest < 0.02  # it is 2 ms; more where caches are shared with a busy neighbour
