"""A large answer on its way from a worker to those who wait for it: piece by piece, and never whole in the front.

Owns what becomes of an answer that its worker sends in parts (`frames.OPENED`): it goes to the client as it comes, and a client that does
not read stops the worker, until it counts as gone (`STALLED`). Who needs the whole of it gathers it: the next container of a pipeline,
an attempt that a client is expected to repeat, a capture. Does not know sockets and who reads.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from clary.serving.gathered import Gathered, GatherRoom
from clary.serving.prediction import Holder, Prediction, Taker
from clary.serving.streams import Stream

STALLED = 10.0  # seconds without reading after which a client is hung up on: it holds a worker that others wait for
SLOW_PART = 60.0  # seconds that a worker may take for the next piece of an answer that it has begun
KEPT = 16 << 20  # bytes of an answer that is gathered for a client that is expected to come back for it


class Nowhere:
    """Nobody waits for this answer any more; its worker sends it all the same."""

    def piece(self, data: bytes) -> None:
        pass

    def end(self) -> None:
        pass

    def broke(self) -> None:
        pass


class Streaming:
    """An answer that was wanted in pieces, from a model that makes it whole; `made` is called when it is all there."""

    def __init__(self, stream: Stream, made: Callable[[], None]) -> None:
        self._stream = stream
        self._made = made

    def piece(self, data: bytes) -> None:
        self._stream.part(data, perf_counter())

    def end(self) -> None:
        self._made()

    def broke(self) -> None:
        pass  # `Variant.lost` tells it


class Passing:
    """On its way to all who wait. The slowest of them sets the pace."""

    def __init__(self, worker: Holder, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._worker = worker
        self._later = later
        self._takers: list[Taker] = []
        self._full: dict[Taker, object] = {}

    def begin(self, prediction: Prediction, head: bytes, size: int) -> bool:
        """Tell everybody who waits; whether anybody is there."""
        for waiter in (prediction.waiter, *(prediction.waiters or ())):
            taker = waiter.take(head, size, self)
            if taker is not None:
                self._takers.append(taker)
        return any(not waiter.gone for waiter in (prediction.waiter, *(prediction.waiters or ())))

    def also(self, taker: Taker) -> None:
        """One more who takes it."""
        self._takers.append(taker)

    def piece(self, data: bytes) -> None:
        for taker in tuple(self._takers):
            taker.piece(data)

    def end(self) -> None:
        self._over(lambda taker: taker.end())

    def broke(self) -> None:
        self._over(lambda taker: taker.broke())

    def _over(self, tell: Callable[[Taker], None]) -> None:
        takers, self._takers = self._takers, []
        full, self._full = self._full, {}
        for taker in takers:
            tell(taker)
        if full:
            self._worker.resume()

    # -- Brake --------------------------------------------------------------------------------------------------------------------

    def pause(self, taker: Taker) -> None:
        if not self._full:
            self._worker.pause()
        mark = self._full[taker] = object()
        self._later(STALLED, lambda: self._stalled(taker, mark))

    def resume(self, taker: Taker) -> None:
        if self._full.pop(taker, None) is not None and not self._full:
            self._worker.resume()

    def left(self, taker: Taker) -> None:
        if taker in self._takers:
            self._takers.remove(taker)
        self.resume(taker)

    def _stalled(self, taker: Taker, mark: object) -> None:
        if self._full.get(taker) is mark:
            self.left(taker)
            taker.broke()


def pass_on(
    prediction: Prediction,
    head: bytes,
    size: int,
    worker: Holder,
    later: Callable[[float, Callable[[], None]], object],
    room: GatherRoom,
    no_answer: Callable[[], bytes],
) -> Taker:
    """A worker begins a good answer of `size` bytes: who takes it. `no_answer` says that the rest did not come."""
    prediction.done = True  # answered, as far as anybody else is concerned
    passing = Passing(worker, later)
    heard = passing.begin(prediction, head, size)
    settled, prediction.settled = prediction.settled, None
    if settled is None:
        return passing
    if heard or not prediction.keep or size > KEPT or not room.take(size):
        settled(prediction, b"", False)  # a retry would run again: it cannot be told what was sent already
        return passing
    waited = 1 + len(prediction.waiters or ())

    def answer(response: bytes, modelled: bool) -> None:
        room.give(size)
        settled(prediction, response if modelled else b"", modelled)
        for waiter in (prediction.waiter, *(prediction.waiters or ()))[waited:]:  # who came back for it meanwhile
            waiter.answer(response)

    passing.also(
        Gathered(
            size,
            lambda whole: answer(whole, True),
            lambda: answer(no_answer(), False),
            head,
        )
    )
    return passing
