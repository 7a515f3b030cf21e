"""One request from its arrival to its answer, and whoever waits for it.

Owns: answering everybody once, whether the model gave the answer or not. Refuses to know queues, workers and HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Waiter(Protocol):
    """Someone who waits for an answer: a connection."""

    gone: bool

    def answer(self, response: bytes) -> None:
        """Send a whole HTTP answer."""
        ...


class Prediction:
    """One request on its way through a variant. `waiters` are all who get its answer: a client's retry joins the first.

    `settled` is called once, with the answer and whether the model gave it (such an answer may be kept for a retry)."""

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
        "waiter",
        "waiters",
    )

    def __init__(self, waiter: Waiter, meta: bytes, body: bytes, pinned: bool) -> None:
        self.waiter = waiter
        self.waiters: list[Waiter] | None = None
        self.meta = meta
        self.body = body
        self.pinned = pinned  # TargetVariant: may not move to another variant
        self.arrived = 0.0
        self.deadline = 0.0
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

    def abandoned(self) -> bool:
        """Whether nobody waits any more, nor may come back."""
        return not self.keep and self.waiter.gone and all(waiter.gone for waiter in self.waiters or ())
