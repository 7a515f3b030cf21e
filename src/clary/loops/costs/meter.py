"""Counts what replicas have of this machine, and keeps it in records: `clary cost` reads them.

Every few seconds each grant that is held is counted up to now; a grant that ends, or gets another size, is counted up to that moment. A
crash loses nothing of what is still held, and of what ended at most the seconds since the last look. What runs while no control plane
does is counted by the next one.
"""

from __future__ import annotations

import asyncio
import logging

from clary.domain.costs import kept
from clary.domain.costs.kept import Piece, piece
from clary.domain.costs.use import tags_of
from clary.domain.errors import ClaryError
from clary.domain.grants import REPLICA, Grant, GrantChange
from clary.guarded import MADE_OR_CHANGED, until_first
from clary.loops.core.ledger import Ledger
from clary.ports import Clock, Store

log = logging.getLogger(__name__)

EVERY = 15.0  # seconds


class Meter:
    """One a control plane; those of one machine count nothing twice."""

    def __init__(self, store: Store, ledger: Ledger, clock: Clock) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._held: dict[str, tuple[Grant, float]] = {}  # and since when it has that size
        self._over: dict[str, list[tuple[Grant, Piece]]] = {}  # by ARN: what ended since the last look
        self._looked = 0.0

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        undo = self._ledger.watch(self.hear)
        try:
            while True:
                try:
                    await self.count()
                except ClaryError as error:
                    log.warning("what endpoints use is counted later: %s", error)
                await asyncio.sleep(EVERY)
        finally:
            undo()

    def hear(self, change: GrantChange) -> None:
        """A write of grants by this process."""
        now = self._clock.now()
        for key in change.release:
            self._end(key, now)
        for grant in change.take:
            self._take(grant, now)

    def _take(self, grant: Grant, at: float) -> None:
        """A grant as it is stored, `at` which moment."""
        if grant.use != REPLICA or grant.machine != self._ledger.machine:
            return
        held = self._held.get(grant.key)
        if held is not None and _size(held[0]) == _size(grant):
            return
        self._end(grant.key, at)
        self._held[grant.key] = grant, grant.since if held is None else at

    def _end(self, key: str, at: float) -> None:
        if key in self._held:
            grant, begin = self._held.pop(key)
            self._over.setdefault(grant.arn, []).append((grant, piece(grant, begin, at)))

    async def count(self) -> None:
        """Count all that is held, and what ended, up to now."""
        await self._look()
        now, over = self._clock.now(), self._over
        self._over = {}
        by_arn: dict[str, list[tuple[Grant, Piece]]] = {arn: list(pieces) for arn, pieces in over.items()}
        for grant, begin in self._held.values():
            by_arn.setdefault(grant.arn, []).append((grant, piece(grant, begin, now)))
        for arn, pieces in by_arn.items():
            try:
                await self._keep(pieces, now)
            except ClaryError as error:
                log.warning("what %s uses is counted later: %s", arn, error)
                self._over.setdefault(arn, []).extend(over.get(arn, ()))

    async def _look(self) -> None:
        """What other control planes of this machine changed: a grant that is gone ended when it was seen last."""
        read = {grant.key: grant for grant in await self._ledger.granted()}
        for key in [key for key in self._held if key not in read]:
            self._end(key, self._looked)
        for grant in read.values():
            self._take(grant, self._looked)
        self._looked = self._clock.now()

    async def _keep(self, pieces: list[tuple[Grant, Piece]], now: float) -> None:
        fresh = kept.of_replicas(pieces[0][0])
        owner = await self._store.by_arn(pieces[0][0].arn)
        tags = None if owner is None else tags_of(owner.document)

        async def attempt() -> None:
            stored = await self._store.get(fresh.kind, fresh.scope, fresh.name)
            counted = kept.counted(stored or fresh, [each for _, each in pieces], now, tags)
            await (self._store.add(counted) if stored is None else self._store.save(counted))

        await until_first(attempt, f"What {fresh.document['of']['name']} used", MADE_OR_CHANGED)


def _size(grant: Grant) -> tuple[float, int, int]:
    return grant.cpu, grant.memory, grant.gpus
