"""What a sandbox that waits must have in common with a run, for that run to begin in it. Pure.

What is set when a sandbox is made must be equal; what can be mounted later (`shim/mounts.py`) may come with the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.backends.sandbox import effective_environment
from clary.domain.machine.workload import Mount, MountMode, Workload

_EQUAL = (
    "cpu",
    "burst",
    "background",
    "memory",
    "pids",
    "disk",
    "network",
    "fronts",
    "connects",
    "hostname",
    "gpus",
    "installs",
)


def shape(workload: Workload) -> dict[str, Any]:
    """What is set of a sandbox once it is made, as it is written down."""
    packages = workload.packages
    return {
        **{name: getattr(workload, name) for name in _EQUAL},
        "packages": [packages.runtime, packages.hash] if packages else None,
        "mounts": [_shown(mount) for mount in workload.mounts],
    }


def further(workload: Workload, made: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The mounts that a run needs beside those of a sandbox of that shape, those further up first. None: it cannot begin there."""
    wanted = shape(workload)
    if workload.gpus or workload.container is not None or len(workload.hosts) > 1:
        return None
    if {**wanted, "mounts": None} != {**made, "mounts": None}:
        return None
    if any(mount not in wanted["mounts"] for mount in made["mounts"]):
        return None
    more = [mount for mount in workload.mounts if _shown(mount) not in made["mounts"]]
    return [
        {"source": each.source, "target": each.target, "mode": each.mode.value, "size": workload.memory}
        for each in sorted(more, key=lambda each: each.target.count("/"))
    ]


def order(workload: Workload) -> dict[str, Any]:
    """What the interpreter that waits is told. Holds secrets."""
    return {
        "command": list(workload.command),
        "environment": effective_environment(workload),
        "cwd": workload.cwd,
    }


def inherited(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What of the sandbox's own a run in it has, as the shim is told: its processes are counted and ended by these."""
    names = ("uid", "mark", "join", "groups", "folders", "counters", "network", "affinity", "rlimits", "memory")
    return {name: spec[name] for name in names}


def _shown(mount: Mount) -> list[str]:
    return [mount.source, mount.target, MountMode(mount.mode).value]
