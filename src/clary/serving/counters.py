"""Counters of one variant since the front started, and the latencies of its last few thousand answers.

Owns the numbers of a `VariantView`. Refuses to know who reads them and the clock: callers pass durations in seconds.
"""

from __future__ import annotations

from array import array

KEPT = 4096


class Counters:
    """Monotone counts and sums. Latencies are kept in a ring; quantiles are computed when asked for, never per answer."""

    __slots__ = (
        "_next",
        "_ring",
        "arrivals",
        "completed",
        "errors_4xx",
        "errors_5xx",
        "model_errors",
        "model_seconds",
        "overhead_seconds",
        "passed",
    )

    def __init__(self) -> None:
        self.arrivals = 0
        self.completed = 0
        self.errors_4xx = 0
        self.errors_5xx = 0
        self.model_errors = 0
        self.model_seconds = 0.0
        self.overhead_seconds = 0.0
        self.passed = 0
        self._ring = array("d")
        self._next = 0

    def hand_on(self, model: float) -> float:
        """One answer that goes on to the next container, after `model` seconds in the worker; answers these."""
        self.passed += 1
        self.model_seconds += model
        return model

    def record(self, total: float, model: float, before: float = 0.0) -> None:
        """One answer of the model: `total` from arrival to answer, `model` of it in the worker (its batch included), `before` in the
        containers before it, which counted these already."""
        self.completed += 1
        self.model_seconds += model
        self.overhead_seconds += total - model - before
        ring = self._ring
        if len(ring) < KEPT:
            ring.append(total)
        else:
            ring[self._next] = total
            self._next = (self._next + 1) % KEPT

    def quantiles(self, *shares: float) -> list[float]:
        """Latencies in seconds that these shares of the kept answers stayed within; 0.0 before the first answer."""
        ordered = sorted(self._ring)
        if not ordered:
            return [0.0 for _ in shares]
        last = len(ordered) - 1
        return [ordered[min(last, int(share * len(ordered)))] for share in shares]
