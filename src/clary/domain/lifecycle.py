"""How statuses change: tables of (status, fact) -> status, and the only function that reads them.

Rule: a status changes here or nowhere. Facts come from handlers (what the user asked) and from `decide` functions (what
happened); they never name a target status. An illegal pair raises and changes nothing. `docs/lifecycle.svg` is drawn from the
same tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from clary.domain.drawing import Arrow, Box, Graph, draw
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
    JOB_OVER = "job over"  # the fleet of a job, which nobody needs any more


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


class GroupStatus(StrEnum):
    """botocore's FeatureGroupStatus."""

    CREATING = "Creating"
    CREATED = "Created"
    CREATE_FAILED = "CreateFailed"
    DELETING = "Deleting"
    DELETE_FAILED = "DeleteFailed"


class GroupFact(StrEnum):
    MADE = "made"  # both stores take records
    GAVE_UP = "gave up"
    DELETE_ASKED = "delete asked"


class InferenceExperimentStatus(StrEnum):
    """botocore's InferenceExperimentStatus."""

    CREATING = "Creating"
    CREATED = "Created"
    STARTING = "Starting"
    RUNNING = "Running"
    UPDATING = "Updating"
    STOPPING = "Stopping"
    COMPLETED = "Completed"
    CANCELLED = "Cancelled"


class InferenceExperimentFact(StrEnum):
    CHECKED = "checked"  # its endpoint can take it
    DUE = "start due"  # asked by StartInferenceExperiment or by the schedule
    SERVING = "serving"  # the endpoint serves what the experiment wants of it
    UPDATE_ASKED = "update asked"
    STOP_ASKED = "stop asked"  # by StopInferenceExperiment, or the time is over
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    GAVE_UP = "gave up"


class RecommendationsStatus(StrEnum):
    """botocore's RecommendationJobStatus. There is no operation that deletes one."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    DELETING = "DELETING"
    DELETED = "DELETED"


class RecommendationsFact(StrEnum):
    STARTED = "started"  # its first test begins
    STOP_ASKED = "stop asked"
    SUCCEEDED = "succeeded"  # a test at least measured something, and everything that was made is removed
    GAVE_UP = "gave up"  # no test did
    ENDED = "ended"  # after a stop was asked, everything that was made is removed


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


class ExecutionStatus(StrEnum):
    """botocore's PipelineExecutionStatus, without CompletedWithFailures, which no step type of Clary's ends with."""

    EXECUTING = "Executing"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"


class ExecutionFact(StrEnum):
    STOP_ASKED = "stop asked"
    RETRY_ASKED = "retry asked"
    ALL_ENDED = "all ended"  # no step runs, and none is left (or may begin, after a stop)
    STEP_FAILED = "step failed"  # a step failed, and no other runs any more


class StepStatus(StrEnum):
    """botocore's StepStatus: of a step of a pipeline's execution."""

    STARTING = "Starting"
    EXECUTING = "Executing"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"


class StepFact(StrEnum):
    LAUNCHED = "launched"  # its child is made
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    AGAIN = "again"  # it failed, and another attempt follows
    STOP_ASKED = "stop asked"
    STOPPED = "stopped"


class MonitorStatus(StrEnum):
    """botocore's ScheduleStatus: of a monitoring schedule."""

    PENDING = "Pending"
    SCHEDULED = "Scheduled"
    FAILED = "Failed"
    STOPPED = "Stopped"


class MonitorFact(StrEnum):
    CHECKED = "checked"  # its definition is there
    GAVE_UP = "gave up"  # its definition is gone
    CHANGED = "changed"  # UpdateMonitoringSchedule
    START_ASKED = "start asked"
    STOP_ASKED = "stop asked"


