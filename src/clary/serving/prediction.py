"""One request from its arrival to its answer, and its waiting clients.

Owns: answering everybody once, whether the model gave the answer or not. Does not know queues, workers and HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Taker(Protocol):
    """Someone who takes the body of an answer as it comes."""

    def piece(self, data: bytes) -> None: ...
    def end(self) -> None:
        """That was all of it."""
        ...

    def broke(self) -> None:
        """The rest does not come."""
        ...


class Brake(Protocol):
    """What a taker says who cannot take more for now, can again, or is gone."""

    def pause(self, taker: Taker) -> None: ...
    def resume(self, taker: Taker) -> None: ...
    def left(self, taker: Taker) -> None: ...


class Waiter(Protocol):
    """Someone who waits for an answer: a connection."""

    gone: bool

    def answer(self, response: bytes) -> None:
        """Send a whole HTTP answer."""
        ...

    def take(self, head: bytes, size: int, brake: Brake) -> Taker | None:
        """A good answer of `size` bytes comes in pieces, after this head: who takes it. None: it is not wanted any more."""
        ...


class Prediction:
    """One request on its way through a variant. `waiters` are all who get its answer: a client's retry joins the first.

    `settled` is called once, with the answer and whether the model gave it (such an answer may be kept for a retry)."""

    single = False  # whether it goes to a worker by itself: `Single`
    model = ""  # what a multi-model variant is asked for: `TargetPrediction`

    __slots__ = (
        "arrived",
        "body",
        "deadline",
        "done",
        "keep",
        "meta",
        "origin",
        "pinned",
        "sent",
        "settled",
        "spent",
        "timeout",
        "waiter",
        "waiters",
    )

    def __init__(self, waiter: Waiter, meta: bytes, body: bytes, pinned: bool) -> None:
        self.waiter = waiter
        self.waiters: list[Waiter] | None = None
        self.meta = meta
        self.body: bytes = body
        self.pinned = pinned  # TargetVariant: may not move to another variant
        self.arrived = 0.0
        self.deadline = 0.0
        self.timeout = 0.0  # a deadline of its own; 0: the variant's
        self.sent = 0.0
        self.origin = b""  # the client's own meta, once a pipeline began with it
        self.spent = 0.0  # seconds in the containers before this one
        self.done = False
        self.keep = False  # the client may come back for the answer after it hung up
        self.settled: Callable[[Prediction, bytes, bool], None] | None = None

    def settle(self, response: bytes, modelled: bool) -> None:
        """Answer everybody who waits, once."""
        if self.done:
            return
        self.done = True
        if self.settled is not None:
            self.settled(self, response, modelled)
        self.waiter.answer(response)
        if self.waiters is not None:
            for waiter in self.waiters:
                waiter.answer(response)

    def join(self, waiter: Waiter, keep: bool) -> None:
        """A retry of the same client waits too."""
        self.keep = keep
        self.waiters = [*(self.waiters or ()), waiter]

    def late(self, response: bytes) -> None:
        """It met its deadline; `response` is the answer for somebody who got nothing yet."""
        self.settle(response, True)

    def lost(self, response: bytes) -> None:
        """The worker that had it died."""
        self.settle(response, True)

    def abandoned(self) -> bool:
        """Whether nobody waits any more, nor may come back."""
        return not self.keep and self.waiter.gone and all(waiter.gone for waiter in self.waiters or ())


class TargetPrediction(Prediction):
    """One that names its model (TargetModel)."""

    __slots__ = ("model",)

    def __init__(self, waiter: Waiter, meta: bytes, body: bytes, pinned: bool, model: str) -> None:
        super().__init__(waiter, meta, body, pinned)
        self.model = model


class Holder(Protocol):
    """The worker that has a prediction."""

    @property
    def place(self) -> tuple[str, int]:
        """Its replica, and its pid there."""
        ...

    def cancel(self, prediction: Single) -> None:
        """All its clients have left."""
        ...

    def pause(self) -> None:
        """Read nothing more from the worker for now; what it makes meanwhile makes it wait."""
        ...

    def resume(self) -> None: ...


class Single(Prediction):
    """A prediction that goes to an idle worker by itself: one of a session, or one that is answered in pieces.

    `session` is its SessionId. `heard` is told of a successful answer: where it was made (key of the variant's route, replica, pid),
    and its meta."""

    single = True
    streams = False

    __slots__ = ("heard", "session", "worker")

    def __init__(self, waiter: Waiter, meta: bytes, body: bytes, pinned: bool) -> None:
        super().__init__(waiter, meta, body, pinned)
        self.session = ""
        self.worker: Holder | None = None
        self.heard: Callable[[tuple[str, str, int], bytes], None] | None = None
