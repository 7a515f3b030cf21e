"""What serving's tests stand on: a front on real sockets, replicas that speak frames, clients that sign.

A fake replica is an asyncio task in the test's own loop (or `fake_worker.py` as a process, where one must be killed).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from clary.domain.endpoints.routes import EndpointRoute, ReplicaRoute, VariantRoute
from clary.serving.ctl import ControlChannel
from clary.serving.front import Front
from clary.serving.keys import SigningKey
from clary.serving.routefiles import RouteFiles
from clary.toolkit import frames
from clary.wire.eventstream import Frame, FrameReader
from clary.wire.sigv4 import signing_key

ACCOUNT = "000000000000"
REGION = "us-east-1"
KEY_ID = "AKIAEXAMPLE"
SECRET = "a-secret"


def replica(name: str, allowance: int = 1, draining: bool = False) -> ReplicaRoute:
    return ReplicaRoute(name, hashlib.sha256(token(name).encode()).hexdigest(), allowance, draining)


def token(name: str) -> str:
    return f"token-of-{name}"


def variant(name: str = "AllTraffic", weight: float = 1.0, *replicas: ReplicaRoute, **more: object) -> VariantRoute:
    return VariantRoute(name, weight, replicas, **more)  # type: ignore[arg-type]


def route(*variants: VariantRoute, name: str = "iris", revision: int = 1, max_payload: int = 25 << 20) -> EndpointRoute:
    return EndpointRoute(ACCOUNT, REGION, name, revision, variants, max_payload)


class Pipe:
    """How a fake model answers in pieces: it writes frames to the front as it likes."""

    def __init__(self, number: int, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.writer = writer
        self.cancelled = asyncio.Event()

    async def begin(self, content_type: str = "text/plain", headers: Sequence[tuple[str, str]] = ()) -> None:
        await self._send(frames.begun(self.number, frames.result_meta(content_type, headers)))

    async def chunk(self, data: bytes, how: int = frames.MORE) -> None:
        await self._send(frames.chunk(self.number, how, data))

    async def _send(self, frame: bytes) -> None:
        self.writer.write(frame)
        await self.writer.drain()


Predict = Callable[[list[frames.Request]], Awaitable[list[tuple[int, int, bytes, bytes]] | None]]


async def echo(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
    """Answers each body with itself."""
    meta = frames.result_meta("text/csv")
    return [(request.id, 200, meta, request.body) for request in batch]


@dataclass
class FakeReplica:
    """A zygote and its workers, as tasks. `predict` answers a batch; None means it never answers."""

    path: str
    id: str
    predict: Predict = echo
    workers: int = 1
    batch: int = 64
    stream: Callable[[frames.Request, Pipe], Awaitable[None]] | None = None
    version: int = frames.VERSION
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    seen: list[list[frames.Request]] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)  # what zygote and workers were told by RESIZE
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    next_pid: int = 100
    deaf: bool = False  # the zygote hears nothing any more
    running: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    async def start(self, load: float = 0.0) -> FakeReplica:
        self.tasks.append(asyncio.create_task(self._zygote(load)))
        return self

    async def stop(self) -> None:
        tasks = [*self.tasks, *self.running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _dial(self, role: str, pid: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_unix_connection(self.path)
                writer.write(frames.control(frames.HELLO, self.hello(role, pid)))
                kind, _, _ = await read_frame(reader)
                if kind == frames.WELCOME:
                    return reader, writer
                writer.close()
            await asyncio.sleep(0.01)

    def hello(self, role: str, pid: int) -> dict[str, object]:
        return {"version": self.version, "role": role, "replica": self.id, "token": token(self.id), "pid": pid}

    async def _zygote(self, load: float) -> None:
        while True:
            reader, writer = await self._dial("zygote", 1)
            await asyncio.sleep(load)
            ready = {"seconds": load, "mode": "fork", "batch": self.batch}
            writer.write(frames.control(frames.READY, ready))
            while len(self.running) < self.workers:
                self.fork()
            try:
                while True:
                    kind, _, payload = await read_frame(reader)
                    if self.deaf:
                        continue
                    if kind == frames.PING:
                        writer.write(frames.control(frames.PONG))
                    elif kind == frames.KILL:
                        pid = frames.message(payload)["pid"]
                        self.killed.append(pid)
                        self.end(pid)
                        self.fork()
                    elif kind == frames.DRAIN:
                        self.drained.set()
                    elif kind == frames.RESIZE:
                        self.threads.append(frames.message(payload)["threads"])
                    elif kind == frames.SPAWN:
                        self.workers = frames.message(payload)["workers"]
                        while len(self.running) < self.workers:
                            self.fork()
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

    def fork(self) -> None:
        pid = self.next_pid
        self.next_pid += 1
        self.running[pid] = asyncio.create_task(self._worker(pid))

    def end(self, pid: int) -> None:
        task = self.running.pop(pid, None)
        if task is not None:
            task.cancel()

    async def _worker(self, pid: int) -> None:
        while True:
            reader, writer = await self._dial("worker", pid)
            following: asyncio.Task[tuple[int, int, bytes]] | None = None
            try:
                while True:
                    kind, count, payload = await (following or read_frame(reader))
                    following = None
                    if kind == frames.DRAIN:
                        self.running.pop(pid, None)
                        return
                    if kind == frames.RESIZE:
                        self.threads.append(frames.message(payload)["threads"])
                    if kind == frames.REDIAL:
                        break
                    if kind == frames.STREAM:
                        following = await self._streamed(frames.requests(payload, 1)[0], reader, writer)
                    if kind != frames.PREDICT:
                        continue
                    batch = frames.requests(payload, count)
                    self.seen.append(batch)
                    answers = await self.predict(batch)
                    if answers is not None:
                        writer.write(frames.results(answers))
                        await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

    async def _streamed(
        self, request: frames.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> asyncio.Task[tuple[int, int, bytes]]:
        """Let the model write; hear of a CANCEL meanwhile. Answers what is read next."""
        assert self.stream is not None
        self.seen.append([request])
        pipe = Pipe(request.id, writer)
        model = asyncio.create_task(self.stream(request, pipe))
        following = asyncio.create_task(read_frame(reader))
        try:
            await asyncio.wait((model, following), return_when=asyncio.FIRST_COMPLETED)
            if following.done() and following.result()[0] == frames.CANCEL:
                assert frames.message(following.result()[2]) == {"ids": [request.id]}
                pipe.cancelled.set()
                following = asyncio.create_task(read_frame(reader))
            await model
        except BaseException:
            model.cancel()
            following.cancel()
            raise
        return following


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    length, kind, _, count = frames.HEADER.unpack(await reader.readexactly(8))
    return kind, count, await reader.readexactly(length)


class Bench:
    """A front on sockets in a folder, with a key that it knows already."""

    def __init__(self, folder: Path, max_payload: int = 25 << 20, kind: type[Front] = Front) -> None:
        self.folder = folder
        self.kind = kind
        self.http = str(folder / "http.sock")
        self.workers = str(folder / "workers.sock")
        self.ctl = str(folder / "ctl.sock")
        self.max_payload = max_payload
        self.replicas: list[FakeReplica] = []
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Bench:
        loop = asyncio.get_running_loop()
        self.front = self.kind(loop, RouteFiles(self.folder / "routes"), self.max_payload)
        self.channel = ControlChannel(self.front)
        for path, protocol in (
            (self.http, self.front.connection),
            (self.workers, self.front.link),
            (self.ctl, self.channel.protocol),
        ):
            self._servers.append(await loop.create_unix_server(protocol, path))  # type: ignore[arg-type]
        self.front.ask = lambda question: self.front.keys.answer(question, self.key(question), time.monotonic())
        return self

    def key(self, question: object) -> SigningKey | None:
        asked = question
        if asked.access_key_id != KEY_ID:  # type: ignore[attr-defined]
            return None
        derived = signing_key(SECRET, asked.date, asked.region, "sagemaker")  # type: ignore[attr-defined]
        return SigningKey(derived, ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/clary")

    async def __aexit__(self, *error: object) -> None:
        for fake in self.replicas:
            await fake.stop()
        for server in self._servers:
            server.close()
        for connection in list(self.front.connections):
            if connection.transport is not None:
                connection.transport.abort()
        for link in list(self.front.links):
            link.close()
        for session in list(self.channel.sessions):
            if session.transport is not None:
                session.transport.close()
        await asyncio.sleep(0)

    async def put(self, wanted: EndpointRoute) -> None:
        await self.front.put(wanted)

    async def replica(
        self, name: str, predict: Predict = echo, workers: int = 1, batch: int = 64, **more: Any
    ) -> FakeReplica:
        """Start a fake replica and wait until the front calls it ready."""
        fake = await FakeReplica(self.workers, name, predict, workers, batch, **more).start()
        self.replicas.append(fake)
        await until(lambda: self.state(name) == "ready" and len(self.front.replicas[name].workers) == workers)
        return fake

    def state(self, name: str) -> str:
        return self.front.replicas[name].state()

    async def invoke(self, body: bytes = b"1,2", name: str = "iris", **headers: str) -> Answer:
        return await call(self.http, signed(body, name, {k.replace("_", "-"): v for k, v in headers.items()}))

    async def stream(self, body: bytes = b"1,2", name: str = "iris", **headers: str) -> Streamed:
        """Ask for an answer in pieces; returns once its head, or a whole error, came."""
        given = {k.replace("_", "-"): v for k, v in headers.items()}
        request = signed(body, name, given, path=f"/endpoints/{name}/invocations-response-stream")
        return await Streamed.ask(self.http, request)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def signed(
    body: bytes = b"1,2",
    name: str = "iris",
    headers: Mapping[str, str] | None = None,
    secret: str = SECRET,
    key_id: str = KEY_ID,
    path: str | None = None,
    service: str = "sagemaker",
    method: str = "POST",
) -> bytes:
    """A whole signed HTTP request, as bytes."""
    path = path or f"/endpoints/{name}/invocations"
    request = AWSRequest(method, f"http://127.0.0.1:4600{path}", data=body)
    request.headers["Content-Type"] = "text/csv"
    for header, value in (headers or {}).items():
        del request.headers[header]
        request.headers[header] = value
    SigV4Auth(Credentials(key_id, secret), service, REGION).add_auth(request)
    fields = {"Host": "127.0.0.1:4600", **dict(request.headers.items()), "Content-Length": str(len(body))}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
    return head.encode("latin-1") + body


async def call(path: str, request: bytes) -> Answer:
    """Send one request over a connection of its own and read the answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(request)
        return await read_answer(reader)
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(lines[0].split()[1]), headers, body)


