"""How statuses move: tables of (status, fact) -> status, and the only function that reads them.

Rule: a status changes here or nowhere. Facts come from handlers (what the user asked) and from `decide` functions (what
happened); they never name a target status. An illegal pair raises and changes nothing. `docs/lifecycle.svg` is drawn from the
same tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from clary.domain.drawing import draw
from clary.domain.errors import IllegalTransition


class EndpointStatus(StrEnum):
    """botocore's EndpointStatus."""

    CREATING = "Creating"
    IN_SERVICE = "InService"
    UPDATING = "Updating"
    ROLLING_BACK = "RollingBack"
    UPDATE_ROLLBACK_FAILED = "UpdateRollbackFailed"
    SYSTEM_UPDATING = "SystemUpdating"  # AWS's own maintenance; Clary never enters it
    OUT_OF_SERVICE = "OutOfService"
    FAILED = "Failed"
    DELETING = "Deleting"


class EndpointFact(StrEnum):
    UPDATE_ASKED = "update asked"  # UpdateEndpoint, UpdateEndpointWeightsAndCapacities
    DELETE_ASKED = "delete asked"
    ALL_READY = "all ready"  # every replica that is wanted serves
    GAVE_UP = "gave up"  # what is wanted cannot be reached
    ALL_LOST = "all lost"  # no replica is left and none comes up


class JobStatus(StrEnum):
    """botocore's TrainingJobStatus (processing and transform jobs have the same without Deleting)."""

    IN_PROGRESS = "InProgress"
    STOPPING = "Stopping"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"
    DELETING = "Deleting"


class JobFact(StrEnum):
    STOP_ASKED = "stop asked"
    DELETE_ASKED = "delete asked"
    SUCCEEDED = "succeeded"
    GAVE_UP = "gave up"
    TIME_UP = "time up"  # a stopping condition was reached and the outputs are stored
    ENDED = "ended"  # it ended after a stop was asked, and the outputs are stored


class RolloutPhase(StrEnum):
    """Where a change of an endpoint's fleet stands (`deployment.py`); AWS shows it as VariantStatus."""

    STARTING = "starting"  # the replicas of the next step come up
    SHIFTING = "shifting"  # the front is being told the new shares of traffic
    BAKING = "baking"  # the wait after a step: alarms and errors are watched
    KEEPING = "keeping"  # all traffic has moved, the old fleet still stands by
    DONE = "done"


class RolloutFact(StrEnum):
    READY = "ready"  # every replica of the next step serves
    TOLD = "told"  # the front routes by the step's shares
    WAITED = "waited"  # the bake is over, further steps follow
    LAST_WAITED = "last waited"  # the last bake is over
    KEPT = "kept"  # the termination wait is over


_E, _EF, _J, _JF = EndpointStatus, EndpointFact, JobStatus, JobFact
_P, _PF = RolloutPhase, RolloutFact

ENDPOINT: Mapping[tuple[EndpointStatus, EndpointFact], EndpointStatus] = {
    (_E.CREATING, _EF.ALL_READY): _E.IN_SERVICE,
    (_E.CREATING, _EF.GAVE_UP): _E.FAILED,
    (_E.IN_SERVICE, _EF.UPDATE_ASKED): _E.UPDATING,
    (_E.IN_SERVICE, _EF.ALL_LOST): _E.OUT_OF_SERVICE,
    (_E.IN_SERVICE, _EF.DELETE_ASKED): _E.DELETING,
    (_E.UPDATING, _EF.ALL_READY): _E.IN_SERVICE,
    (_E.UPDATING, _EF.GAVE_UP): _E.ROLLING_BACK,
    (_E.ROLLING_BACK, _EF.ALL_READY): _E.IN_SERVICE,
    (_E.ROLLING_BACK, _EF.GAVE_UP): _E.UPDATE_ROLLBACK_FAILED,
    (_E.UPDATE_ROLLBACK_FAILED, _EF.UPDATE_ASKED): _E.UPDATING,
    (_E.UPDATE_ROLLBACK_FAILED, _EF.DELETE_ASKED): _E.DELETING,
    (_E.OUT_OF_SERVICE, _EF.ALL_READY): _E.IN_SERVICE,
    (_E.OUT_OF_SERVICE, _EF.UPDATE_ASKED): _E.UPDATING,
    (_E.OUT_OF_SERVICE, _EF.DELETE_ASKED): _E.DELETING,
    (_E.SYSTEM_UPDATING, _EF.ALL_READY): _E.IN_SERVICE,
    (_E.FAILED, _EF.DELETE_ASKED): _E.DELETING,
}
"""Deleting leads to no status: the record goes."""

JOB: Mapping[tuple[JobStatus, JobFact], JobStatus] = {
    (_J.IN_PROGRESS, _JF.STOP_ASKED): _J.STOPPING,
    (_J.IN_PROGRESS, _JF.SUCCEEDED): _J.COMPLETED,
    (_J.IN_PROGRESS, _JF.GAVE_UP): _J.FAILED,
    (_J.IN_PROGRESS, _JF.TIME_UP): _J.STOPPED,
    (_J.STOPPING, _JF.ENDED): _J.STOPPED,
    (_J.STOPPING, _JF.SUCCEEDED): _J.COMPLETED,  # it was done before the signal arrived
    (_J.STOPPING, _JF.GAVE_UP): _J.FAILED,
    (_J.STOPPING, _JF.TIME_UP): _J.STOPPED,
    (_J.COMPLETED, _JF.DELETE_ASKED): _J.DELETING,
    (_J.FAILED, _JF.DELETE_ASKED): _J.DELETING,
    (_J.STOPPED, _JF.DELETE_ASKED): _J.DELETING,
}

ROLLOUT: Mapping[tuple[RolloutPhase, RolloutFact], RolloutPhase] = {
    (_P.STARTING, _PF.READY): _P.SHIFTING,
    (_P.SHIFTING, _PF.TOLD): _P.BAKING,
    (_P.BAKING, _PF.WAITED): _P.STARTING,
    (_P.BAKING, _PF.LAST_WAITED): _P.KEEPING,
    (_P.KEEPING, _PF.KEPT): _P.DONE,
}
"""A rollback leaves the table: the endpoint's own status says that it goes back."""

S = TypeVar("S", bound=StrEnum)
F = TypeVar("F", bound=StrEnum)


def advance(table: Mapping[tuple[S, F], S], status: str, fact: F) -> S:
    """The status that follows. IllegalTransition when the table has no such row."""
    kind = type(next(iter(table))[0])
    to = table.get((kind(status), fact))
    if to is None:
        raise IllegalTransition(f"status {status} does not admit: {fact}")
    return to


def admits(table: Mapping[tuple[S, F], S], status: str, fact: F) -> bool:
    """Whether `advance` would answer."""
    return (type(next(iter(table))[0])(status), fact) in table


def render_svg() -> str:
    """`docs/lifecycle.svg`. AWS's statuses that Clary never enters are in the tables, not in the picture."""
    endpoint = [(s.value, f.value, to.value) for (s, f), to in ENDPOINT.items() if s is not _E.SYSTEM_UPDATING]
    job = [(s.value, f.value, to.value) for (s, f), to in JOB.items()]
    rollout = [(p.value, f.value, to.value) for (p, f), to in ROLLOUT.items()]
    return draw({"Endpoint": endpoint, "Rollout of an update": rollout, "Training job": job})
