"""Forwards S3 requests to the server that the user named (`s3_endpoint`), so that clients, jobs and Clary see the same objects.

Each is checked with Clary's keys like any other and signed again with that server's key. Bodies are received whole and verified
before they are sent on; answers are streamed. One key serves all of Clary's accounts there, so accounts share that server's buckets.
Does not know: what any operation means, the answers' XML.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3

from clary.domain.errors import ClaryError
from clary.objects import body as bodies
from clary.objects.auth import Authenticator
from clary.objects.blobs import Blobs, Full
from clary.objects.errors import S3Error, render
from clary.objects.files import unlink
from clary.objects.request import Call, Proto
from clary.ports import Clock
from clary.wire.errors import ServiceError
from clary.wire.sigv4 import signing_key, stamp

log = logging.getLogger("clary.objects")
THREADS = 32
PIECE = 256 << 10
TIMEOUT = urllib3.Timeout(connect=10, read=300)
_KMS_KEY = "x-amz-server-side-encryption-aws-kms-key-id"
_UNSIGNED = "UNSIGNED-PAYLOAD"
# What belonged to the client's own signature, its transfer, or to accounts, which the other server does not have.
_OWN_ARGUMENTS = frozenset(
    ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders", "x-amz-signature",
     "x-amz-security-token", "x-amz-content-sha256", "awsaccesskeyid", "signature", "expires")
)  # fmt: skip
_OWN_HEADERS = frozenset(
    ("x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amz-decoded-content-length", "x-amz-trailer",
     "x-amz-sdk-checksum-algorithm", "x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner")
)  # fmt: skip
_PASSED = frozenset(
    ("content-type", "content-disposition", "content-language", "cache-control", "expires", "range", "if-match", "if-none-match",
     "if-modified-since", "if-unmodified-since", "content-md5")
)  # fmt: skip
_NOT_ANSWERED = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "server", "date", "x-amz-request-id", "x-amz-id-2")
)


class Relay:
    """An RSGI application in the place of `Server`. `staging` holds bodies on their way."""

    def __init__(
        self,
        endpoint: str,
        access_key: str,
        secret_key: str,
        region: str,
        authenticator: Authenticator,
        staging: Blobs,
        clock: Clock,
        hosts: tuple[str, ...] = (),
    ) -> None:
        self._endpoint, self._region = endpoint, region
        self._access_key, self._secret_key = access_key, secret_key
        where = urlsplit(endpoint)
        self._host, self._base = where.netloc, where.path.rstrip("/")
        self._pool = urllib3.connection_from_url(endpoint, maxsize=THREADS, timeout=TIMEOUT)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="relay")
        self._authenticator, self._staging, self._clock, self._hosts = authenticator, staging, clock, hosts

    async def start(self) -> None:
        """Forget what a crash left half received."""
        self._staging.clean_staging(set())

    async def stop(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._pool.close()
        self._staging.close()

    async def __rsgi__(self, scope: Any, proto: Proto) -> None:
        call = Call(scope, proto, self._hosts, self._clock.now())
        try:
            answer = await self._asked(call)
        except ServiceError as error:
            _refuse(call, error)
        except Full as error:
            _refuse(call, S3Error("InsufficientStorage", error.message))
        except ClaryError as error:
            _refuse(call, S3Error("ServiceUnavailable", error.message))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            log.error("request %s: %s %s: %s", call.id, call.method, call.resource, error)
            _refuse(call, S3Error("ServiceUnavailable", f"The S3 server at {self._endpoint} does not answer."))
        else:
            await self._pass_on(call, answer)

    async def _asked(self, call: Call) -> urllib3.BaseHTTPResponse:
        """The other server's answer, its body still to come."""
        self._authenticator.check(call)
        if call.method not in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            raise S3Error("MethodNotAllowed", Method=call.method)
        body: bodies.Body | None = None
        if call.method in ("PUT", "POST") or call.header("content-length", "0") != "0" or call.decoder is not None:
            body = await bodies.receive(call, self._staging)
        try:
            headers = self._headers(call, body)
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, call, headers, body)
        finally:
            if body is not None and body.file:
                unlink(body.file)

    def _headers(self, call: Call, body: bodies.Body | None) -> dict[str, str]:
        headers = {
            name: value
            for name, value in call.headers.items()
            if name in _PASSED or (name.startswith("x-amz-") and name not in _OWN_HEADERS)
        }
        if headers.get("x-amz-server-side-encryption") == "aws:kms" and _KMS_KEY not in headers:
            # The SDKs say so unasked and name no key: it is for the other server to know how it encrypts by default.
            del headers["x-amz-server-side-encryption"]
        encoding = [part.strip() for part in call.header("content-encoding").split(",")]
        kept = ",".join(part for part in encoding if part and part != "aws-chunked")
        if kept:
            headers["content-encoding"] = kept
        if body is not None:
            headers["content-length"] = str(body.size)
            if body.size:
                headers["content-md5"] = base64.b64encode(bytes.fromhex(body.etag)).decode()
            if body.checksum:
                algorithm, _, value = body.checksum.partition(":")
                headers[f"x-amz-checksum-{algorithm.lower()}"] = value
        return headers

    def _target(self, call: Call) -> tuple[str, str]:
        """(path, query) there: path style, encoded as it is signed."""
        key = f"/{quote(call.key, safe='/-_.~')}" if call.key or call.decoded_path.endswith("/") else ""
        path = f"{self._base}/{quote(call.bucket, safe='-_.~')}{key}" if call.bucket else f"{self._base}/"
        args = sorted((name, value) for name, value in call.args.items() if name.lower() not in _OWN_ARGUMENTS)
        return path, "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in args)

    def _send(self, call: Call, headers: dict[str, str], body: bodies.Body | None) -> urllib3.BaseHTTPResponse:
        """In a thread. Sent once: what may be repeated is the client's to know."""
        path, query = self._target(call)
        headers = self._signed(call.method, path, query, headers)
        content: bytes | Iterator[bytes] | None = None
        if body is not None:
            content = body.data if body.data is not None else _pieces(body.file)
        url = f"{path}?{query}" if query else path
        return self._pool.urlopen(
            call.method, url, body=content, headers=headers, retries=False, preload_content=False, decode_content=False,
            redirect=False, assert_same_host=False,
        )  # fmt: skip

    def _signed(self, method: str, path: str, query: str, headers: dict[str, str]) -> dict[str, str]:
        """With host, date and signature (Signature Version 4; the payload is not part of it, its MD5 is sent and signed)."""
        at = stamp(self._clock.now())
        signed = {**headers, "host": self._host, "x-amz-date": at, "x-amz-content-sha256": _UNSIGNED}
        names = ";".join(sorted(signed))
        lines = [f"{name}:{' '.join(signed[name].split())}" for name in sorted(signed)]
        canonical = "\n".join([method, path, query, *lines, "", names, _UNSIGNED])
        scope = f"{at[:8]}/{self._region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = signing_key(self._secret_key, at[:8], self._region, "s3")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"Credential={self._access_key}/{scope}"
        return {
            **signed,
            "authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}",
        }

    async def _pass_on(self, call: Call, answer: urllib3.BaseHTTPResponse) -> None:
        loop = asyncio.get_running_loop()
        headers = [(name.lower(), value) for name, value in answer.headers.items() if name.lower() not in _NOT_ANSWERED]
        headers.append(("x-amz-request-id", call.id))
        whole = False
        try:
            if call.method == "HEAD" or answer.status in (204, 304):
                call.proto.response_empty(answer.status, headers)
            else:
                transport = call.proto.response_stream(answer.status, headers)  # type: ignore[attr-defined]
                while piece := await loop.run_in_executor(self._threads, answer.read, PIECE):
                    await transport.send_bytes(piece)
            whole = True
        finally:  # the client may be gone, or the other server: what is left of such an answer is not read
            answer.release_conn() if whole else answer.close()


def _pieces(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _refuse(call: Call, error: ServiceError) -> None:
    headers = [("content-type", "application/xml"), ("x-amz-request-id", call.id)]
    if call.unread and call.header("content-length", "0") != "0":
        headers.append(("connection", "close"))
    if call.method == "HEAD":
        call.proto.response_empty(error.status or 400, headers[1:])
    else:
        call.proto.response_bytes(error.status or 400, headers, render(error, call.resource, call.id))
