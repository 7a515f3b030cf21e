"""The hands of executions: looks up what `domain/pipelines/turn.py` has to know, and makes and stops children through the API.

A step's end reaches the execution by `Store.watch`: the child's record tells whose it is (`attach`). Children are made by a key that
follows from the execution's record, so a turn that is repeated after a crash makes nothing twice.
"""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.errors import AlreadyExists, ClaryError, Invalid, NotFound
from clary.domain.pipelines import definition, record, retries, steps, turn
from clary.domain.pipelines.definition import PipelineDefinition
from clary.domain.pipelines.record import (
    BETWEEN,
    LATEST_FORMERS,
    Described,
    ExecutionCommand,
    InvokeFunction,
    Launch,
    Needs,
    Note,
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
from clary.ports import Artifacts, Clock, Logs, Operations, Store

LARGEST_FILE = 10 << 20  # bytes of a JSON file that a Std:JsonGet reads
LONGEST_FUNCTION = 600.0  # seconds that a Lambda step waits for its function
_KEPT = 32  # parsed definitions
_IN_A_THREAD = 1 << 16  # characters of a definition from which on it is parsed beside the event loop
_PAGE = 25
_TRANSIENT = ("", "InProgress", "Stopping")  # of children: no step ends while its child is in one


@dataclass(frozen=True, slots=True)
class PipelinePorts:
    """What executions use of the world."""

    store: Store
    artifacts: Artifacts
    operations: Operations
    logs: Logs
    clock: Clock


class ExecutionSubject:
    """`loop.Subject` of executions."""

    kind = record.KIND
    statuses = record.ACTIVE

    def __init__(self, ports: PipelinePorts) -> None:
        self._ports = ports
        self._definitions: OrderedDict[str, PipelineDefinition] = OrderedDict()
        self.tasks = Tasks()  # functions that run

    async def observe(self, current: Record) -> SeenExecution:
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
            case StopStep(_, kind, child):
                row = steps.CHILDREN[kind]
                if row.stop:
                    await self._stop(row, child, current)
        return None

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
        formers = await self._formers(current) if needs.formers else seen.formers
        return replace(seen, children=children, files=files, formers=formers)

    async def _describe(self, kind: str, child: str, current: Record) -> Described:
        """The Describe answer of a child as it is; what the properties of its type have besides is added when it has ended."""
        row = steps.CHILDREN[kind]
        asked = {row.named: child}
        try:
            answer = await self._ports.operations.call("sagemaker", row.describe, asked, parent=current)
            if not row.status or answer.get(row.status) not in _TRANSIENT:
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
            answer = await call("sagemaker", row.create, command.params, parent=current, key=command.key)
            return str(answer[row.made])
        except ClaryError as error:
            return Refused(error.message, retries.exception_of(error))

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
        if BETWEEN in parent and changed.status not in _TRANSIENT:
            loop.wake(parent)
        if changed.kind == record.KIND and changed.status not in record.ACTIVE:
            subject.tasks.forget_all(f"{changed.arn} ")

    undo = (store.watch(saved), subject.tasks.watch(loop.wake))

    def leave() -> None:
        for each in undo:
            each()
        subject.tasks.forget_all("")

    return leave
