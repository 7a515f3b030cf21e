"""What processes used of the machine: CPU time, the time that they waited for a CPU, and memory. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Used(NamedTuple):
    """Of all replicas of one variant, in the last `seconds`: CPU seconds that they `used`, and that they were ready to use while others
    ran (`waited`)."""

    seconds: float
    used: float
    waited: float = 0.0

    @property
    def cpus(self) -> float:
        return self.used / self.seconds if self.seconds > 0.0 else 0.0

    def plus(self, other: Used) -> Used:
        """Of two replicas in the same time."""
        return Used(max(self.seconds, other.seconds), self.used + other.used, self.waited + other.waited)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a replica, or a host of a job, used at a moment: CPU seconds since it started, memory in bytes of `limit`. `waited`: seconds in
    which it was ready to use a CPU and others did."""

    started: float
    at: float
    cpu_seconds: float
    memory: int
    limit: int
    waited: float = 0.0

    def since(self, before: Usage | None) -> Used | None:
        """What it used since `before`; None where that was another run, or nobody looked before. A process that waited and stopped is
        not counted any more: the sum may fall."""
        if before is None or before.started != self.started or self.at <= before.at:
            return None
        cpu, waited = self.cpu_seconds - before.cpu_seconds, self.waited - before.waited
        return Used(self.at - before.at, max(0.0, cpu), max(0.0, waited))

    def shares(self, before: Usage | None) -> tuple[float | None, float | None]:
        """vCPUs that were busy since `before`, and the share of its memory's limit in use; None for what is not known."""
        grown = self.since(before)
        return None if grown is None else grown.cpus, self.memory / self.limit if self.limit else None
