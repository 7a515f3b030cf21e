"""AWS's own events: what a change of a record is called, by kind, and what its detail says. One row for a kind.

A *mark* is a record beside each resource: the states that were told. What is heard of a resource is compared with its mark; a difference is
an event. Sources: SageMaker's guide, "Events that Amazon SageMaker AI sends to Amazon EventBridge"; EventBridge's events reference, "Amazon
SageMaker AI events" (which names `SageMaker Monitoring Schedule State Change` without its detail: ours is the Describe's answer, as of the
others); CloudWatch's user guide, "Alarm events and EventBridge".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clary.domain.alarms import evaluation
from clary.domain.alarms import events as alarms
from clary.domain.ids import arn as make_arn
from clary.domain.monitoring import record as monitoring
from clary.domain.pipelines import record as pipelines
from clary.domain.registry import events as packages
from clary.domain.resources import Record
from clary.wire.models import load

MARK, SCOPE = "event-mark", "event-scope"
SOURCE = "aws.sagemaker"
Ask = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]  # a Describe: its operation, its parameters


@dataclass(frozen=True, slots=True)
class StateChange:
    """A part of a resource ("" the resource itself, or a step) came into a state."""

    part: str
    state: str
    before: str


@dataclass(frozen=True, slots=True)
class Occasion:
    """What an event says: `detail_type` and `detail`; who tells it; the ARN of what it is about ("": the record's)."""

    detail_type: str
    detail: Mapping[str, Any]
    source: str = SOURCE
    about: str = ""


@dataclass(frozen=True, slots=True)
class DescribedKind:
    """A kind whose event is its Describe's answer: `name` is the parameter that names it, `status` the member that tells its state.
    `shouted`: written as the event has it, `IN_SERVICE`."""

    detail_type: str
    describe: str
    name: str
    status: str
    shouted: bool = False

    def states(self, record: Record) -> dict[str, str]:
        return {"": record.status}

    async def occasion(self, record: Record, change: StateChange, ask: Ask) -> Occasion:
        request = record.document.get("request") or {}
        answer = await ask(self.describe, {self.name: request.get(self.name, record.name)})
        tags = {tag["Key"]: tag["Value"] for tag in record.document.get("tags", ())}
        state = _shouted(change.state) if self.shouted else change.state
        told = plain(load("sagemaker").operation_model(self.describe).output_shape, answer)
        return Occasion(self.detail_type, {**told, self.status: state, "Tags": tags})


class PackageKind:
    """Model packages: at creation, at every decision on their approval, at every change of their life cycle."""

    def states(self, record: Record) -> dict[str, str]:
        return {"": str(packages.occasions(record))}

    async def occasion(self, record: Record, change: StateChange, ask: Ask) -> Occasion:
        detail = packages.detail(record)
        assert detail is not None
        return Occasion(packages.DETAIL_TYPE, detail)


class ExecutionKind:
    """Executions of pipelines, and their steps."""

    def states(self, record: Record) -> dict[str, str]:
        steps = {f"step:{name}": str(step["status"]) for name, step in record.document["steps"].items()}
        return {"": record.status, **steps}

    async def occasion(self, record: Record, change: StateChange, ask: Ask) -> Occasion:
        document = record.document
        pipeline = make_arn("sagemaker", record.scope.region, record.scope.account, f"pipeline/{document['pipeline']}")
        both = {"pipelineArn": pipeline, "pipelineExecutionArn": record.arn}
        before = {"previous": change.before} if change.before else {}
        if not change.part:
            request = document["request"]
            told = {
                **both,
                "pipelineExecutionDescription": request.get("PipelineExecutionDescription", ""),
                "pipelineExecutionDisplayName": request.get("PipelineExecutionDisplayName", ""),
                "currentPipelineExecutionStatus": change.state,
                **{f"{key}PipelineExecutionStatus": value for key, value in before.items()},
                **_moments("executionStartTime", record.created, "executionEndTime", document.get("ended")),
            }
            return Occasion("SageMaker Model Building Pipeline Execution Status Change", told)
        name = change.part.removeprefix("step:")
        step = document["steps"][name]
        told = {
            **both,
            "stepName": name,
            "stepType": step.get("type", ""),
            "metadata": {"arn": step["arn"]} if step.get("arn") else {},
            "currentStepStatus": change.state,
            **{f"{key}StepStatus": value for key, value in before.items()},
            **_moments("stepStartTime", step.get("started"), "stepEndTime", step.get("ended")),
        }
        return Occasion("SageMaker Model Building Pipeline Execution Step Status Change", told)


class AlarmKind:
    """Alarms: at each change of their state."""

    def states(self, record: Record) -> dict[str, str]:
        count = alarms.occasions(record)
        return {"": str(count)} if count else {}

    async def occasion(self, record: Record, change: StateChange, ask: Ask) -> Occasion:
        return Occasion(alarms.DETAIL_TYPE, alarms.detail(record), alarms.SOURCE)


class MonitorRunKind:
    """Executions of a monitoring schedule: each change of their status is told as one of the schedule, whose detail has the execution."""

    def __init__(self, schedules: DescribedKind) -> None:
        self._schedules = schedules

    def states(self, record: Record) -> dict[str, str]:
        return {"": record.status}

    async def occasion(self, record: Record, change: StateChange, ask: Ask) -> Occasion:
        answer = await ask(self._schedules.describe, {self._schedules.name: record.document["schedule"]})
        summary = {**monitoring.execution_summary(record), "MonitoringExecutionStatus": change.state}
        told = plain(
            load("sagemaker").operation_model(self._schedules.describe).output_shape,
            {**answer, "LastMonitoringExecutionSummary": summary},
        )
        return Occasion(self._schedules.detail_type, told, about=record.document["schedule_arn"])


EventKind = DescribedKind | PackageKind | ExecutionKind | AlarmKind | MonitorRunKind


def _job(what: str, of: str) -> DescribedKind:
    return DescribedKind(f"SageMaker {what} State Change", f"Describe{of}", f"{of}Name", f"{of}Status")


_SCHEDULES = DescribedKind(
    "SageMaker Monitoring Schedule State Change",
    "DescribeMonitoringSchedule",
    "MonitoringScheduleName",
    "MonitoringScheduleStatus",
)

KINDS: Mapping[str, EventKind] = {
    "training-job": _job("Training Job", "TrainingJob"),
    "processing-job": _job("Processing Job", "ProcessingJob"),
    "transform-job": _job("Transform Job", "TransformJob"),
    "hyper-parameter-tuning-job": _job("HyperParameter Tuning Job", "HyperParameterTuningJob"),
    "feature-group": _job("Feature Group", "FeatureGroup"),
    "model-card": _job("Model Card", "ModelCard"),
    "endpoint": DescribedKind(
        "SageMaker Endpoint State Change", "DescribeEndpoint", "EndpointName", "EndpointStatus", shouted=True
    ),
    "model-package": PackageKind(),
    pipelines.KIND: ExecutionKind(),
    monitoring.SCHEDULE: _SCHEDULES,
    monitoring.EXECUTION: MonitorRunKind(_SCHEDULES),
    evaluation.KIND: AlarmKind(),
}


def changes(record: Record, mark: Record | None) -> list[StateChange]:
    """What is new since the mark was made."""
    told = mark.document["states"] if mark is not None else {}
    now = KINDS[record.kind].states(record)
    return [StateChange(part, state, told.get(part, "")) for part, state in now.items() if told.get(part) != state]


def marked(record: Record, before: Record | None, now: float) -> Record:
    """The mark that says that all of the record's states were told."""
    count = (before.document["count"] if before is not None else 0) + 1
    arn = make_arn("events", record.scope.region, record.scope.account, f"mark/{record.arn}")
    document = {"states": KINDS[record.kind].states(record), "count": count}
    version = before.version if before is not None else 0
    created = before.created if before is not None else now
    return Record(MARK, record.scope, record.arn, arn, "", created, now, document, version)


def plain(shape: Any, value: Any) -> Any:
    """A Describe's answer, in botocore's shape, as an event has it: times are milliseconds since 1970."""
    if value is None or shape is None:
        return value
    if shape.type_name == "structure":
        return {k: plain(shape.members[k], v) for k, v in value.items() if k in shape.members and v is not None}
    if shape.type_name == "list":
        return [plain(shape.member, each) for each in value]
    if shape.type_name == "map":
        return {key: plain(shape.value, each) for key, each in value.items()}
    if shape.type_name == "timestamp":
        return int((value.timestamp() if isinstance(value, datetime) else float(value)) * 1000)
    return value


def _shouted(status: str) -> str:
    """InService -> IN_SERVICE."""
    return "".join(f"_{c}" if c.isupper() and at else c for at, c in enumerate(status)).upper()


def _moments(first: str, begin: Any, second: str, end: Any) -> dict[str, str]:
    found = {first: begin, second: end}
    form = "%Y-%m-%dT%H:%M:%SZ"
    return {name: datetime.fromtimestamp(float(at), UTC).strftime(form) for name, at in found.items() if at}
