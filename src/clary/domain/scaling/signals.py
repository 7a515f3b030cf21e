"""The input and the output of a policy.

Owns the value types between fronts, loop, policy and simulator. Does not know where a number was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

STALE = 3.0  # seconds after which what was seen decides nothing


class Sample(NamedTuple):
    """One second of one variant, as its front counted it. `time` is the end of the second (epoch seconds). `arrivals` are requests
    begun, not requests done: a long stream counts while it runs. `service` is seconds of one worker a request, `spread` the squared
    coefficient of variation of that (both over the last 200 completions; 0 requests done ever: `service` is 0)."""

    time: float
    arrivals: int
    completions: int
    in_flight: int
    queued: int
    late: int
    service: float
    spread: float


class Memory(NamedTuple):
    """What a policy carries from one decision to the next. Plain numbers, so that a record can keep it over a restart of the control
    plane. `steps` and `sums` are the decayed terms of the arrivals' variability, `peaks` the highest need of each of the last minutes
    as (minute, workers), oldest first. `shrunk` is when a replica was last given up, `busy` when there was last a request."""

    seen: float = 0.0
    last: int = -1
    steps: float = 0.0
    sums: float = 0.0
    peaks: tuple[tuple[int, float], ...] = ()
    shrunk: float = 0.0
    busy: float = 0.0


@dataclass(frozen=True, slots=True)
class Current:
    """What there is. `starting` replicas count as capacity: they are not started twice. `allowance` is the most workers a replica may
    keep busy, `start` the 95th percentile of this model's start in seconds, `wake` that of giving a parked worker work. `boosting` is
    whether more workers are busy than the last decision's base."""

    count: int
    starting: int = 0
    failing: str = ""  # why starts fail; "" while they do not
    allowance: int = 8
    start: float = 1.2
    wake: float = 0.005
    boosting: bool = False
    memory: Memory = field(default_factory=Memory)


class Term(NamedTuple):
    """One candidate of a decision: its name, what it wanted, and the figures it came from, as (name, value)."""

    name: str
    wanted: float
    of: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision came out: every term, and the one that won."""

    won: str
    terms: tuple[Term, ...] = ()

    def term(self, name: str) -> Term:
        return next(term for term in self.terms if term.name == name)


@dataclass(frozen=True, slots=True)
class Desired:
    """`count` replicas, of which each may keep `allowance` workers busy. `base` workers of all together stay ready, `rate` requests a
    second are expected by the boost, which drains a queue in `delta` of `objective` and parks a worker after `hold` idle seconds."""

    count: int
    allowance: int
    base: int
    rate: float
    reason: Reason
    hold: float = 0.5
    delta: float = 1.0
    memory: Memory = field(default_factory=Memory)


class Policy(Protocol):
    """A pure object that decides a size."""

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired: ...
