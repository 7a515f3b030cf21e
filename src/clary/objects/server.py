"""The object store's request path, from granian's RSGI to an answer.

Owns: the order of steps (read, authenticate, find the operation, run it, answer), errors as S3's XML, and the housekeeping that runs
beside requests. Does not know: what any operation does.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Sequence
from typing import Any

from clary.domain.errors import ClaryError, NoRoom
from clary.domain.objects import items as facts
from clary.object_ports import Index
from clary.objects import lifecycle
from clary.objects.assembly import Assembly
from clary.objects.auth import Authenticator
from clary.objects.blobs import Blobs, Full, disk_error
from clary.objects.context import Context, no_such_bucket
from clary.objects.cors import cors_headers, preflight
from clary.objects.errors import NotModified, S3Error, render
from clary.objects.internal import PREFIX, Internal
from clary.objects.multipart import Multipart
from clary.objects.request import Call, Proto, Reply
from clary.objects.routes import Operation, operation_name, operations
from clary.objects.sweeping import QUARANTINED, report, sweep
from clary.ports import Clock, Keys
from clary.wire.errors import ServiceError

log = logging.getLogger("clary.objects")
COLLECT_EVERY = 1.0
FORGOTTEN_AT_ONCE = 500
RESTORED_AT_ONCE = 500
LARGEST_DRAINED = 64 << 20
LARGEST_EXPECTED = 256 << 10
SLACK = 64 << 10
SWEEP_EVERY = 24 * 3600.0
SMALL_JOURNAL = (
    2.0  # seconds that a start waits for a journal that is to be written again; a larger one is written beside requests
)


class Server:
    """An RSGI application. `hosts` are the names that Clary answers to (for BUCKET.HOST addressing); `secret` opens the internal
    operations, which the control plane uses."""

    def __init__(
        self, index: Index, blobs: Blobs, keys: Keys, clock: Clock, secret: bytes, hosts: Sequence[str] = ()
    ) -> None:
        self.context = Context(index, blobs, Authenticator(keys), clock)
        self._hosts = tuple(hosts)
        self._assembly = Assembly(blobs)
        self._operations: dict[str, Operation] = operations(Multipart(self._assembly))
        self._internal = Internal(self.context, secret)
        self._tasks: list[asyncio.Task[None]] = []

    # -- the request path ------------------------------------------------------------------------------------------------------

    async def __rsgi__(self, scope: Any, proto: Proto) -> None:
        call = Call(scope, proto, self._hosts, self.context.clock.now())
        reply: Reply | None = None
        try:
            reply = await self._answer(call)
        except NotModified as error:
            reply = Reply(304, list(error.headers))
        except ServiceError as error:
            reply = _refusal(call, error)
        except ClaryError as error:
            reply = _refusal(call, _translate(call, error))
        except OSError as error:
            log.exception("request %s: %s %s", call.id, call.method, call.resource)
            reply = _refusal(call, _translate(call, disk_error(error)))
        finally:
            # Anything else is a bug: granian logs its traceback, the client is told what S3 would say.
            reply = reply or _refusal(call, S3Error("InternalError"))
            if call.unread and call.method in ("PUT", "POST"):
                await _settle_body(call, reply)
            _send(call, reply)

    async def _answer(self, call: Call) -> Reply:
        if call.decoded_path.startswith(PREFIX):
            return await self._internal.answer(call)
        if call.method == "OPTIONS":
            return await preflight(self.context, call)
        if call.method == "POST" and not call.key and _is_form(call):
            return await self._operations["PostObject"](self.context, call)  # its signature is in the form
        self.context.authenticator.check(call)
        if "\0" in call.key or "\ufffd" in call.decoded_path:
            _check_utf8(call)
        name = operation_name(call)
        operation = self._operations.get(name)
        if operation is None or name == "PostObject":
            raise S3Error(
                "NotImplemented", f"{name} is not implemented by Clary's object store. See docs/operations.md."
            )
        reply = await operation(self.context, call)
        if "origin" in call.headers:
            reply.headers += await cors_headers(self.context, call)
        return reply

    # -- beside requests -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Remove what a crash left, then keep house. Before the first request."""
        ctx = self.context
        removed = ctx.blobs.clean_staging(await ctx.index.files())
        if removed:
            log.info("removed %d unfinished uploads' files", removed)
        restored, after = 0, ""
        while bodies := await ctx.index.bodies(after, RESTORED_AT_ONCE):
            restored, after = restored + ctx.blobs.restore(bodies), bodies[-1][0]
        if restored:
            log.info("restored %d blobs that the disk had lost", restored)
        await ctx.index.keep(SMALL_JOURNAL)
        ctx.blobs.reserve.keep()
        self._tasks = [asyncio.create_task(self._collect()), asyncio.create_task(self._sweep())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.context.blobs.collect(float("inf"))
        await self.context.index.keep()
        await self.context.index.close()
        self.context.blobs.close()

    async def _collect(self) -> None:
        while True:
            await asyncio.sleep(COLLECT_EVERY)
            try:
                await self._collect_once()
            except (OSError, ClaryError):
                log.exception("housekeeping failed; it is tried again")

    async def _collect_once(self) -> None:
        loop, blobs, now = asyncio.get_running_loop(), self.context.blobs, self.context.clock.monotonic()
        await loop.run_in_executor(None, blobs.collect, now)
        durable = await loop.run_in_executor(None, blobs.make_durable, now)
        for at in range(0, len(durable), FORGOTTEN_AT_ONCE):
            await self.context.index.forget_bodies(durable[at : at + FORGOTTEN_AT_ONCE])
        await loop.run_in_executor(None, blobs.make_room)
        await loop.run_in_executor(None, blobs.reserve.keep)
        await self.context.index.keep()

    async def _sweep(self) -> None:
        """Orphans of a crash and what lifecycle rules expire: at start, then once a day. Gentle: a folder at a time."""
        while True:
            try:
                await self._sweep_once()
            except (OSError, ClaryError):
                log.exception("the sweep failed; the next one tries again")
            await asyncio.sleep(SWEEP_EVERY)

    async def _sweep_once(self) -> None:
        ctx, loop = self.context, asyncio.get_running_loop()
        await loop.run_in_executor(None, ctx.blobs.quarantine.release, ctx.clock.now() - QUARANTINED)
        swept = await sweep(ctx)
        report(swept, ctx.blobs.root)
        await lifecycle.expire(ctx, self._assembly)


def _is_form(call: Call) -> bool:
    return call.header("content-type").lower().startswith("multipart/form-data")


def _check_utf8(call: Call) -> None:
    """The server has decoded the path; what was no UTF-8 shows as a replacement character, which a key may also hold."""
    if "\0" in call.key:
        raise S3Error("InvalidURI", URI=call.path[:200])


def _translate(call: Call, error: ClaryError) -> ServiceError:
    match error:
        case facts.ConditionFailed(exists=True):
            return S3Error("PreconditionFailed")
        case facts.ConditionFailed():
            return S3Error("NoSuchKey", Key=call.key)
        case facts.BucketMissing():
            return no_such_bucket(call.bucket)
        case facts.BucketNotEmpty():
            return S3Error("BucketNotEmpty", BucketName=call.bucket)
        case facts.UploadMissing():
            return S3Error("NoSuchUpload", UploadId=call.args.get("uploadId", "")[:200])
        case facts.KeyMissing():
            return S3Error("NoSuchKey", Key=call.key)
        case Full():
            return S3Error("InsufficientStorage", error.message)
        case NoRoom():
            return S3Error("InsufficientStorage", disk_error(OSError(errno.ENOSPC, "")).message)
    return S3Error("ServiceUnavailable", error.message)


def _refusal(call: Call, error: ServiceError) -> Reply:
    headers = [("content-type", "application/xml"), *(error.headers if isinstance(error, S3Error) else ())]
    return Reply(error.status or 400, headers, render(error, call.resource, call.id))


async def _settle_body(call: Call, reply: Reply) -> None:
    """A body that was not asked for: a small one is read and forgotten (a proxy that is still sending it would miss the answer), a
    large one ends the connection. So does one that the client may hold back (Expect): on a connection that goes on, its next
    request would be read as that body."""
    chunked = "transfer-encoding" in call.headers  # as boto3 sends what it signs at the end, over TLS
    text = call.header("x-amz-decoded-content-length" if chunked else "content-length", "" if chunked else "0")
    length = int(text) if text.isdecimal() and len(text) < 16 else LARGEST_DRAINED + 1
    if length > (LARGEST_EXPECTED if "expect" in call.headers else LARGEST_DRAINED):
        reply.headers.append(("connection", "close"))
    elif length or chunked:
        left = 2 * length + SLACK  # what wraps the chunks; more than that was not promised
        async for piece in call.proto:
            left -= len(piece)
            if left < 0:
                reply.headers.append(("connection", "close"))
                break


def _send(call: Call, reply: Reply) -> None:
    headers = reply.headers
    headers.append(("x-amz-request-id", call.id))
    if call.method == "HEAD":
        if reply.status >= 400:
            headers = [one for one in headers if one[0] != "content-type"]
        call.proto.response_empty(reply.status, headers)
    elif reply.file:
        call.proto.response_file_range(reply.status, headers, reply.file, reply.start, reply.end)
    elif reply.body:
        call.proto.response_bytes(reply.status, headers, reply.body)
    else:
        call.proto.response_empty(reply.status, headers)
