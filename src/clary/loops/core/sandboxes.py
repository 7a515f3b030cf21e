"""What jobs' and replicas' sandboxes have alike: the toolkit's folder, and short runs of its modules."""

from __future__ import annotations

from collections.abc import Sequence

from clary.domain.machine.workload import Environment, Files, Mount, Result, Workload

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
        packages=environment,
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
        packages=environment,
        mounts=tuple(mounts),
        log_path=log_path,
        background=True,
        memory=memory,
        network=False,
        stop_grace=0.0,
        max_runtime=seconds,
    )
