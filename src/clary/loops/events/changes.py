"""AWS's own events: what a change of a record is called, by kind, and what its detail says. One row for a kind.

A *mark* is a record beside each resource: the states that were told. What is heard of a resource is compared with its mark; a difference is
an event. Sources: SageMaker's guide, "Events that Amazon SageMaker AI sends to Amazon EventBridge"; EventBridge's events reference, "Amazon
SageMaker AI events" (which names `SageMaker Monitoring Schedule State Change` without its detail: ours is the Describe's answer, as of the
others); CloudWatch's user guide, "Alarm events and EventBridge".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clary.domain.alarms import evaluation
from clary.domain.alarms import events as alarms
from clary.domain.endpoints import events as endpoints
from clary.domain.ids import arn as make_arn
from clary.domain.monitoring import record as monitoring
from clary.domain.pipelines import events as executions
from clary.domain.pipelines import record as pipelines
from clary.domain.registry import events as packages
from clary.domain.resources import Record
from clary.wire.models import load

MARK, SCOPE = "event-mark", "event-scope"
DELETED = "Deleted"
_DEPLOYMENT = "deployment"  # the part of an endpoint's states that its change of fleets has
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
    """What an event says: `detail_type` and `detail`; who tells it; the ARNs of what it is about (none: the record's)."""

    detail_type: str
    detail: Mapping[str, Any]
    source: str = SOURCE
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribedKind:
    """A kind whose event is its Describe's answer: `name` is the parameter that names it, `status` the member that tells its state."""

    detail_type: str
    describe: str
    name: str
    status: str

    def states(self, record: Record) -> dict[str, str]:
        return {"": record.status}

    async def occasion(self, record: Record, change: StateChange, ask: Ask) -> Occasion:
        request = record.document.get("request") or {}
        answer = await ask(self.describe, {self.name: request.get(self.name, record.name)})
        told = plain(_answer(self.describe), answer)
        return Occasion(self.detail_type, {**told, self.status: self.said(change.state), "Tags": _tags(record)})

    def said(self, state: str) -> str:
        """A state as the event has it."""
        return state


class EndpointKind(DescribedKind):
    """Endpoints: at each change of their status, `IN_SERVICE` in the event, and at each moment of a change of what serves."""

    def states(self, record: Record) -> dict[str, str]:
        deployment = endpoints.deployment_state(record)
        return {"": record.status, **({_DEPLOYMENT: deployment} if deployment else {})}

    async def occasion(self, record: Record, change: StateChange, ask: Ask) -> Occasion:
        if change.part == _DEPLOYMENT:
            return Occasion(endpoints.DEPLOYMENT, endpoints.deployment_detail(record))
        return await super().occasion(record, change, ask)

    def said(self, state: str) -> str:
        return endpoints.shouted(state)


@dataclass(frozen=True, slots=True)
class MadeKind:
    """A kind without a status, which is told when it is made and when it is deleted: what its Create was given, as its Describe (whose
    `arn` names it) shows it. As on AWS nothing says which of the two it was but that it can be described, or cannot."""

    detail_type: str
    describe: str
    arn: str

    def states(self, record: Record) -> dict[str, str]:
        return {"": "Created"}

    async def occasion(self, record: Record, change: StateChange, ask: Ask) -> Occasion:
        given = {**record.document["request"], self.arn: record.arn, "CreationTime": record.created}
        return Occasion(self.detail_type, {**plain(_answer(self.describe), given), "Tags": _tags(record)})


class ImageKind:
    """Images of Studio: `Version` is how many versions were made."""

    def states(self, record: Record) -> dict[str, str]:
        return {"": record.status}

    async def occasion(self, record: Record, change: StateChange, ask: Ask) -> Occasion:
        told = {"ImageName": record.name, "ImageArn": record.arn, "Version": record.document.get("versions", 0)}
        state = {"ImageStatus": change.state.capitalize(), "Tags": _tags(record)}
        return Occasion("SageMaker Image State Change", {**told, **state})


class ImageVersionKind:
    """Versions of images."""

    def states(self, record: Record) -> dict[str, str]:
        return {"": record.status}

    async def occasion(self, record: Record, change: StateChange, ask: Ask) -> Occasion:
        request, scope = record.document["request"], record.scope
        image = make_arn("sagemaker", scope.region, scope.account, f"image/{request['ImageName']}")
        told = {"ImageArn": image, "ImageVersionArn": record.arn, "Version": request["Version"]}
        state = {"ImageVersionStatus": change.state.capitalize(), "Tags": _tags(record)}
        return Occasion("SageMaker Image Version State Change", {**told, **state})


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
        about = (executions.pipeline_of(record), record.arn)
        if not change.part:
            told = executions.execution_detail(record, change.state, change.before)
            return Occasion(executions.EXECUTION, told, about=about)
        told = executions.step_detail(record, change.part.removeprefix("step:"), change.state, change.before)
        return Occasion(executions.STEP, told, about=about)


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
        told = plain(_answer(self._schedules.describe), {**answer, "LastMonitoringExecutionSummary": summary})
        return Occasion(self._schedules.detail_type, told, about=(record.document["schedule_arn"],))


EventKind = (
    DescribedKind | MadeKind | ImageKind | ImageVersionKind | PackageKind | ExecutionKind | AlarmKind | MonitorRunKind
)


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
    "endpoint": EndpointKind("SageMaker Endpoint State Change", "DescribeEndpoint", "EndpointName", "EndpointStatus"),
    "model": MadeKind("SageMaker Model State Change", "DescribeModel", "ModelArn"),
    "endpoint-config": MadeKind(
        "SageMaker Endpoint Config State Change", "DescribeEndpointConfig", "EndpointConfigArn"
    ),
    "image": ImageKind(),
    "image-version": ImageVersionKind(),
    "model-package": PackageKind(),
    pipelines.KIND: ExecutionKind(),
    monitoring.SCHEDULE: _SCHEDULES,
    monitoring.EXECUTION: MonitorRunKind(_SCHEDULES),
    evaluation.KIND: AlarmKind(),
}


def changes(record: Record, mark: Record | None) -> list[StateChange]:
    """What is new since the mark was made. One of an earlier resource of that name says nothing."""
    told = mark.document["states"] if mark is not None and is_of(mark, record) else {}
    now = KINDS[record.kind].states(record)
    return [StateChange(part, state, told.get(part, "")) for part, state in now.items() if told.get(part) != state]


def is_of(mark: Record, record: Record) -> bool:
    """Whether the mark is this resource's, and not an earlier one's of its name. Marks of older Clarys do not say when theirs was made."""
    return bool(mark.document.get("made", record.created) == record.created)


def farewell(record: Record) -> list[StateChange]:
    """What is told of a resource that is gone: of most kinds nothing, they have said before that they are being deleted."""
    return [StateChange("", DELETED, "Created")] if isinstance(KINDS[record.kind], MadeKind) else []


def marked(record: Record, before: Record | None, now: float) -> Record:
    """The mark that says that all of the record's states were told."""
    count = (before.document["count"] if before is not None else 0) + 1
    arn = make_arn("events", record.scope.region, record.scope.account, f"mark/{record.arn}")
    document = {"states": KINDS[record.kind].states(record), "made": record.created, "count": count}
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


def _answer(describe: str) -> Any:
    return load("sagemaker").operation_model(describe).output_shape


def _tags(record: Record) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in record.document.get("tags", ())}
