"""`ports.Artifacts` on a node: the head's S3 with temporary keys that a head lends, one pair for each account."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from clary.objects.external import ExternalArtifacts
from clary.ports import Credential, StoredObject

EARLY = 900.0  # seconds before their end at which keys are asked for anew: what was begun with them goes on


@dataclass(frozen=True, slots=True)
class Lender:
    """Where the S3 is, and who lends keys for an account. `bundle`: see `ExternalArtifacts`."""

    endpoint: str
    region: str
    lend: Callable[[str], Awaitable[Credential]]
    bundle: str = ""
    _stores: dict[str, tuple[ExternalArtifacts, float]] = field(default_factory=dict)

    async def store(self, account: str) -> ExternalArtifacts:
        held = self._stores.get(account)
        if held is None or held[1] - time.time() < EARLY:
            key = await self.lend(account)
            given = (key.access_key_id, key.secret, self.region, key.session_token, self.bundle)
            held = self._stores[account] = ExternalArtifacts(self.endpoint, *given), float(key.expires or 0.0)
        return held[0]


class LentArtifacts:
    """See the module and `ports.Artifacts`. Without an account (`of` gives one) nothing can be reached."""

    def __init__(self, lender: Lender, account: str = "") -> None:
        self._lender, self._account = lender, account

    def of(self, account: str) -> LentArtifacts:
        return LentArtifacts(self._lender, account)

    async def _store(self) -> ExternalArtifacts:
        return await self._lender.store(self._account)

    async def find(self, bucket: str, prefix: str, limit: int | None = None) -> list[StoredObject]:
        return await (await self._store()).find(bucket, prefix, limit)

    async def exists(self, bucket: str) -> bool:
        return await (await self._store()).exists(bucket)

    async def make(self, bucket: str, region: str) -> None:
        await (await self._store()).make(bucket, region)

    async def place(self, bucket: str, keys: Mapping[str, str], folder: str) -> None:
        await (await self._store()).place(bucket, keys, folder)

    async def head(self, bucket: str, key: str) -> StoredObject:
        return await (await self._store()).head(bucket, key)

    async def read(self, bucket: str, key: str, limit: int) -> bytes:
        return await (await self._store()).read(bucket, key, limit)

    async def store_file(self, path: str, bucket: str, key: str, content_type: str = "", move: bool = False) -> str:
        return await (await self._store()).store_file(path, bucket, key, content_type, move)

    async def delete(self, bucket: str, key: str) -> None:
        await (await self._store()).delete(bucket, key)
