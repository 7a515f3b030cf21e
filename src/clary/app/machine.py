"""What this machine has and what is left of it, measured now: of the whole machine, or of what the container around Clary may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import psutil

from clary.backends.own_limits import OwnLimits, own, usable
from clary.domain.machine.capacity import Machine

_MOMENT = 0.2  # seconds


def measure(
    gpus: int = 0, slots: int = 0, name: str = "", zone: str = "", labels: tuple[tuple[str, str], ...] = ()
) -> Machine:
    """`gpus`: as many as the backend hands out. `slots`: hosts of jobs that may run at once (0: one per core). `name`, `zone` and `labels`
    are those that the book of machines has of it."""
    memory = psutil.virtual_memory()
    found = Machine(len(os.sched_getaffinity(0)), memory.total, memory.available, gpus, slots, name, zone, labels)
    return within(found, own())


class Momentary:
    """A machine measured once in a moment: all decisions of that moment see the same. What Clary itself gave away since is in the ledger,
    not here. `monotonic` tells seconds."""

    def __init__(
        self, measured: Callable[[], Machine], monotonic: Callable[[], float], moment: float = _MOMENT
    ) -> None:
        self._measured, self._monotonic, self._moment = measured, monotonic, moment
        self._last: tuple[float, Machine] | None = None

    def __call__(self) -> Machine:
        now = self._monotonic()
        last = self._last
        if last is None or not 0 <= now - last[0] < self._moment:
            self._last = last = now, self._measured()
        return last[1]


def idle_seconds() -> float:
    """Seconds that the machine's CPUs were idle, together and since it started."""
    times = psutil.cpu_times()
    return float(times.idle + getattr(times, "iowait", 0.0))


def within(machine: Machine, limits: OwnLimits) -> Machine:
    """The part of the machine that these limits leave."""
    cpus = usable(machine.cpus, limits.cpus())
    total, free = limits.bytes() or (machine.memory, machine.available)
    memory, available = min(machine.memory, total), min(machine.available, free)
    return replace(machine, cpus=cpus, memory=memory, available=available)
