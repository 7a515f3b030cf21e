"""The internal API of the object store, beside S3: files of jobs as hard links of blobs, and outputs taken over without a copy.

Owns: the operations under `/-clary/`, a path that no bucket can have and that the edge never forwards; JSON in and out; opened by a
secret that only Clary's processes can derive. A bucket must belong to the account in the request. Does not know: jobs.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson

from clary.domain.errors import ClaryError, Denied, Invalid, NotFound
from clary.domain.objects.items import Bucket, BucketTaken, Item
from clary.objects import metadata
from clary.objects.context import Context, no_such_bucket
from clary.objects.errors import S3Error
from clary.objects.files import MODE, checked_names, copy_file
from clary.objects.request import Call, Reply, check_key
from clary.wire.autherrors import auth_error

PREFIX = "/-clary/"
HEADER = "x-clary-secret"
LARGEST = 64 << 20
_PAGE = 10_000  # keys of a listing
HASH_PIECE = 4 << 20


class Internal:
    def __init__(self, ctx: Context, secret: bytes) -> None:
        self._ctx = ctx
        self._secret = secret.hex().encode()
        self._operations: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "find": self._find,
            "head": self._head,
            "exists": self._exists,
            "make": self._make,
            "place": self._place,
            "read": self._read,
            "store": self._store,
            "delete": self._delete,
            "stats": self._stats,
        }

    async def answer(self, call: Call) -> Reply:
        """200 with JSON (or the content itself, for `read`); 404, 403 or 422 with {"error"} for what a user is to be told."""
        if not hmac.compare_digest(call.header(HEADER).encode(), self._secret):
            raise auth_error("missing", "s3")
        operation = self._operations.get(call.decoded_path[len(PREFIX) :])
        if operation is None or call.method != "POST":
            raise S3Error("MethodNotAllowed", Method=call.method, ResourceType="INTERNAL")
        call.unread = False
        body = b"".join([piece async for piece in call.proto])
        if len(body) > LARGEST:
            raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=str(LARGEST))
        try:
            answer = await operation(orjson.loads(body))
        except (NotFound, Denied, Invalid) as error:
            return Reply(
                _STATUS[type(error)], [("content-type", "application/json")], orjson.dumps({"error": error.message})
            )
        if isinstance(answer, bytes):
            return Reply(200, [("content-type", "application/octet-stream")], answer)
        return Reply(200, [("content-type", "application/json")], orjson.dumps(answer))

    async def _bucket(self, asked: dict[str, Any]) -> Bucket:
        name = asked["bucket"]
        bucket = await self._ctx.index.bucket(name)
        if bucket is None:
            raise NotFound(f"{no_such_bucket(name).message} (s3://{name})")
        if bucket.account != asked["account"]:
            raise Denied(f"Access Denied: the bucket {name} belongs to another account.")
        return bucket

    async def _item(self, asked: dict[str, Any]) -> tuple[Bucket, Item]:
        bucket = await self._bucket(asked)
        _, item = await self._ctx.index.find(bucket.name, asked["key"])
        if item is None:
            raise NotFound(f"There is no object s3://{bucket.name}/{asked['key']}.")
        return bucket, item

    async def _exists(self, asked: dict[str, Any]) -> bool:
        bucket = await self._ctx.index.bucket(asked["bucket"])
        return bucket is not None and bucket.account == asked["account"]

    async def _make(self, asked: dict[str, Any]) -> None:
        with suppress(BucketTaken):
            await self._ctx.index.add_bucket(asked["bucket"], asked["account"], asked["region"], self._ctx.clock.now())
        await self._bucket(asked)

    async def _find(self, asked: dict[str, Any]) -> list[list[Any]]:
        bucket = await self._bucket(asked)
        found: list[list[Any]] = []
        after, limit = "", asked["limit"]
        while True:
            page = await self._ctx.index.page(bucket.id, asked["prefix"], after, min(limit or _PAGE, _PAGE))
            found += ([item.key, item.size, item.etag, item.headers.get("content-type", "")] for item in page.items)
            after = page.next
            if not after or (limit is not None and len(found) >= limit):
                return found[:limit]

    async def _head(self, asked: dict[str, Any]) -> list[Any]:
        _, item = await self._item(asked)
        return [item.key, item.size, item.etag, item.headers.get("content-type", "")]

    async def _place(self, asked: dict[str, Any]) -> int:
        """Hard links of blobs: `keys` maps key -> path below `folder`. All or nothing."""
        bucket = await self._bucket(asked)
        keys: dict[str, str] = asked["keys"]
        checked_names(keys)
        blobs = await self._ctx.index.blobs_of(bucket.id, list(keys))
        if len(blobs) != len(keys):
            missing = next(key for key in keys if key not in blobs)
            raise NotFound(f"There is no object s3://{bucket.name}/{missing}.")
        names = {path: blobs[key] for key, path in keys.items()}
        await asyncio.get_running_loop().run_in_executor(None, self._ctx.blobs.link, names, asked["folder"])
        return len(names)

    async def _read(self, asked: dict[str, Any]) -> bytes:
        _, item = await self._item(asked)
        if item.size > asked["limit"]:
            raise Invalid(
                f"s3://{asked['bucket']}/{asked['key']} has {item.size} bytes; Clary reads at most {asked['limit']} here."
            )
        return await asyncio.get_running_loop().run_in_executor(None, self._ctx.blobs.read, item.blob, 0, item.size)

    async def _store(self, asked: dict[str, Any]) -> str:
        """Take a local file as an object's content: by a second name for it when it may be moved and lies on our filesystem, else by a
        copy. Who asked removes the first name when it has the answer; who asks again meanwhile gets the same."""
        bucket = await self._bucket(asked)
        check_key(asked["key"])
        path = asked["path"]
        if not os.path.lexists(path):
            raise NotFound(f"There is no file {os.path.basename(path)} to store.")
        newest = await self._ctx.index.newest(bucket.id, asked["key"]) if asked["move"] else None
        if newest is not None and newest.blob and _same(path, self._ctx.blobs.path(newest.blob)):
            return newest.etag
        self._ctx.blobs.check_space(0 if asked["move"] else os.lstat(path).st_size)
        staged, size, etag = await asyncio.get_running_loop().run_in_executor(None, self._stage, path, asked["move"])
        blob = self._ctx.blobs.take(staged)
        kept = {"content-type": asked["content_type"] or metadata.DEFAULT_TYPE}
        done = False
        try:
            item = Item(asked["key"], "", size, etag, self._ctx.clock.now(), blob, kept)
            written = await self._ctx.index.put(bucket.id, item)
            done = True
        finally:
            if not done:
                self._ctx.blobs.free([blob])
        self._ctx.blobs.free(written.freed)
        return etag

    def _stage(self, path: str, move: bool) -> tuple[str, int, str]:
        """(staging file, size, MD5): synced, read-only, ours."""
        staged = f"{self._ctx.blobs.staging}/{os.urandom(16).hex()}"
        if not (move and _shared(path, staged)):
            copy_file(path, staged)
        descriptor = os.open(staged, os.O_RDONLY | os.O_CLOEXEC)
        try:
            md5 = hashlib.md5(usedforsecurity=False)
            while data := os.read(descriptor, HASH_PIECE):
                md5.update(data)
            os.fsync(descriptor)
            return staged, os.fstat(descriptor).st_size, md5.hexdigest()
        finally:
            os.close(descriptor)

    async def _delete(self, asked: dict[str, Any]) -> None:
        bucket = await self._bucket(asked)
        [written] = await self._ctx.index.remove(bucket.id, [(asked["key"], "")], self._ctx.clock.now())
        self._ctx.blobs.free(written.freed)

    async def _stats(self, _: dict[str, Any]) -> dict[str, Any]:
        disk = os.statvfs(self._ctx.blobs.root)
        return {"free": disk.f_bavail * disk.f_frsize, "size": disk.f_blocks * disk.f_frsize}


_STATUS: dict[type[ClaryError], int] = {NotFound: 404, Denied: 403, Invalid: 422}


def _same(path: str, blob: str) -> bool:
    """Whether it is that blob already."""
    with suppress(FileNotFoundError):
        one, other = os.lstat(path), os.lstat(blob)
        return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    return False


def _shared(source: str, target: str) -> bool:
    """Whether the file could simply be taken: on this filesystem, a plain file with one name, that nobody else may write to."""
    found = os.lstat(source)
    if found.st_nlink != 1 or not stat.S_ISREG(found.st_mode):
        return False
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        return False
    if os.lstat(target).st_ino != found.st_ino:  # it was another file by then
        os.unlink(target)
        raise Invalid(f"{os.path.basename(source)} changed while it was taken.")
    os.chmod(target, MODE)
    if os.geteuid() == 0:
        os.chown(target, 0, 0)
    return True
