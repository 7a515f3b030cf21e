"""The door between the object store and its database. Its conformance class is `clary.testing.index`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from types import MappingProxyType
from typing import Protocol

from clary.domain.objects.items import ALWAYS, Bucket, Condition, Fate, Item, Listed, Part, Upload, Written


class Index(Protocol):
    """What the object store knows of buckets, objects, versions and uploads. Answered means durable; keys are ordered by their
    UTF-8 bytes; a write with a Condition is one transaction. Blobs are named, never touched."""

    async def add_bucket(self, name: str, account: str, region: str, now: float) -> Bucket:
        """BucketTaken when the name is in use."""
        ...

    async def bucket(self, name: str) -> Bucket | None: ...
    async def buckets(self, account: str) -> list[Bucket]: ...
    async def save_bucket(
        self, name: str, versioning: str | None = None, documents: Mapping[str, str | None] = MappingProxyType({})
    ) -> None:
        """Change the versioning state and set or drop (None) sub-resources. BucketMissing."""
        ...

    async def remove_bucket(self, name: str) -> None:
        """BucketMissing; BucketNotEmpty while it holds any version."""
        ...

    async def find(self, bucket: str, key: str, version: str = "") -> tuple[Bucket | None, Item | None]:
        """The current object, or one version of it (which may be a delete marker). The bucket comes without its documents."""
        ...

    async def newest(self, bucket: int, key: str) -> Item | None:
        """The newest version even when it is a delete marker."""
        ...

    async def put(self, bucket: int, item: Item, condition: Condition = ALWAYS, body: bytes | None = None) -> Written:
        """Store the item as the current one, versioned as the bucket says. ConditionFailed, BucketMissing. `body`: its blob is not
        durable yet, keep the content with the row until `forget_bodies`."""
        ...

    async def bodies(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """(blob, content) of bodies that are still kept, by blob, behind `after` ("" for the first)."""
        ...

    async def forget_bodies(self, blobs: Sequence[str]) -> None:
        """These blobs are durable by themselves now."""
        ...

    async def tag(self, bucket: int, key: str, version: str, tags: Mapping[str, str]) -> None:
        """Replace the tags of the current object ('' as version) or of a version. KeyMissing."""
        ...

    async def remove(
        self, bucket: int, keys: Sequence[tuple[str, str]], now: float, condition: Condition = ALWAYS
    ) -> list[Written]:
        """Delete (key, version or '') pairs in one transaction, each as the bucket's versioning says; missing ones are fine."""
        ...

    async def page(
        self, bucket: int, prefix: str, after: str, limit: int, delimiter: str = "", start: str = ""
    ) -> Listed:
        """Current objects above `after` (and at or above `start`), common prefixes rolled up and counted as entries. Of an item's
        headers only its storage class is there."""
        ...

    async def versions(
        self, bucket: int, prefix: str, after: tuple[str, str], limit: int, delimiter: str = ""
    ) -> Listed:
        """Versions and markers, newest first within a key, behind (key, version)."""
        ...

    async def blobs_of(self, bucket: int, keys: Sequence[str]) -> dict[str, str]:
        """key -> blob of those that exist."""
        ...

    async def begin(self, upload: Upload) -> None: ...
    async def upload(self, bucket: int, key: str, id: str) -> Upload | None: ...
    async def uploads(self, bucket: int, prefix: str, after: tuple[str, str], limit: int) -> list[Upload]: ...
    async def add_part(self, upload: str, part: Part) -> Part | None:
        """Store a part, answering the one it replaces. UploadMissing."""
        ...

    async def parts(self, upload: str) -> list[Part]: ...
    async def complete(self, upload: Upload, item: Item, condition: Condition = ALWAYS) -> Written:
        """`put` and the end of the upload in one transaction. UploadMissing when it was ended meanwhile."""
        ...

    async def abort(self, upload: str) -> bool: ...
    async def files(self) -> set[str]:
        """Staging files that open uploads name."""
        ...

    async def blobs_between(self, low: str, high: str) -> list[str]:
        """Every blob named by a row, low <= blob < high: what a sweep must keep."""
        ...

    async def keep(self, within: float = 0.0) -> None:
        """What is to be done beside requests, about once a second: see to the journal that the index can be made again from. When that
        has something long to do, wait `within` seconds for it."""
        ...

    async def fates(self, blobs: Set[str]) -> Mapping[str, Fate]:
        """What the journal says of blobs that no row names: `named` ones the index should know, `freed` ones were deleted; it never
        heard of those that are left out (their writes were not answered)."""
        ...

    async def close(self) -> None: ...
