"""Removes messages that are past their queue's retention, traces of deleted ones, and all messages of deleted queues.

Receivers see none of these; this gives their space back. Two Subjects: of queues, which are never done, and of deleted queues, each of
which is a record until its messages are removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.queues import messages
from clary.domain.queues import record as queues
from clary.domain.resources import Query, Record
from clary.guarded import until_first
from clary.ports import Clock, Store

EVERY = 60.0  # seconds
_AT_ONCE = 200
_HALF_DELETED = 600.0  # seconds after which a queue that is still there was not deleted: its client was told nothing


@dataclass(frozen=True, slots=True)
class Sweep:
    """Remove what these find, oldest first."""

    queries: tuple[Query, ...]


class _Sweeping:
    statuses = ("",)

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def run(self, command: Sweep, record: Record) -> None:
        for query in command.queries:
            while found := await self._store.page(query):
                await asyncio.gather(*(self._drop(each) for each in found))

    async def _drop(self, record: Record) -> None:
        async def attempt() -> None:
            current = await self._store.get(record.kind, record.scope, record.name)
            if current is not None and current.status == record.status:
                await self._store.remove(current)

        await until_first(attempt)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Sweep, Any]]) -> Record:
        return record


class LivingQueues(_Sweeping):
    """`loop.Subject` of queues."""

    kind = queues.QUEUE

    async def observe(self, record: Record) -> None:
        """Time alone decides."""

    def decide(self, record: Record, observation: None, now: float) -> Decision[Sweep]:
        return Decision(record, (Sweep(messages.expired(record, now, _AT_ONCE)),), again=EVERY)


class DeletedQueues(_Sweeping):
    """`loop.Subject` of deleted queues. `observe`: whether the queue is still there."""

    kind = queues.DELETED

    async def observe(self, record: Record) -> bool:
        found = await self._store.get(queues.QUEUE, record.scope, record.document["queue"])
        return found is not None and found.document["id"] == record.name

    def decide(self, record: Record, observation: bool, now: float) -> Decision[Sweep]:
        if observation:
            if now - record.created > _HALF_DELETED:
                return Decision(record, remove=True)
            return Decision(record, again=EVERY)
        id_ = record.name
        every = tuple(messages.of_queue(record.scope, each, _AT_ONCE) for each in (id_, messages.gone(id_)))
        if now - record.created < EVERY:  # a sender that found the queue before may still be writing
            return Decision(record, (Sweep(every),), again=EVERY)
        return Decision(record, (Sweep(every),), remove=True)
