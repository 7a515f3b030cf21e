"""HTTP/1.1 between the edge and a front: one connection, requests in, answers out in order.

Owns parsing (httptools), the caps on heads and bodies, pipelining and closing. Does not know signatures, endpoints and queues: a
whole request goes to the `Plane`, which answers through `Connection.answer` at any later time.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Protocol, cast

import httptools

from clary.serving.answers import error
from clary.serving.heads import Heads
from clary.serving.prediction import Brake
from clary.serving.request import LARGE, Incoming
from clary.serving.streams import Flow

EndpointKey = tuple[str, str, str]  # account, region, name
HEAD_LIMIT = 1 << 17  # bytes of URL and header fields
FIELD_LIMIT = 200
PIPELINED = 8  # requests read ahead of an unanswered one before reading stops
DISCARDED = 1 << 30  # an oversize body is read and thrown away up to this, so that the other side reads the answer


_REQUEST_LINE = re.compile(rb"[!-~]+ \S+ HTTP/1\.[01]\r?\n")  # whatever its method is
_NAMES: dict[bytes, str] = {}  # header names as sent, in lower case


def _lower(name: bytes) -> str:
    if len(_NAMES) >= 512:
        _NAMES.clear()  # only a client that makes up names gets here
    lower = _NAMES[name] = name.decode("latin-1").lower()
    return lower


class Plane(Protocol):
    """Who answers requests."""

    draining: bool
    body_limit: int
    heads: Heads
    connections: set[Connection]

    def handle(self, connection: Connection, request: Incoming) -> None: ...
    def request_id(self) -> bytes: ...


class AnswerBody:
    """The body of an answer whose length its head told, piece by piece."""

    def __init__(self, connection: Connection, brake: Brake) -> None:
        self._connection = connection
        self._brake = brake

    def pause(self) -> None:
        self._brake.pause(self)

    def resume(self) -> None:
        self._brake.resume(self)

    def hung_up(self) -> None:
        self._brake.left(self)

    def piece(self, data: bytes) -> None:
        self._connection.write(data)

    def end(self) -> None:
        self._connection.stream = None
        self._connection.end()

    def broke(self) -> None:
        """The client sees that it is not whole: fewer bytes came than were told."""
        self._connection.stream = None
        self._connection.drop()


class Connection(asyncio.Protocol):
    """One connection. It has at most one request at the plane; further ones wait for its answer."""

    __slots__ = (
        "_chunks",
        "_close",
        "_data",
        "_full",
        "_head",
        "_parser",
        "_request",
        "_taking",
        "_url",
        "_waiting",
        "_within",
        "busy",
        "caller",
        "fresh",
        "gone",
        "plane",
        "served",
        "stream",
        "transport",
    )

    def __init__(self, plane: Plane, caller: EndpointKey | None = None) -> None:
        self.plane = plane
        self.caller = caller  # the private route whose caller is at the other end; None: a client, by way of the edge
        self.gone = False
        self.busy = False
        self.fresh = caller is None  # nothing was read yet: the client that connected is about to ask
        self.served = False  # an answer was sent with `Connection: close`, or is about to be
        self.transport: asyncio.Transport | None = None
        self.stream: Flow | None = None  # the request's, if its answer is to come in pieces, or comes so
        self._full = False
        self._parser = httptools.HttpRequestParser(self)
        self._request = Incoming()
        self._chunks: list[bytes] = []
        self._url = b""
        self._head = 0
        self._close = False
        self._taking = False
        self._data: bytes | None = None  # what is being parsed, when a request begins with it
        self._within = False  # httptools has a part of a request
        self._waiting: deque[Incoming] = deque()

    # -- asyncio ------------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not registered as such
        self.plane.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.fresh = False
        if self.served:
            return  # nothing follows an answer that closes
        if not self._within and not self._close:
            request = self.plane.heads.read(data)
            if request is not None and request.size <= self.plane.body_limit:
                self._whole(request)
                return
            self._data = data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "Upgrades are not supported.")
        except httptools.HttpParserError as error:
            # also what a callback raised (_TooLarge)
            if isinstance(error, httptools.HttpParserInvalidMethodError) and _REQUEST_LINE.match(data):
                what = "There is no operation of that method here."
                self._refuse(404, what, "UnknownOperationException")
            else:
                self._refuse(400, "The request is not well-formed HTTP, or its head is too large.")
        self._data = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self.transport = None
        self._waiting.clear()
        self.plane.connections.discard(self)
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.hung_up()

    def pause_writing(self) -> None:
        """The other side reads too slowly: the transport holds enough."""
        self._full = True
        if self.stream is not None:
            self.stream.pause()

    def resume_writing(self) -> None:
        self._full = False
        if self.stream is not None:
            self.stream.resume()

    # -- httptools ----------------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._within = True
        self._request = Incoming()
        self._head = 0
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._head += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value)
        if self._head > HEAD_LIMIT:
            raise _TooLarge("head")
        headers = self._request.headers
        key = _NAMES.get(name) or _lower(name)
        text = value.decode("latin-1")
        if key in headers:
            if key == "host":
                raise _TooLarge("two Host fields")
            text = f"{headers[key]},{text}"
        elif len(headers) >= FIELD_LIMIT:
            raise _TooLarge("too many fields")
        headers[key] = text

    def on_headers_complete(self) -> None:
        if "expect" in self._request.headers and self.transport is not None and not self.busy:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        request = self._request
        request.size += len(body)
        if request.size > self.plane.body_limit:
            request.oversize = True
            self._chunks.clear()
            if request.size > DISCARDED:
                raise _TooLarge("body")
        elif not request.oversize:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._within = False
        request = self._request
        chunks = self._chunks
        if chunks:
            if request.size >= LARGE:
                request.chunks = chunks  # joined in a thread: here it would hold everybody else up
            else:
                request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._chunks = []
        request.method = self._parser.get_method().decode("latin-1")
        request.path, _, request.query = self._url.decode("latin-1").partition("?")
        if not self._parser.should_keep_alive():
            self._close = True
        elif self._data is not None and not request.oversize and not request.chunks:
            self.plane.heads.learn(self._data, request)
        self._data = None
        self._whole(request)

    def _whole(self, request: Incoming) -> None:
        """A request was read."""
        if self.busy:
            self._waiting.append(request)
            if len(self._waiting) >= PIPELINED and self.transport is not None:
                self.transport.pause_reading()
            return
        self.busy = True
        self.plane.handle(self, request)

    # -- answering ----------------------------------------------------------------------------------------------------------------

    def answer(self, response: bytes) -> None:
        """Send the answer to the request that this connection has at the plane."""
        if self.gone or self.transport is None:
            return
        self.busy = False
        if (self._close and not self._waiting) or self.plane.draining:
            self._last(response)
            return
        self.transport.write(response)
        if self._waiting and not self._taking:
            self._take()

    def take(self, head: bytes, size: int, brake: Brake) -> AnswerBody | None:
        """Send the head of an answer whose body comes piece by piece."""
        if self.gone or self.transport is None:
            return None
        body = self.stream = AnswerBody(self, brake)
        self.begin(head)
        return body

    def begin(self, head: bytes) -> None:
        """Send the head of an answer that comes in chunks (`piece`, until `finish`), or as it is (`write`, until `end`)."""
        if self.transport is None:
            return
        if (self._close and not self._waiting) or self.plane.draining:
            self.served = True
            head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        self.transport.write(head)
        if self._full and self.stream is not None:
            self.stream.pause()

    def piece(self, data: bytes) -> None:
        self.write(b"%x\r\n%b\r\n" % (len(data), data))

    def finish(self) -> None:
        """There are no more chunks."""
        self.write(b"0\r\n\r\n")
        self.end()

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def end(self) -> None:
        """The answer is whole."""
        if self.transport is None:
            return
        self.busy = False
        if self.served:
            self.transport.close()
        elif self._waiting and not self._taking:
            self._take()

    def drop(self) -> None:
        """Nobody reads here any more."""
        if self.transport is not None:
            self.transport.abort()

    def _take(self) -> None:
        """Go on with requests that were read ahead. One that is answered at once comes back here by this loop, not by recursion."""
        self._taking = True
        while self._waiting and not self.busy:
            self.busy = True
            self.plane.handle(self, self._waiting.popleft())
        self._taking = False
        if self.transport is not None and len(self._waiting) < PIPELINED:
            self.transport.resume_reading()

    def _last(self, response: bytes) -> None:
        """Send an answer after which the connection closes, and say so."""
        if self.transport is None:
            return
        self.served = True
        place = response.find(b"\r\n")
        self.transport.write(b"%b\r\nConnection: close" % response[:place])
        self.transport.write(memoryview(response)[place:])  # it may be large
        self.transport.close()

    def _refuse(self, status: int, message: str, code: str = "ValidationError") -> None:
        if self.busy:
            self._close = True  # after the answer that is due
        else:
            self._last(error(status, code, message, self.plane.request_id()))


class _TooLarge(Exception):
    """Raised inside a parser's callback: httptools turns it into HttpParserCallbackError."""