class Streamed:
    """An answer that is read event by event."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""  # of an answer that is not in pieces
        self._frames = FrameReader()
        self._events: list[Frame] = []
        self._ended = False

    @classmethod
    async def ask(cls, path: str, request: bytes) -> Streamed:
        reader, writer = await asyncio.open_unix_connection(path)
        self = cls(reader, writer)
        writer.write(request)
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            self.status = int(lines[0].split()[1])
            self.headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
            if "content-length" in self.headers:
                self.body = await reader.readexactly(int(self.headers["content-length"]))
        except asyncio.CancelledError:
            writer.close()
            raise
        return self

    async def event(self) -> Frame | None:
        """The next event; None at the end."""
        while not self._events and not self._ended:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            self._events += self._frames.feed(await self.reader.readexactly(size))
            assert await self.reader.readexactly(2) == b"\r\n"
            self._ended = not size
        return self._events.pop(0) if self._events else None

    async def piece(self) -> bytes:
        event = await self.event()
        assert event is not None
        assert event.headers == {
            ":event-type": "PayloadPart",
            ":message-type": "event",
            ":content-type": "application/octet-stream",
        }
        return event.payload

    async def rest(self) -> list[Frame]:
        events = []
        while (event := await self.event()) is not None:
            events.append(event)
        return events

    def hang_up(self) -> None:
        self.writer.close()


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.002)


def listening(path: Path) -> socket.socket:
    """A listening socket as the supervisor keeps it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(4096)
    return listener
