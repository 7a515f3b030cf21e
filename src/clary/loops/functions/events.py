"""Runs functions with the events that wait for them: `loop.Subject` of `lambda-event` records."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from clary.domain.decisions import Decision
from clary.domain.errors import AlreadyExists, ClaryError
from clary.domain.functions import events, outcomes
from clary.domain.functions import record as functions
from clary.domain.functions.events import Bury, EventCommand, EventRun, InvokeFunction
from clary.domain.queues import messages
from clary.domain.queues import record as queues
from clary.domain.queues.messages import New
from clary.domain.resources import Record
from clary.ports import Clock, Functions, Store


class EventSubject:
    """`invoked` runs functions."""

    kind = functions.EVENT
    statuses = (events.PENDING,)

    def __init__(self, store: Store, clock: Clock, invoked: Functions) -> None:
        self._store = store
        self._clock = clock
        self._functions = invoked

    async def observe(self, record: Record) -> None:
        """Only trying tells."""

    def decide(self, record: Record, observation: None, now: float) -> Decision[EventCommand]:
        return events.decide(record, now)

    async def run(self, command: EventCommand, record: Record) -> EventRun:
        function = await self._store.by_arn(command.function)
        if isinstance(command, Bury):
            await self._bury(command, function)
            return EventRun(self._clock.now())
        return await self._invoke(command, function)

    async def _invoke(self, command: InvokeFunction, function: Record | None) -> EventRun:
        if function is None:
            return EventRun(self._clock.now(), missing=True)
        try:
            done = await self._functions.invoke(
                function, command.payload.encode(), id_=command.id, client_context=command.context
            )
        except asyncio.CancelledError:
            raise
        except ClaryError as error:  # it did not run
            return EventRun(self._clock.now(), error.message, throttled=True)
        return EventRun(self._clock.now(), done.payload.decode("utf-8", "replace") if done.error else "")

    async def _bury(self, command: Bury, function: Record | None) -> None:
        config = function.document["config"] if function is not None else {}
        target = (config.get("DeadLetterConfig") or {}).get("TargetArn")
        if not target or function is None:
            return
        scope, name = queues.parse_arn(target)
        queue = await self._store.get(queues.QUEUE, scope, name)
        if queue is None or scope.account != function.scope.account or queues.is_fifo(queue):
            return
        told = {
            "RequestID": command.id,
            "ErrorCode": "200",
            "ErrorMessage": outcomes.message(command.failure.encode())[:1024],
        }
        attributes = {key: {"DataType": "String", "StringValue": value or "-"} for key, value in told.items()}
        new = messages.check(queue, New(command.payload or "{}", attributes))
        try:
            await self._store.add(messages.record_of(queue, new, self._clock.now(), command.id, "lambda.amazonaws.com"))
        except AlreadyExists:
            return

    def absorb(self, record: Record, outcomes_: Sequence[tuple[EventCommand, EventRun]]) -> Record:
        for command, run in outcomes_:
            if isinstance(command, InvokeFunction):
                record = events.absorb(record, run)
        return record
