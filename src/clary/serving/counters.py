"""Counters of one variant since the front started, and the latencies of its last few thousand answers.

Owns the numbers of a `VariantView` and of a `VariantCounts`. Refuses to know who reads them and the clock: callers pass durations in
seconds. An answer costs a few stores; what is computed from them is computed when somebody asks.
"""

from __future__ import annotations

import uuid
from array import array
from collections.abc import Iterable
from typing import Any

from clary.domain.datapoints import bucket
from clary.domain.routes import VariantRoute

KEPT = 4096
TALLIED = 1024  # 1.5 ms


class Counters:
    """Monotone counts and sums. Latencies are kept in rings; quantiles and distributions are computed when asked for, never per
    answer. `born` tells these counters from those of a front that started before."""

    __slots__ = (
        "_models",
        "_next",
        "_ring",
        "_tallied",
        "arrivals",
        "born",
        "completed",
        "errors_4xx",
        "errors_5xx",
        "late",
        "late_after",
        "latency_buckets",
        "model_buckets",
        "model_errors",
        "model_seconds",
        "overhead_buckets",
        "overhead_seconds",
        "passed",
        "refused",
        "shut_out",
        "slow",
        "slow_after",
        "unanswered",
        "watched",
    )

    def __init__(self) -> None:
        self.born = uuid.uuid4().hex
        self.arrivals = 0
        self.completed = 0
        self.refused = 0  # turned away at once
        self.shut_out = 0  # those of them that got a 5xx
        self.unanswered = 0  # let in, and the model did not answer
        self.errors_4xx = 0
        self.errors_5xx = 0
        self.model_errors = 0
        self.model_seconds = 0.0
        self.overhead_seconds = 0.0
        self.passed = 0
        self.slow = 0
        self.slow_after = float("inf")
        self.late = 0
        self.late_after = float("inf")
        self.watched = float("inf")
        self.model_buckets: dict[int, float] = {}
        self.overhead_buckets: dict[int, float] = {}
        self.latency_buckets: dict[int, float] = {}
        self._ring = array("d")
        self._models = array("d")
        self._next = 0
        self._tallied = 0

    def watch(self, route: VariantRoute) -> None:
        """Count answers that take longer than the route says."""
        self.slow_after = route.slow or float("inf")
        self.late_after = route.boost.objective if route.boost else float("inf")
        self.watched = min(self.slow_after, self.late_after)

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
        if total > self.watched:
            self.slow += total > self.slow_after
            self.late += total > self.late_after
        ring = self._ring
        if len(ring) < KEPT:
            ring.append(total)
            self._models.append(model + before)
        else:
            ring[self._next] = total
            self._models[self._next] = model + before
            self._next = (self._next + 1) % KEPT

    def erred(self, status: int) -> None:
        """The model answered with an error; `record` counts the answer."""
        self.model_errors += 1
        if 400 <= status < 500:
            self.errors_4xx += 1
        else:
            self.errors_5xx += 1

    def failed(self, status: int = 500, model: bool = True) -> None:
        """A prediction that the model did not answer, or not with what can be passed on; is it the model's fault?"""
        if status >= 500:
            self.errors_5xx += 1
        else:
            self.errors_4xx += 1
        self.model_errors += model
        self.unanswered += 1

    def refuse(self, status: int = 503) -> None:
        """A request that was not let in."""
        if status >= 500:
            self.errors_5xx += 1
            self.shut_out += 1
        else:
            self.errors_4xx += 1
        self.refused += 1

    def tally(self) -> None:
        """Bring the buckets of latencies (in microseconds) up to date. Of more than TALLIED answers since the last time, the newest
        TALLIED stand for all: the event loop must not stand still for long."""
        new = self.completed - self._tallied
        self._tallied = self.completed
        held = min(new, len(self._ring), TALLIED)
        if held:
            weight = new / held
            for place in self._newest(held):
                model = self._models[place] * 1e6
                total = self._ring[place] * 1e6
                _count(self.model_buckets, model, weight)
                _count(self.overhead_buckets, max(0.0, total - model), weight)
                _count(self.latency_buckets, total, weight)

    def figures(self) -> dict[str, Any]:
        """Its part of a `VariantView`."""
        p50, p99 = self.quantiles(0.5, 0.99)
        names = (
            "arrivals",
            "completed",
            "errors_4xx",
            "errors_5xx",
            "model_errors",
            "model_seconds",
            "overhead_seconds",
        )
        plain = {name: getattr(self, name) for name in (*names, "passed", "slow")}
        return {**plain, "p50": p50, "p99": p99, "lost": self.unanswered, "faults": self.errors_5xx - self.shut_out}

    def _newest(self, count: int) -> Iterable[int]:
        size = len(self._ring)
        end = self._next if size == KEPT else size
        return ((end - 1 - back) % size for back in range(count))

    def quantiles(self, *shares: float) -> list[float]:
        """Latencies in seconds that these shares of the kept answers stayed within; 0.0 before the first answer."""
        ordered = sorted(self._ring)
        if not ordered:
            return [0.0 for _ in shares]
        last = len(ordered) - 1
        return [ordered[min(last, int(share * len(ordered)))] for share in shares]


def _count(buckets: dict[int, float], value: float, weight: float) -> None:
    number = bucket(value)
    buckets[number] = buckets.get(number, 0.0) + weight