class MonitorRunStatus(StrEnum):
    """botocore's ExecutionStatus: of an execution of a monitoring schedule."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    VIOLATED = "CompletedWithViolations"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"


class MonitorRunFact(StrEnum):
    LAUNCHED = "launched"  # its processing job is made
    SUCCEEDED = "succeeded"
    VIOLATIONS = "violations found"
    GAVE_UP = "gave up"
    STOP_SEEN = "stop seen"  # its processing job is being stopped
    STOPPED = "stopped"


class MlflowStatus(StrEnum):
    """botocore's TrackingServerStatus: of MLflow servers. Apps have MlflowAppStatus, a part of it."""

    CREATING = "Creating"
    CREATED = "Created"
    CREATE_FAILED = "CreateFailed"
    UPDATING = "Updating"
    UPDATED = "Updated"
    UPDATE_FAILED = "UpdateFailed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    STARTING = "Starting"
    STARTED = "Started"
    START_FAILED = "StartFailed"
    DELETING = "Deleting"
    DELETE_FAILED = "DeleteFailed"


class MlflowFact(StrEnum):
    ANSWERS = "answers"
    GAVE_UP = "gave up"
    UPDATE_ASKED = "update asked"
    STOP_ASKED = "stop asked"
    STOPPED = "stopped"
    START_ASKED = "start asked"
    DELETE_ASKED = "delete asked"


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
    (_E.CREATING, _EF.JOB_OVER): _E.DELETING,
    (_E.IN_SERVICE, _EF.JOB_OVER): _E.DELETING,
    (_E.OUT_OF_SERVICE, _EF.JOB_OVER): _E.DELETING,
    (_E.FAILED, _EF.JOB_OVER): _E.DELETING,
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

GROUP: Mapping[tuple[GroupStatus, GroupFact], GroupStatus] = {
    (GroupStatus.CREATING, GroupFact.MADE): GroupStatus.CREATED,
    (GroupStatus.CREATING, GroupFact.GAVE_UP): GroupStatus.CREATE_FAILED,
    (GroupStatus.CREATED, GroupFact.DELETE_ASKED): GroupStatus.DELETING,
    (GroupStatus.CREATE_FAILED, GroupFact.DELETE_ASKED): GroupStatus.DELETING,
    (GroupStatus.DELETING, GroupFact.GAVE_UP): GroupStatus.DELETE_FAILED,
    (GroupStatus.DELETE_FAILED, GroupFact.DELETE_ASKED): GroupStatus.DELETING,
}
"""Of feature groups. Deleting leads to no status: the record goes."""

_ML, _MLF = MlflowStatus, MlflowFact
MLFLOW: Mapping[tuple[MlflowStatus, MlflowFact], MlflowStatus] = {
    (_ML.CREATING, _MLF.ANSWERS): _ML.CREATED,
    (_ML.CREATING, _MLF.GAVE_UP): _ML.CREATE_FAILED,
    (_ML.STARTING, _MLF.ANSWERS): _ML.STARTED,
    (_ML.STARTING, _MLF.GAVE_UP): _ML.START_FAILED,
    (_ML.UPDATING, _MLF.ANSWERS): _ML.UPDATED,
    (_ML.UPDATING, _MLF.GAVE_UP): _ML.UPDATE_FAILED,
    (_ML.STOPPING, _MLF.STOPPED): _ML.STOPPED,
    (_ML.STOPPED, _MLF.START_ASKED): _ML.STARTING,
    (_ML.START_FAILED, _MLF.START_ASKED): _ML.STARTING,
    **{(each, _MLF.STOP_ASKED): _ML.STOPPING for each in (_ML.CREATED, _ML.STARTED, _ML.UPDATED, _ML.UPDATE_FAILED)},
    **{(each, _MLF.UPDATE_ASKED): _ML.UPDATING for each in (_ML.CREATED, _ML.STARTED, _ML.UPDATED, _ML.UPDATE_FAILED)},
    **{
        (each, _MLF.DELETE_ASKED): _ML.DELETING
        for each in (
            _ML.CREATED,
            _ML.CREATE_FAILED,
            _ML.STARTED,
            _ML.START_FAILED,
            _ML.STOPPED,
            _ML.UPDATED,
            _ML.UPDATE_FAILED,
            _ML.DELETE_FAILED,
        )
    },
}
"""Of MLflow servers and apps. Deleting leads to no status: the record goes."""

