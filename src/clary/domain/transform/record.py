"""A transform job's record: its document, the commands its life needs, and what is observed of it. Values only.

Phases: starting (its replicas come up, its objects are listed and placed) -> running (its own process, the driver, works) -> ending (the
last outputs are stored) -> (final). The replicas are a record of their own, of kind `transform-fleet` and the job's name, which the
machinery of endpoints drives; the job makes it and drops it.

The document, beside `request` and `tags`: `id`, `phase`, `fleet` (the Fleet that it needs), `seed` (of its tokens), `handle` and `attempt`
of the driver, `deaths` (of drivers in a row), `retry` (when the fleet may be made again), `waiting` (for what), `started`, `ended`,
`stored` (how many outputs), `outcome` (what it ends as, once that is known: a JobFact) and `failure`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from clary.domain.endpoints.fleets import Fleet, Plant
from clary.domain.lifecycle import ENDPOINT, JOB, EndpointFact, EndpointStatus, JobFact, JobStatus, advance
from clary.domain.machine.workload import Observation
from clary.domain.names import TRANSFORM_FLEET
from clary.domain.resources import Record

KIND = "transform-job"
ACTIVE = (JobStatus.IN_PROGRESS.value, JobStatus.STOPPING.value)
FLEET_STATUSES = tuple(status.value for status in EndpointStatus)

# -- commands -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MakeFleet:
    """Add the record of the job's replicas, unless it is there."""


@dataclass(frozen=True, slots=True)
class DropFleet:
    """Have the job's replicas stopped and their record removed."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a piece of background work: place | publish | finish. Nothing where it runs."""

    name: str


@dataclass(frozen=True, slots=True)
class ForgetWork:
    """A piece of background work may be begun again."""

    name: str


@dataclass(frozen=True, slots=True)
class StartDriver:
    """Start the job's own process. Answers its handle, or `Unstartable`."""

    attempt: int
    workers: int


@dataclass(frozen=True, slots=True)
class StopDriver:
    handle: str


@dataclass(frozen=True, slots=True)
class ForgetDriver:
    """Forget a driver that has ended; another is started."""

    handle: str


@dataclass(frozen=True, slots=True)
class Discard:
    """The job is over: forget its runs and work, remove its folder."""

    handle: str


Command: TypeAlias = MakeFleet | DropFleet | Begin | ForgetWork | StartDriver | StopDriver | ForgetDriver | Discard


# -- observations -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Work:
    """Background work as it stands. `state`: running | done | failed. `client`: the failure is the caller's fault."""

    state: str
    result: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    client: bool = True


@dataclass(frozen=True, slots=True)
class Unstartable:
    message: str


@dataclass(frozen=True, slots=True)
class SeenFleet:
    """The record of the replicas. `failure`: why it failed, or how its last replica did; `workers` of a replica (0: it is not known
    yet); `up`: one of them was started; `kills`: processes that the kernel ended for their memory."""

    status: str
    failure: str = ""
    workers: int = 0
    up: bool = False
    kills: int = 0


@dataclass(frozen=True, slots=True)
class SeenTransform:
    """`run` of the driver (None: none, or not heard of). `verdict`: what it wrote of a failure. `ready`: outputs are complete and not
    stored yet."""

    fleet: SeenFleet | None = None
    run: Observation | None = None
    verdict: Mapping[str, str] = field(default_factory=dict)
    ready: bool = False
    work: Mapping[str, Work] = field(default_factory=dict)


# -- the document -------------------------------------------------------------------------------------------------------------


def document(
    request: Mapping[str, Any], tags: Sequence[Mapping[str, str]], job_id: str, seed: str, fleet: Fleet
) -> dict[str, Any]:
    """A new job's document."""
    return {
        "request": dict(request),
        "tags": [dict(tag) for tag in tags],
        "id": job_id,
        "seed": seed,
        "fleet": Plant(seed="", incoming=fleet).to_json()["incoming"],
        "phase": "starting",
        "handle": "",
        "attempt": 0,
        "deaths": 0,
    }


def fleet_record(job: Record, arn: str, now: float) -> Record:
    """The record of the job's replicas, as it is made."""
    plant = Plant(seed=str(job.document["seed"]), incoming=Fleet.from_json(job.document["fleet"]), changed=now)
    document = {"request": {}, "tags": [], "job": job.arn, "plant": plant.to_json()}
    return Record(TRANSFORM_FLEET, job.scope, job.name, arn, EndpointStatus.CREATING, now, now, document)


def stop_asked(record: Record, now: float) -> Record:
    """StopTransformJob. IllegalTransition when the job has ended."""
    return replace(record, status=advance(JOB, record.status, JobFact.STOP_ASKED), modified=now)


def job_over(fleet: Record, now: float) -> Record:
    """The record of the job's replicas, which are to be stopped."""
    if fleet.status == EndpointStatus.DELETING:
        return fleet
    return replace(fleet, status=advance(ENDPOINT, fleet.status, EndpointFact.JOB_OVER), modified=now)


def absorb(record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
    """The handle that StartDriver answered, or why it could not be started."""
    for command, answer in outcomes:
        if isinstance(command, StartDriver):
            more = {"unstartable": answer.message} if isinstance(answer, Unstartable) else {"handle": str(answer)}
            record = replace(record, document={**record.document, **more})
    return record
