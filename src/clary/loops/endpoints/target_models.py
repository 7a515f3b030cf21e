"""Models of multi-model endpoints: when a front asks for one, its archive is put where the replica can unpack it.

Owns what lies among the archives of each replica (see replica_places), and for how long; the backend puts it there. The object is looked
for as the endpoint's account sees the store, so no TargetModel reaches the buckets of another. Does not know how a model is loaded.
"""

from __future__ import annotations

from typing import Any

from clary.domain.endpoints import target_models
from clary.domain.endpoints.fleets import Variant
from clary.domain.endpoints.life import plant_of
from clary.domain.endpoints.replicas import replica_key
from clary.domain.endpoints.target_models import Placement, TargetQuestion
from clary.domain.errors import ClaryError, Denied, Invalid, NotFound
from clary.domain.machine.workload import Objects
from clary.domain.objects import public_buckets
from clary.domain.resources import Scope
from clary.domain.s3 import Location
from clary.loops.endpoints.replica_places import ARCHIVE_FILES
from clary.ports import Artifacts, Backend, Clock, Store, StoredObject

KEEP_SECONDS = 420.0  # an archive may be read for as long as a load may take (360 s), and a little


class TargetModels:
    """`place` is what `serving.client` asks."""

    def __init__(self, store: Store, artifacts: Artifacts, backend: Backend[Any], clock: Clock) -> None:
        self._store = store
        self._artifacts = artifacts
        self._backend = backend
        self._clock = clock

    async def place(self, question: TargetQuestion) -> Placement:
        """Put the archive there, or say why not. Asked twice it is done once."""
        began = self._clock.monotonic()
        try:
            known = await self._replica(question)
            if known is None:
                return _changing(question)
            variant, handle = known
            where = target_models.location(variant.container.artifact, question.model)
            artifacts = self._artifacts.of(question.account)
            found = await _find(artifacts, where)
            if found is None:
                return Placement(refused=target_models.missing(where) + public_buckets.missing(where.bucket))
            digest = target_models.digest(where.key, found.etag)
            objects = Objects(question.account, where.bucket, {where.key: "model.tar.gz"})
            if not await self._backend.place(handle, ARCHIVE_FILES, digest, objects, KEEP_SECONDS):
                return _changing(question)
        except (Invalid, NotFound) as error:
            return Placement(refused=error.message)
        except ClaryError as error:
            return Placement(refused=error.message, again=True)
        return Placement(digest, found.size, self._clock.monotonic() - began)

    async def _replica(self, question: TargetQuestion) -> tuple[Variant, str] | None:
        """The multi-model variant that the replica belongs to, and the replica's handle. The front's word is not taken for the account: the
        record's is."""
        record = await self._store.get("endpoint", Scope(question.account, question.region), question.endpoint)
        if record is None:
            return None
        variants = (v for fleet in plant_of(record).fleets for v in fleet.variants if v.container.multi_model)
        found = ((v, r.handle or replica_key(r.id)) for v in variants for r in v.replicas if r.id == question.replica)
        return next(found, None)


def _changing(question: TargetQuestion) -> Placement:
    return Placement(refused=f"Endpoint {question.endpoint} is changing. Try again.", again=True)


async def _find(artifacts: Artifacts, where: Location) -> StoredObject | None:
    try:
        found = await artifacts.find(where.bucket, where.key)
    except (NotFound, Denied):
        return None
    return next((each for each in found if each.key == where.key), None)
