"""What a write does to the index's rows: how puts, deletes and versions move between the current table and the history.

Every function takes a cursor inside a transaction, checks before it changes anything, and answers the blobs that no row names any
more. Does not know: threads, fsync, blobs on disk.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import orjson

from clary.domain.errors import ClaryError
from clary.domain.objects.items import (
    NULL_VERSION,
    BucketMissing,
    BucketNotEmpty,
    BucketTaken,
    Condition,
    ConditionFailed,
    Item,
    KeyMissing,
    Part,
    Upload,
    UploadMissing,
    Written,
)
from clary.stores.index_schema import Statements

Row = Sequence[Any]
# Where things stand in a row of index_schema.ITEM.
SEQ, VERSION, BLOB, MARKER = 1, 2, 6, 11


def dump(value: Any) -> str:
    return orjson.dumps(value).decode()


class Writes:
    def __init__(self, statements: Statements) -> None:
        self._run = statements.run
        self._last = 0
        self.refused: dict[str, ClaryError] = {}  # blobs that could not be made durable
        # What the transaction under way did, for the journal, and the blobs that it freed.
        self.changes: list[tuple[str, dict[str, Any]]] = []
        self.freed: list[str] = []

    def _change(self, cursor: Any, name: str, /, **values: Any) -> None:
        """Run a statement that the journal must know. (Bodies are no business of it: blobs have them.)"""
        self._run(cursor, name, **values)
        self.changes.append((name, values))

    def _sequence(self) -> int:
        """Grows within the process and, unless the clock went back, over restarts."""
        self._last = max(time.time_ns() // 1000, self._last + 1)
        return self._last

    # -- buckets ---------------------------------------------------------------------------------------------------------------

    def add_bucket(self, cursor: Any, name: str, account: str, region: str, now: float) -> int:
        taken = self._run(cursor, "bucket", name=name).fetchone()
        if taken:
            raise BucketTaken(taken[2])
        values = {"account": account, "region": region, "created": now, "versioning": "", "documents": "{}"}
        self._run(cursor, "add_bucket", name=name, **values)
        id = int(self._run(cursor, "bucket", name=name).fetchone()[0])
        self.changes.append(("add_bucket_as", {"id": id, "name": name, **values}))
        return id

    def save_bucket(self, cursor: Any, name: str, versioning: str | None, documents: dict[str, str | None]) -> None:
        row = self._run(cursor, "bucket", name=name).fetchone()
        if row is None:
            raise BucketMissing(name)
        if versioning is not None:
            self._change(cursor, "set_versioning", name_=name, versioning_=versioning)
        if documents:
            merged = orjson.loads(row[6]) | documents
            kept = {key: value for key, value in merged.items() if value is not None}
            self._change(cursor, "set_documents", name_=name, documents_=dump(kept))

    def remove_bucket(self, cursor: Any, name: str) -> None:
        row = self._run(cursor, "bucket", name=name).fetchone()
        if row is None:
            raise BucketMissing(name)
        id = row[0]
        for look in ("any_object", "any_history"):
            if self._run(cursor, look, b=id).fetchone():
                raise BucketNotEmpty(name)
        for step in ("drop_parts_of", "drop_uploads", "drop_bucket"):  # open uploads go with their bucket, as in S3
            self._change(cursor, step, b=id)

    # -- objects ---------------------------------------------------------------------------------------------------------------

    def put(self, cursor: Any, bucket: int, item: Item, condition: Condition, body: bytes | None = None) -> Written:
        if item.blob in self.refused:
            raise self.refused.pop(item.blob)
        versioning = self._versioning(cursor, bucket)
        key = item.key.encode()
        current = self._run(cursor, "current", b=bucket, k=key).fetchone()
        _check(condition, current)
        values = self._values(item, versioning)
        if body is not None:
            self._run(cursor, "add_body", blob=body_id(item.blob), body=body)
        if versioning == "" and current is not None:  # the plain overwrite: one statement
            self._change(cursor, "replace_current", b=bucket, k=key, **values)
            return self._written(cursor, values["version"], (current[BLOB],))
        freed = self._make_room(cursor, bucket, key, current, versioning)
        self._change(cursor, "add_current", bucket=bucket, key=key, **values)
        return self._written(cursor, values["version"], freed)

    def _written(self, cursor: Any, version: str, freed: tuple[str, ...], marker: bool = False) -> Written:
        for blob in freed:
            self._run(cursor, "drop_body", id=body_id(blob))
        self.freed += freed
        return Written(version, marker, freed)

    def _values(self, item: Item, versioning: str) -> dict[str, Any]:
        sequence = self._sequence()
        version = f"{sequence:016x}{secrets.token_hex(8)}" if versioning == "Enabled" else NULL_VERSION
        return {
            "seq": sequence, "version": version, "size": item.size, "etag": item.etag, "modified": item.modified,
            "blob": item.blob, "headers": dump(dict(item.headers)), "checksum": item.checksum, "tags": dump(dict(item.tags)),
            "parts": dump(item.parts) if item.parts else "", "marker": int(item.marker),
        }  # fmt: skip

    def _versioning(self, cursor: Any, bucket: int) -> str:
        row = self._run(cursor, "bucket_by_id", b=bucket).fetchone()
        if row is None:
            raise BucketMissing(str(bucket))
        return str(row[0])

    def _make_room(self, cursor: Any, bucket: int, key: bytes, current: Row | None, versioning: str) -> tuple[str, ...]:
        """Take the current row out of the way, and the null version too when the next one will be null."""
        freed: list[str] = []
        if current is not None:
            if versioning == "Enabled" or (versioning == "Suspended" and current[VERSION] != NULL_VERSION):
                self._bury(cursor, bucket, current)
            else:
                freed.append(current[BLOB])
            self._change(cursor, "drop_current", b=bucket, k=key)
        if versioning == "Suspended":
            freed += self._drop_old(cursor, bucket, key, NULL_VERSION)
        return tuple(freed)

    def _bury(self, cursor: Any, bucket: int, row: Row) -> None:
        self._change(cursor, "add_old", bucket=bucket, **_named(row))

    def _drop_old(self, cursor: Any, bucket: int, key: bytes, version: str) -> list[str]:
        row = self._run(cursor, "old", b=bucket, k=key, v=version).fetchone()
        if row is None:
            return []
        self._change(cursor, "drop_old", b=bucket, k=key, seq=row[SEQ])
        return [row[BLOB]] if row[BLOB] else []

    def remove(
        self, cursor: Any, bucket: int, keys: Sequence[tuple[str, str]], now: float, condition: Condition
    ) -> list[Written]:
        versioning = self._versioning(cursor, bucket)
        if condition:
            for key, _ in keys:
                _check(condition, self._run(cursor, "current", b=bucket, k=key.encode()).fetchone())
        return [
            self._remove_version(cursor, bucket, key.encode(), version)
            if version
            else self._remove_current(cursor, bucket, key, versioning, now)
            for key, version in keys
        ]

    def _remove_current(self, cursor: Any, bucket: int, name: str, versioning: str, now: float) -> Written:
        key = name.encode()
        current = self._run(cursor, "current", b=bucket, k=key).fetchone()
        freed = self._make_room(cursor, bucket, key, current, versioning)
        if not versioning:
            return self._written(cursor, "", freed)
        marker = Item(name, "", 0, "", now, "", marker=True)
        values = self._values(marker, versioning)
        self._change(cursor, "add_old", bucket=bucket, key=key, **values)
        return self._written(cursor, values["version"], freed, marker=True)

    def _remove_version(self, cursor: Any, bucket: int, key: bytes, version: str) -> Written:
        current = self._run(cursor, "current", b=bucket, k=key).fetchone()
        if current is not None and current[VERSION] == version:
            self._change(cursor, "drop_current", b=bucket, k=key)
            self._promote(cursor, bucket, key)
            return self._written(cursor, version, (current[BLOB],))
        old = self._run(cursor, "old", b=bucket, k=key, v=version).fetchone()
        if old is None:
            return Written(version)
        self._change(cursor, "drop_old", b=bucket, k=key, seq=old[SEQ])
        if current is None:
            self._promote(cursor, bucket, key)
        return self._written(cursor, version, (old[BLOB],) if old[BLOB] else (), bool(old[MARKER]))

    def forget(self, cursor: Any, bucket: int, key: bytes, version: str) -> None:
        """A version whose content is lost: an older one is current then."""
        self._remove_version(cursor, bucket, key, version)

    def _promote(self, cursor: Any, bucket: int, key: bytes) -> None:
        """The newest of the history becomes current, unless it is a delete marker."""
        newest = self._run(cursor, "newest_old", b=bucket, k=key).fetchone()
        if newest is not None and not newest[MARKER]:
            self._change(cursor, "drop_old", b=bucket, k=key, seq=newest[SEQ])
            self._change(cursor, "add_current", bucket=bucket, **_named(newest))

    def tag(self, cursor: Any, bucket: int, name: str, version: str, tags: dict[str, str]) -> None:
        key = name.encode()
        current = self._run(cursor, "current", b=bucket, k=key).fetchone()
        if current is not None and version in ("", current[VERSION]):
            self._change(cursor, "tag_current", b=bucket, k=key, tags_=dump(tags))
            return
        if not version or self._run(cursor, "old", b=bucket, k=key, v=version).fetchone() is None:
            raise KeyMissing(name)
        self._change(cursor, "tag_old", b=bucket, k=key, v=version, tags_=dump(tags))

    # -- multipart -------------------------------------------------------------------------------------------------------------

    def begin(self, cursor: Any, upload: Upload) -> None:
        self._versioning(cursor, upload.bucket)
        self._change(
            cursor, "begin", id=upload.id, bucket=upload.bucket, key=upload.key.encode(), initiated=upload.initiated,
            headers=dump(dict(upload.headers)), tags=dump(dict(upload.tags)), algorithm=upload.algorithm,
            checksum_type=upload.checksum_type,
        )  # fmt: skip

    def add_part(self, cursor: Any, upload: str, part: Part) -> Row | None:
        """The row it replaces."""
        if self._run(cursor, "upload", id=upload).fetchone() is None:
            raise UploadMissing(upload)
        before: Row | None = self._run(cursor, "part", u=upload, n=part.number).fetchone()
        if before is not None:
            self._change(cursor, "drop_part", u=upload, n=part.number)
        self._change(
            cursor, "add_part", upload=upload, number=part.number, size=part.size, etag=part.etag, modified=part.modified,
            file=part.file, offset=part.offset, checksum=part.checksum,
        )  # fmt: skip
        return before

    def complete(self, cursor: Any, upload: Upload, item: Item, condition: Condition) -> Written:
        if self._run(cursor, "upload", id=upload.id).fetchone() is None:
            raise UploadMissing(upload.id)
        written = self.put(cursor, upload.bucket, item, condition)
        self.abort(cursor, upload.id)
        return written

    def abort(self, cursor: Any, upload: str) -> bool:
        known = self._run(cursor, "upload", id=upload).fetchone() is not None
        self._change(cursor, "drop_parts", u=upload)
        self._change(cursor, "drop_upload", id=upload)
        return known


def body_id(blob: str) -> int:
    """A blob's id as the number that its body is kept under; -1 for what is no such id (other stores' names, in tests)."""
    try:
        return int(blob, 16)
    except ValueError:
        return -1


def _named(row: Row) -> dict[str, Any]:
    names = (
        "key",
        "seq",
        "version",
        "size",
        "etag",
        "modified",
        "blob",
        "headers",
        "checksum",
        "tags",
        "parts",
        "marker",
    )
    return dict(zip(names, row, strict=True))


def _check(condition: Condition, current: Row | None) -> None:
    if condition.absent and current is not None:
        raise ConditionFailed(exists=True)
    if condition.match and (current is None or condition.match not in ("*", current[4])):
        raise ConditionFailed(exists=current is not None)
