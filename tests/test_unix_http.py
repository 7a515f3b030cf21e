"""HTTP over a unix socket, with servers that keep to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clary.domain.errors import Unavailable
from clary.unix_http import LONGEST_HEAD, exchange


@asynccontextmanager
async def answering(path: Path, answer: bytes, seen: list[bytes] | None = None) -> AsyncIterator[str]:
    """A server that answers every request with these bytes, and hangs up."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(one, str(path))
    try:
        yield str(path)
    finally:
        server.close()


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def body_of(path: str, method: str = "GET") -> tuple[int, bytes]:
    async with exchange(path, method, "/x?y=1", [(b"host", b"h")], b"in") as answer:
        return answer.status, b"".join([piece async for piece in answer.pieces()])


async def test_what_is_asked_arrives_and_the_answer_comes_back(socket: Path) -> None:
    seen: list[bytes] = []
    async with answering(socket, b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\nx-a: 1\r\n\r\nabc", seen) as path:
        async with exchange(path, "POST", "/x?y=1", [(b"host", b"h")], b"in") as answer:
            assert (answer.status, dict(answer.headers)[b"x-a"]) == (201, b"1")
            assert [piece async for piece in answer.pieces()] == [b"abc"]
    assert seen[0].startswith(b"POST /x?y=1 HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", (200, b"abc")),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", (200, b"until the end")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
    ],
)
async def test_bodies_of_every_length(socket: Path, answer: bytes, found: tuple[int, bytes]) -> None:
    async with answering(socket, answer) as path:
        assert await body_of(path) == found


async def test_an_answer_to_head_has_no_body(socket: Path) -> None:
    async with answering(socket, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n") as path:
        assert await body_of(path, "HEAD") == (200, b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\n" + b"x-long: " + b"a" * (LONGEST_HEAD + 1),
    ],
)
async def test_what_is_no_whole_answer_is_said(socket: Path, answer: bytes) -> None:
    async with answering(socket, answer) as path:
        with pytest.raises(Unavailable):
            await body_of(path)


async def test_nobody_is_there(socket: Path) -> None:
    with pytest.raises(Unavailable, match="nobody answers"):
        await body_of(str(socket))


async def test_one_that_never_answers_costs_only_its_time(socket: Path) -> None:
    held: list[asyncio.StreamWriter] = []
    one: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None] = lambda _, writer: held.append(writer)  # noqa: E731
    server = await asyncio.start_unix_server(one, str(socket))
    with pytest.raises(Unavailable, match="nothing was answered"):
        async with exchange(str(socket), "GET", "/", seconds=0.05):
            pass
    for writer in held:
        writer.close()
    server.close()
