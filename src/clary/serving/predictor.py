"""`prediction_ports.Predictor` over the fronts' HTTP sockets: a file in, a file out, signed as `asynchronous.py` tells.

Owns: the one request of a prediction and the reading of its answer, piece by piece, so that a large body is never held here. Refuses
to know: queues and retries. A front that is away, that takes no more, or that went away before it answered is Unavailable: the same
invocation id may be sent again, and joins the prediction where it still runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Sequence
from typing import BinaryIO

import httptools

from clary.domain.errors import Unavailable
from clary.prediction_ports import Asked, Predicted
from clary.serving.asynchronous import KEY_ID, TIMEOUT_HEADER
from clary.serving.homes import home
from clary.wire.sigv4 import signing_key, stamp

PIECE = 1 << 20
GRACE = 60.0  # seconds beyond its deadline after which a front that did not answer counts as gone
TOLD = 4 << 20  # bytes of an error answer that are read


class FrontPredictor:
    """`sockets[i]` is the path of front i's HTTP socket; `secret` what its key question will be answered with."""

    def __init__(self, sockets: Sequence[str], secret: str, wall: Callable[[], float]) -> None:
        self._sockets = list(sockets)
        self._secret = secret
        self._wall = wall

    async def predict(self, asked: Asked, source: str, target: str) -> Predicted:
        """See the port."""
        path = self._sockets[home(asked.endpoint, len(self._sockets))]
        digest, size = await asyncio.to_thread(_digest, source)
        try:
            async with asyncio.timeout(asked.timeout + GRACE):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(self._head(asked, digest, size))
                    await _send(writer, source)
                    return await _receive(reader, target)
                finally:
                    writer.close()
        except (OSError, TimeoutError, httptools.HttpParserError) as error:
            raise Unavailable(f"The front of {asked.endpoint} went away: {type(error).__name__}.") from error

    def _head(self, asked: Asked, digest: str, size: int) -> bytes:
        path = f"/endpoints/{asked.endpoint}/invocations"
        now = stamp(self._wall())
        headers = {
            "accept": asked.accept,
            "amz-sdk-invocation-id": asked.id,
            "amz-sdk-request": "attempt=1; max=2",  # the caller comes back: the answer must be kept
            "content-type": asked.content_type,
            "host": "front",
            "x-amz-content-sha256": digest,
            "x-amz-date": now,
            "x-amz-security-token": asked.account,
            "x-amzn-sagemaker-custom-attributes": asked.attributes,
            "x-amzn-sagemaker-inference-id": asked.inference,
            TIMEOUT_HEADER: f"{asked.timeout:g}",
        }
        signed = {name: value for name, value in sorted(headers.items()) if value}
        names = ";".join(signed)
        lines = "".join(f"{name}:{' '.join(value.split())}\n" for name, value in signed.items())
        canonical = f"POST\n{path}\n\n{lines}\n{names}\n{digest}"
        scope = f"{now[:8]}/{asked.region}/sagemaker/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode('latin-1')).hexdigest()}"
        key = signing_key(self._secret, now[:8], asked.region, "sagemaker")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        authorization = f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={names}, Signature={signature}"
        fields = {**signed, "authorization": authorization, "content-length": str(size), "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1")


def _digest(path: str) -> tuple[str, int]:
    """(SHA-256 in hex, size) of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size


async def _send(writer: asyncio.StreamWriter, path: str) -> None:
    """Write the file out. A front that refuses what it did not read to the end hangs up: its answer is read nevertheless."""
    with open(path, "rb") as file:
        try:
            while piece := await asyncio.to_thread(file.read, PIECE):
                writer.write(piece)
                await writer.drain()
        except (BrokenPipeError, ConnectionResetError):
            return


async def _receive(reader: asyncio.StreamReader, target: str) -> Predicted:
    """The answer; the body of a good one goes into the file."""
    with open(target, "wb") as file:
        answer = _Answer(file)
        while not answer.complete:
            data = await reader.read(PIECE)
            if not data:
                raise ConnectionError("no answer")
            await asyncio.to_thread(answer.feed, data) if len(data) > PIECE // 4 else answer.feed(data)
    return answer.predicted()


class _Answer:
    """An HTTP answer being read (httptools calls the `on_` methods)."""

    def __init__(self, file: BinaryIO) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._file = file
        self._headers: dict[str, str] = {}
        self._error = bytearray()
        self._size = 0
        self.complete = False

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        if self._parser.get_status_code() == 200:
            self._size += len(data)
            self._file.write(data)
        elif len(self._error) < TOLD:
            self._error += data

    def on_message_complete(self) -> None:
        self.complete = True

    def predicted(self) -> Predicted:
        """What the front said. Unavailable when it could not take the request."""
        status = self._parser.get_status_code()
        variant = self._headers.get("x-amzn-invoked-production-variant", "")
        content_type = self._headers.get("content-type", "")
        if status == 200:
            return Predicted(status, content_type, variant, size=self._size)
        told = json.loads(self._error or b"{}")
        message = str(told.get("Message", ""))
        if status == 503:
            raise Unavailable(message)
        code = self._headers.get("x-amzn-errortype", "")
        original = told.get("OriginalMessage")
        return Predicted(
            status, content_type, variant, 0, code, message, message if original is None else str(original)
        )
