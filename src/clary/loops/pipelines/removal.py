"""Removes a pipeline that is Deleting: its executions and the texts of its definitions first, its own record last.

DeletePipeline only marks the record. An execution that started at that very moment is stopped, and its end waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.errors import IllegalTransition, Stale
from clary.domain.pipelines import record
from clary.domain.resources import Query, Record
from clary.ports import Clock, Store

_PAGE = 100
_AGAIN = 0.5  # seconds between looks while an execution has not ended


@dataclass(frozen=True, slots=True)
class RemoveHeld:
    """Remove executions that have ended, and definitions; stop other executions."""


@dataclass(frozen=True, slots=True)
class Holding:
    """How many executions and definitions are still there."""

    count: int


class RemovalSubject:
    """`loop.Subject` of pipelines that are deleted."""

    kind = record.PIPELINE
    statuses = (record.DELETING,)

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def observe(self, current: Record) -> Holding:
        return Holding(len(await self._held(current)))

    def decide(self, current: Record, observation: Holding, now: float) -> Decision[RemoveHeld]:
        if observation.count:
            return Decision(current, (RemoveHeld(),), again=_AGAIN)
        return Decision(current, remove=True)

    async def run(self, command: RemoveHeld, current: Record) -> None:
        for held in await self._held(current):
            try:
                if held.status in record.ACTIVE:
                    await self._store.save(record.stop_asked(held, self._clock.now()))
                else:
                    await self._store.remove(held)
            except (Stale, IllegalTransition):
                continue  # somebody changed it: the next look tells

    def absorb(self, current: Record, outcomes: Sequence[tuple[RemoveHeld, Any]]) -> Record:
        return current

    async def _held(self, current: Record) -> list[Record]:
        """One page of what the pipeline holds."""
        found: list[Record] = []
        for kind, begin in ((record.KIND, f"{current.name}{record.BETWEEN}"), (record.DEFINITION, f"{current.name}/")):
            query = Query(kind, current.scope, name_contains=begin, limit=_PAGE)
            while not found:
                page = await self._store.page(query)
                found += [each for each in page if each.name.startswith(begin)]
                if len(page) < _PAGE:
                    break
                query = replace(query, after=(page[-1].created, page[-1].name))
        return found