_I, _IF = InferenceExperimentStatus, InferenceExperimentFact
INFERENCE_EXPERIMENT: Mapping[tuple[InferenceExperimentStatus, InferenceExperimentFact], InferenceExperimentStatus] = {
    (_I.CREATING, _IF.CHECKED): _I.CREATED,
    (_I.CREATING, _IF.GAVE_UP): _I.CANCELLED,
    (_I.CREATED, _IF.DUE): _I.STARTING,
    (_I.CREATED, _IF.CANCELLED): _I.CANCELLED,
    (_I.STARTING, _IF.SERVING): _I.RUNNING,
    (_I.STARTING, _IF.GAVE_UP): _I.CANCELLED,
    (_I.STARTING, _IF.STOP_ASKED): _I.STOPPING,
    (_I.RUNNING, _IF.UPDATE_ASKED): _I.UPDATING,
    (_I.RUNNING, _IF.STOP_ASKED): _I.STOPPING,
    (_I.RUNNING, _IF.GAVE_UP): _I.CANCELLED,
    (_I.UPDATING, _IF.SERVING): _I.RUNNING,
    (_I.UPDATING, _IF.GAVE_UP): _I.RUNNING,
    (_I.UPDATING, _IF.STOP_ASKED): _I.STOPPING,
    (_I.STOPPING, _IF.COMPLETED): _I.COMPLETED,
    (_I.STOPPING, _IF.CANCELLED): _I.CANCELLED,
    (_I.STOPPING, _IF.GAVE_UP): _I.CANCELLED,
}
"""Of inference experiments. Running leads to Cancelled where the endpoint was deleted."""

_RC, _RCF = RecommendationsStatus, RecommendationsFact
RECOMMENDATIONS: Mapping[tuple[RecommendationsStatus, RecommendationsFact], RecommendationsStatus] = {
    (_RC.PENDING, _RCF.STARTED): _RC.IN_PROGRESS,
    (_RC.PENDING, _RCF.STOP_ASKED): _RC.STOPPING,
    (_RC.IN_PROGRESS, _RCF.STOP_ASKED): _RC.STOPPING,
    (_RC.IN_PROGRESS, _RCF.SUCCEEDED): _RC.COMPLETED,
    (_RC.IN_PROGRESS, _RCF.GAVE_UP): _RC.FAILED,
    (_RC.STOPPING, _RCF.ENDED): _RC.STOPPED,
}
"""Of inference recommendations jobs."""

ROLLOUT: Mapping[tuple[RolloutPhase, RolloutFact], RolloutPhase] = {
    (_P.STARTING, _PF.READY): _P.SHIFTING,
    (_P.SHIFTING, _PF.TOLD): _P.BAKING,
    (_P.BAKING, _PF.WAITED): _P.STARTING,
    (_P.BAKING, _PF.LAST_WAITED): _P.KEEPING,
    (_P.KEEPING, _PF.KEPT): _P.DONE,
}
"""A rollback leaves the table: the endpoint's own status says that it goes back."""

_X, _XF, _S, _SF = ExecutionStatus, ExecutionFact, StepStatus, StepFact

EXECUTION: Mapping[tuple[ExecutionStatus, ExecutionFact], ExecutionStatus] = {
    (_X.EXECUTING, _XF.ALL_ENDED): _X.SUCCEEDED,
    (_X.EXECUTING, _XF.STEP_FAILED): _X.FAILED,
    (_X.EXECUTING, _XF.STOP_ASKED): _X.STOPPING,
    (_X.STOPPING, _XF.STOP_ASKED): _X.STOPPING,
    (_X.STOPPING, _XF.ALL_ENDED): _X.STOPPED,
    (_X.FAILED, _XF.RETRY_ASKED): _X.EXECUTING,
    (_X.STOPPED, _XF.RETRY_ASKED): _X.EXECUTING,
}

STEP: Mapping[tuple[StepStatus, StepFact], StepStatus] = {
    (_S.STARTING, _SF.LAUNCHED): _S.EXECUTING,
    (_S.STARTING, _SF.SUCCEEDED): _S.SUCCEEDED,  # a condition, a hit of the cache
    (_S.STARTING, _SF.FAILED): _S.FAILED,
    (_S.STARTING, _SF.STOPPED): _S.STOPPED,
    (_S.STARTING, _SF.AGAIN): _S.STARTING,
    (_S.EXECUTING, _SF.SUCCEEDED): _S.SUCCEEDED,
    (_S.EXECUTING, _SF.FAILED): _S.FAILED,
    (_S.EXECUTING, _SF.STOPPED): _S.STOPPED,
    (_S.EXECUTING, _SF.AGAIN): _S.STARTING,
    (_S.EXECUTING, _SF.STOP_ASKED): _S.STOPPING,
    (_S.STOPPING, _SF.SUCCEEDED): _S.SUCCEEDED,
    (_S.STOPPING, _SF.STOPPED): _S.STOPPED,
}

