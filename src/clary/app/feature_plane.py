"""How the feature store's process reads requests and answers them: the fronts' HTTP (`serving.http`) before the API's steps (`wire.asgi`).

One event loop does all of it: an ASGI server would hand each request from a thread of its own to this one and the answer back, which costs
more than reading a record does.
"""

from __future__ import annotations

import asyncio
import uuid
from http import HTTPStatus

from clary.serving import answers
from clary.serving.heads import Heads
from clary.serving.http import Connection
from clary.serving.request import Incoming
from clary.wire.asgi import Application, Limits
from clary.wire.http import Headers, Request, Response

_PHRASES = {int(status): status.phrase for status in HTTPStatus}
_SECONDS = 10.0  # for answers that are under way at the end


class FeaturePlane:
    """See `serving.http.Plane`."""

    def __init__(self, application: Application, body_limit: int = Limits().body) -> None:
        self.draining = False
        self.body_limit = body_limit
        self.heads = Heads()
        self.connections: set[Connection] = set()
        self._application = application
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def connection(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self)

    def request_id(self) -> bytes:
        return str(uuid.uuid4()).encode()

    def handle(self, connection: Connection, request: Incoming) -> None:
        task = self._loop.create_task(self._answer(connection, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, connection: Connection, request: Incoming) -> None:
        if request.oversize:
            words = f"The request's body is larger than the {self.body_limit} bytes allowed here."
            connection.answer(answers.error(413, "RequestEntityTooLargeException", words, self.request_id()))
            return
        request.gather()
        whole = Request(request.method, request.path, request.query, Headers.of(request.headers), request.body)
        connection.answer(encoded(await self._application.whole(whole)))

    async def answered(self) -> None:
        """Wait for the answers that are under way, and close what is left."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_SECONDS)
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.close()


def encoded(response: Response) -> bytes:
    """An answer as it goes over the wire."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in response.headers])
    size, phrase = len(response.body), _PHRASES.get(response.status, "")
    head = f"HTTP/1.1 {response.status} {phrase}\r\n{fields}Content-Length: {size}\r\n\r\n"
    return head.encode("latin-1", "replace") + response.body
