"""Removes what no record names: runs and grants that a control plane left which died between the end of a record and of its run.

Runs at the start only, before any loop runs: later a run may be younger than the record that will name it. Commands are idempotent by
key, so a run whose start was not saved is named by its record's id all the same, and is found again, not stopped. Runs of records that
another control plane looks after are known by their grants: they are left alone where both use one backend. Grants now and then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from clary.domain.endpoints import life
from clary.domain.endpoints.replicas import replica_key
from clary.domain.errors import NoRoom, Stale, Unavailable
from clary.domain.grants import Grant
from clary.domain.jobs import pools
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.resources import Record
from clary.domain.transform import record as transforms
from clary.loops.core.ledger import Ledger
from clary.ports import Backend, Store

log = logging.getLogger(__name__)

LEASE = 30.0
LOOK = 60.0  # seconds between two looks at grants
GRACE = 5.0  # seconds between SIGTERM and SIGKILL: nobody waits for what it does any more


Statuses = Sequence[tuple[str, Sequence[str]]]


async def sweep(
    store: Store, backend: Backend[Any], owner: str, now: float, statuses: Statuses, granted: Iterable[Grant] = ()
) -> list[str]:
    """Stop every run of a job or replica that no living record names; answers their handles. `statuses` lists, by kind, those in
    which a record may have runs; `granted` is what this machine gave, whoever looks after it."""
    known: list[str] = []
    for kind, living in statuses:
        for lease in await store.claim(kind, owner, now, LEASE, living, 1_000_000):
            known += _names(lease.record)
    alive = dict(statuses)
    for arn in {grant.arn for grant in granted}:
        record = await store.by_arn(arn)
        if record is not None and record.status in alive.get(record.kind, ()):
            known += _names(record)
    ended = []
    for handle in await backend.handles():
        if handle.startswith(("job-", "replica-", "pool-")) and not handle.startswith(tuple(known)):
            log.warning("%s is named by no record: stopped", handle)
            await backend.stop(handle, GRACE)
            ended.append(handle)
    return ended


class Leftovers:
    """Removes grants whose record is gone, each after it was seen twice: who removed the record may still be ending its runs."""

    def __init__(self, store: Store, ledger: Ledger, statuses: Statuses) -> None:
        self._store = store
        self._ledger = ledger
        self._alive = dict(statuses)
        self._seen: set[str] = set()

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        while True:
            try:
                await self.remove()
            except (Stale, Unavailable, NoRoom) as error:
                log.warning("grants that nobody has any more are not removed: %s", error)
            await asyncio.sleep(LOOK)

    async def remove(self) -> list[str]:
        """The keys of those that were removed."""
        await self._ledger.look_around()
        lost: set[str] = set()
        for arn, keys in self._by_record().items():
            record = await self._store.by_arn(arn)
            if record is None or record.status not in self._alive.get(record.kind, (record.status,)):
                lost |= keys
        gone, self._seen = sorted(lost & self._seen), lost
        if gone:
            log.warning("grants of records that are gone: %s", ", ".join(gone))
            await self._ledger.change(release=gone)
        return gone

    def _by_record(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for grant in self._ledger.grants():
            found.setdefault(grant.arn, set()).add(grant.key)
        return found


def _names(record: Record) -> list[str]:
    """What the handles of this record's runs begin with."""
    if record.kind in JOB_KINDS or record.kind == transforms.KIND:
        return [f"job-{record.document['id']}-"]
    if record.kind == pools.KIND:
        return [str(record.document.get("handle", "")) or f"pool-{record.document['id']}-"]
    return [replica_key(replica.id) for replica in life.plant_of(record).replicas]
