"""Monitoring schedules and their executions for the loop: what is seen of them, and what their commands do."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from clary.domain.decisions import Decision, Unable
from clary.domain.errors import AlreadyExists, ClaryError, Unavailable
from clary.domain.events.due import Fire
from clary.domain.lifecycle import MonitorStatus
from clary.domain.monitoring import definitions, requests, turn
from clary.domain.monitoring import record as monitoring
from clary.domain.monitoring.definitions import MONITOR_KINDS, Monitor
from clary.domain.monitoring.record import MonitorResult
from clary.domain.monitoring.turn import ExecutionCommand, Launch, SeenExecution, SeenSchedule, TellSchedule
from clary.domain.resources import Record
from clary.domain.s3 import parse_uri
from clary.guarded import until_first
from clary.loops.core.loop import Loop
from clary.loops.monitoring.sources import SourceFinder
from clary.ports import LoopPorts, ParentPorts, Store

_JOB = "processing-job"


class MonitorSubject:
    """`loop.Subject` of schedules: those that are due make executions, which are named by the time."""

    kind = monitoring.SCHEDULE
    statuses = (MonitorStatus.PENDING, MonitorStatus.SCHEDULED)

    def __init__(self, ports: LoopPorts) -> None:
        self._ports = ports

    async def observe(self, record: Record) -> SeenSchedule:
        return SeenSchedule(await self._monitor(record))

    async def _monitor(self, record: Record) -> Monitor | None:
        config = record.document["request"]["MonitoringScheduleConfig"]
        if config.get("MonitoringJobDefinition"):
            return definitions.of_inline(config["MonitoringJobDefinition"])
        type_ = record.document["type"]
        found = await self._ports.store.get(
            MONITOR_KINDS[type_].kind, record.scope, config["MonitoringJobDefinitionName"]
        )
        return None if found is None else definitions.of_definition(type_, found.document["request"])

    def decide(self, record: Record, observation: SeenSchedule, now: float) -> Decision[Fire]:
        return turn.decide_schedule(record, observation, now)

    async def run(self, command: Fire, record: Record) -> None:
        monitor = await self._monitor(record)
        if monitor is None:
            return  # deleted since: the next turn says so
        made = turn.execution(record, monitor, command.at, self._ports.clock.now())
        with suppress(AlreadyExists):
            await self._ports.store.add(made)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Fire, Any]]) -> Record:
        return record


class MonitorRunSubject:
    """`loop.Subject` of executions: each has one processing job, or several in turn."""

    kind = monitoring.EXECUTION
    statuses = monitoring.OPEN

    def __init__(self, ports: ParentPorts, sources: SourceFinder) -> None:
        self._ports = ports
        self._sources = sources
        self._waiting: dict[str, str] = {}  # name of a processing job -> ARN of the execution that waits for it

    async def observe(self, record: Record) -> SeenExecution:
        step = turn.step_of(record)
        if step is None or "closing" in record.document:
            return SeenExecution(None, None)
        if record.document["jobs"].get(step) != "made":
            return SeenExecution(None, await self._sources.find(record, step))
        name = monitoring.job_name(record, step)
        self._waiting[name] = record.arn
        return SeenExecution(await self._ports.store.get(_JOB, record.scope, name), None)

    def decide(self, record: Record, observation: SeenExecution, now: float) -> Decision[ExecutionCommand]:
        return turn.decide_execution(record, observation, now)

    async def run(self, command: ExecutionCommand, record: Record) -> Any:
        match command:
            case Launch(step, params, config):
                return await self._launch(record, step, params, config)
            case TellSchedule(result):
                await self._tell(record, result)
        return None

    async def _launch(
        self, record: Record, step: str, params: Mapping[str, Any], config: Mapping[str, Any] | None
    ) -> str | Unable:
        """The ARN of the job. It belongs to the schedule: that is what DescribeProcessingJob tells."""
        parent = replace(record, kind=monitoring.SCHEDULE, arn=record.document["schedule_arn"])
        self._waiting[monitoring.job_name(record, step)] = record.arn
        try:
            if config is not None:
                await self._store(record, config)
            answer = await self._ports.operations.call(
                "sagemaker", "CreateProcessingJob", params, parent=parent, key=f"{record.name} {step}"
            )
        except Unavailable:
            raise  # a part of Clary restarts: the turn is repeated
        except ClaryError as error:
            return Unable(error.message)
        return str(answer["ProcessingJobArn"])

    async def _store(self, record: Record, config: Mapping[str, Any]) -> None:
        """The analysis configuration, beside the reports: the same again after a crash."""
        place = parse_uri(requests.config_uri(record, monitoring.monitor_of(record)))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(config, file)
            file.flush()
            await self._ports.artifacts.of(record.scope.account).store_file(
                file.name, place.bucket, place.key, "application/json"
            )

    async def _tell(self, record: Record, result: MonitorResult) -> None:
        """The alert of the schedule, if that is still there."""

        async def attempt() -> None:
            found = await self._ports.store.by_arn(record.document["schedule_arn"])
            if found is None:
                return
            changed = monitoring.judged(found, result, self._ports.clock.now())
            if changed is not found:
                await self._ports.store.save(changed)

        await until_first(attempt)

    def absorb(self, record: Record, outcomes: Sequence[tuple[ExecutionCommand, Any]]) -> Record:
        return turn.absorb(record, outcomes)

    def saved(self, record: Record) -> str | None:
        """A record as it was saved (Store.watch); answers the ARN of the execution that has to look at it."""
        if record.kind == self.kind and record.status not in self.statuses:
            for step in requests.steps(monitoring.monitor_of(record)):
                self._waiting.pop(monitoring.job_name(record, step), None)
        return self._waiting.get(record.name) if record.kind == _JOB else None


def attach(subject: MonitorRunSubject, loop: Loop[ExecutionCommand, SeenExecution], store: Store) -> Callable[[], None]:
    """Wire what wakes the loop of executions: processing jobs that changed. Answers the way to undo it."""

    def saved(record: Record) -> None:
        arn = subject.saved(record)
        if arn is not None:
            loop.wake(arn)

    return store.watch(saved)
