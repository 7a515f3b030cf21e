"""What jobs' and replicas' sandboxes have alike: the toolkit's folder, and an environment at its own path."""

from __future__ import annotations

from collections.abc import Sequence

from clary.domain.machine.workload import Mount, MountMode, Workload
from clary.ports import Environment

LIBRARY = "/opt/clary/lib"


def short_workload(
    key: str,
    root: str,
    module: str,
    spec: str,
    environment: Environment,
    mounts: Sequence[Mount],
    log_path: str,
    memory: int,
    seconds: float,
) -> Workload:
    """A module of the toolkit that does one thing and ends, told by the JSON file `spec`: without a network, behind everything else, and
    ended after `seconds`. Memory in bytes."""
    return Workload(
        key=key,
        root=root,
        command=(environment.python, "-m", f"clary.toolkit.{module}", spec),
        environment={"PYTHONPATH": LIBRARY, "PYTHONUNBUFFERED": "1"},
        mounts=(*environment_mounts(environment, MountMode.READ_ONLY), *mounts),
        log_path=log_path,
        background=True,
        memory=memory,
        network=False,
        stop_grace=0.0,
        max_runtime=seconds,
    )


def environment_mounts(environment: Environment, mode: MountMode) -> tuple[Mount, ...]:
    """The environment at its own path (an overlay lets a job pip-install into it), and what it needs read-only."""
    others = tuple(Mount(path, path) for path in environment.mounts)
    return (*others, Mount(environment.path, environment.path, mode))
