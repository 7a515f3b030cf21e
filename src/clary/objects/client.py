"""`ports.Artifacts` over Clary's own object store: JSON over its unix socket, files by hard links.

Owns: the connection, waiting while the store restarts and asking again what it died over, its answers as our errors. Does not know:
S3, where blobs lie.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httptools
import orjson

from clary.domain.errors import ClaryError, Denied, Invalid, NotFound, Unavailable
from clary.objects.files import unlink
from clary.ports import StoredObject

PATIENCE = 10.0  # seconds that a call waits for a store that is being restarted
PAUSE = 0.05
READ = 1 << 18
_ERRORS: dict[int, type[ClaryError]] = {403: Denied, 404: NotFound, 422: Invalid}


class OwnArtifacts:
    """See `ports.Artifacts`. `secret` is what the keys derive for "objects"; buckets must belong to `account` (Denied else)."""

    def __init__(self, socket: str, secret: bytes, account: str) -> None:
        self._socket, self._secret, self._account = socket, secret.hex(), account

    def of(self, account: str) -> OwnArtifacts:
        return OwnArtifacts(self._socket, bytes.fromhex(self._secret), account)

    async def find(self, bucket: str, prefix: str, limit: int | None = None) -> list[StoredObject]:
        rows = await self._ask("find", bucket=bucket, prefix=prefix, limit=limit)
        return [StoredObject(*row) for row in rows]

    async def exists(self, bucket: str) -> bool:
        return bool(await self._ask("exists", bucket=bucket))

    async def make(self, bucket: str, region: str) -> None:
        await self._ask("make", bucket=bucket, region=region)

    async def place(self, bucket: str, keys: Mapping[str, str], folder: str) -> None:
        await self._ask("place", bucket=bucket, keys=dict(keys), folder=folder)

    async def head(self, bucket: str, key: str) -> StoredObject:
        return StoredObject(*await self._ask("head", bucket=bucket, key=key))

    async def read(self, bucket: str, key: str, limit: int) -> bytes:
        content: bytes = await self._ask("read", bucket=bucket, key=key, limit=limit)
        return content

    async def store_file(self, path: str, bucket: str, key: str, content_type: str = "", move: bool = False) -> str:
        etag = await self._ask("store", bucket=bucket, key=key, path=path, content_type=content_type, move=move)
        if move:  # not by the store, which may die before its answer is here
            unlink(path)
        return str(etag)

    async def delete(self, bucket: str, key: str) -> None:
        await self._ask("delete", bucket=bucket, key=key)

    async def stats(self) -> dict[str, int]:
        """Bytes "free" on the store's disk and its "size"."""
        answer: dict[str, int] = await self._ask("stats")
        return answer

    async def _ask(self, operation: str, **asked: Any) -> Any:
        """A store that dies within a request is asked again: each operation may be repeated."""
        end = asyncio.get_running_loop().time() + PATIENCE
        while True:
            answer = await self._once(operation, asked)
            if answer.complete:
                return answer.value()
            if asyncio.get_running_loop().time() >= end:
                raise Unavailable("The object store ended a request before it had answered.")
            await asyncio.sleep(PAUSE)

    async def _once(self, operation: str, asked: Mapping[str, Any]) -> _Answer:
        body = orjson.dumps({"account": self._account, **asked})
        head = (
            f"POST /-clary/{operation} HTTP/1.1\r\nhost: objects\r\nx-clary-secret: {self._secret}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        reader, writer = await self._connect()
        answer = _Answer()
        try:
            writer.write(head.encode() + body)
            await writer.drain()
            while not answer.complete and (data := await reader.read(READ)):
                answer.feed(data)
        except OSError:
            pass  # it is not complete
        finally:
            writer.close()
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        end = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                return await asyncio.open_unix_connection(self._socket, limit=READ)
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if asyncio.get_running_loop().time() >= end:
                    raise Unavailable("The object store does not answer; it may be restarting.") from error
            await asyncio.sleep(PAUSE)


class _Answer:
    """An HTTP answer being read (httptools calls the `on_` methods)."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._type = b""
        self.complete = False

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._type = value

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        self.complete = True

    def value(self) -> Any:
        """What the operation answered, or the error it said."""
        body = b"".join(self._parts)
        status = self._parser.get_status_code()
        if status == 200:
            return orjson.loads(body) if self._type == b"application/json" else body
        if status in _ERRORS and self._type == b"application/json":
            raise _ERRORS[status](orjson.loads(body)["error"])
        raise Unavailable(f"The object store answered {status}: {body[:300].decode(errors='replace')}")
