"""Retrains endpoints: `loop.Subject` of the records beside endpoints with the tag `clary:retrain`, and what makes these records.

Reads what the watch, monitors, alarms and executions say; starts pipelines and calls people through the API; writes into the endpoint's
history. Decides nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from clary.domain import ids
from clary.domain.decisions import Decision, Unable
from clary.domain.endpoints import life
from clary.domain.endpoints.topics import topic_arn
from clary.domain.errors import AlreadyExists, ClaryError, Invalid, NotFound, Stale, Unavailable
from clary.domain.monitoring import retraining
from clary.domain.monitoring.retraining import (
    GOING,
    RetrainingCommand,
    RetrainPlan,
    SeenForRetraining,
    SeenRun,
    StartRetraining,
    TellRetraining,
)
from clary.domain.names import RETRAINING_STREAM, history_group
from clary.domain.resources import Query, Record, Scope
from clary.pages import pages
from clary.ports import Clock, ParentPorts, Store

log = logging.getLogger(__name__)
_PAGE = 200
_LOOKED = 20  # executions of monitors, the newest ones
_GATE = "Gate"
_SUBJECT = 100  # characters of a message's subject

Scopes = Callable[[], Sequence[Scope]]  # those that may have endpoints; blocking
Watched = Callable[[Record], Sequence[Mapping[str, Any]]]  # what `clary drift` shows of an endpoint; blocking


class RetrainingSubject:
    """See `domain/monitoring/retraining.py`."""

    kind = retraining.KIND
    statuses = (retraining.WATCHING,)

    def __init__(self, ports: ParentPorts, watched: Watched) -> None:
        self._ports = ports
        self._watched = watched

    # -- observe ------------------------------------------------------------------------------------------------------------------

    async def observe(self, record: Record) -> SeenForRetraining:
        endpoint = await self._ports.store.get("endpoint", record.scope, record.name)
        tag = tag_of(endpoint, retraining.TAG) if endpoint is not None else ""
        if endpoint is None or not tag:
            return SeenForRetraining(endpoint)
        try:
            plan = RetrainPlan.read(tag)
        except Invalid:
            return SeenForRetraining(endpoint, tag)
        config = life.config_of(endpoint, life.plant_of(endpoint))
        shown = await asyncio.to_thread(self._watched, endpoint)
        watched = [each for each in shown if each.get("config") == config]  # not what it served before
        violations, no_data = await self._monitors(record)
        run = await self._run(record, record.document["run"]) if record.document["run"] else None
        other, declared = await self._pipeline(record, plan.pipeline)
        return SeenForRetraining(
            endpoint,
            tag,
            tag_of(endpoint, retraining.ASK),
            watched,
            violations,
            no_data,
            await self._alarms(record, plan),
            run,
            "" if run is not None else other,
            declared is not None,
            declared or frozenset(),
            await self._values(endpoint, watched),
        )

    async def _call(self, record: Record, operation: str, **params: Any) -> dict[str, Any]:
        return await self._ask(record, "sagemaker", operation, params)

    async def _ask(self, record: Record, service: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        return await self._ports.operations.call(service, operation, params, parent=record)

    async def _monitors(self, record: Record) -> tuple[list[tuple[str, float, str]], list[str]]:
        """The last execution of each monitor of the endpoint, where it had violations or no data."""
        asked = {
            "EndpointName": record.name,
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
            "MaxResults": _LOOKED,
        }
        rows = (await self._call(record, "ListMonitoringExecutions", **asked))["MonitoringExecutionSummaries"]
        violations, no_data, seen = [], [], set[str]()
        for row in rows:
            name, status, why = (
                row["MonitoringScheduleName"],
                row["MonitoringExecutionStatus"],
                row.get("FailureReason", ""),
            )
            if status in ("Pending", "InProgress") or name in seen:
                continue
            seen.add(name)
            if status == "CompletedWithViolations":
                violations.append((name, float(_epoch(row["CreationTime"])), row["MonitoringType"]))
            elif status == "Failed" and "NO_DATA" in why:
                no_data.append(f"monitor {name}: {why}")
        return violations, no_data

    async def _alarms(self, record: Record, plan: RetrainPlan) -> list[tuple[str, float, str]]:
        if not plan.alarms:
            return []
        names = list(plan.alarms)
        told = await self._ask(record, "cloudwatch", "DescribeAlarms", {"AlarmNames": names, "StateValue": "ALARM"})
        rows = (*told.get("MetricAlarms", ()), *told.get("CompositeAlarms", ()))
        return [
            (row["AlarmName"], float(_epoch(row["StateUpdatedTimestamp"])), row.get("StateReason", "")) for row in rows
        ]

    async def _run(self, record: Record, arn: str) -> SeenRun:
        try:
            told = await self._call(record, "DescribePipelineExecution", PipelineExecutionArn=arn)
        except NotFound:
            return SeenRun(arn, "Failed", f"the execution {arn} was deleted")
        status = str(told["PipelineExecutionStatus"])
        if status in GOING:
            return SeenRun(arn, status)
        steps = await self._call(record, "ListPipelineExecutionSteps", PipelineExecutionArn=arn, MaxResults=100)
        rows = steps["PipelineExecutionSteps"]
        failed = [f"{row['StepName']}: {row['FailureReason']}" for row in rows if row.get("FailureReason")]
        if status != "Succeeded":
            return SeenRun(arn, status, "; ".join(failed) or str(told.get("FailureReason", "")))
        return SeenRun(arn, status, await self._passed(record, rows))

    async def _passed(self, record: Record, rows: Sequence[Mapping[str, Any]]) -> str:
        """The version that an execution registered, and what its gate said."""
        words = []
        for row in rows:
            made = row.get("Metadata") or {}
            if "RegisterModel" in made:
                words.append(f"version {made['RegisterModel']['Arn'].rpartition('/')[2]} was registered")
            if row["StepName"] == _GATE and "ProcessingJob" in made:
                with suppress(ClaryError):
                    words.append(await self._exit_message(record, made["ProcessingJob"]["Arn"].rpartition("/")[2]))
        return "; ".join(word for word in reversed(words) if word)

    async def _exit_message(self, record: Record, name: str) -> str:
        """Of a processing job by its name as ARNs have it: in lower case."""
        found = (await self._call(record, "ListProcessingJobs", NameContains=name))["ProcessingJobSummaries"]
        return next((str(row.get("ExitMessage", "")) for row in found if row["ProcessingJobName"].lower() == name), "")

    async def _pipeline(self, record: Record, name: str) -> tuple[str, frozenset[str] | None]:
        """(an execution that runs, the parameters that the definition declares); None: there is no such pipeline."""
        try:
            told = await self._call(record, "DescribePipeline", PipelineName=name)
            asked = {"PipelineName": name, "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 10}
            runs = (await self._call(record, "ListPipelineExecutions", **asked))["PipelineExecutionSummaries"]
        except NotFound:
            return "", None
        going = [row["PipelineExecutionArn"] for row in runs if row["PipelineExecutionStatus"] in GOING]
        given = json.loads(told["PipelineDefinition"]).get("Parameters") or ()
        return going[0] if going else "", frozenset(str(each["Name"]) for each in given)

    async def _values(self, endpoint: Record, watched: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
        """What a pipeline may want to know, by the names of its parameters."""
        values = {"EndpointName": endpoint.name}
        name = life.config_of(endpoint, life.plant_of(endpoint))
        config = await self._ports.store.get("endpoint-config", endpoint.scope, name)
        request: Mapping[str, Any] = config.document["request"] if config is not None else {}
        rows = request.get("ProductionVariants") or ()
        if rows and rows[0].get("ModelName"):
            values["IncumbentModel"] = rows[0]["ModelName"]
        place = (request.get("DataCaptureConfig") or {}).get("DestinationS3Uri")
        if place:
            values["CaptureUri"] = f"{place.rstrip('/')}/{endpoint.name}"
        folders = [str(each["labels_folder"]) for each in watched if each.get("labels_folder")]
        since = [float(each["labels"]["since"]) for each in watched if (each.get("labels") or {}).get("since")]
        if folders:
            values["LabelsUri"] = folders[0]
        if since:
            values["Since"] = repr(min(since))
        return values

    # -- the rest -----------------------------------------------------------------------------------------------------------------

    def decide(self, record: Record, observation: SeenForRetraining, now: float) -> Decision[RetrainingCommand]:
        return retraining.decide(record, observation, now)

    async def run(self, command: RetrainingCommand, record: Record) -> str | Unable | None:
        """The execution's ARN. Unable with the API's words; what is only away for now is an exception, and tried again."""
        if isinstance(command, TellRetraining):
            await self._tell(command, record)
            return None
        given = [{"Name": name, "Value": value[:1024]} for name, value in sorted(command.parameters.items())]
        try:
            answer = await self._call(
                record,
                "StartPipelineExecution",
                PipelineName=command.pipeline,
                ClientRequestToken=command.token,
                PipelineParameters=given,
                PipelineExecutionDescription=command.why[:3000],
            )
        except (Unavailable, Stale):
            raise
        except ClaryError as error:
            log.warning("%s: %s cannot be started: %s", record.arn, command.pipeline, error.message)
            return Unable(error.message)
        log.info("%s: %s was started: %s", record.arn, command.pipeline, command.why)
        return str(answer["PipelineExecutionArn"])

    async def _tell(self, command: TellRetraining, record: Record) -> None:
        line = {
            "created": record.created,
            "n": command.n,
            "what": command.what,
            "why": command.why,
            "config": command.pipeline,
            "status": "",
        }
        text = json.dumps(line)
        await asyncio.to_thread(self._write, record, command.at, text)
        if not command.topic:
            return
        arn = command.topic if command.topic.startswith("arn:") else topic_arn(record.scope, command.topic)
        subject = f"{record.name}: {command.what}"[:_SUBJECT]
        try:
            await self._ask(record, "sns", "Publish", {"TopicArn": arn, "Subject": subject, "Message": command.why})
        except (Unavailable, Stale):
            raise
        except ClaryError as error:
            log.warning("%s: nobody was told: %s", record.arn, error.message)

    def _write(self, record: Record, at: float, text: str) -> None:
        """Into the history, once."""
        logs, group, now = self._ports.logs, history_group(record.name), self._ports.clock.now()
        with suppress(AlreadyExists):
            logs.add_group(record.scope, group, now, {})
        with suppress(AlreadyExists):
            logs.add_stream(record.scope, group, RETRAINING_STREAM, now)
        logs.append(record.scope, group, RETRAINING_STREAM, [(int(at * 1000), text)])

    def absorb(self, record: Record, outcomes: Sequence[tuple[RetrainingCommand, str | Unable | None]]) -> Record:
        for command, outcome in outcomes:
            if isinstance(command, StartRetraining) and outcome is not None:
                record = retraining.started(record, command, outcome, self._ports.clock.now())
        return record


def tag_of(endpoint: Record, key: str) -> str:
    return next((str(tag["Value"]) for tag in endpoint.document.get("tags", ()) if tag["Key"] == key), "")


def _epoch(value: Any) -> float:
    return float(value.timestamp() if hasattr(value, "timestamp") else value)


class RetrainingBeginner:
    """Makes the record of an endpoint that gets the tag: those that are there at the start in these scopes, and those that are heard of."""

    def __init__(self, store: Store, clock: Clock, scopes: Scopes) -> None:
        self._store = store
        self._scopes = scopes
        self._clock = clock
        self._heard: asyncio.Queue[Record] = asyncio.Queue()

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        unwatch = self._store.watch(self._hear)
        try:
            while True:
                try:
                    await self._all()
                    while True:
                        await self.look(await self._heard.get())
                except ClaryError as error:
                    log.warning("endpoints to retrain are looked at again: %s", error.message)
                    await asyncio.sleep(1.0)
        finally:
            unwatch()

    def _hear(self, record: Record) -> None:
        if record.kind == "endpoint" and tag_of(record, retraining.TAG):
            self._heard.put_nowait(record)

    async def _all(self) -> None:
        for scope in await asyncio.to_thread(self._scopes):
            query = Query("endpoint", scope, sort_by="name", descending=False, limit=_PAGE)
            async for page in pages(self._store, query):
                for endpoint in page:
                    self._hear(endpoint)

    async def look(self, endpoint: Record) -> None:
        scope = endpoint.scope
        if await self._store.get(retraining.KIND, scope, endpoint.name) is None:
            arn = ids.arn("clary", scope.region, scope.account, f"{retraining.KIND}/{endpoint.name}")
            with suppress(AlreadyExists):
                await self._store.add(retraining.new(endpoint, arn, self._clock.now()))
