"""The records of monitoring: schedules, their executions, their one alert. Pure.

Execution records are named by schedule and time, so that two control planes make the same one. Their column `created` is the scheduled
time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from clary.domain.lifecycle import MONITOR_RUN, MonitorRunFact, MonitorRunStatus, advance
from clary.domain.monitoring import definitions, windows
from clary.domain.monitoring.definitions import Monitor
from clary.domain.resources import KINDS, Record

SCHEDULE, EXECUTION = "monitoring-schedule", "monitoring-execution"
OPEN = (MonitorRunStatus.PENDING, MonitorRunStatus.IN_PROGRESS, MonitorRunStatus.STOPPING)
VIOLATED = "CompletedWithViolations"
_RESULTS = 100  # EvaluationPeriod is at most so long
_HISTORY = 1000  # changes of an alert that are kept
_REASON = 1024


def schedule_document(
    request: Mapping[str, Any], tags: Any, by: str, id_: str, monitor: Monitor, now: float
) -> dict[str, Any]:
    """Of a new schedule."""
    return {
        "request": dict(request),
        "tags": tags,
        "by": by,
        "id": id_,
        "alert": {"status": "OK", "points": 1, "period": 1, "created": now, "modified": now},
        "alerts": [],
        "results": [],
        **begun(request["MonitoringScheduleConfig"], monitor, now),
    }


def begun(config: Mapping[str, Any], monitor: Monitor, now: float) -> dict[str, Any]:
    """What of the document follows from the config, from now on."""
    return {
        "began": now,
        "due": now if windows.expression(config) == windows.NOW else None,
        "type": monitor.type,
        "endpoint": monitor.endpoint,
        "definition": config.get("MonitoringJobDefinitionName") or "",
        "failure": "",
    }


def new_execution(schedule: Record, monitor: Monitor, at: float, window: tuple[float, float], now: float) -> Record:
    """The run of that time."""
    document = {
        "schedule": schedule.name,
        "schedule_arn": schedule.arn,
        "by": schedule.document["by"],
        "endpoint": monitor.endpoint,
        "definition": schedule.document["definition"],
        "type": monitor.type,
        "monitor": monitor.stored(),
        "window": list(window),
        "made": now,
        "jobs": {},
        "job": "",
    }
    name = f"{schedule.name}/{_compact(at)}-{str(schedule.document['id'])[-8:]}"
    prefix = schedule.arn.rpartition(":")[0]
    arn = f"{prefix}:{KINDS[EXECUTION].tail}/{name}"
    return Record(EXECUTION, schedule.scope, name, arn, MonitorRunStatus.PENDING, at, now, document)


def _compact(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%S}"


def iso(at: float) -> str:
    """A time as the container is told."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def monitor_of(execution: Record) -> Monitor:
    return definitions.loaded(execution.document["monitor"])


def job_name(execution: Record, step: str) -> str:
    """The name of a processing job, which follows from the execution."""
    prefix = {"merge": "groundtruth-merge", "prepare": "monitoring-dataset"}.get(step)
    kind = definitions.MONITOR_KINDS[execution.document["type"]]
    digest = hashlib.sha256(f"{execution.arn} {step}".encode()).hexdigest()[:16]
    return f"{prefix or kind.job}-{datetime.fromtimestamp(execution.created, UTC):%Y%m%d%H%M}-{digest}"


def ended(execution: Record, fact: MonitorRunFact, now: float, reason: str = "") -> Record:
    """The execution with its end."""
    status = advance(MONITOR_RUN, execution.status, fact)
    document = {**execution.document, "failure": reason[:_REASON]}
    return replace(execution, status=status, modified=now, document=document)


# -- the alert --------------------------------------------------------------------------------------------------------------------


def alert_name(schedule: Record) -> str:
    """There is one alert for each schedule; AWS names it by the schedule."""
    return schedule.name


@dataclass(frozen=True, slots=True)
class MonitorResult:
    """What an execution adds to the alert's evaluation."""

    execution: str
    at: float
    violated: bool


def judged(schedule: Record, result: MonitorResult, now: float) -> Record:
    """The schedule with that result, and its alert. The same result twice changes nothing."""
    old = schedule.document["results"]
    if any(entry[0] == result.execution for entry in old):
        return schedule
    results = sorted([*old, [result.execution, result.at, result.violated]], key=lambda entry: entry[1])[-_RESULTS:]
    return evaluated(replace(schedule, document={**schedule.document, "results": results}), now)


def evaluated(schedule: Record, now: float) -> Record:
    """The schedule with its alert as the results say."""
    document = schedule.document
    alert = document["alert"]
    looked = document["results"][-int(alert["period"]) :]
    status = "InAlert" if sum(bool(entry[2]) for entry in looked) >= int(alert["points"]) else "OK"
    if status == alert["status"]:
        return schedule
    alerts = [*document["alerts"], [now, status]][-_HISTORY:]
    return replace(
        schedule, document={**document, "alert": {**alert, "status": status, "modified": now}, "alerts": alerts}
    )


# -- answers ----------------------------------------------------------------------------------------------------------------------


def execution_summary(record: Record) -> dict[str, Any]:
    """MonitoringExecutionSummary."""
    document = record.document
    shown: dict[str, Any] = {
        "MonitoringScheduleName": document["schedule"],
        "ScheduledTime": record.created,
        "CreationTime": document["made"],
        "LastModifiedTime": record.modified,
        "MonitoringExecutionStatus": record.status,
        "MonitoringType": document["type"],
    }
    names = {
        "job": "ProcessingJobArn",
        "endpoint": "EndpointName",
        "failure": "FailureReason",
        "definition": "MonitoringJobDefinitionName",
    }
    return {**shown, **{member: document[name] for name, member in names.items() if document.get(name)}}


def schedule_summary(record: Record) -> dict[str, Any]:
    """MonitoringScheduleSummary."""
    document = record.document
    shown: dict[str, Any] = {
        "MonitoringScheduleName": record.name,
        "MonitoringScheduleArn": record.arn,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "MonitoringScheduleStatus": record.status,
        "MonitoringType": document["type"],
    }
    names = {"endpoint": "EndpointName", "definition": "MonitoringJobDefinitionName"}
    return {**shown, **{member: document[name] for name, member in names.items() if document.get(name)}}
