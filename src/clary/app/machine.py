"""What this machine has and what is left of it, measured now."""

from __future__ import annotations

import os

import psutil

from clary.domain.capacity import Machine


def measure(gpus: int = 0, slots: int = 0) -> Machine:
    """`gpus`: as many as the backend hands out. `slots`: hosts of jobs that may run at once (0: one per core)."""
    memory = psutil.virtual_memory()
    return Machine(len(os.sched_getaffinity(0)), memory.total, memory.available, gpus, slots)
