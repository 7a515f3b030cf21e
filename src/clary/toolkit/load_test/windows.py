"""What was asked and answered, window by window: throughput, latency, and when more load is of no use. Pure."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

WINDOW = 5.0  # seconds of a longer phase that are counted together
FAILING = 0.01  # share of failed requests from which a window does not count
GAIN = 1.05  # by how much a window must be better than the best before, not to be flat
FLAT = 2  # windows in a row that bring no gain with more users


class Phase(NamedTuple):
    """Users at its beginning, users that come in a minute, seconds."""

    users: int
    spawn: float
    seconds: float

    def users_at(self, second: float) -> int:
        return int(self.users + self.spawn * second / 60)


class TimedAnswer(NamedTuple):
    """One request that ended: epoch seconds, seconds that it took, the error or ''."""

    at: float
    took: float
    error: str


class LoadWindow(NamedTuple):
    """One window: epoch seconds, users at its end, and the requests that ended in it."""

    began: float
    ended: float
    users: int
    answered: Sequence[TimedAnswer]

    @property
    def failed(self) -> int:
        return sum(1 for each in self.answered if each.error)

    @property
    def counts(self) -> bool:
        return len(self.answered) > self.failed and self.failed <= FAILING * len(self.answered)

    @property
    def per_minute(self) -> float:
        """Requests that were answered well."""
        return (len(self.answered) - self.failed) * 60.0 / max(self.ended - self.began, 1e-9)

    def percentile_ms(self, percentile: float) -> float:
        """Of the latencies of good answers, by nearest rank: a value that was measured."""
        took = sorted(each.took for each in self.answered if not each.error)
        return 1000.0 * took[max(0, math.ceil(percentile / 100.0 * len(took)) - 1)] if took else math.nan


def cuts(phase: Phase) -> List[Tuple[float, float]]:
    """The windows of a phase, as seconds from its beginning."""
    number = max(1, int(phase.seconds / WINDOW))
    return [(phase.seconds * at / number, phase.seconds * (at + 1) / number) for at in range(number)]


def within(window: LoadWindow, limits: Mapping[str, Any]) -> bool:
    """Whether it counts, and keeps the latency that was asked for."""
    latency = limits.get("latency")
    return window.counts and (not latency or window.percentile_ms(latency[0]) <= latency[1])


def best(windows: Sequence[LoadWindow], limits: Mapping[str, Any]) -> Optional[LoadWindow]:
    """The one with the most answers of those within the limits."""
    good = [window for window in windows if within(window, limits)]
    return max(good, key=lambda window: window.per_minute) if good else None


def over(windows: Sequence[LoadWindow], limits: Mapping[str, Any]) -> str:
    """Why the test need not go on; "" while it shall."""
    last = windows[-1]
    if not last.counts:
        return "requests fail"
    if not within(last, limits):
        return "latency"
    if limits.get("most") and last.per_minute >= limits["most"]:
        return "invocations"
    if limits.get("flat") and _flat(windows):
        return "flat"
    return ""


def _flat(windows: Sequence[LoadWindow]) -> bool:
    """The last windows had more users than the best of those before, and brought no gain."""
    before, last = windows[:-FLAT], windows[-FLAT:]
    if not before:
        return False
    most = max(before, key=lambda window: window.per_minute)
    return all(each.users > most.users and each.per_minute < GAIN * most.per_minute for each in last)


def told(windows: Sequence[LoadWindow], limits: Mapping[str, Any], why: str) -> Optional[Dict[str, Any]]:
    """The result; None where no window is within the limits."""
    found = best(windows, limits)
    if found is None:
        return None
    percentile = (limits.get("latency") or [95.0])[0]
    return {
        "invocations": int(found.per_minute),
        "latency_ms": round(found.percentile_ms(percentile), 3),
        "p50_ms": round(found.percentile_ms(50), 3),
        "p99_ms": round(found.percentile_ms(99), 3),
        "users": found.users,
        "requests": sum(len(window.answered) for window in windows),
        "failed": sum(window.failed for window in windows),
        "began": windows[0].began,
        "ended": windows[-1].ended,
        "why": why or "done",
    }


def refusal(windows: Sequence[LoadWindow], limits: Mapping[str, Any]) -> str:
    """Why there is no result, in a sentence."""
    errors = [each.error for window in windows for each in window.answered if each.error]
    counting = [window for window in windows if window.counts]
    if counting:
        percentile, value = limits["latency"]
        least = min(window.percentile_ms(percentile) for window in counting)
        return "The latency P{:g} is {:.1f} ms at best; the threshold is {} ms.".format(percentile, least, value)
    if errors:
        asked = sum(len(window.answered) for window in windows)
        return "{} of {} requests failed: {}".format(len(errors), asked, errors[0])
    return "No request was answered in the time of the traffic pattern."