_M, _MF, _R, _RF = MonitorStatus, MonitorFact, MonitorRunStatus, MonitorRunFact

MONITOR: Mapping[tuple[MonitorStatus, MonitorFact], MonitorStatus] = {
    (_M.PENDING, _MF.CHECKED): _M.SCHEDULED,
    (_M.PENDING, _MF.GAVE_UP): _M.FAILED,
    (_M.SCHEDULED, _MF.GAVE_UP): _M.FAILED,
    **{(status, _MF.CHANGED): _M.PENDING for status in _M},
    **{(status, _MF.START_ASKED): _M.PENDING for status in (_M.STOPPED, _M.FAILED)},
    **{(status, _MF.STOP_ASKED): _M.STOPPED for status in (_M.PENDING, _M.SCHEDULED)},
}

MONITOR_RUN: Mapping[tuple[MonitorRunStatus, MonitorRunFact], MonitorRunStatus] = {
    (_R.PENDING, _RF.LAUNCHED): _R.IN_PROGRESS,
    (_R.PENDING, _RF.GAVE_UP): _R.FAILED,
    (_R.IN_PROGRESS, _RF.STOP_SEEN): _R.STOPPING,
    **{
        (status, fact): to
        for status in (_R.IN_PROGRESS, _R.STOPPING)
        for fact, to in (
            (_RF.SUCCEEDED, _R.COMPLETED),
            (_RF.VIOLATIONS, _R.VIOLATED),
            (_RF.GAVE_UP, _R.FAILED),
            (_RF.STOPPED, _R.STOPPED),
        )
    },
}

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


_COLUMN, _ROW = 132, 84  # pixels from one place of a picture to the next

# Of each picture: where a status stands (column, row), and which arrows are bent, or carry their word elsewhere than in the middle.
_ENDPOINT_PLACES: Mapping[EndpointStatus, tuple[float, float]] = {
    _E.CREATING: (0, 0),
    _E.IN_SERVICE: (2.1, 0),
    _E.UPDATING: (4.3, 0),
    _E.FAILED: (0, 1.4),
    _E.OUT_OF_SERVICE: (2.1, 1.4),
    _E.ROLLING_BACK: (4.3, 1.4),
    _E.DELETING: (0, 2.8),
    _E.UPDATE_ROLLBACK_FAILED: (4.3, 2.8),
}
_ENDPOINT_CURVES: Mapping[tuple[EndpointStatus, EndpointStatus], tuple[float, float]] = {
    (_E.IN_SERVICE, _E.UPDATING): (14, 0.5),
    (_E.UPDATING, _E.IN_SERVICE): (14, 0.5),
    (_E.IN_SERVICE, _E.OUT_OF_SERVICE): (22, 0.35),
    (_E.OUT_OF_SERVICE, _E.IN_SERVICE): (22, 0.35),
    (_E.IN_SERVICE, _E.DELETING): (0, 0.45),
    (_E.OUT_OF_SERVICE, _E.UPDATING): (0, 0.25),
    (_E.ROLLING_BACK, _E.IN_SERVICE): (0, 0.25),
    (_E.UPDATE_ROLLBACK_FAILED, _E.UPDATING): (-110, 0.5),
}
_ROLLOUT_PLACES: Mapping[RolloutPhase, tuple[float, float]] = {
    _P.STARTING: (0, 0.1),
    _P.SHIFTING: (1.6, 0.1),
    _P.BAKING: (3.2, 0.1),
    _P.KEEPING: (5.0, 0.1),
    _P.DONE: (6.6, 0.1),
}
_JOB_PLACES: Mapping[JobStatus, tuple[float, float]] = {
    _J.IN_PROGRESS: (0, 0),
    _J.STOPPING: (0, 2.4),
    _J.COMPLETED: (3, 0),
    _J.FAILED: (3, 1.2),
    _J.STOPPED: (3, 2.4),
    _J.DELETING: (5.4, 1.2),
}
_EXECUTION_PLACES: Mapping[ExecutionStatus, tuple[float, float]] = {
    _X.EXECUTING: (0, 0),
    _X.STOPPING: (0, 1.6),
    _X.SUCCEEDED: (3, 0),
    _X.FAILED: (3, 0.8),
    _X.STOPPED: (3, 1.6),
}
_EXECUTION_CURVES: Mapping[tuple[ExecutionStatus, ExecutionStatus], tuple[float, float]] = {
    (_X.EXECUTING, _X.FAILED): (14, 0.5),
    (_X.FAILED, _X.EXECUTING): (14, 0.5),
    (_X.STOPPED, _X.EXECUTING): (0, 0.4),
}
_STEP_PLACES: Mapping[StepStatus, tuple[float, float]] = {
    _S.STARTING: (0, 0),
    _S.EXECUTING: (2.2, 0),
    _S.STOPPING: (2.2, 1.6),
    _S.SUCCEEDED: (5, 0),
    _S.FAILED: (0, 1.6),
    _S.STOPPED: (5, 1.6),
}
_STEP_CURVES: Mapping[tuple[StepStatus, StepStatus], tuple[float, float]] = {
    (_S.STARTING, _S.EXECUTING): (14, 0.5),
    (_S.EXECUTING, _S.STARTING): (14, 0.5),
    (_S.STARTING, _S.SUCCEEDED): (-40, 0.5),
    (_S.STARTING, _S.STOPPED): (0, 0.2),
    (_S.EXECUTING, _S.STOPPED): (0, 0.2),
}
_JOB_CURVES: Mapping[tuple[JobStatus, JobStatus], tuple[float, float]] = {
    (_J.IN_PROGRESS, _J.FAILED): (0, 0.3),
    (_J.IN_PROGRESS, _J.STOPPED): (0, 0.2),
    (_J.STOPPING, _J.COMPLETED): (0, 0.2),
    (_J.STOPPING, _J.FAILED): (0, 0.3),
}


