"""Models of multi-model endpoints: when a front asks for one, its archive is put where the replica can unpack it.

Owns the folder of archives of each replica (see replica_places): what is put there and when it goes again. The object is looked for as
the endpoint's account sees the store, so no TargetModel reaches the buckets of another. Does not know how a model is loaded.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from clary.domain.endpoints import target_models
from clary.domain.endpoints.fleets import Variant
from clary.domain.endpoints.life import plant_of
from clary.domain.endpoints.target_models import Placement, TargetQuestion
from clary.domain.errors import ClaryError, Denied, Invalid, NotFound
from clary.domain.objects import public_buckets
from clary.domain.resources import Scope
from clary.domain.s3 import Location
from clary.ports import Artifacts, Clock, Store, StoredObject

log = logging.getLogger(__name__)

KEEP_SECONDS = 420.0  # an archive may be read for as long as a load may take (360 s), and a little


class TargetModels:
    """`place` is what `serving.client` asks. `replicas` is the folder of all replicas' folders."""

    def __init__(self, store: Store, artifacts: Artifacts, replicas: str, clock: Clock) -> None:
        self._store = store
        self._artifacts = artifacts
        self._replicas = Path(replicas)
        self._clock = clock
        self._locks: dict[str, asyncio.Lock] = {}

    async def place(self, question: TargetQuestion) -> Placement:
        """Put the archive there, or say why not. Asked twice it is done once."""
        began = self._clock.monotonic()
        try:
            variant = await self._variant(question)
            if variant is None:
                return Placement(refused=f"Endpoint {question.endpoint} is changing. Try again.", again=True)
            where = target_models.location(variant.container.artifact, question.model)
            artifacts = self._artifacts.of(question.account)
            found = await _find(artifacts, where)
            if found is None:
                return Placement(refused=target_models.missing(where) + public_buckets.missing(where.bucket))
            digest = target_models.digest(where.key, found.etag)
            async with self._locks.setdefault(question.replica, asyncio.Lock()):
                await self._put(artifacts, where, self._replicas / question.replica / "archives", digest)
        except (Invalid, NotFound) as error:
            return Placement(refused=error.message)
        except ClaryError as error:
            return Placement(refused=error.message, again=True)
        except OSError as error:
            log.warning("model %s of %s cannot be placed: %s", question.model, question.endpoint, error)
            return Placement(refused=f"Model {question.model} cannot be placed at the moment. Try again.", again=True)
        finally:
            lock = self._locks.get(question.replica)
            if lock is not None and not lock.locked():
                del self._locks[question.replica]
        return Placement(digest, found.size, self._clock.monotonic() - began)

    async def _variant(self, question: TargetQuestion) -> Variant | None:
        """The multi-model variant that the replica belongs to. The front's word is not taken for the account: the record's is."""
        record = await self._store.get("endpoint", Scope(question.account, question.region), question.endpoint)
        if record is None:
            return None
        variants = (variant for fleet in plant_of(record).fleets for variant in fleet.variants)
        return next(
            (v for v in variants if v.container.multi_model and any(r.id == question.replica for r in v.replicas)), None
        )

    async def _put(self, artifacts: Artifacts, where: Location, folder: Path, digest: str) -> None:
        target = folder / digest
        await asyncio.to_thread(_sweep, folder, self._clock.now())
        if await asyncio.to_thread(_touch, target, self._clock.now()):
            return
        part = f".{digest}.part"
        await asyncio.to_thread(shutil.rmtree, folder / part, True)
        await artifacts.place(where.bucket, {where.key: f"{part}/model.tar.gz"}, str(folder))
        await asyncio.to_thread(_finish, folder / part, target, self._clock.now())


async def _find(artifacts: Artifacts, where: Location) -> StoredObject | None:
    try:
        found = await artifacts.find(where.bucket, where.key)
    except (NotFound, Denied):
        return None
    return next((each for each in found if each.key == where.key), None)


def _touch(folder: Path, now: float) -> bool:
    """Whether it is there; then it stays for a while."""
    try:
        os.utime(folder, (now, now))
    except FileNotFoundError:
        return False
    return True


def _finish(part: Path, target: Path, now: float) -> None:
    part.chmod(0o755)
    os.utime(part, (now, now))
    part.rename(target)


def _sweep(folder: Path, now: float) -> None:
    """Remove archives that were loaded long ago: the models are unpacked, and an object that is deleted must give its space back."""
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):
            if now - entry.stat().st_mtime > KEEP_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)
