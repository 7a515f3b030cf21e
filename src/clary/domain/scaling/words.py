"""Sentences of a decision's reasons, as `clary why` tells them. Owns the wording; the figures are the reason's."""

from __future__ import annotations

import math
from collections.abc import Callable

from clary.domain.scaling.signals import Desired, Reason, Term

LONG = 86_400.0  # seconds since none was removed lately, or ever


def sentence(desired: Desired, before: int) -> str:
    """One sentence: what was decided, and the term that won with its figures."""
    change = desired.count - before
    did = (
        f"Keep {_replicas(before)}"
        if not change
        else f"{'Add' if change > 0 else 'Remove'} {abs(change)}, to {_replicas(desired.count)}"
    )
    return f"{did}: {_because(desired.reason)}."


def _because(reason: Reason) -> str:
    for term in reason.terms:
        if term.name == reason.won:
            return (
                _TEXTS[reason.won](term, dict(term.of))
                if reason.won in _TEXTS
                else f"{reason.won} wants {term.wanted:g}"
            )
    return reason.won


def _replicas(count: int) -> str:
    return f"{count} replica" if count == 1 else f"{count} replicas"


def _are(count: float) -> str:
    return f"{count:.0f} {'is' if count == 1 else 'are'}"


def _workers(count: float) -> str:
    return f"{count:.0f} worker" if count == 1 else f"{count:.0f} workers"


def _stale(term: Term, of: dict[str, float]) -> str:
    if math.isinf(of["age"]):
        return "no samples arrived in the last seconds, so the size stays as it is"
    return f"the newest sample is {of['age']:.0f} s old, so the size stays as it is"


def _load(term: Term, of: dict[str, float]) -> str:
    text = (
        f"{of['rate']:.2f} requests a second of {of['service'] * 1000:.0f} ms need {_workers(of['need'])} now, "
        f"at most {of['peak']:.0f} lately"
    )
    return text + (f", and {of['short']:.0f} more than all replicas can boost to" if of["short"] else "")


_TEXTS: dict[str, Callable[[Term, dict[str, float]], str]] = {
    "load": _load,
    "surge": lambda term, of: (
        f"{of['surge']:g} times the recent peak must fit into the largest number of workers of the replicas"
    ),
    "forecast": lambda term, of: f"this time of day usually needs {_replicas(int(term.wanted))}",
    "least": lambda term, of: f"the minimum is {_replicas(int(term.wanted))}",
    "most": lambda term, of: f"{_are(of['asked'])} wanted, and the maximum is {term.wanted:.0f}",
    "calm": lambda term, of: (
        ("1 request waits" if of["queued"] == 1 else f"{of['queued']:.0f} requests wait")
        if of["queued"]
        else (f"the last one was removed {of['since']:.0f} s ago, and " if of["since"] < LONG else "")
        + "one goes each 10 s, when no worker is boosted"
    ),
    "spare": lambda term, of: (
        f"{of['spare']:g} times the recent peak of {_workers(of['peak'])} would require the last one again"
    ),
    "stale": _stale,
    "unmeasured": lambda term, of: "the front has measured no request yet, so what one costs is unknown",
}
