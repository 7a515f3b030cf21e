"""Request bodies: received, measured, hashed and checked before anything is made of them.

Owns: lengths, the signed payload hash, Content-MD5, checksums in headers and trailers, streaming to a staging file. Small bodies
stay in memory; large ones are hashed and written by a thread while the next piece arrives. Does not know: rows, keys.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
from collections.abc import AsyncIterable, AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from clary.objects import metadata
from clary.objects.blobs import Blobs
from clary.objects.errors import S3Error
from clary.objects.files import unlink, write_all
from clary.objects.request import Call
from clary.wire.checksums import checksum

SMALL = 128 << 10  # up to here a body is kept in memory and written by the group commit
PIECE = 1 << 20  # bytes that gather before a thread takes them
EAGER = 16 << 20  # after so many bytes the kernel is asked to begin writing to the disk
LARGEST = 5 << 30  # S3's limit for one PUT
MOST_ENCODED = 8 << 20  # of a small body whose chunks are wrapped (the wrapping may outweigh it)
LARGEST_DOCUMENT = 2 << 20


@dataclass(slots=True)
class Body:
    """A body that was received and is right. `data` is the content of a small one; else it lies, synced, at `offset` of `file`."""

    size: int
    etag: str
    checksum: str = ""  # "ALGORITHM:base64"
    data: bytes | None = None
    file: str = ""


class Digests:
    """What is computed over a body, and the comparison with what was promised."""

    def __init__(self, call: Call, algorithm: str = "") -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256() if call.body_sha256 else None
        self._promised_sha256 = call.body_sha256
        self._promised_md5 = _content_md5(call.header("content-md5"))
        self._algorithm, self._promised = metadata.declared_checksum(call.headers)
        self._decoder = call.decoder
        wanted = call.header("x-amz-sdk-checksum-algorithm") or call.header("x-amz-checksum-algorithm")
        wanted = wanted.upper() or algorithm
        if not self._algorithm and wanted in metadata.ALGORITHMS and not call.header("x-amz-trailer"):
            self._algorithm = wanted
        self._sum = checksum(self._algorithm) if self._algorithm else None
        self.size = 0

    def update(self, data: bytes) -> None:
        self.md5.update(data)
        self.update_others(data)

    def update_others(self, data: bytes) -> None:
        """All but MD5, which is the slowest and may run beside."""
        self.size += len(data)
        if self._sha256 is not None:
            self._sha256.update(data)
        if self._sum is not None:
            self._sum.update(data)

    def check(self) -> str:
        """ "ALGORITHM:base64" of the checksum to keep ("" without one); S3Error when a promise was broken."""
        if self._sha256 is not None and self._sha256.hexdigest() != self._promised_sha256.lower():
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                ClientComputedContentSHA256=self._promised_sha256,
                S3ComputedContentSHA256=self._sha256.hexdigest(),
            )
        if self._promised_md5 and self.md5.digest() != self._promised_md5:
            raise S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")
        if self._sum is not None:
            computed = base64.b64encode(self._sum.digest()).decode()
            if self._promised and computed != self._promised:
                raise S3Error(
                    "BadDigest", f"The {self._algorithm} you specified did not match the calculated checksum."
                )
            return f"{self._algorithm}:{computed}"
        if self._decoder is not None:
            for name, value in self._decoder.trailers.items():
                algorithm = name.removeprefix("x-amz-checksum-").upper()
                if algorithm in metadata.ALGORITHMS:
                    return f"{algorithm}:{value}"
        return ""


def declared_length(call: Call) -> int:
    """Bytes of the content, out of the request's headers. MissingContentLength, EntityTooLarge."""
    name = "content-length" if call.decoder is None else "x-amz-decoded-content-length"
    text = call.header(name)
    if not text.isdecimal() or len(text) > 15:
        raise S3Error("MissingContentLength")
    length = int(text)
    if length > LARGEST:
        raise S3Error("EntityTooLarge", ProposedSize=str(length), MaxSizeAllowed=str(LARGEST))
    return length


async def read_document(call: Call) -> bytes:
    """A request's XML, checked like any other body."""
    length = declared_length(call)
    if length > LARGEST_DOCUMENT:
        raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=str(LARGEST_DOCUMENT))
    body = await _small(call, length)
    return body.data or b""


async def receive(call: Call, blobs: Blobs) -> Body:
    """Read the body whole. Small ones come back as `data`, large ones as a staging file. Whatever goes wrong, no file stays."""
    length = declared_length(call)
    blobs.check_space(length)
    if length <= SMALL:
        return await _small(call, length)
    path, descriptor = blobs.stage()
    kept = False
    try:
        body = await write_to(call, length, path, descriptor, 0)
        kept = True
        return body
    finally:
        if not kept:
            unlink(path)


