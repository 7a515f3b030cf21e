"""Counters of one variant since the start of the front, and the latencies of its last few thousand answers.

Owns the numbers of a `VariantView` and of a `VariantCounts`. Does not know who reads them and the clock: callers pass durations in
seconds. An answer costs two stores; what is computed from them is computed when somebody asks, or once in KEPT answers.
"""

from __future__ import annotations

import uuid
from array import array
from collections import Counter
from math import log
from typing import Any

from clary.domain.endpoints.routes import VariantRoute
from clary.domain.metrics.datapoints import ONE, SCALE, bucket

KEPT = 4096
TALLIED = 1024  # 0.5 ms


class Counters:
    """Monotone counts and sums. Latencies are kept (of the last KEPT answers at least); counts of answers, sums, quantiles and
    distributions are computed from them when asked for. `born` tells these counters from those of a front that started before."""

    __slots__ = (
        "_before",
        "_full",
        "_handed",
        "_models",
        "_older",
        "_tallied",
        "_totals",
        "arrivals",
        "born",
        "errors_4xx",
        "errors_5xx",
        "late",
        "late_after",
        "latency_buckets",
        "model_buckets",
        "model_errors",
        "overhead_buckets",
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
        self.refused = 0  # turned away at once
        self.shut_out = 0  # those of them that got a 5xx
        self.unanswered = 0  # let in, and the model did not answer
        self.errors_4xx = 0
        self.errors_5xx = 0
        self.model_errors = 0
        self.passed = 0
        self.slow = 0
        self.slow_after = float("inf")
        self.late = 0
        self.late_after = float("inf")
        self.watched = float("inf")
        self.model_buckets: dict[int, float] = {}
        self.overhead_buckets: dict[int, float] = {}
        self.latency_buckets: dict[int, float] = {}
        # of the newest answers, fewer than KEPT; `_models` alike: in the workers of all containers
        self._totals = array("d")
        self._models = array("d")
        self._older = (array("d"), array("d"))  # the KEPT answers before those
        self._full = (0, 0.0, 0.0)  # answers, and sums of both, of all that are not among the newest
        self._before = 0.0  # of `_models` and its sum: in containers before the last
        self._handed = 0.0
        self._tallied = 0

    @property
    def completed(self) -> int:
        return self._full[0] + len(self._totals)

    @property
    def model_seconds(self) -> float:
        return self._handed + self._full[2] + sum(self._models) - self._before

    @property
    def overhead_seconds(self) -> float:
        return self._full[1] + sum(self._totals) - self._full[2] - sum(self._models)

    def watch(self, route: VariantRoute) -> None:
        """Count answers that take longer than the route says."""
        self.slow_after = route.slow or float("inf")
        self.late_after = route.boost.objective if route.boost else float("inf")
        self.watched = min(self.slow_after, self.late_after)

    def hand_on(self, model: float) -> float:
        """One answer that goes on to the next container, after `model` seconds in the worker; answers these."""
        self.passed += 1
        self._handed += model
        return model

    def record(self, total: float, model: float, before: float = 0.0) -> None:
        """One answer of the model: `total` from arrival to answer, `model` of it in the worker (its batch included), `before` in the
        containers before it, which counted these already."""
        totals = self._totals
        totals.append(total)
        self._models.append(model + before)
        if before:
            self._before += before
        if total > self.watched:
            self.slow += total > self.slow_after
            self.late += total > self.late_after
        if len(totals) == KEPT:
            self._turn()

    def _turn(self) -> None:
        answers, total, model = self._full
        self._full = (answers + KEPT, total + sum(self._totals), model + sum(self._models))
        self._older = (self._totals, self._models)
        self._totals, self._models = array("d"), array("d")

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
        held = min(new, TALLIED)
        if held:
            weight = new / held
            totals, models = self._newest(held)
            _count(self.model_buckets, [model * 1e6 for model in models], weight)
            _count(self.overhead_buckets, [(t - m) * 1e6 for t, m in zip(totals, models, strict=True)], weight)
            _count(self.latency_buckets, [total * 1e6 for total in totals], weight)

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

    def _newest(self, count: int) -> tuple[array[float], array[float]]:
        """What is kept of so many answers (KEPT at most), oldest first."""
        missing = max(0, count - len(self._totals))
        if not missing:
            return self._totals[-count:], self._models[-count:]
        totals, models = self._older
        return totals[-missing:] + self._totals, models[-missing:] + self._models

    def quantiles(self, *shares: float) -> list[float]:
        """Latencies in seconds that these shares of the kept answers stayed within; 0.0 before the first answer."""
        ordered = sorted(self._newest(KEPT)[0])
        if not ordered:
            return [0.0 for _ in shares]
        last = len(ordered) - 1
        return [ordered[min(last, int(share * len(ordered)))] for share in shares]


def _count(buckets: dict[int, float], values: list[float], weight: float) -> None:
    """`bucket` of each value, written out where it is 1 or more: this is done a thousand times at once on the front's event loop."""
    numbers = Counter([ONE + int(log(v) * SCALE) if v >= 1.0 else bucket(max(0.0, v)) for v in values])
    for number, count in numbers.items():
        buckets[number] = buckets.get(number, 0.0) + count * weight
