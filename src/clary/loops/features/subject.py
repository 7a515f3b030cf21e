"""The feature groups' hands: carries out what `domain/features/life.py` decides. `flusher` wakes the groups whose history waits,
`sweeper` removes what has expired.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from clary.domain.decisions import Decision, Unable
from clary.domain.errors import ClaryError
from clary.domain.features import groups, life
from clary.domain.features.groups import Group
from clary.domain.features.life import Clear, Close, Command, Flush, Make, SeenGroup
from clary.domain.lifecycle import GroupStatus
from clary.domain.resources import Record
from clary.feature_ports import Batch, FeatureRecords
from clary.ports import Artifacts, Clock

log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between looks at what waits: another process writes it
_SWEEP = 60.0  # seconds between removals of what has expired


class HistoryWriter(Protocol):
    """What writes batches into the offline store (`offline.OfflineWriter`). ClaryErrors are for the user."""

    async def prepare(self) -> object: ...
    async def write(self, group: Group, batch: Batch) -> None: ...
    async def forget(self, group: Group) -> None: ...


class FeatureSubject:
    """`loop.Subject` of feature groups."""

    kind = groups.KIND
    statuses = (GroupStatus.CREATING, GroupStatus.CREATED, GroupStatus.DELETING)

    def __init__(self, features: FeatureRecords, artifacts: Artifacts, writer: HistoryWriter, clock: Clock) -> None:
        self._features = features
        self._artifacts = artifacts
        self._writer = writer
        self._clock = clock
        self.arns: dict[str, str] = {}  # key of a group that we look after -> its ARN

    async def observe(self, record: Record) -> SeenGroup:
        key = record.document["key"]
        self.arns[key] = record.arn
        waiting = (await self._features.waiting(key)).get(key)
        return SeenGroup() if waiting is None else SeenGroup(waiting.count, waiting.oldest)

    def decide(self, record: Record, observation: SeenGroup, now: float) -> Decision[Command]:
        return life.decide(record, observation, now)

    async def run(self, command: Command, record: Record) -> Any:
        group = groups.group_of(record)
        try:
            match command:
                case Make():
                    await self._make(group)
                case Flush():
                    await self._flush(group)
                case Close():
                    await self._features.close_group(group.key, self._clock.now())
                case Clear():
                    await self._writer.forget(group)
                    await self._features.drop(group.key)
                    self.arns.pop(group.key, None)
        except ClaryError as error:
            if isinstance(command, Close | Clear):
                raise  # the record stays until all of it is gone
            log.warning("%s: %s", record.arn, error.message)
            return Unable(error.message)
        return None

    async def _make(self, group: Group) -> None:
        """The offline store's bucket must be there, and what writes to it be ready, before the group says that it takes records."""
        if group.offline is not None:
            await self._artifacts.of(group.account).find(group.offline.bucket, group.offline.key, limit=1)
            await self._writer.prepare()

    async def _flush(self, group: Group) -> None:
        batch = await self._features.batch(group.key, life.FLUSH_LINES)
        if batch is not None:
            if group.offline is not None:
                await self._writer.write(group, batch)
            await self._features.written(batch)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
        return life.absorb(record, outcomes, self._clock.now())


async def flusher(subject: FeatureSubject, features: FeatureRecords, wake: Callable[[str], None]) -> None:
    """Until cancelled: wake the groups whose history waits."""
    while True:
        try:
            for key in await features.waiting() if subject.arns else ():
                if key in subject.arns:
                    wake(subject.arns[key])
        except ClaryError:
            log.exception("what waits for the offline store cannot be read")
        await asyncio.sleep(_LOOK)


async def sweeper(features: FeatureRecords, clock: Clock) -> None:
    """Until cancelled: remove the records whose time to live is over. Nobody needs to ask for records for that."""
    while True:
        try:
            await features.expire(clock.now())
        except ClaryError as error:
            log.warning("expired records stay until the next look: %s", error.message)
        await asyncio.sleep(_SWEEP)
