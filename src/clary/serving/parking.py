"""Which workers of a variant with a latency objective may be busy; the others are parked (level 0 of scaling).

Owns the count of workers that may be busy, which rises at an arrival (the rule is `domain/scaling/boost.py`) and falls one by one when
a worker had nothing to do for the hold, and the service time that the rule goes by. A parked worker blocks on its socket and costs
memory only, so to unpark it is to give it work. Does not know HTTP, sockets and who sets the objective. Variants without one have
none of this.

There are no timers: what would have been parked since the last event is parked at the next, before anything is decided by it. Workers
are used like a stack, as in the simulator: level k had nothing to do since fewer than k were busy, and the top level is parked first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from clary.domain.endpoints.routes import Boost
from clary.domain.metrics.counts import Signals
from clary.domain.scaling.boost import allowed

RECENT = 200  # completions that the service time is averaged over
PATIENCE = 1.0  # of the time in which a queue is to be gone: who waited longer waits for workers that hang


class Arrived(Protocol):
    """A request that waits, and since when."""

    arrived: float


class Meter:
    """Seconds of one worker that a request takes: mean and spread of the last completions."""

    __slots__ = ("_square", "done", "mean")

    def __init__(self) -> None:
        self.done = 0
        self.mean = 0.0
        self._square = 0.0

    def took(self, each: float, count: int) -> None:
        """`count` requests took a worker `each` seconds."""
        self.done = done = self.done + count
        share = 1.0 / done if done < RECENT else 1.0 / RECENT
        share *= count
        if share > 1.0:
            share = 1.0
        mean = self.mean
        self.mean = mean + share * (each - mean)
        self._square += share * (each * each - self._square)

    @property
    def spread(self) -> float:
        """The squared coefficient of variation."""
        return max(0.0, self._square / self.mean**2 - 1.0) if self.mean > 0.0 else 0.0


class Metered(Protocol):
    """A replica as far as its workers are counted."""

    busy: int
    allowed: int
    draining: bool
    meter: Meter | None

    def alive(self) -> bool:
        """Whether it has workers."""
        ...


class Parking:
    """`most` workers of the variant may be busy, up to the `ceiling`: what its replicas allow (`supply`), and on a full machine its part of
    that. `replicas` is a live view of the variant's."""

    __slots__ = ("_bound", "_busy", "_idle", "_lapses", "_replicas", "boost", "ceiling", "meter", "most", "supply")

    def __init__(self, boost: Boost, replicas: Iterable[Metered]) -> None:
        self.boost = boost
        self.meter = Meter()
        self.supply = self.ceiling = self.most = 1
        self._bound, self._lapses = 0, 0.0
        self._replicas = replicas
        self._idle: list[float] = []
        self._busy = 0

    @staticmethod
    def of(old: Parking | None, boost: Boost | None, replicas: Iterable[Metered]) -> Parking | None:
        """Route or replicas changed: what is known of the variant stays."""
        if boost is None:
            for replica in replicas if old is not None else ():
                replica.meter = None
            return None
        parking = old or Parking(boost, replicas)
        parking.boost = boost
        parking.look()
        return parking

    def look(self) -> None:
        """What may be used in all, by the replicas that there are."""
        for replica in self._replicas:
            replica.meter = self.meter
        self.supply = max(1, sum(r.allowed for r in self._replicas if r.alive() and not r.draining))
        self.ceiling = min(self.supply, self._bound) if self._bound else self.supply
        self._idle += [0.0] * (self.ceiling - len(self._idle))
        self.most = min(max(self.most, self.base), self.ceiling)

    def bind(self, workers: int, lapses: float) -> None:
        """No more may be busy until then, of those that are not already; 0: as many as the replicas allow."""
        self._bound, self._lapses = workers, lapses
        self.look()

    @property
    def base(self) -> int:
        return min(max(1, self.boost.base), self.ceiling)

    @property
    def room(self) -> int:
        """How many more may be busy, as last decided."""
        return self.most - self._count()

    @property
    def full(self) -> bool:
        """Whether none is parked. While some are, nothing is sent ahead to one that is busy: it may hang."""
        return self.most >= self.ceiling

    def _count(self) -> int:
        return sum(replica.busy for replica in self._replicas)

    def admits(self, queue: Sequence[Arrived], now: float) -> bool:
        """Whether one more worker may be given what waits; if so, the caller gives it."""
        busy = self._count()
        self._park(busy, now)
        if busy >= self.most:
            self._raise(self._wanted(busy, queue, now), now)
        if busy >= self.most:
            return False
        self._busy = busy + 1
        return True

    def _wanted(self, busy: int, queue: Sequence[Arrived], now: float) -> int:
        """By the rate that scaling expects, and no other: what it leaves to the queue, the queue asks for."""
        boost, service, queued = self.boost, self.meter.mean, len(queue)
        if not service:
            return self.ceiling  # nobody knows yet what a request takes: nothing is saved on a guess
        if queued and now - queue[0].arrived > PATIENCE * boost.delta * boost.objective:
            busy += queued
        return allowed(busy, boost.rate, service, queued, self.base, self.ceiling, boost.objective, boost.delta)

    def _raise(self, wanted: int, now: float) -> None:
        for level in range(self.most, wanted):
            self._idle[level] = now
        self.most = max(self.most, wanted)

    def _park(self, busy: int, now: float) -> None:
        """Take in that fewer are busy than were, and park those that had nothing to do for the hold."""
        if self._bound and now >= self._lapses:
            self.bind(0, 0.0)
        for level in range(busy, min(self._busy, len(self._idle))):
            self._idle[level] = now
        self._busy = busy
        least = max(busy, self.base)
        while self.most > least and self._idle[self.most - 1] + self.boost.hold <= now:
            self.most -= 1

    def working(self, now: float) -> int:
        """How many workers may be busy, or are."""
        self._park(self._count(), now)
        return max(self.most, self._busy)


def signals(parking: Parking | None, late: int, now: float) -> Signals | None:
    """What scaling goes by; None for a variant without an objective. `late` answers there were so far."""
    if parking is None:
        return None
    return Signals(late, parking.meter.mean, parking.meter.spread, parking.working(now), parking.ceiling)
