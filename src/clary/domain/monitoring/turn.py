"""What happens next to a monitoring schedule, and to an execution: pure.

An execution's record is saved before its processing job is made, under a name that follows from the record; so each is made once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clary.domain.decisions import Decision, Unable
from clary.domain.events import due
from clary.domain.events.due import Fire
from clary.domain.lifecycle import (
    MONITOR,
    MONITOR_RUN,
    JobStatus,
    MonitorFact,
    MonitorRunFact,
    MonitorRunStatus,
    MonitorStatus,
    advance,
)
from clary.domain.monitoring import record as monitoring
from clary.domain.monitoring import requests, windows
from clary.domain.monitoring.definitions import Monitor
from clary.domain.monitoring.record import MonitorResult
from clary.domain.monitoring.requests import Baseline, Captured
from clary.domain.resources import Record

NO_DATA = "NO_DATA:"

# -- schedules ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SeenSchedule:
    """What is to be run; None where its definition is gone."""

    monitor: Monitor | None


def decide_schedule(record: Record, seen: SeenSchedule, now: float) -> Decision[Fire]:
    """Check it, then fire what is due."""
    if seen.monitor is None:
        status = advance(MONITOR, record.status, MonitorFact.GAVE_UP)
        words = f"The job definition '{record.document['definition']}' does not exist any more."
        document = {**record.document, "failure": words, "due": None}
        return Decision(replace(record, status=status, modified=now, document=document))
    if record.status == MonitorStatus.PENDING:
        status = advance(MONITOR, record.status, MonitorFact.CHECKED)
        return Decision(replace(record, status=status, modified=now))
    config, began = record.document["request"]["MonitoringScheduleConfig"], float(record.document["began"])
    behind = due.behind(record, now, lambda moment: windows.following(config, moment, began))
    return due.decide(record, now, behind, None)


def execution(record: Record, monitor: Monitor, at: float, now: float) -> Record:
    """The run of a schedule that was due at that time."""
    config, began = record.document["request"]["MonitoringScheduleConfig"], float(record.document["began"])
    return monitoring.new_execution(record, monitor, at, windows.window(config, monitor.input, at, began, now), now)


# -- executions ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sources:
    """Where an execution's data and baseline are, and what the user's analysis configuration says. `failure`: why there is nothing to
    run."""

    captured: tuple[Captured, ...] = ()
    baseline: Baseline = field(default_factory=Baseline)
    failure: str = ""
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SeenExecution:
    """The processing job of the step that is under way; what it may begin with, where it is not made yet."""

    job: Record | None
    sources: Sources | None


@dataclass(frozen=True, slots=True)
class Launch:
    """Make the processing job of a step; its analysis configuration, if there is one, is stored first."""

    step: str
    params: Mapping[str, Any]
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TellSchedule:
    """Tell the schedule what came of it."""

    result: MonitorResult


ExecutionCommand = Launch | TellSchedule


def step_of(record: Record) -> str | None:
    """The first step that has not ended; None: all have."""
    monitor = monitoring.monitor_of(record)
    return next((step for step in requests.steps(monitor) if record.document["jobs"].get(step) != "ended"), None)


def decide_execution(record: Record, seen: SeenExecution, now: float) -> Decision[ExecutionCommand]:
    """Launch the next job, or take in what became of it."""
    if "closing" in record.document:
        return _closing(record, now)
    step = step_of(record)
    assert step is not None  # the last step's end closes the execution
    if record.document["jobs"].get(step) != "made":
        sources = seen.sources
        if sources is None:
            return Decision(record)
        if sources.failure:
            return _close(record, MonitorRunFact.GAVE_UP, sources.failure, now)
        monitor = monitoring.monitor_of(record)
        params = requests.request(record, monitor, step, sources.captured, sources.baseline)
        config = None if sources.config is None else requests.analysis_config(monitor, sources.config)
        return Decision(record, (Launch(step, params, config),))
    return _followed(record, step, seen.job, now)


def _followed(record: Record, step: str, job: Record | None, now: float) -> Decision[ExecutionCommand]:
    if job is None:
        return _close(record, MonitorRunFact.GAVE_UP, "The processing job was deleted.", now)
    message = str(job.document.get("message") or "")
    match job.status:
        case JobStatus.IN_PROGRESS:
            return Decision(record)
        case JobStatus.STOPPING:
            if record.status == MonitorRunStatus.STOPPING:
                return Decision(record)
            status = advance(MONITOR_RUN, record.status, MonitorRunFact.STOP_SEEN)
            return Decision(replace(record, status=status, modified=now))
        case JobStatus.STOPPED:
            limit = monitoring.monitor_of(record).max_runtime
            reason = f"The processing job was stopped, by a client or by its MaxRuntimeInSeconds of {limit}."
            return _close(record, MonitorRunFact.STOPPED, reason, now)
        case JobStatus.FAILED:
            reason = message or str(job.document.get("failure") or "The processing job failed.")
            if NO_DATA in reason:  # Clarify's image puts words of its own before it
                reason = reason[reason.index(NO_DATA) :]
            return _close(record, MonitorRunFact.GAVE_UP, reason, now)
    ended = replace(record, document={**record.document, "jobs": {**record.document["jobs"], step: "ended"}})
    if step_of(ended) is not None:
        return Decision(replace(ended, modified=now))
    violated = message.startswith(monitoring.VIOLATED)
    return _close(ended, MonitorRunFact.VIOLATIONS if violated else MonitorRunFact.SUCCEEDED, "", now)


def _close(record: Record, fact: MonitorRunFact, reason: str, now: float) -> Decision[ExecutionCommand]:
    """Note the end; the next turn tells the schedule and then changes the status: its alert is there when the status is."""
    closing = {"fact": str(fact), "reason": reason}
    return Decision(replace(record, modified=now, document={**record.document, "closing": closing}))


def _closing(record: Record, now: float) -> Decision[ExecutionCommand]:
    closing = record.document["closing"]
    fact = MonitorRunFact(closing["fact"])
    commands: Sequence[ExecutionCommand] = ()
    if fact in (MonitorRunFact.SUCCEEDED, MonitorRunFact.VIOLATIONS):
        commands = (TellSchedule(MonitorResult(record.name, record.created, fact is MonitorRunFact.VIOLATIONS)),)
    return Decision(monitoring.ended(record, fact, now, closing["reason"]), tuple(commands))


def absorb(record: Record, outcomes: Sequence[tuple[ExecutionCommand, Any]]) -> Record:
    """The job was made, or could not be."""
    for command, answer in outcomes:
        if not isinstance(command, Launch):
            continue
        if isinstance(answer, Unable):
            closing = {"fact": str(MonitorRunFact.GAVE_UP), "reason": answer.why}
            return replace(record, document={**record.document, "closing": closing})
        status = record.status
        if status == MonitorRunStatus.PENDING:
            status = advance(MONITOR_RUN, status, MonitorRunFact.LAUNCHED)
        jobs = {**record.document["jobs"], command.step: "made"}
        record = replace(record, status=status, document={**record.document, "jobs": jobs, "job": str(answer)})
    return record
