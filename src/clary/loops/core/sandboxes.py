"""What jobs' and replicas' sandboxes have alike: the toolkit's folder, and an environment at its own path."""

from __future__ import annotations

from clary.domain.machine.workload import Mount, MountMode
from clary.ports import Environment

LIBRARY = "/opt/clary/lib"


def environment_mounts(environment: Environment, mode: MountMode) -> tuple[Mount, ...]:
    """The environment at its own path (an overlay lets a job pip-install into it), and what it needs read-only."""
    others = tuple(Mount(path, path) for path in environment.mounts)
    return (*others, Mount(environment.path, environment.path, mode))
