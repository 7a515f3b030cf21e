"""The fuzzer itself: the same seed makes the same requests, all protocols are among them, and each kind of fault is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from tests.fuzz import drive
from tests.fuzz.corpus import Sample, samples
from tests.fuzz.drive import Fuzzer, Lost, Target
from tests.fuzz.mutate import inside, outside

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
SAMPLE = Sample("a.b/json", "sts", "POST", "/", (("Content-Type", "application/json"),), b'{"a": {"b": [1, "c"]}}')
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def target(port: int = 1) -> Target:
    return Target(port, "AKIDEXAMPLE", "secret", lambda: {"control": 1}, lambda _: 0, (SAMPLE,))


def test_every_protocol_and_service_is_in_the_corpus() -> None:
    found = samples()
    names = {sample.name for sample in found}
    for name in (
        "cloudwatch.PutMetricData/query",
        "cloudwatch.PutMetricData/json",
        "cloudwatch.PutMetricData/smithy-rpc-v2-cbor",
    ):
        assert name in names
    assert {
        "s3.put_object",
        "sagemaker-runtime.InvokeEndpointWithResponseStream/rest-json",
        "iam.CreateRole/query",
    } <= names
    assert [sample.header("content-encoding") for sample in found if sample.name == "s3.put_object"] == [
        "aws-chunked"
    ] * 2
    assert samples() == found


def test_a_seed_and_a_number_make_one_request() -> None:
    first, second, other = Fuzzer(target(), 1), Fuzzer(target(), 1), Fuzzer(target(), 2)

    def made(fuzzer: Fuzzer) -> list[tuple[str, int, bool]]:
        return [(sample.name, hash(sample), sound) for sample, _, sound in map(fuzzer.request, range(50))]

    assert made(first) == made(second) != made(other)


@pytest.mark.parametrize("seed", range(20))
def test_changes_change_something_and_never_fail(seed: int) -> None:
    chance, corpus = random.Random(seed), samples()
    changed = [(each, inside(chance, each, corpus)) for each in corpus]
    assert sum(before != after for before, after in changed) > len(corpus) / 2
    raws = [outside(chance, Fuzzer(target(), 1, corpus).signed(each)) for each in corpus]
    assert all(isinstance(raw, bytes) for raw in raws)


@contextlib.asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[Fuzzer]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Fuzzer(target(server.sockets[0].getsockname()[1]), 1, [SAMPLE])


def saying(data: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return answer


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (OK, ""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, ""),
        (b"HTTP/1.1 501 Not Implemented\r\n\r\n", ""),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\nx", "500: "),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\nx", "503: "),
        (b"<html>", "no HTTP answer"),
        (b"", "hung up on"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "hung up on"),
        (b"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\n\r\n<html>", "cannot be read"),
        (b"HTTP/1.1 400 Bad\r\nContent-Type: text/xml\r\n\r\n<a>\x07</a>", "cannot be read"),
    ],
)
async def test_what_is_wrong_with_an_answer_is_noticed(data: bytes, words: str) -> None:
    async with answering(saying(data)) as fuzzer:
        found = await fuzzer.try_one(SAMPLE, fuzzer.signed(SAMPLE), True)
    assert found.startswith(words) if words in ("", "500: ", "503: ") else words in found
    assert bool(found) == bool(words)


async def test_a_body_that_is_not_whole_needs_no_answer() -> None:
    async with answering(saying(b"HTTP/1.1 100 Continue\r\n\r\n")) as fuzzer:
        assert await fuzzer.try_one(SAMPLE, fuzzer.signed(SAMPLE), False) == ""


async def test_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "PATIENCE", 0.1)
    monkeypatch.setattr(drive, "BROKEN_PATIENCE", 0.0)
    async with answering(silence) as fuzzer:
        assert "no answer" in await fuzzer.try_one(SAMPLE, fuzzer.signed(SAMPLE), True)


async def test_other_processes_more_memory_and_slow_answers_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(saying(OK)) as fuzzer:
        await fuzzer.check({"control": 1}, {"control": 0})
        assert fuzzer.faults == []
        fuzzer.target = replace(fuzzer.target, memory=lambda _: 1 << 40)
        await fuzzer.check({"control": 1}, {"control": 0})
        monkeypatch.setattr(drive, "SOON", -1.0)
        await fuzzer.check({"control": 1}, {"control": 1 << 40})
        assert [fault.name for fault in fuzzer.faults] == ["memory", SAMPLE.name]
        with pytest.raises(Lost, match="became"):
            await fuzzer.check({"control": 2}, {"control": 0})


async def test_a_run_tells_its_seed_and_how_to_repeat_a_fault() -> None:
    async with answering(saying(b"HTTP/1.1 500 No\r\n\r\n")) as fuzzer:
        fuzzer.target = replace(fuzzer.target, good=())
        number = next(n for n in range(100) if fuzzer.request(n)[2])  # sound HTTP
        await fuzzer.run(0.0, only=number)
    assert "seed 1: 1 requests" in fuzzer.report()
    assert f"scripts/test --fuzz 1 1 {number}" in fuzzer.report()
