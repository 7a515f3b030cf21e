"""HTTP/1.1 to a server at a unix socket, one connection for each exchange: what somebody asked goes there, the answer comes back in pieces.

The server is a user's: its head is bounded, and what is no HTTP, or ends before its time, is Unavailable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httptools

from clary.domain.errors import Unavailable

Pairs = Sequence[tuple[bytes, bytes]]
LONGEST_HEAD = 1 << 16  # bytes
_READ = 1 << 16


@dataclass(slots=True)
class SocketAnswer:
    """The head of an answer. Headers as sent, in their order."""

    status: int
    headers: list[tuple[bytes, bytes]]
    _parts: _Parts
    _reader: asyncio.StreamReader

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body. Unavailable when it ends before it is whole."""
        while True:
            for piece in self._parts.take():
                yield piece
            if self._parts.complete:
                return
            await _feed(self._parts, self._reader)


@dataclass(slots=True)
class _Parts:
    """What httptools found (it calls the `on_` methods)."""

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: list[bytes] = field(default_factory=list)
    head: int = 0
    status: int = 0
    headed: bool = False
    complete: bool = False
    parser: httptools.HttpResponseParser | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        self.head += len(name) + len(value)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self.parser is not None
        self.status, self.headed = self.parser.get_status_code(), True

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.complete = True

    def take(self) -> list[bytes]:
        found, self.body = self.body, []
        return found


@asynccontextmanager
async def exchange(
    socket: str, method: str, target: str, headers: Pairs = (), body: bytes = b"", seconds: float = 300.0
) -> AsyncIterator[SocketAnswer]:
    """Ask for `target` (path and query, as they are sent), and have the head of the answer within so many seconds. Unavailable when nobody
    is there, or nothing comes."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(socket, limit=_READ)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"nobody answers at its socket: {error}") from error
    try:
        yield await _asked(reader, writer, _request(method, target, headers, body), method, seconds)
    finally:
        writer.close()


def _request(method: str, target: str, headers: Pairs, body: bytes) -> bytes:
    own = ((b"content-length", str(len(body)).encode()), (b"connection", b"close"))
    lines = [b"%s: %s\r\n" % (name, value) for name, value in (*headers, *own)]
    return f"{method} {target} HTTP/1.1\r\n".encode("latin-1") + b"".join(lines) + b"\r\n" + body


async def _asked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, method: str, seconds: float
) -> SocketAnswer:
    try:
        async with asyncio.timeout(seconds):
            writer.write(request)
            await writer.drain()
            return await _head(reader, method)
    except TimeoutError as error:
        raise Unavailable(f"nothing was answered within {seconds:g} s") from error
    except OSError as error:
        raise Unavailable(f"the connection broke: {error}") from error


async def _head(reader: asyncio.StreamReader, method: str) -> SocketAnswer:
    parts = _Parts()
    parts.parser = httptools.HttpResponseParser(parts)
    while not parts.headed:
        await _feed(parts, reader)
        if parts.head > LONGEST_HEAD:
            raise Unavailable(f"the head of an answer has more than {LONGEST_HEAD} bytes")
    if method == "HEAD":
        parts.complete = True
    return SocketAnswer(parts.status, parts.headers, parts, reader)


async def _feed(parts: _Parts, reader: asyncio.StreamReader) -> None:
    try:
        data = await reader.read(_READ)
    except OSError as error:
        raise Unavailable(f"the connection broke: {error}") from error
    assert parts.parser is not None
    if not data:
        lengths = [name for name, _ in parts.headers if name.lower() in (b"content-length", b"transfer-encoding")]
        if parts.headed and not lengths:
            parts.complete = True  # its end is the connection's
            return
        raise Unavailable("the connection ended before the answer did")
    try:
        parts.parser.feed_data(data)
    except httptools.HttpParserError as error:
        raise Unavailable(f"the answer is no HTTP: {error}") from error
