"""The hands of executions: looks up what `domain/pipelines/turn.py` has to know, and makes and stops children through the API.

A step's end reaches the execution by `Store.watch`: the child's record tells whose it is (`attach`). Children are made by a key that
follows from the execution's record, so a turn that is repeated after a crash makes nothing twice.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.errors import AlreadyExists, ClaryError, Invalid, NotFound
from clary.domain.pipelines import definition, lineage, record, retries, steps, turn
from clary.domain.pipelines.definition import PipelineDefinition
from clary.domain.pipelines.lineage import LineageNoun
from clary.domain.pipelines.record import (
    BETWEEN,
    LATEST_FORMERS,
    Described,
    ExecutionCommand,
    InvokeFunction,
    Launch,
    MakeExperiment,
    Needs,
    Note,
    RecordLineage,
    Refused,
    Returned,
    SeenExecution,
    SendCallback,
    StopStep,
)
from clary.domain.resources import Query, Record
from clary.domain.s3 import parse_uri
from clary.loops.core.loop import Loop
from clary.loops.core.tasks import Done, Failed, Tasks
from clary.ports import ParentPorts, Store

LARGEST_FILE = 10 << 20  # bytes of a JSON file that a Std:JsonGet reads
LONGEST_FUNCTION = 600.0  # seconds that a Lambda step waits for its function
_KEPT = 32  # parsed definitions
_IN_A_THREAD = 1 << 16  # characters of a definition from which on it is parsed beside the event loop
_PAGE = 25


class ExecutionSubject:
    """`loop.Subject` of executions."""

    kind = record.KIND
    statuses = record.ACTIVE

    def __init__(self, ports: ParentPorts) -> None:
        self._ports = ports
        self._definitions: OrderedDict[str, PipelineDefinition] = OrderedDict()
        self.tasks = Tasks()  # functions that run
        self._awaited: dict[str, set[str]] = {}  # ARN of a child that may be another's -> executions that wait for it

    async def observe(self, current: Record) -> SeenExecution:
        self._await(current)
        seen = SeenExecution(
            await self._definition(current),
            self._ports.clock.now(),
            invoked=self._invoked(current),
            source=await self._source(current),
        )
        while needs := turn.decide(current, seen)[1]:
            seen = await self._look_up(current, seen, needs)
        return seen

    def decide(self, current: Record, observation: SeenExecution, now: float) -> Decision[ExecutionCommand]:
        """By the time of the observation: what a step's expressions make of it must be what was looked up."""
        return turn.decide(current, observation)[0]

    def absorb(self, current: Record, outcomes: Sequence[tuple[ExecutionCommand, Any]]) -> Record:
        return record.absorb(current, outcomes)

    async def run(self, command: ExecutionCommand, current: Record) -> Any:
        match command:
            case Launch():
                return await self._launch(command, current)
            case SendCallback():
                return await self._send(command, current)
            case InvokeFunction():
                key = _key(current, command.step, command.attempt)
                self.tasks.start(key, lambda: self._invoke(command, current), current.arn)
            case Note():
                await asyncio.to_thread(self._note, command, current)
            case MakeExperiment():
                return await self._experiment(command, current)
            case RecordLineage():
                return await self._lineage(command, current)
            case StopStep(_, kind, child):
                row = steps.CHILDREN[kind]
                if row.stop:
                    await self._stop(row, child, current)
        return None

    def _await(self, current: Record) -> None:
        """Remember the children whose records do not tell that they are this execution's: they were there before."""
        for state in current.document["steps"].values():
            row = steps.CHILDREN.get(state["type"])
            if row is not None and row.keeps and state["status"] in record.RUNNING and "arn" in state:
                self._awaited.setdefault(str(state["arn"]), set()).add(current.arn)

    def waiting(self, child: str) -> tuple[str, ...]:
        """Executions that wait for the child of that ARN; they are looked at once more, and wait again if it has not ended."""
        return tuple(self._awaited.get(child, ()))

    def over(self, execution: str) -> None:
        """That execution waits for nothing any more."""
        for child in [arn for arn, waiting in self._awaited.items() if execution in waiting]:
            self._awaited[child].discard(execution)
            if not self._awaited[child]:
                del self._awaited[child]

    # -- what is looked up ------------------------------------------------------------------------------------------------------------

    async def _definition(self, current: Record) -> PipelineDefinition | None:
        name = str(current.document["definition"])
        key = f"{current.scope} {name}"
        if key not in self._definitions:
            stored = await self._ports.store.get(record.DEFINITION, current.scope, name)
            if stored is None:
                return None
            text = stored.document["text"]
            parsed = (
                await asyncio.to_thread(definition.parse, text, {})
                if len(text) > _IN_A_THREAD
                else definition.parse(text, {})
            )
            self._definitions[key] = parsed
            if len(self._definitions) > _KEPT:
                self._definitions.popitem(last=False)
        self._definitions.move_to_end(key)
        return self._definitions[key]

    async def _source(self, current: Record) -> Record | None:
        chosen = current.document.get("selective") or {}
        return await self._ports.store.by_arn(chosen["source"]) if chosen.get("source") else None

    async def _look_up(self, current: Record, seen: SeenExecution, needs: Needs) -> SeenExecution:
        children = {**seen.children}
        for kind, child in needs.children:
            children[kind, child] = await self._describe(kind, child, current)
        files = {**seen.files}
        for uri in needs.files:
            files[uri] = await self._read(uri, current)
        baselines = {**seen.baselines}
        for group in needs.groups:
            baselines[group] = await self._baselines(group, current)
        formers = await self._formers(current) if needs.formers else seen.formers
        return replace(seen, children=children, files=files, formers=formers, baselines=baselines)

    async def _baselines(self, group: str, current: Record) -> Mapping[str, Any]:
        """DriftCheckBaselines of the group's latest approved version; empty without one, or without the group."""
        call = self._ports.operations.call
        asked = {
            "ModelPackageGroupName": group,
            "ModelApprovalStatus": "Approved",
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
            "MaxResults": 1,
        }
        try:
            listed = (await call("sagemaker", "ListModelPackages", asked, parent=current))["ModelPackageSummaryList"]
            if not listed:
                return {}
            named = {"ModelPackageName": listed[0]["ModelPackageArn"]}
            found = await call("sagemaker", "DescribeModelPackage", named, parent=current)
        except (Invalid, NotFound):
            return {}
        return dict(found.get("DriftCheckBaselines") or {})

    async def _describe(self, kind: str, child: str, current: Record) -> Described:
        """The Describe answer of a child as it is; what the properties of its type have besides is added when it has ended."""
        row = steps.CHILDREN[kind]
        asked = {row.named: child}
        try:
            answer = await self._ports.operations.call("sagemaker", row.describe, asked, parent=current)
            if not row.status or answer.get(row.status) not in steps.TRANSIENT:
                for member, listed in row.ranked.items():
                    params = {**asked, "SortBy": "FinalObjectiveMetricValue", "MaxResults": 100}
                    found = await self._ports.operations.call("sagemaker", listed, params, parent=current)
                    answer = {**answer, member: found[member]}
        except (Invalid, NotFound):
            return Described(None)
        return Described(answer)

    async def _read(self, uri: str, current: Record) -> bytes | Exception:
        """A ClaryError is an answer: the step that asks fails with it."""
        try:
            where = parse_uri(uri)
            artifacts = self._ports.artifacts.of(current.scope.account)
            return await artifacts.read(where.bucket, where.key, LARGEST_FILE)
        except ClaryError as error:
            return error

    async def _formers(self, current: Record) -> tuple[Record, ...]:
        """The latest executions of the same pipeline, newest first."""
        begin = f"{current.document['pipeline']}{BETWEEN}"
        query = Query(record.KIND, current.scope, name_contains=begin, limit=_PAGE)
        found: list[Record] = []
        while len(found) < LATEST_FORMERS:
            page = await self._ports.store.page(query)
            found += [each for each in page if each.name.startswith(begin) and each.arn != current.arn]
            if len(page) < _PAGE:
                break
            query = replace(query, after=(page[-1].created, page[-1].name))
        return tuple(found[:LATEST_FORMERS])

    def _invoked(self, current: Record) -> dict[tuple[str, int], Returned | None]:
        found: dict[tuple[str, int], Returned | None] = {}
        for name, state in current.document["steps"].items():
            if state["type"] != steps.LAMBDA or state["status"] not in record.RUNNING:
                continue
            work = self.tasks.state(_key(current, name, state["attempt"]))
            if isinstance(work, Done):
                found[name, state["attempt"]] = work.result
            elif isinstance(work, Failed):
                found[name, state["attempt"]] = Returned(failure=work.message, exception=retries.FAULT)
            elif work is not None:
                found[name, state["attempt"]] = None
        return found

    # -- what is done -----------------------------------------------------------------------------------------------------------------

    async def _launch(self, command: Launch, current: Record) -> str | Refused:
        row = steps.CHILDREN[command.type]
        call = self._ports.operations.call
        try:
            if command.group:
                await self._group(command, current)
            if row.keeps:
                return await self._keep(row, command, current)
            answer = await call("sagemaker", row.create, command.params, parent=current, key=command.key)
            return str(answer[row.made])
        except ClaryError as error:
            return Refused(error.message, retries.exception_of(error))

    async def _keep(self, row: steps.ChildType, command: Launch, current: Record) -> str:
        """Create what keeps its name; where it is there, update it, or use it if it is what was asked for."""
        call, given = self._ports.operations.call, dict(command.params)
        made = {name: value for name, value in given.items() if name not in row.only_update}
        try:
            answer = await call("sagemaker", row.create, made, parent=current, key=command.key)
            return str(answer[row.made])
        except AlreadyExists as error:
            there = await call("sagemaker", row.describe, {row.named: given[row.named]}, parent=current)
            fixed = [name for name in (row.only_create if row.update else made) if name in made and name != "Tags"]
            other = [name for name in fixed if not steps.covers(there.get(name), made[name])]
            if other:
                raise AlreadyExists(f"{error.message} Its {other[0]} is not what the step asks for.") from None
        if row.update:
            changed = {name: value for name, value in given.items() if name not in row.only_create}
            await call("sagemaker", row.update, changed, parent=current, key=command.key)
            if given.get("Tags"):
                tags = {"ResourceArn": there[row.made], "Tags": given["Tags"]}
                await call("sagemaker", "AddTags", tags, parent=current)
        return str(there[row.made])

    async def _experiment(self, command: MakeExperiment, current: Record) -> str | Refused:
        call, experiment = self._ports.operations.call, {"ExperimentName": command.experiment}
        try:
            with contextlib.suppress(AlreadyExists):
                await call("sagemaker", "CreateExperiment", experiment, parent=current, key="experiment")
            with contextlib.suppress(AlreadyExists):
                trial = {**experiment, "TrialName": command.trial}
                await call("sagemaker", "CreateTrial", trial, parent=current, key="trial")
        except ClaryError as error:
            return Refused(error.message, retries.exception_of(error))
        return ""

    async def _lineage(self, command: RecordLineage, current: Record) -> dict[str, Any] | Refused:
        recorded: dict[str, Any] = {}
        try:
            for noun in lineage.NOUNS:
                for at, row in enumerate(command.given.get(noun.member) or ()):
                    arn = await self._entity(noun, row, f"{command.key}/{noun.noun}/{at}", current)
                    recorded.setdefault(noun.arns, {})[str(row.get(noun.name) or arn)] = arn
            for row in command.given.get("Associations") or ():
                ends = {f"{end}Arn": lineage.end_of(row[end], recorded) for end in ("Source", "Destination")}
                kind = {"AssociationType": row["AssociationType"]} if row.get("AssociationType") else {}
                with contextlib.suppress(AlreadyExists):
                    await self._ports.operations.call("sagemaker", "AddAssociation", {**ends, **kind}, parent=current)
                recorded.setdefault("Associations", []).append(ends)
        except ClaryError as error:
            return Refused(error.message, retries.exception_of(error))
        return recorded

    async def _entity(self, noun: LineageNoun, row: Mapping[str, Any], key: str, current: Record) -> str:
        """The ARN of an entity: recorded now, or there before and changed to what the step tells."""
        call = self._ports.operations.call
        try:
            answer = await call("sagemaker", f"Create{noun.noun}", row, parent=current, key=key)
            return str(answer[noun.arn])
        except AlreadyExists:
            changed = {name: row[name] for name in noun.changed if name in row}
        if noun.noun == "Artifact":  # what an artifact is known by is its source
            listed = {"SourceUri": row["Source"]["SourceUri"], "MaxResults": 100}
            found = (await call("sagemaker", "ListArtifacts", listed, parent=current))["ArtifactSummaries"]
            [named] = [{noun.arn: each[noun.arn]} for each in found if each["Source"] == row["Source"]][:1]
        else:
            named = {noun.name: row[noun.name]}
        return str((await call("sagemaker", f"Update{noun.noun}", {**changed, **named}, parent=current))[noun.arn])

    async def _group(self, command: Launch, current: Record) -> None:
        """The group that a version is registered in; made where it is not there."""
        params: dict[str, Any] = {"ModelPackageGroupName": command.group}
        if command.group.startswith("arn:"):
            return
        if command.tags:
            params["Tags"] = [dict(tag) for tag in command.tags]
        try:
            await self._ports.operations.call(
                "sagemaker", "CreateModelPackageGroup", params, parent=current, key=f"{command.key}/group"
            )
        except AlreadyExists:
            return

    def _note(self, command: Note, current: Record) -> None:
        now = self._ports.clock.now()
        stream = record.log_stream(current.document["pipeline"], current.document["id"])
        self._ports.logs.open(current.scope, record.LOG_GROUP, stream, now)
        self._ports.logs.append(current.scope, record.LOG_GROUP, stream, [(int(now * 1000), command.text)])

    async def _invoke(self, command: InvokeFunction, current: Record) -> Returned:
        payload = base64.b64encode(command.payload).decode()
        try:
            async with asyncio.timeout(LONGEST_FUNCTION):
                answer = await self._ports.operations.call(
                    "lambda", "Invoke", {"FunctionName": command.function, "Payload": payload}, parent=current
                )
        except ClaryError as error:
            return Returned(failure=error.message, exception=retries.exception_of(error))
        except TimeoutError:
            return Returned(failure=f"{command.function} did not answer within {LONGEST_FUNCTION:.0f} s.")
        content = bytes(answer.get("Payload") or b"")
        if answer.get("FunctionError"):
            return Returned(failure=f"{command.function} failed: {content.decode(errors='replace')}")
        return Returned(content)

    async def _send(self, command: SendCallback, current: Record) -> str | Refused:
        params = {"QueueUrl": command.queue, "MessageBody": command.body}
        if command.queue.endswith(".fifo"):
            params |= {"MessageGroupId": command.step, "MessageDeduplicationId": command.key}
        try:
            await self._ports.operations.call("sqs", "SendMessage", params, parent=current)
        except ClaryError as error:
            return Refused(error.message, retries.exception_of(error))
        return ""

    async def _stop(self, row: steps.ChildType, child: str, current: Record) -> None:
        """One that has ended, or is gone, needs no stop: its end is seen by the next turn."""
        try:
            await self._ports.operations.call("sagemaker", row.stop, {row.named: child}, parent=current)
        except (Invalid, NotFound):
            return


def _key(current: Record, step: str, attempt: int) -> str:
    return f"{current.arn} {step}/{attempt}"


def attach(subject: ExecutionSubject, loop: Loop[ExecutionCommand, SeenExecution], store: Store) -> Callable[[], None]:
    """Wire what wakes an execution: a child that has ended, a function that answered. Answers the way to undo it."""

    def saved(changed: Record) -> None:
        parent = str(changed.document.get("parent", ""))
        if changed.status not in steps.TRANSIENT:
            for waiting in {*subject.waiting(changed.arn), *([parent] if BETWEEN in parent else [])}:
                loop.wake(waiting)
        if changed.kind == record.KIND and changed.status not in record.ACTIVE:
            subject.tasks.forget_all(f"{changed.arn} ")
            subject.over(changed.arn)

    undo = (store.watch(saved), subject.tasks.watch(loop.wake))

    def leave() -> None:
        for each in undo:
            each()
        subject.tasks.forget_all("")

    return leave
