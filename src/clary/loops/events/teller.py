"""Tells rules of changes of resources. What is written by any control plane is heard from the store, and compared with what was told
before (`changes.py`); the deliveries that follow are added first, the mark last.

When Clary dies in between, the next start compares all resources with their marks: the deliveries are planned again under the same names.
A state that a resource has passed by then, while nobody listened, is not told; the one that it is in always is. An event may be told twice.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from clary.domain.errors import AlreadyExists, ClaryError, NotFound, Stale
from clary.domain.events import rules
from clary.domain.ids import arn as make_arn
from clary.domain.resources import Query, Record, Scope
from clary.loops.events import changes
from clary.pages import everything, pages
from clary.ports import Clock, Operations, Store

log = logging.getLogger(__name__)

KNOWN = "Known"
_PAGE = 200
_BRIEF = 0.001  # seconds: a lease that only finds the scopes
_REMEMBERED = 1000  # resources whose marks are kept in mind
_PAUSE = 1.0  # seconds after an error before the record is looked at again


async def planned(store: Store, told: Mapping[str, Any], scope: Scope, now: float) -> int:
    """Plan the deliveries of an event to the targets of the scope's rules that it matches; how many there are. Once for an event's id."""
    count = 0
    for delivery in rules.all_planned(await everything(store, rules.enabled(scope)), told, now):
        count += 1
        with suppress(AlreadyExists):
            await store.add(delivery)
    return count


class Teller:
    """`run` until cancelled."""

    def __init__(self, store: Store, operations: Operations, clock: Clock, owner: str) -> None:
        self._store = store
        self._operations = operations
        self._clock = clock
        self._owner = owner
        self._heard: asyncio.Queue[Record] = asyncio.Queue()
        self._scopes: set[Scope] = set()
        self._marked: dict[str, tuple[float, Mapping[str, str]]] = {}  # ARN -> creation and states that its mark says

    async def run(self) -> None:
        unwatch = self._store.watch(self._hear)
        try:
            await self._compare_all()
            while True:
                record = await self._heard.get()
                try:
                    await self.look(record)
                except ClaryError as error:
                    log.warning("%s: its change could not be told yet: %s", record.arn, error.message)
                    asyncio.get_running_loop().call_later(_PAUSE, self._heard.put_nowait, record)
        finally:
            unwatch()

    def _hear(self, record: Record) -> None:
        if record.kind in changes.KINDS:
            self._heard.put_nowait(record)

    async def look(self, record: Record) -> None:
        """Tell what is new about the record, as it was when it was heard."""
        current = await self._store.get(record.kind, record.scope, record.name)
        if current is not None and current.created == record.created and self._is_marked(record):
            return  # as most changes of a job: another word about the same state
        mark = await self._store.get(changes.MARK, record.scope, record.arn)
        if current is None or current.created != record.created:
            await self._look_back(record, mark, current)
            return
        await self._know(record.scope)
        new = changes.changes(record, mark)
        if new:
            await self._tell_all(record, new, mark)
            await self._mark(record, mark)
        if len(self._marked) >= _REMEMBERED:
            self._marked.clear()
        self._marked[record.arn] = record.created, changes.KINDS[record.kind].states(record)

    def _is_marked(self, record: Record) -> bool:
        return self._marked.get(record.arn) == (record.created, changes.KINDS[record.kind].states(record))

    async def _look_back(self, gone: Record, mark: Record | None, current: Record | None) -> None:
        """Tell of the end of a resource that was told of. `current`: another of its name, whose own turn comes."""
        self._marked.pop(gone.arn, None)
        if mark is None:
            return
        if changes.is_of(mark, gone):
            await self._tell_all(gone, changes.farewell(gone), mark)
        if current is None:
            with suppress(Stale):
                await self._store.remove(mark)

    async def _tell_all(self, record: Record, new: Sequence[changes.StateChange], mark: Record | None) -> None:
        if new and await everything(self._store, rules.enabled(record.scope)):
            for change in new:
                await self._tell(record, change, mark)

    async def _tell(self, record: Record, change: changes.StateChange, mark: Record | None) -> None:
        async def ask(operation: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
            try:
                return await self._operations.call("sagemaker", operation, params, parent=record)
            except NotFound:  # deleted since
                return params

        occasion = await changes.KINDS[record.kind].occasion(record, change, ask)
        now, count = self._clock.now(), mark.document["count"] if mark is not None else 0
        id_ = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{record.arn} {record.created} {count} {change.part} {change.state}"))
        about = list(occasion.about) or [record.arn]
        told = rules.event(record.scope, id_, occasion.source, occasion.detail_type, occasion.detail, now, about)
        await planned(self._store, told, record.scope, now)

    async def _mark(self, record: Record, before: Record | None) -> None:
        mark = changes.marked(record, before, self._clock.now())
        with suppress(Stale, AlreadyExists):  # another control plane told it too
            await (self._store.add(mark) if before is None else self._store.save(mark))

    async def _know(self, scope: Scope) -> None:
        """Note the scope, so that the next start finds it."""
        if scope in self._scopes:
            return
        now = self._clock.now()
        arn = make_arn("events", scope.region, scope.account, "scope")
        with suppress(AlreadyExists):
            await self._store.add(Record(changes.SCOPE, scope, "scope", arn, KNOWN, now, now, {}))
        self._scopes.add(scope)

    # -- after a start ----------------------------------------------------------------------------------------------------------

    async def _compare_all(self) -> None:
        """Hear of every resource whose state differs from what was told, of those that changed since this was begun in their scope."""
        leases = await self._store.claim(changes.SCOPE, self._owner, self._clock.now(), _BRIEF, (KNOWN,), 10_000)
        for lease in leases:
            self._scopes.add(lease.record.scope)
            for kind in changes.KINDS:
                await self._compare(kind, lease.record)
            await self._store.release(lease)

    async def _compare(self, kind: str, scope: Record) -> None:
        query = Query(kind, scope.scope, modified_after=scope.created, sort_by="name", descending=False, limit=_PAGE)
        async for page in pages(self._store, query):
            for record in page:
                mark = await self._store.get(changes.MARK, record.scope, record.arn)
                if changes.changes(record, mark):
                    self._heard.put_nowait(record)
