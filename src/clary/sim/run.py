"""One run: a policy over a trace's requests, and what came of it.

Owns the clockwork between compiled events and decisions, the starts of replicas, and the score. The policy is called as in production,
with `(samples, current, last_change, now)`, once each `interval` seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy

from clary.domain.scaling.signals import Current, Desired, Memory, Policy, Sample
from clary.sim import events
from clary.sim.seen import Seen
from clary.sim.traces import Requests, services

UNSCORED = 60.0  # seconds at the beginning
LATE_WEIGHT = 200.0  # of the share of requests late, against cost over the optimum's


@dataclass(frozen=True, slots=True)
class World:
    """How replicas behave. `start` is the mean of a start in seconds (coefficient of variation `start_spread`), `failing` the share of
    starts that fail, `resize` how long an unparked worker takes, `host` the workers that the machine can run at once, `allowance` a
    replica's ceiling, `ready` the workers that it holds while it starts. `starts` are measured ones, taken in turn instead of drawn."""

    start: float = 1.2
    start_spread: float = 0.25
    failing: float = 0.0
    resize: float = 0.005
    host: int = 4096
    allowance: int = 8
    ready: int = 2
    interval: float = 1.0
    first: int = 0  # replicas at the beginning; 0: what the first minute needs
    seed: int = 11
    starts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class RunResult:
    """Of one run. Costs in vCPU-seconds; `late` a share; `recovery` is kept for runs with a step."""

    late: float
    cost: float
    work: float
    reversals_hour: float
    sizes_second: float
    p99_over_work: float
    failed_starts: int
    done: int
    waiting: int
    latency: Any = field(repr=False)
    late_at: Any = field(repr=False)
    seconds: Any = field(repr=False)
    decided: list[tuple[float, int]] = field(repr=False)

    def score(self, optimum: float) -> float:
        return self.cost / optimum + LATE_WEIGHT * self.late


