"""What jobs' and replicas' sandboxes have alike: the toolkit's folder, and an environment at its own path."""

from __future__ import annotations

from collections.abc import Sequence

from clary.domain.machine.workload import Files, Mount, MountMode, Result, Workload
from clary.ports import Environment

LIBRARY = "/opt/clary/lib"


def short_workload(
    key: str,
    module: str,
    spec: str,
    environment: Environment,
    files: Sequence[Files],
    memory: int,
    seconds: float,
    results: Sequence[Result] = (),
) -> Workload:
    """A module of the toolkit that does one thing and ends, told by the JSON file `spec`: without a network, behind everything else, and
    ended after `seconds`. By value: its output is kept as long as the run. Memory in bytes."""
    return Workload(
        key=key,
        command=(environment.python, "-m", f"clary.toolkit.{module}", spec),
        environment={"PYTHONPATH": LIBRARY, "PYTHONUNBUFFERED": "1"},
        mounts=environment_mounts(environment, MountMode.READ_ONLY),
        files=tuple(files),
        results=tuple(results),
        background=True,
        memory=memory,
        network=False,
        stop_grace=0.0,
        max_runtime=seconds,
    )


def rooted_workload(
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
    """The same in a folder that the caller made, over folders of the caller's."""
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