async def _small(call: Call, length: int) -> Body:
    digests = Digests(call)
    call.unread = False
    pieces: list[bytes] = []
    if length or call.decoder is not None:
        left = length if call.decoder is None else MOST_ENCODED
        async for piece in call.proto:
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                raise S3Error("IncompleteBody")
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if call.decoder is not None:
        data = call.decoder.feed(data)
        call.decoder.finish()
    if len(data) != length:
        raise S3Error("IncompleteBody")
    digests.update(data)
    found = digests.check()
    return Body(length, digests.md5.hexdigest(), found, data=data)


_threads = ThreadPoolExecutor(16, thread_name_prefix="body")
_hashers = ThreadPoolExecutor(16, thread_name_prefix="md5")


async def write_to(call: Call, length: int, path: str, descriptor: int, offset: int, algorithm: str = "") -> Body:
    """Write the body at `offset` of an open file, synced; closes the descriptor. `algorithm`: a checksum to compute though the
    request promises none."""
    sink = _Sink(call, descriptor, offset, length, algorithm)
    call.unread = False
    await _pour(call.proto, sink, descriptor)
    if sink.digests.size != length:
        raise S3Error("IncompleteBody")
    return Body(length, sink.digests.md5.hexdigest(), sink.checksum, file=path)


async def write_pieces(call: Call, pieces: AsyncIterator[bytes], path: str, descriptor: int, limit: int) -> Body:
    """The same for content whose size is not known before its end: a form's file. EntityTooLarge beyond `limit`."""
    sink = _Sink(call, descriptor, 0, limit, "", "EntityTooLarge")
    await _pour(pieces, sink, descriptor)
    return Body(sink.digests.size, sink.digests.md5.hexdigest(), sink.checksum, file=path)


async def _pour(pieces: AsyncIterable[bytes], sink: _Sink, descriptor: int) -> None:
    """Everything into the sink, a piece behind what arrives; closes the descriptor."""
    loop = asyncio.get_running_loop()
    job: asyncio.Future[None] | None = None
    waiting: list[bytes] = []
    gathered = 0
    try:
        async for piece in pieces:
            waiting.append(piece)
            gathered += len(piece)
            if gathered >= PIECE:
                if job is not None:
                    await job
                job = loop.run_in_executor(_threads, sink.take, waiting)
                waiting, gathered = [], 0
        if job is not None:
            await job
        job = loop.run_in_executor(_threads, sink.end, waiting)
        await job
        job = None
    finally:
        if job is not None and not job.done():
            await asyncio.wait([job])
        os.close(descriptor)


class _Sink:
    """Runs in a thread: decode, hash, write, and at the end check and sync."""

    def __init__(
        self, call: Call, descriptor: int, offset: int, most: int, algorithm: str, over: str = "IncompleteBody"
    ) -> None:
        self._descriptor, self._at, self._most, self._over = descriptor, offset, most, over
        self._decoder: Any = call.decoder
        self.digests = Digests(call, algorithm)
        self.checksum = ""
        self._asked = offset
        self._hashing: Future[None] | None = None
        os.lseek(descriptor, offset, os.SEEK_SET)

    def take(self, pieces: list[bytes]) -> None:
        if self._decoder is not None:
            pieces = [self._decoder.feed(piece) for piece in pieces]
        if self.digests.size + sum(map(len, pieces)) > self._most:
            raise S3Error(self._over)
        if self._hashing is not None:
            self._hashing.result()
        self._hashing = _hashers.submit(self._hash, pieces)
        for data in pieces:
            write_all(self._descriptor, data)
            self.digests.update_others(data)
            self._at += len(data)
        if self._at - self._asked >= EAGER:
            # On a range that was just written this only starts its way to the disk, so that the last sync has little to wait for.
            os.posix_fadvise(self._descriptor, self._asked, self._at - self._asked, os.POSIX_FADV_DONTNEED)
            self._asked = self._at

    def _hash(self, pieces: list[bytes]) -> None:
        for data in pieces:
            self.digests.md5.update(data)

    def end(self, pieces: list[bytes]) -> None:
        self.take(pieces)
        if self._hashing is not None:
            self._hashing.result()
        if self._decoder is not None:
            self._decoder.finish()
        self.checksum = self.digests.check()
        os.fdatasync(self._descriptor)


def _content_md5(text: str) -> bytes:
    if not text:
        return b""
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise S3Error("InvalidDigest")
    return digest
