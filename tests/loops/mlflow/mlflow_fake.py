"""An MLflow that answers what a test says, at a unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


class FakeMlflow:
    """`pages` of versions; `healthy`; `asked` are the paths. `broken`: a status for everything but health."""

    def __init__(self) -> None:
        self.pages: list[list[dict[str, Any]]] = [[]]
        self.healthy = True
        self.broken = 0
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []

    @asynccontextmanager
    async def at(self, socket: Path) -> AsyncIterator[None]:
        socket.parent.mkdir(parents=True, exist_ok=True)
        server = await asyncio.start_unix_server(self._one, str(socket))
        try:
            yield
        finally:
            server.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        target = urlsplit(head.split()[1].decode())
        self.asked.append(target.path)
        lines = [line.decode().partition(": ") for line in head.split(b"\r\n")[1:] if line]
        self.headers.append({name.lower(): value for name, _, value in lines})
        status, found = self._answer(target.path, parse_qs(target.query))
        body = json.dumps(found).encode()
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        writer.close()

    def _answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        if path.endswith("/health"):
            return (200 if self.healthy else 500), {}
        if self.broken:
            return self.broken, {}
        if path.endswith("/get-download-uri"):
            return 200, {"artifact_uri": f"s3://b/{query['name'][0]}/{query['version'][0]}"}
        number = int(query.get("page_token", ["0"])[0])
        more = {"next_page_token": str(number + 1)} if number + 1 < len(self.pages) else {}
        return 200, {"model_versions": self.pages[number], **more}


def version(name: str, number: int, made: int) -> dict[str, Any]:
    return {"name": name, "version": str(number), "creation_timestamp": made, "run_id": "r", "source": "models:/m-1"}