def _graph(
    title: str,
    table: Mapping[tuple[S, F], S],
    places: Mapping[S, tuple[float, float]],
    curves: Mapping[tuple[S, S], tuple[float, float]],
) -> Graph:
    """A table as a graph: facts that lead from one status to the same other share an arrow."""
    left, top = 90, 17  # half of a box
    named = list(dict.fromkeys(status for (start, _), to in table.items() for status in (start, to)))
    boxes = tuple(
        Box(status.value, (left + x * _COLUMN, top + y * _ROW), width=2 * left if len(status.value) > 18 else 120)
        for status in named
        for x, y in [places[status]]
    )
    facts: dict[tuple[S, S], list[str]] = {}
    for (start, fact), to in table.items():
        if start is not to:
            facts.setdefault((start, to), []).append(fact.value)
    arrows = (
        Arrow(start.value, to.value, ", ".join(words), *curves.get((start, to), (0, 0.5)))
        for (start, to), words in facts.items()
    )
    return Graph(title, boxes, tuple(arrows))


def graphs() -> list[Graph]:
    """AWS's statuses that Clary never enters, and what happens to fleets of jobs, are in the tables, not in the pictures."""
    endpoint = {
        key: to for key, to in ENDPOINT.items() if key[0] is not _E.SYSTEM_UPDATING and key[1] is not _EF.JOB_OVER
    }
    return [
        _graph("Endpoint", endpoint, _ENDPOINT_PLACES, _ENDPOINT_CURVES),
        _graph("Rollout of an update", ROLLOUT, _ROLLOUT_PLACES, {(_P.BAKING, _P.STARTING): (44, 0.5)}),
        _graph("Training job", JOB, _JOB_PLACES, _JOB_CURVES),
        _graph("Execution of a pipeline", EXECUTION, _EXECUTION_PLACES, _EXECUTION_CURVES),
        _graph("Step of an execution", STEP, _STEP_PLACES, _STEP_CURVES),
    ]


def render_svg() -> str:
    """`docs/lifecycle.svg`."""
    return draw(graphs(), "How the statuses of endpoints, of their changes, of training jobs and of pipelines move")
