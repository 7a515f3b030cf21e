"""What the control groups that Clary itself was started in leave it of the machine: a container's or a service's memory and CPU.

Reads only. Every group above counts too: the tightest one is the bound.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from clary.backends.cgroups import own_groups

_NONE = 1 << 60  # version 1 has no word for "no limit", but a number about as large as there are


@dataclass(frozen=True, slots=True)
class OwnLimits:
    """Folders of the groups, each with its version: those with a memory and those with a CPU controller, the nearest first."""

    memory: tuple[tuple[int, str], ...] = ()
    cpu: tuple[tuple[int, str], ...] = ()

    def bytes(self) -> tuple[int, int] | None:
        """The limit of memory, and what is free below it (what was only cached may be dropped); None: there is no limit."""
        found = [(limit, max(0, limit - _used(*place))) for place in self.memory if (limit := _limit(*place))]
        return (min(limit for limit, _ in found), min(free for _, free in found)) if found else None

    def cpus(self) -> float | None:
        """CPUs that may be used together; None: all."""
        return min((quota for place in self.cpu if (quota := _quota(*place))), default=None)


def usable(affine: int, quota: float | None) -> int:
    """The CPUs that we have: of those that we may run on, as many as the groups' quotas let us use at once; at least one."""
    return affine if quota is None else max(1, min(affine, math.ceil(quota)))


def cpus() -> int:
    """Of this process, now."""
    return usable(len(os.sched_getaffinity(0)), own().cpus())


@lru_cache(maxsize=1)
def own() -> OwnLimits:
    """Those of this process. Found once: a process that starts others in groups does not change its own. The limits are read again."""
    return find()


def find(proc: str = "/proc/self") -> OwnLimits:
    """The groups of this process."""
    own = own_groups(Path(proc, "cgroup").read_text(), Path(proc, "mountinfo").read_text())
    memory: list[tuple[int, str]] = []
    cpu: list[tuple[int, str]] = []
    for version, folder, controllers in own:
        for found, name, file in (
            (memory, "memory", "memory.max" if version == 2 else "memory.limit_in_bytes"),
            (cpu, "cpu", "cpu.max" if version == 2 else "cpu.cfs_quota_us"),
        ):
            if version == 2 or name in controllers:
                places = (Path(folder), *Path(folder).parents)
                found += [(version, str(place)) for place in places if (place / file).is_file()]
    return OwnLimits(tuple(memory), tuple(cpu))


def _limit(version: int, folder: str) -> int:
    """Bytes; 0: none."""
    limit = _number(folder, "memory.max" if version == 2 else "memory.limit_in_bytes")
    return limit if 0 < limit < _NONE else 0


def _used(version: int, folder: str) -> int:
    used = _number(folder, "memory.current" if version == 2 else "memory.usage_in_bytes")
    key = "inactive_file " if version == 2 else "total_inactive_file "
    cached = sum(
        int(line.removeprefix(key)) for line in _text(folder, "memory.stat").splitlines() if line.startswith(key)
    )
    return max(0, used - cached)


def _quota(version: int, folder: str) -> float:
    """CPUs; 0: no limit."""
    if version == 2:
        quota, _, period = _text(folder, "cpu.max").partition(" ")
        return int(quota) / int(period) if quota.isdigit() and period.strip().isdigit() else 0.0
    quota_us, period_us = _number(folder, "cpu.cfs_quota_us"), _number(folder, "cpu.cfs_period_us")
    return quota_us / period_us if quota_us > 0 and period_us > 0 else 0.0


def _number(folder: str, file: str) -> int:
    """0 where there is none, or a word instead of it."""
    text = _text(folder, file).strip()
    return int(text) if text.isdigit() else 0


def _text(folder: str, file: str) -> str:
    try:
        return Path(folder, file).read_text()
    except OSError:
        return ""
