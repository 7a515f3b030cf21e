"""What a busy worker of a variant costs in CPU, and whether the machine has any idle: what sharing goes by in production.

Owns the learning. A worker that computes keeps one CPU busy, one that waits for another service hardly any. On a full machine what a
worker *uses* says nothing (eight that compute on two CPUs use a quarter each), so what it was ready to use while another ran counts as
well. Does not know where it was measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from clary.domain.machine.usage import Used
from clary.domain.scaling.signals import Sample

KEPT = 0.8  # of what was known, at each look (every 5 s)
ENOUGH = 0.25  # seconds of work that say what a worker costs
LONG = 2.0  # seconds of a request from which on workers are counted while they work, not when they are done
IDLE = 0.05  # of the machine: with less it is full
WAITS = 0.2  # of a worker's time: who computes and waits for a CPU longer than that gains nothing by more workers
COMPUTES = 0.5  # CPUs of a worker from which on it does


class Cost(NamedTuple):
    """Sums of the last half minute or so: seconds that workers were busy, and what they used and waited for in them."""

    busy: float = 0.0
    used: float = 0.0
    waited: float = 0.0

    @property
    def worker(self) -> float:
        """CPUs that a busy worker would keep busy if it had them; 0 while nobody knows. Waiting makes no more than one of it: only its
        first thread is looked at, and how long workers were busy is no exact figure."""
        if self.busy < ENOUGH:
            return 0.0
        uses = self.used / self.busy
        return max(uses, min(1.0, uses + self.waited / self.busy))

    @property
    def waits(self) -> float:
        """The part of their time in which workers wait for a CPU. Less than one: who is done has used some."""
        return self.waited / max(self.busy, self.used + self.waited) if self.waited > 0.0 else 0.0

    @property
    def starved(self) -> bool:
        """Whether more workers would only wait for the same CPUs, where none is idle."""
        return self.waits > WAITS and self.worker >= COMPUTES


class Strain(NamedTuple):
    """What the machine's fullness means for one variant. `cost` of a worker in CPUs (0: unknown); `ceiling`: no more workers may be busy
    (0: none is set), of `wanted`; `waits`: the part of its service time in which workers wait for a CPU; `full`: more workers, larger or
    more replicas would have no CPU to run on."""

    cost: float = 0.0
    ceiling: int = 0
    wanted: int = 0
    waits: float = 0.0
    full: bool = False


EASY = Strain()


def learn(cost: Cost, used: Used, busy: float) -> Cost:
    """After another look, in which workers were busy for so many seconds together."""
    if busy <= 0.0:
        return cost
    return Cost(KEPT * cost.busy + busy, KEPT * cost.used + used.used, KEPT * cost.waited + used.waited)


def busy_seconds(samples: Iterable[Sample], since: float, working: int) -> float:
    """Seconds that workers were busy since then. Requests of seconds are counted while they run: when they are done is by chance."""
    seen = [sample for sample in samples if sample.time > since]
    return sum(
        sample.completions * sample.service if sample.service < LONG else min(sample.in_flight, working)
        for sample in seen
    )


def is_full(cpus: int, seconds: float, idle: float, used: float) -> bool:
    """Whether the machine had no CPU to give in the last `seconds`, of which its CPUs were idle for `idle` together and replicas used
    `used`. (In a container the host may be idle while what the container may use is not.)"""
    return seconds > 0.0 and (idle < IDLE * cpus * seconds or used > (1.0 - IDLE) * cpus * seconds)


def undisturbed(samples: Iterable[Sample], waits: float) -> tuple[Sample, ...]:
    """As they would be if workers had not waited for a CPU: a service time that others stretch asks for no workers."""
    if waits <= 0.0:
        return tuple(samples)
    return tuple(sample._replace(service=sample.service * (1.0 - waits)) for sample in samples)
