"""Removes runs that no record names: a control plane that died between the end of a record and of its run left them.

At the start only, before any loop runs: later a run may be younger than the record that will name it. Commands are idempotent by
key, so a run whose start was not saved is named by its record's id all the same, and is found again, not ended.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from clary.domain.endpoints import life
from clary.domain.endpoints.replicas import replica_key
from clary.domain.jobs import record as jobs
from clary.domain.resources import Record
from clary.ports import Backend, Store

log = logging.getLogger(__name__)

LEASE = 30.0
GRACE = 5.0  # seconds between SIGTERM and SIGKILL: nobody waits for what it does any more


async def sweep(
    store: Store, backend: Backend[Any], owner: str, now: float, statuses: Sequence[tuple[str, Sequence[str]]]
) -> list[str]:
    """Stop every run of a job or replica that no living record names; answers their handles. `statuses` lists, by kind, those in
    which a record may have runs."""
    known: list[str] = []
    for kind, living in statuses:
        for lease in await store.claim(kind, owner, now, LEASE, living, 1_000_000):
            known += _names(lease.record)
    ended = []
    for handle in await backend.handles():
        if handle.startswith(("job-", "replica-")) and not handle.startswith(tuple(known)):
            log.warning("%s is named by no record: stopped", handle)
            await backend.stop(handle, GRACE)
            ended.append(handle)
    return ended


def _names(record: Record) -> list[str]:
    """What the handles of this record's runs begin with."""
    if record.kind == jobs.KIND:
        return [f"job-{record.document['id']}-"]
    return [replica_key(replica.id) for replica in life.plant_of(record).replicas]
