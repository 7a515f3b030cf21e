"""The paths of a transform job's files on this machine, and its driver's workload. Pure: paths and values, no I/O.

transforms/ID/
    in/        spec.json, objects.jsonl, data/N: the N-th object (a hard link of its blob where the store is ours)
    out/       N: an output that is complete; N.part; failure.json
    stored/    N: the output was given to the object store
    run-N/     root of the N-th driver's workload
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from clary.domain.endpoints.fleets import Fleet, Plant
from clary.domain.endpoints.routing import CALLER
from clary.domain.machine.addresses import Address
from clary.domain.machine.workload import Environment, Mount, MountMode, Workload
from clary.domain.names import route_name
from clary.domain.resources import Record
from clary.domain.transform import request as requests
from clary.loops.core.sandboxes import LIBRARY

_IN, _OUT, _STORED = "/opt/clary/in", "/opt/clary/out", "/opt/clary/stored"
_MEMORY = 1 << 30
_COPIES = 4  # of what is under way that may be in memory at once: read, filtered, answered, written


@dataclass(frozen=True, slots=True)
class TransformSettings:
    """What the loop may know of the settings. `home(name)` is the number of the home front of a route of that name."""

    folder: str
    owner: str
    home: Callable[[str], int] = field(default=lambda name: 0)


@dataclass(frozen=True, slots=True)
class TransformFolders:
    top: PurePosixPath

    @property
    def given(self) -> PurePosixPath:
        return self.top / "in"

    @property
    def data(self) -> PurePosixPath:
        return self.top / "in" / "data"

    @property
    def objects(self) -> PurePosixPath:
        return self.top / "in" / "objects.jsonl"

    @property
    def out(self) -> PurePosixPath:
        return self.top / "out"

    @property
    def stored(self) -> PurePosixPath:
        return self.top / "stored"


def folders(settings: TransformSettings, record: Record) -> TransformFolders:
    return TransformFolders(PurePosixPath(settings.folder) / str(record.document["id"]))


def data_log(record: Record) -> str:
    """The log stream of what becomes of the data, below the name of the first replica as on AWS."""
    fleet = Fleet.from_json(record.document["fleet"])
    return f"{record.name}/{fleet.id[-17:]}/data-log"


def driver_key(record: Record, attempt: int) -> str:
    """Keys of jobs begin with `job-`, then comes the job's id."""
    return f"job-{record.document['id']}-{attempt}-driver"


def driver_spec(record: Record, fleet: Record, front: Address, workers: int, linewise: bool) -> dict[str, Any]:
    """The JSON that the driver reads."""
    plant = Plant.from_json(fleet.document["plant"])
    scope = record.scope
    where: Mapping[str, Any] = {
        "front": str(front),
        "endpoint": [scope.account, scope.region, route_name(fleet)],
        "token": plant.token(CALLER),
        "in": _IN,
        "out": _OUT,
        "stored": _STORED,
    }
    return {**requests.driver_spec(record.document["request"], workers, linewise), **where}


def driver_workload(
    record: Record,
    where: TransformFolders,
    attempt: int,
    spec: Mapping[str, Any],
    environment: Environment,
    log_path: str,
) -> Workload:
    """The driver: Clary's own code, in a sandbox because what it reads is anybody's."""
    under_way = int(spec["payload"] or requests.UNBOUNDED) * (int(spec["concurrency"]) + 2) * int(spec["hosts"])
    return Workload(
        key=driver_key(record, attempt),
        root=str(where.top / f"run-{attempt}"),
        command=(environment.python, "-S", "-m", "clary.toolkit.transform.driver", f"{_IN}/spec.json"),
        # One arena: its threads wait most of the time, and each would keep freed requests in one of its own.
        environment={"PYTHONPATH": LIBRARY, "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "1"},
        packages=environment,
        mounts=(
            Mount(str(where.given), _IN),
            Mount(str(where.stored), _STORED),
            Mount(str(where.out), _OUT, MountMode.READ_WRITE),
        ),
        log_path=log_path,
        memory=_MEMORY + _COPIES * under_way,
        network=False,
        fronts=True,
        connects=False,
        stop_grace=2.0,
    )
