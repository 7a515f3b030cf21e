"""Shadow variants: they get a copy of the traffic, and no client gets their answers.

Owns the sampling, the copies and the comparison of both answers. The rules: a copy shares the client's body, goes out once the
client has its answer (before that the shadow would take the machine's cores from it), and is never waited for; a shadow that is slow,
full or broken costs copies, nothing else. Does not know routes, HTTP and who reads the figures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from clary.domain.endpoints.routes import ShadowSample, ShadowView
from clary.serving.prediction import Brake, Prediction

LARGE = 1 << 20  # a longer answer is compared by its length and its ends, and kept as these
ENDS = 1 << 16
SAMPLES = 5  # pairs that differ, the latest ones
SHOWN = 200  # bytes of each


class ShadowQueue(Protocol):
    """The shadow's queue (`queue.Variant`)."""

    hope: bool

    def offer(self, prediction: Prediction) -> bool: ...


class Mirror:
    """What one variant is mirrored to. `share` of its requests are copied: exactly, in even steps."""

    def __init__(self, target: ShadowQueue, soon: Callable[[Callable[[], None]], object]) -> None:
        self.target = target
        self.share = 0.0
        self._soon = soon
        self._credit = 0.0
        self._pending: list[Pair] = []
        self._mirrored = self._skipped = self._failed = 0
        self._agreed = self._differed = 0
        self._seconds = 0.0
        self._samples: deque[ShadowSample] = deque(maxlen=SAMPLES)

    def take(self, prediction: Prediction) -> None:
        """The client's request was let in: perhaps it is one to be copied."""
        self._credit += self.share
        if self._credit < 1.0 - 1e-9:
            return
        self._credit -= 1.0
        pair = Pair(self, prediction)
        prediction.waiters = [*(prediction.waiters or ()), pair.own]

    def answered(self, pair: Pair) -> None:
        """The client has its answer: now the copy may go, after what this turn of the loop still does for clients."""
        if not self._pending:
            self._soon(self._send)
        self._pending.append(pair)

    def _send(self) -> None:
        pending, self._pending = self._pending, []
        for pair in pending:
            if self.target.hope and self.target.offer(pair.copy):
                self._mirrored += 1
            else:
                self._skipped += 1

    def compare(self, pair: Pair) -> None:
        """Both have answered."""
        own, other = pair.own, pair.other
        if not other.status:
            self._failed += 1  # the shadow went away
            return
        self._seconds += other.seconds - own.seconds
        if own.status == other.status and own.body == other.body:
            self._agreed += 1
            return
        self._differed += 1
        self._failed += other.status != 200
        self._samples.append(
            ShadowSample(
                _text(pair.copy.body),
                own.status,
                own.shown,
                own.seconds,
                other.status,
                other.shown,
                other.seconds,
            )
        )

    def view(self) -> ShadowView:
        return ShadowView(
            share=self.share,
            mirrored=self._mirrored,
            skipped=self._skipped,
            agreed=self._agreed,
            differed=self._differed,
            failed=self._failed,
            later_seconds=self._seconds,
            samples=tuple(self._samples),
        )


class Side:
    """Waits for one of the two answers. The client's side is `gone`: it does not keep a prediction alive that nobody else wants."""

    def __init__(self, pair: Pair, prediction: Prediction, *, gone: bool) -> None:
        self.gone = gone
        self.status = 0
        self.seconds = 0.0
        self.body: bytes | tuple[int, bytes, bytes] = b""
        self.shown = ""
        self._pair = pair
        self._prediction: Prediction | None = prediction

    def answer(self, response: bytes) -> None:
        if self._prediction is None:
            return
        self.seconds = perf_counter() - self._prediction.arrived
        self._prediction = None
        place = response.find(b"\r\n\r\n") + 4
        if place > 4:
            self.status = int(response[9:12])
            size = len(response) - place
            self.body = response[place:] if size <= LARGE else (size, response[place : place + ENDS], response[-ENDS:])
            self.shown = _text(response[place : place + SHOWN])
        self._pair.answered(self)

    def ends(self, head: bytes, size: int, first: bytes, last: bytes) -> None:
        """What is kept of a large answer."""
        if self._prediction is None:
            return
        self.seconds = perf_counter() - self._prediction.arrived
        self._prediction = None
        self.status = int(head[9:12])
        self.body = (size, first, last)
        self.shown = _text(first)
        self._pair.answered(self)

    def take(self, head: bytes, size: int, brake: Brake) -> Ends | None:
        """A large answer comes in pieces: its length and its ends are kept."""
        return None if self._prediction is None else Ends(self, head, size)


class Ends:
    """The length and both ends of an answer that is not held whole; it becomes the side's when it is there."""

    def __init__(self, side: Side, head: bytes, size: int) -> None:
        self._side = side
        self._head = head
        self._size = size
        self._first = self._last = b""

    def piece(self, data: bytes) -> None:
        if len(self._first) < ENDS:
            self._first += data[: ENDS - len(self._first)]
        self._last = data[-ENDS:] if len(data) >= ENDS else (self._last + data)[-ENDS:]

    def end(self) -> None:
        self._side.ends(self._head, self._size, self._first, self._last)

    def broke(self) -> None:
        pass  # there is nothing to compare with


class Pair:
    """A client's request and its copy."""

    def __init__(self, mirror: Mirror, prediction: Prediction) -> None:
        self._mirror = mirror
        self.own = Side(self, prediction, gone=True)
        # as the client sent it: a pipeline changes what is on its way
        self.copy = Prediction(self.own, prediction.origin or prediction.meta, prediction.body, True)
        self.other = Side(self, self.copy, gone=False)
        self.copy.waiter = self.other

    def answered(self, side: Side) -> None:
        if side is self.other:
            self._mirror.compare(self)
        elif side.status:  # else nobody waited any more: there is nothing to compare with
            self._mirror.answered(self)


def _text(body: bytes) -> str:
    return body[:SHOWN].decode("utf-8", "replace")
