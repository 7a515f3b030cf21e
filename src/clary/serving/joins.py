"""A client's own retry joins the prediction that it repeats.

Owns the memory of running predictions and of answers that a client may not have read, by (account, region, endpoint, invocation id,
body). boto3 repeats a request under the same `amz-sdk-invocation-id` when it gave up waiting or its connection broke; the model
must not run twice. Bounded in time, in bytes and in number: the oldest answers go first. Does not know HTTP.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from clary.serving.prediction import Prediction

KEPT_SECONDS = 60.0
KEPT_BYTES = 64 << 20
KEPT_NUMBER = 50_000
OVERHEAD = 300  # bytes that an entry costs beside its answer


class JoinKey(NamedTuple):
    endpoint: tuple[str, str, str]
    path: str  # which operation, and of which endpoint
    invocation: str
    body: str  # its SHA-256


class Joins:
    """Running predictions and kept answers."""

    __slots__ = ("_bytes", "_kept", "_order", "running")

    def __init__(self) -> None:
        self.running: dict[JoinKey, Prediction] = {}
        self._kept: dict[JoinKey, bytes] = {}
        self._order: deque[tuple[float, JoinKey]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def answer(self, key: JoinKey, now: float) -> bytes | None:
        """The answer that this request got already."""
        self.forget(now)
        return self._kept.get(key)

    def settled(self, key: JoinKey) -> Callable[[Prediction, bytes, bool], None]:
        """What a prediction calls when it is answered: it moves from the running ones to the kept answers."""

        def move(prediction: Prediction, response: bytes, modelled: bool) -> None:
            self.running.pop(key, None)
            if modelled:
                self.keep(key, response, time.monotonic())

        return move

    def keep(self, key: JoinKey, response: bytes, now: float) -> None:
        """Remember an answer of the model."""
        size = len(response) + OVERHEAD
        if size > KEPT_BYTES // 4 or key in self._kept:
            return
        self._kept[key] = response
        self._order.append((now, key))
        self._bytes += size
        self.forget(now)

    def forget(self, now: float) -> None:
        """Drop what is older than a minute, and the oldest beyond the bounds."""
        order = self._order
        while order and (
            order[0][0] + KEPT_SECONDS <= now or self._bytes > KEPT_BYTES or len(self._kept) > KEPT_NUMBER
        ):
            _, key = order.popleft()
            self._bytes -= len(self._kept.pop(key)) + OVERHEAD
