"""A variant's recorded load played again under another policy, in steps of a second: what `clary scaling --what-if` rests on.

Owns the coarse model: work flows in and out, a queue has a wait, replicas come after a start. Does not know single requests (the
simulator's affair): a day must be played in seconds of CPU in plain Python. The policy is production's own, and is called as there, but
not each second: regularly, and in between when the load moves, as far as an allowance of calls goes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.shape import IDLE
from clary.domain.scaling.signals import Current, Desired, Memory, Policy, Reason, Sample
from clary.domain.scaling.staffing import tail

MINUTE = 60
UNKNOWN = -1
EVERY = 15  # seconds between two decisions
IDLE_EVERY = 60  # where nothing has come for that long
MORE, MOST_MORE = 0.05, 300.0  # calls between those: so many a second are saved up, at most so many
MEMORY = 0.05  # vCPU that a live replica's memory is worth
MOVED = 3.0  # standard deviations of the newest seconds from the rate that was decided by
FEW = 64  # workers; the formula for more takes longer, and is asked less often
WINDOW = 4
FIRST = 1.5


@dataclass(frozen=True, slots=True)
class Day:
    """`begin` in epoch seconds; `arrivals` of each second from there (`UNKNOWN`: nobody counted), `services` (seconds of one worker a
    request, and the squared coefficient of variation of that) of each minute."""

    begin: int
    arrivals: Sequence[int]
    services: Sequence[tuple[float, float]]


class Setup(NamedTuple):
    """A variant as its policy knows it: seconds of `objective`, `keep` and of its last `starts`; `ready` workers of a replica count in the
    fleet's size, `allowance` may be busy; the machine has CPUs for `cpus` busy workers of it. `first` replicas are there at the beginning
    (0: half as many again as the first minute needs)."""

    objective: float
    least: int
    most: int
    ready: int
    allowance: int
    keep: float
    cpus: int
    starts: tuple[float, ...]
    start: float
    first: int = 0

    @property
    def policy(self) -> ClaryPolicy:
        """A floor of the usual days is left out."""
        idle = IDLE * self.keep
        return ClaryPolicy(self.objective, self.least, self.most, self.ready, keep=self.keep, idle=idle)


class Bin(NamedTuple):
    """A part of the time, from `at` on. Of its known `seconds` together: requests, those of them that were late, replicas that were
    there or starting, and workers that were busy or stayed ready."""

    at: float
    seconds: int
    requests: int
    late: float
    replicas: int
    workers: float


class Played(NamedTuple):
    """`cost` over the least that is possible (the work itself, and the memory of the least replicas), `late` the share of requests that
    were (0 to 1), `most` replicas at once. `bins` have the rest, in order of time."""

    cost: float
    late: float
    most: int
    bins: tuple[Bin, ...]


def play(
    day: Day, policy: Policy, setup: Setup, boost: bool = True, every: int = MINUTE, width: int = MINUTE
) -> Played | None:
    """None of a day without a request. `boost`: the policy is asked when load moves, and more workers than it has ready may be busy;
    without it, it is asked each `every` seconds. `width`: seconds of a bin."""
    return _Replay(day, policy, setup, boost, every, width).through()


def _first(day: Day, setup: Setup) -> int:
    early = [count for count in day.arrivals[:MINUTE] if count != UNKNOWN]
    erlang = sum(early) / max(1, len(early)) * day.services[0][0]
    wanted = setup.first or max(1, math.ceil(FIRST * erlang / setup.ready))
    return min(max(wanted, setup.least), max(1, setup.most))


@dataclass(slots=True)
class _Tally:
    """A bin under way."""

    seconds: int = 0
    requests: int = 0
    late: float = 0.0
    replicas: int = 0
    workers: float = 0.0


class _Replay:
    """State of one replay between two seconds."""

    def __init__(self, day: Day, policy: Policy, setup: Setup, boost: bool, every: int, width: int) -> None:
        self.day, self.policy, self.setup, self.boost = day, policy, setup, boost
        self.every, self.width = every, width
        self.tallies = [_Tally() for _ in range(-(-len(day.arrivals) // width))]
        self.count, self.coming = _first(day, setup), list[float]()  # when those that start are ready
        self.started = 0
        self.most = self.count
        self.cost = self.work = 0.0
        self.seconds = 0
        self.queue = self.busy = 0.0  # worker-seconds that wait; workers that were busy in the last second
        self.samples: list[Sample] = []
        self.desired = Desired(self.count, setup.allowance, 0, 0.0, Reason("first"))
        self.memory, self.changed = Memory(), -math.inf
        self.due, self.spare, self.idle = float(day.begin), MOST_MORE, 0
        self.level, self.recent = 0.0, [0] * WINDOW
        self.service = self.spread = self.patience = 0.0

    def through(self) -> Played | None:
        arrivals, begin, place, end = self.day.arrivals, self.day.begin, 0, len(self.day.arrivals)
        while place < end:
            if place % MINUTE == 0 or self.service == 0.0:
                self._serve(place // MINUTE)
            count = arrivals[place]
            if count == UNKNOWN:
                place += 1
                continue
            still = count == 0 and self.queue == 0.0 and self.idle >= MINUTE and not self.coming
            if still:
                place += self._pass(place, end)
            else:
                self._second(begin + place, count)
                place += 1
            self._ask(float(begin + place))
        requests, late = sum(each.requests for each in self.tallies), sum(each.late for each in self.tallies)
        if not requests:
            return None
        bound = self.work + MEMORY * self.setup.least * self.seconds
        bins = (
            Bin(float(begin + place * self.width), each.seconds, each.requests, each.late, each.replicas, each.workers)
            for place, each in enumerate(self.tallies)
        )
        return Played(self.cost / bound, min(1.0, late / requests), self.most, tuple(bins))

    def _serve(self, minute: int) -> None:
        self.service, self.spread = self.day.services[minute]
        self.patience = max(0.0, self.setup.objective - tail(self.service, self.spread))

    def _second(self, at: int, count: int) -> None:
        """One second with something in it."""
        while self.coming and self.coming[0] <= at:
            self.coming.pop(0)
            self.count += 1
        setup = self.setup
        workers = self._workers()
        work = count * self.service
        late = self._late(at, count, work, workers)
        waits = self.queue + work
        self.busy = min(waits, workers)
        self.queue = waits - self.busy if waits > workers else 0.0
        self.work += work
        starting = len(self.coming) * min(setup.ready, setup.allowance)
        self._pay(at, 1, max(self._reserved(), self._held(workers)) + starting, count, late)
        self.idle = 0 if count or self.queue else self.idle + 1
        self.spare = min(self.spare + MORE, MOST_MORE)
        self.recent = [*self.recent[1:], count]
        queued = int(self.queue / self.service) if self.service else 0
        self._note(Sample(at + 1.0, count, count, math.ceil(self.busy) + queued, queued, 0, self.service, self.spread))

    def _pay(self, at: int, seconds: int, workers: float, requests: int = 0, late: float = 0.0) -> None:
        """For so many seconds of `workers`, and the replicas that there are."""
        tally = self.tallies[(at - self.day.begin) // self.width]
        tally.seconds += seconds
        tally.requests += requests
        tally.late += late
        tally.replicas += seconds * (self.count + len(self.coming))
        tally.workers += seconds * workers
        self.cost += seconds * (workers + MEMORY * self.count)
        self.seconds += seconds

    def _late(self, at: int, count: int, work: float, workers: int) -> float:
        """Requests of this second that wait longer than they may: the wait goes from that of the first to that of the last in a line."""
        if not count:
            return 0.0
        if workers:
            first, last = self.queue / workers, max(0.0, self.queue + work - workers) / workers
        else:
            first = (self.coming[0] - at) if self.coming else self._start()
            last = max(0.0, first - 1.0)
        low, high = min(first, last), max(first, last)
        if high <= self.patience:
            return 0.0
        return float(count) if low >= self.patience else count * (high - self.patience) / (high - low)

    def _pass(self, place: int, end: int) -> int:
        """Seconds without a request, up to the next that has one, is unknown, or in which a decision is due."""
        due = place + max(1, math.ceil(self.due - (self.day.begin + place)))
        # a minute has a service of its own, a bin its figures
        limit = min(end, due, *(place // each * each + each for each in (MINUTE, self.width)))
        until = place
        while until < limit and self.day.arrivals[until] == 0:
            until += 1
        passed = until - place
        self._pay(self.day.begin + place, passed, self._reserved())
        self.spare = min(self.spare + MORE * passed, MOST_MORE)
        self.busy, self.recent = 0.0, [0] * WINDOW
        for second in range(max(place, until - MINUTE), until):
            self._note(Sample(self.day.begin + second + 1.0, 0, 0, 0, 0, 0, self.service, self.spread))
        return passed

    def _workers(self) -> int:
        """That may be busy."""
        each = self.setup.allowance if self.boost else self.setup.ready
        return min(self.count * each, self.setup.cpus)

    def _reserved(self) -> int:
        """Workers that are paid for without work."""
        return min(self.desired.base, self._workers()) if self.boost else self._workers()

    def _held(self, workers: int) -> float:
        """Workers that are busy or wait to be parked. Where each request that waits gets one of its own, as many are held as were ever busy
        within the hold: about the most of so many independent looks at a Poisson number as services fit into it."""
        if not self.boost or self.desired.delta * self.setup.objective >= self.service or not self.busy:
            return self.busy
        looks = 1.0 + self.desired.hold / self.service
        return min(float(workers), self.busy + math.sqrt(2.0 * self.busy * math.log(looks)))

    def _note(self, sample: Sample) -> None:
        self.samples.append(sample)
        if len(self.samples) > 20 * MINUTE:
            del self.samples[:-MINUTE]

    def _start(self) -> float:
        starts = self.setup.starts
        return starts[self.started % len(starts)] if starts else self.setup.start

    # -- decisions ----------------------------------------------------------------------------------------------------------------

    def _ask(self, now: float) -> None:
        """Let the policy decide, when it is due, or the load has moved and calls are left."""
        dear = 1 + int(self.level * self.service) // FEW
        if now < self.due:
            if not self.boost or self.spare < dear or not self._moved():
                return
            self.spare -= dear
        every = IDLE_EVERY if self.idle >= MINUTE else EVERY
        self.due = now + (every * dear if self.boost else self.every)
        self.samples = self.samples[-MINUTE:]
        self.level = sum(sample.arrivals for sample in self.samples) / len(self.samples)
        setup, boosting = self.setup, self.busy > max(1, self.desired.base)
        current = Current(
            self.count,
            len(self.coming),
            allowance=setup.allowance,
            start=setup.start,
            boosting=boosting,
            memory=self.memory,
        )
        self.desired = self.policy.decide(self.samples, current, self.changed, now)
        self.memory = self.desired.memory
        self._resize(self.desired.count, now)

    def _moved(self) -> bool:
        if self.queue > 0.0:
            return True
        usual = WINDOW * self.level
        return abs(sum(self.recent) - usual) > MOVED * math.sqrt(usual + 1.0)

    def _resize(self, count: int, now: float) -> None:
        """Start or give up replicas; those that are not ready go first."""
        have = self.count + len(self.coming)
        if count != have:
            self.changed = now
        self.most = max(self.most, count)
        for _ in range(have, count):
            self.coming.append(now + self._start())
            self.started += 1
        for _ in range(count, have):
            if self.coming:
                self.coming.pop()
            else:
                self.count -= 1
        self.coming.sort()
