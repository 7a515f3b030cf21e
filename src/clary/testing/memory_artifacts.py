"""The `Artifacts` port over buckets in memory: what loops' tests store and find. Files are placed as copies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from clary.domain.errors import Denied, Invalid, NotFound
from clary.domain.jobs.channels import check_names
from clary.ports import StoredObject


class MemoryArtifacts:
    """Implements `ports.Artifacts`. `buckets` is bucket -> key -> content; tests read and write it. `owners` is bucket -> account,
    for those that not everybody may use."""

    def __init__(self, buckets: Mapping[str, Mapping[str, bytes]] | None = None, account: str = "") -> None:
        self.buckets: dict[str, dict[str, bytes]] = {name: dict(objects) for name, objects in (buckets or {}).items()}
        self.owners: dict[str, str] = {}
        self.types: dict[tuple[str, str], str] = {}
        self.account = account

    def of(self, account: str) -> MemoryArtifacts:
        other = MemoryArtifacts(account=account)
        other.buckets, other.owners, other.types = self.buckets, self.owners, self.types
        return other

    def _bucket(self, bucket: str) -> dict[str, bytes]:
        if self.owners.get(bucket, self.account) != self.account:
            raise Denied(f"Access Denied: the bucket {bucket} belongs to another account.")
        if bucket not in self.buckets:
            raise NotFound(f"The specified bucket does not exist: {bucket}")
        return self.buckets[bucket]

    async def find(self, bucket: str, prefix: str, limit: int | None = None) -> list[StoredObject]:
        found = [
            StoredObject(key, len(data), hashlib.md5(data).hexdigest())
            for key, data in sorted(self._bucket(bucket).items())
            if key.startswith(prefix)
        ]
        return found[:limit]

    async def exists(self, bucket: str) -> bool:
        return bucket in self.buckets and self.owners.get(bucket, self.account) == self.account

    async def make(self, bucket: str, region: str) -> None:
        if bucket not in self.buckets:
            self.buckets[bucket] = {}
            self.owners[bucket] = self.account
        self._bucket(bucket)

    async def place(self, bucket: str, keys: Mapping[str, str], folder: str) -> None:
        objects = self._bucket(bucket)
        check_names(keys)
        missing = next((key for key in keys if key not in objects), None)
        if missing is not None:
            raise NotFound(f"The specified key does not exist: {missing}")
        for key, name in keys.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(objects[key])
            os.chmod(path, 0o444)

    async def head(self, bucket: str, key: str) -> StoredObject:
        objects = self._bucket(bucket)
        if key not in objects:
            raise NotFound(f"The specified key does not exist: {key}")
        content = objects[key]
        return StoredObject(key, len(content), hashlib.md5(content).hexdigest(), self.types.get((bucket, key), ""))

    async def read(self, bucket: str, key: str, limit: int) -> bytes:
        objects = self._bucket(bucket)
        if key not in objects:
            raise NotFound(f"The specified key does not exist: {key}")
        if len(objects[key]) > limit:
            raise Invalid(f"{key} has {len(objects[key])} bytes: more than {limit}")
        return objects[key]

    async def store_file(self, path: str, bucket: str, key: str, content_type: str = "", move: bool = False) -> str:
        objects = self._bucket(bucket)
        with open(path, "rb") as file:
            objects[key] = file.read()
        self.types[bucket, key] = content_type
        if move:
            os.unlink(path)
        return hashlib.md5(objects[key]).hexdigest()

    async def delete(self, bucket: str, key: str) -> None:
        self._bucket(bucket).pop(key, None)