class Run:
    """State of one run between two decisions."""

    def __init__(self, requests: Requests, world: World) -> None:
        self.requests, self.world = requests, world
        self.length = math.ceil(requests.length)
        # Past the end of the arrivals what waits is served to the objective, so that late is late and not cut off.
        self.after = math.ceil(requests.objective) + 1
        self.cost = 0.0
        self.state = events.state(len(requests.arrivals), self.length + self.after)
        self.samples: list[Sample] = []
        draws = numpy.random.default_rng(world.seed)
        self.starts = numpy.array(world.starts or services(4096, max(world.start, 1e-9), world.start_spread, draws))
        self.fails = draws.random(4096) < world.failing
        self.decided: list[tuple[float, int]] = []
        self.turns, self.way = 0, 0
        state = self.state
        mean, count = float(requests.work.mean()), len(requests.arrivals)
        state["figures"][events.MEAN] = mean
        state["figures"][events.SQUARE] = float((requests.work**2).mean())
        state["counts"][events.DONE] = min(count, events.RECENT)
        early = float(requests.work[requests.arrivals < 60.0].sum()) / 60.0
        state["counts"][events.LIVE] = world.first or max(1, math.ceil(1.5 * early / world.ready))
        order = state["order"]
        names = ("counts", "figures", "order", "times", "items", "idle", "ready", "fails")
        self.arrays: list[Any] = [state[name] for name in names]
        self.arrays += [requests.arrivals, requests.work, state["ended"], state["seconds"]]
        self.memory, self.changed = Memory(), -math.inf
        order[:] = (0.0, 1.0, requests.objective, events.WORKERS, 0.5, world.ready, 0.0, world.host, world.ready)

    def through(self, policy: Policy) -> RunResult:
        """All of it."""
        now = 0.0
        while now < self.end:
            now = self.next(now)
            self.advance(now)
            self.decide(policy, now)
        return self.result()

    @property
    def end(self) -> int:
        return self.length + self.after

    def next(self, now: float) -> float:
        """When the policy decides after `now`."""
        return min(now + self.world.interval, float(self.length if now < self.length else self.end))

    def advance(self, now: float) -> None:
        """All events up to `now`, and what its front tells of them."""
        events.advance(now, *self.arrays)
        state = self.state
        for row in range(len(self.samples), int(state["counts"][events.SECOND])):
            seen = state["seconds"][row].tolist()
            counts = [int(value) for value in seen[:5]]
            sample = Seen(row + 1.0, counts[0], counts[1], counts[2], counts[3], counts[4], seen[5], seen[6])
            sample.busy, sample.inside = seen[7], seen[10]
            self.samples.append(sample)
        if now == self.length:
            self.cost = float(state["figures"][events.COST])

    def decide(self, policy: Policy, now: float, room: int | None = None) -> Desired:
        """Let the policy decide, and do it. `room` is how many replicas can be started, where that is limited."""
        world, counts = self.world, self.state["counts"]
        before = int(counts[events.LIVE] + counts[events.STARTING])
        desired = policy.decide(self.samples, self._current(self.memory), self.changed, now)
        self.memory = desired.memory
        order = self.state["order"]
        order[events.RATE], order[events.DELTA] = desired.rate, desired.delta
        order[events.BASE], order[events.HOLD] = desired.base, desired.hold
        order[events.ALLOWANCE] = desired.allowance
        order[events.READY_COST] = min(world.ready, desired.allowance)
        order[events.RESIZE] = 0.0 if desired.base >= desired.count * desired.allowance else world.resize
        count = desired.count if room is None else min(desired.count, max(before, before + room))
        if count != before:
            self._resize(before, count, now)
            self.changed = now
        return desired

    def _current(self, memory: Memory) -> Current:
        counts = self.state["counts"].tolist()
        return Current(
            counts[events.LIVE],
            counts[events.STARTING],
            "starts fail" if counts[events.FAILED] else "",
            self.world.allowance,
            self.world.start * (1.0 + 1.645 * self.world.start_spread),
            self.world.resize,
            counts[events.ALLOWED] > self.state["order"][events.BASE],
            memory,
        )

    def _resize(self, before: int, count: int, now: float) -> None:
        """Start or give up replicas; those that are not ready go first."""
        counts, way = self.state["counts"], 1 if count > before else -1
        if self.way not in (0, way):
            self.turns += 1
        self.way = way
        self.decided.append((now, count))
        for _ in range(before, min(count, events.REPLICAS - 1)):
            drawn, place = int(counts[events.DRAWN]) % len(self.starts), int(counts[events.STARTING])
            self.state["ready"][place] = now + (self.starts[drawn] if self.world.start > 0 else 0.0)
            self.state["fails"][place] = self.fails[drawn]
            counts[events.DRAWN] += 1
            counts[events.STARTING] += 1
        for _ in range(count, before):
            if counts[events.STARTING]:
                counts[events.STARTING] -= 1
            else:
                counts[events.LIVE] -= 1

    def result(self) -> RunResult:
        state, requests = self.state, self.requests
        ended = state["ended"]
        # What a worker has begun ends when it ends, also after the run: its latency is known. What waits is late.
        latency = ended - requests.arrivals
        late = latency > requests.objective
        scored = requests.arrivals >= UNSCORED
        total = int(scored.sum())
        finite = numpy.sort(latency[scored])
        p99 = float(finite[min(total - 1, round(0.99 * total))]) if total else math.nan
        hours = self.length / 3600.0
        return RunResult(
            float((late & scored).sum() / max(total, 1)),
            self.cost,
            float(requests.work.sum()),
            self.turns / hours,
            float(state["counts"][events.TURNS] / self.length),
            p99 / float(requests.work.mean()),
            int(state["counts"][events.FAILED]),
            int(numpy.isfinite(ended).sum()),
            int(state["counts"][events.TAIL] - state["counts"][events.HEAD]),
            latency,
            requests.arrivals[late],
            state["seconds"][: self.length],
            self.decided,
        )


def run(policy: Policy, requests: Requests, world: World | None = None) -> RunResult:
    """One policy over these requests."""
    return Run(requests, world or World()).through(policy)


def recovery(result: RunResult, arrivals: Any, step: float, until: float) -> tuple[float, float]:
    """Seconds after a step until the last second in which more than 5 % of the arrivals were late, and the share that was late until
    then (0 to 1)."""
    bins = numpy.arange(step, until + 1.0)
    arrived = numpy.histogram(arrivals, bins)[0]
    late = numpy.histogram(result.late_at, bins)[0]
    bad = numpy.nonzero(late > 0.05 * arrived)[0]
    return (float(bad[-1] + 1) if len(bad) else 0.0), float(late.sum() / max(arrived.sum(), 1))
