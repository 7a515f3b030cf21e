"""An answer in pieces, from a worker's chunks to a client's event stream.

Owns the events of InvokeEndpointWithResponseStream, the limits of a stream in time, the brake (a client that reads slowly pauses the
worker) and what happens when the client hangs up. Does not know sockets, queues and who made the pieces.

**Time.** The first piece is due within the model's timeout, as a whole answer would be; every further one within the same time of the
one before; all of it within `STREAM_SECONDS`, or the timeout where that is longer. Time in which the client does not read counts for
the last limit only.

**Hanging up** cancels: the worker is told, and killed when it does not stop. Before the first piece a client with attempts left may
come back for it (as with InvokeEndpoint), and finds the same prediction; its first pieces are held for it for `RETURN_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from clary.domain.endpoints.routes import STREAM_SECONDS as STREAM_SECONDS
from clary.serving.answers import TIMED_OUT
from clary.serving.prediction import Single, Waiter
from clary.wire.eventstream import encode_frame, encode_headers, encode_payload
from clary.wire.json_body import dump

RETURN_SECONDS = 30.0  # a client waits this long at most between two attempts
MOST_MESSAGE = 2048  # characters of an exception's message (service model)
BROKEN = "The model stopped in the middle of its answer: {reason}"

_PART = encode_headers(
    {":event-type": "PayloadPart", ":message-type": "event", ":content-type": "application/octet-stream"}
)


class Flow(Protocol):
    """What an answer in pieces hears of its connection."""

    def pause(self) -> None:
        """The client does not read."""
        ...

    def resume(self) -> None: ...
    def hung_up(self) -> None: ...


class Outlet(Waiter, Protocol):
    """A connection that takes an answer in pieces."""

    stream: Flow | None

    def begin(self, head: bytes) -> None:
        """Send the head of an answer whose chunks follow."""
        ...

    def piece(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
    def drop(self) -> None:
        """Close: nobody reads there any more."""
        ...


class Stream(Single):
    """One request whose answer goes on to the client as the model makes it."""

    streams = True

    __slots__ = ("_container", "_head", "_held", "_limit", "_patience", "_paused", "begun", "outlet")

    def __init__(self, outlet: Outlet, meta: bytes, body: bytes, pinned: bool) -> None:
        super().__init__(outlet, meta, body, pinned)
        self.outlet = outlet
        outlet.stream = self
        self.begun = False
        self._limit = 0.0
        self._container = ""
        self._patience = 0.0
        self._paused = False
        self._head = b""
        self._held: list[bytes] | None = None  # pieces for a client that is expected back

    # -- what the worker says -----------------------------------------------------------------------------------------------------

    def begin(
        self, head: bytes, container: str, timeout: float, later: Callable[[float, Callable[[], None]], object]
    ) -> None:
        """The first piece is there. From here on nothing can be answered but events."""
        self.begun = True
        self._container = container
        self._patience = timeout
        self._limit = self.arrived + max(STREAM_SECONDS, timeout)
        self._head = head
        if self.outlet.gone:
            self._held = []
            self.pause()
            later(RETURN_SECONDS, self._give_up)
            return
        self._open()

    def _open(self) -> None:
        if self.settled is not None:  # a retry would run again: it cannot be told what was sent already
            self.settled(self, b"", False)
            self.settled = None
        self.outlet.begin(self._head)

    def part(self, data: bytes, now: float) -> None:
        """One piece."""
        if self.done:
            return
        if not self._paused:
            self.deadline = min(now + self._patience, self._limit)
        event = encode_payload(_PART, data)
        if self._held is not None:
            self._held.append(event)
        else:
            self.outlet.piece(event)

    def finish(self) -> None:
        """The model made all of it."""
        self._end(b"")

    def break_off(self, code: str, reason: str) -> None:
        """The model did not: ModelStreamError with this ErrorCode."""
        self._end(_exception("ModelStreamError", {"Message": reason[:MOST_MESSAGE], "ErrorCode": code}))

    def late(self, response: bytes) -> None:
        if self.begun:
            self.break_off("ModelInvocationTimeExceeded", TIMED_OUT.format(container=self._container))
        else:
            self.settle(response, True)

    def lost(self, response: bytes) -> None:
        if self.begun:
            self.break_off("StreamBroken", BROKEN.format(reason="its process ended."))
        else:
            self.settle(response, True)

    def settle(self, response: bytes, modelled: bool) -> None:
        if self.begun:
            self._end(
                _exception("InternalStreamFailure", {"Message": "The stream ended because of an internal error."})
            )
        elif not self.done:
            self.outlet.stream = None
            super().settle(response, modelled)

    def _end(self, event: bytes) -> None:
        if self.done:
            return
        if self._held is not None:  # nobody has come back for it yet; who does so gets it whole
            self._held.append(event)
            self.done = True
            self.resume()  # the worker has other work now
            return
        self.done = True
        self._let_go()
        if event:
            self.outlet.piece(event)
        self.outlet.finish()

    def _let_go(self) -> None:
        self.outlet.stream = None
        self.resume()

    # -- what the client does -----------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """The client does not read as fast as the model writes."""
        if self.worker is not None and not self._paused:
            self._paused = True
            self.deadline = max(self.deadline, self._limit)
            self.worker.pause()

    def resume(self) -> None:
        if self.worker is not None and self._paused:
            self._paused = False
            self.deadline = min(perf_counter() + self._patience, self._limit)
            self.worker.resume()

    def hung_up(self) -> None:
        """The client's connection ended."""
        if self.begun or not self.keep:
            self._cancel()

    def join(self, waiter: Waiter, keep: bool) -> None:
        """The client gave up one attempt and made another, which gets what there is. Nobody reads at the old one any more."""
        old, self.outlet = self.outlet, waiter  # type: ignore[assignment]  # the retry of a stream is one too
        self.waiter, self.keep = waiter, keep
        old.stream = None
        old.drop()
        self.outlet.stream = self
        if self._held is not None:
            held, self._held = self._held, None
            self._open()
            for event in held:
                if event:
                    self.outlet.piece(event)
            if self.done:
                self.outlet.stream = None
                self.outlet.finish()
            self.resume()

    def _give_up(self) -> None:
        if self._held is not None:
            self._held = None
            self._cancel()

    def _cancel(self) -> None:
        if self.settled is not None:
            self.settled(self, b"", False)
            self.settled = None
        if self.done:
            return
        self.done = True
        self._let_go()
        if self.worker is not None:
            self.worker.cancel(self)


def _exception(name: str, members: dict[str, object]) -> bytes:
    headers = {":exception-type": name, ":message-type": "exception", ":content-type": "application/json"}
    return encode_frame(headers, dump(members))
