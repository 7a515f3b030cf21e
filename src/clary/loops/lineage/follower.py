"""Follows jobs, packages and endpoints, and keeps what `domain/lineage/derived.py` derives of them beside the users' own records.

It hears every change of a record, and looks at all of them once when it starts: whatever a process that was killed left undone is done
then. Nothing is done twice, since all names follow from the resource.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

from clary.domain.errors import AlreadyExists, ClaryError
from clary.domain.experiments import components
from clary.domain.lineage import derived, entities
from clary.domain.lineage.derived import SOURCES
from clary.domain.lineage.entities import ASSOCIATION
from clary.domain.resources import Query, Record, Scope
from clary.guarded import MADE_OR_CHANGED, until_first
from clary.pages import pages
from clary.ports import Clock, Store

log = logging.getLogger(__name__)

_PAGE = 100
_PAUSE = 1.0  # seconds after an error: of the disk, or of others that write the same
_KNOWN = 1000  # resources of which is kept what was recorded


class LineageFollower:
    """One a control plane; several do the same work and no harm."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._changed: dict[str, Record] = {}  # ARN -> as it was heard of, in the order of the first changes
        self._recorded: dict[str, tuple[object, ...]] = {}  # ARN -> the mark of what was recorded last
        self._news = asyncio.Event()

    def hear(self, record: Record) -> None:
        if record.kind in SOURCES:
            self._changed[record.arn] = record
            self._news.set()

    async def run(self) -> None:
        """For ever."""
        stop = self._store.watch(self.hear)
        try:
            await self.catch_up()
            while True:
                await self._news.wait()
                self._news.clear()
                await self.work()
        finally:
            stop()

    async def work(self) -> None:
        """Look at all that changed."""
        while self._changed:
            arn = next(iter(self._changed))
            heard = self._changed.pop(arn)
            try:
                await self._look(heard)
            except ClaryError as error:
                log.warning("the lineage of %s is not recorded yet: %s", arn, error.message)
                self._changed.setdefault(arn, heard)
                await asyncio.sleep(_PAUSE)
            await asyncio.sleep(0)

    async def _look(self, heard: Record) -> None:
        """Follow it as it is now, unless what was heard tells what was recorded already: most changes of a job do."""
        if self._recorded.get(heard.arn) == derived.mark(derived.derived(heard)):
            return
        record = await self._store.by_arn(heard.arn)
        if record is None:
            self._recorded.pop(heard.arn, None)
            return
        await self.follow(record)
        if len(self._recorded) >= _KNOWN:
            self._recorded.clear()
        self._recorded[record.arn] = derived.mark(derived.derived(record))

    async def catch_up(self) -> None:
        """Every resource that there is."""
        for kind in SOURCES:
            for scope in await self._store.scopes(kind):
                await self._all(kind, scope)

    async def _all(self, kind: str, scope: Scope) -> None:
        query = Query(kind, scope, sort_by="name", descending=False, limit=_PAGE)
        async for page in pages(self._store, query):
            for record in page:
                self.hear(record)
            await self.work()

    async def follow(self, record: Record) -> None:
        """Record what the resource tells now."""
        found = derived.derived(record)
        if found.component is not None and not await self._component(record, found.component):
            return
        for entity in found.entities:
            if await self._store.get(entity.kind, entity.scope, entity.name) is None:
                with contextlib.suppress(AlreadyExists):
                    await self._store.add(entity)
        for source, destination, type_ in found.edges:
            await self._edge(source, destination, type_)

    async def _edge(self, source: Record, destination: Record, type_: str) -> None:
        name = entities.association_name(source.arn, destination.arn)
        if await self._store.get(ASSOCIATION, source.scope, name) is not None:
            return
        now = self._clock.now()
        document = entities.association_document(source, destination, type_, "")
        arn = entities.arn(source.scope, ASSOCIATION, name)
        with contextlib.suppress(AlreadyExists):
            await self._store.add(Record(ASSOCIATION, source.scope, name, arn, "", now, now, document))

    async def _component(self, job: Record, fresh: Record) -> bool:
        """Make it, or tell it what is new; answers whether all that the job led to is to be looked at again."""

        async def attempt() -> bool:
            stored = await self._store.get(fresh.kind, fresh.scope, fresh.name)
            if stored is None:
                await self._store.add(replace(fresh, document=await self._placed(job, fresh)))
                return True
            changed = derived.followed(stored, fresh, self._clock.now())
            if changed is None:
                return int(stored.document.get("followed", 0)) <= int(fresh.document["followed"])
            await self._store.save(changed)
            return True

        return await until_first(attempt, f"The trial component {fresh.name}", MADE_OR_CHANGED)

    async def _placed(self, job: Record, fresh: Record) -> dict[str, object]:
        config = job.document["request"].get("ExperimentConfig") or {}
        name = config.get("TrialName")
        trial = await self._store.get("trial", job.scope, name) if name else None
        return components.placed(fresh.document, derived.parents(config, trial))
