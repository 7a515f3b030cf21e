"""The way to MLflow servers, before the API: an ASGI application that takes what is for one of them, and passes everything else on.

Two kinds of requests come: those of the plugin `sagemaker-mlflow`, signed, with the server's ARN in a header; and those of a browser below
the server's own path, with the cookie that a presigned URL gave it. Who asks is known before anything is said of what is there. The
signature and the cookie stay here; the answer is passed on in pieces.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from clary import unix_http
from clary.api.identity import Identity
from clary.domain.errors import Unavailable
from clary.domain.mlflow import servers, visits
from clary.domain.mlflow.visits import Visit
from clary.domain.resources import Record
from clary.loops.mlflow.places import MlflowSettings, ServerPlace
from clary.ports import Clock, Store
from clary.wire.asgi import Receive, Scope, Send
from clary.wire.errors import ServiceError
from clary.wire.http import Headers, Request
from clary.wire.sigv4 import inspect

log = logging.getLogger(__name__)

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
LARGEST = 8 << 20  # bytes of a request
# Ours, or of one connection only (RFC 9110 7.6.1). MLflow checks the Host: it gets the one that it listens for.
_OURS = frozenset(
    b"host connection keep-alive te trailer transfer-encoding upgrade content-length authorization cookie x-amz-date x-amz-security-token"
    b" x-amz-content-sha256 x-forwarded-for x-forwarded-proto x-forwarded-host expect".split()
)
_HOP = frozenset(b"connection keep-alive transfer-encoding upgrade trailer".split())


_NO_VISIT = (
    "This page needs a URL of CreatePresignedMlflowTrackingServerUrl or CreatePresignedMlflowAppUrl: there was none, or "
    "its time is over."
)


class Refused(Exception):
    """Said in MLflow's words: its clients show `message`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class MlflowDoor:
    """The servers, and the application behind."""

    application: Application
    store: Store
    identity: Identity
    clock: Clock
    settings: MlflowSettings
    key: bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _arn(scope) if scope["type"] == "http" else None
        if asked is None and not (scope["type"] == "http" and scope["path"].startswith(f"{servers.PAGES}/")):
            await self.application(scope, receive, send)
            return
        try:
            if asked is not None:
                await self._signed(scope, receive, send, *asked)
            else:
                await self._visited(scope, receive, send)
        except Refused as refused:
            await _refuse(send, refused)

    # -- the plugin -------------------------------------------------------------------------------------------------------------------

    async def _signed(self, scope: Scope, receive: Receive, send: Send, kind: str, arn: str) -> None:
        headers = Headers([(name.decode("latin-1"), value) for name, value in scope["headers"]])
        body = await _body(receive)
        path, query = _target(scope)
        request = Request(scope["method"], path, query, headers, body)
        account, region = await self._who(request, kind)
        record = await self._record(arn, kind)
        if record is None or (record.scope.account, record.scope.region) != (account, region):
            raise Refused(
                403, "PERMISSION_DENIED", f"{arn} is not there, or is not your account's: {account} asks in {region}."
            )
        await self._pass(record, scope, send, servers.prefix(record) + path, query, body)

    async def _who(self, request: Request, kind: str) -> tuple[str, str]:
        """The account and the region of who signed."""
        try:
            claim = inspect(request, None)
            if claim is None:
                raise Refused(401, "UNAUTHENTICATED", "The request has no signature.")
            if servers.SIGNED.get(claim.service) != kind:
                raise Refused(
                    403, "PERMISSION_DENIED", f"The request is signed for {claim.service}, which has no {kind}."
                )
            credential = await self.identity(request, claim)
        except ServiceError as error:
            raise Refused(403, "PERMISSION_DENIED", f"{error.code}: {error.message}") from error
        return credential.account, claim.region

    async def _record(self, arn: str, kind: str) -> Record | None:
        record = await self.store.by_arn(arn)
        return record if record is not None and record.kind == kind else None

    # -- a browser --------------------------------------------------------------------------------------------------------------------

    async def _visited(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, query = _target(scope)
        own = "/".join(path.split("/")[:3])
        token = parse_qs(query).get("authToken", [""])[0]
        visit = visits.read(self.key, token, self.clock.now()) if token else self._session(scope, own)
        record = None
        if visit is not None and bool(token) == bool(visit.session):
            found = await self.store.by_arn(visit.arn)
            record = found if found is not None and found.kind in servers.KINDS else None
        if visit is None or record is None or servers.prefix(record) != own:
            raise Refused(403, "PERMISSION_DENIED", _NO_VISIT)
        if token:
            await self._begin(send, visit, own)
        else:
            await self._pass(record, scope, send, path, query, await _body(receive))

    def _session(self, scope: Scope, own: str) -> Visit | None:
        given = b"; ".join(value for name, value in scope["headers"] if name.lower() == b"cookie").decode("latin-1")
        try:
            cookie = SimpleCookie(given).get(visits.COOKIE)
        except CookieError:
            return None
        return visits.read(self.key, cookie.value, self.clock.now()) if cookie is not None else None

    async def _begin(self, send: Send, visit: Visit, own: str) -> None:
        """The first use of a presigned URL: a session, and on to the page itself."""
        session = visits.token(self.key, visits.begun(visit, self.clock.now()))
        cookie = f"{visits.COOKIE}={session}; Path={own}; Max-Age={int(visit.session)}; HttpOnly; SameSite=Lax"
        headers = [(b"location", f"{own}/".encode()), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
        await _send(send, 302, headers, b"")

    # -- on to MLflow -----------------------------------------------------------------------------------------------------------------

    async def _pass(self, record: Record, scope: Scope, send: Send, path: str, query: str, body: bytes) -> None:
        if record.status not in servers.WANTED:
            raise Refused(
                503, "TEMPORARILY_UNAVAILABLE", f"{record.name} is {record.status}: start it, or make it again."
            )
        socket = ServerPlace.of(self.settings, record).socket
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _OURS]
        target = f"{path}?{query}" if query else path
        began = False
        try:
            async with unix_http.exchange(
                socket, scope["method"], target, [(b"host", b"localhost"), *headers], body
            ) as answer:
                passed = [(name, value) for name, value in answer.headers if name.lower() not in _HOP]
                await send({"type": "http.response.start", "status": answer.status, "headers": passed})
                began = True
                async for piece in answer.pieces():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except Unavailable as error:
            log.warning("%s: %s", record.arn, error.message)
            if began:
                raise  # the answer is cut off, and its reader sees that
            raise Refused(
                503,
                "TEMPORARILY_UNAVAILABLE",
                f"{record.name} does not answer ({error.message}); its status is {record.status}.",
            ) from error


def _arn(scope: Scope) -> tuple[str, str] | None:
    """The kind and the ARN of whom the plugin asks."""
    for name, value in scope["headers"]:
        kind = servers.HEADERS.get(name.lower().decode("latin-1"))
        if kind is not None:
            return kind, value.decode("latin-1")
    return None


def _target(scope: Scope) -> tuple[str, str]:
    """Path and query as they were sent."""
    raw = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1"), scope.get("query_string", b"").decode("latin-1")


async def _body(receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "BAD_REQUEST", "The client went away before its request was whole.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST:
            raise Refused(413, "BAD_REQUEST", f"The request is larger than {LARGEST} bytes; artifacts go to S3.")
        if not message.get("more_body"):
            return b"".join(parts)


async def _refuse(send: Send, refused: Refused) -> None:
    body = json.dumps({"error_code": refused.code, "message": refused.message}).encode()
    await _send(send, refused.status, [(b"content-type", b"application/json"), (b"connection", b"close")], body)


async def _send(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
