"""The `Functions` port: sandboxes that are kept for further invocations of the same revision of their function.

Owns which sandbox gets an event, how many there are, and how long they are kept. A sandbox holds its connection to this process: when the
control plane dies its sandboxes end, and the next one removes what they left. Does not know what a function does.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from clary import short_runs
from clary.domain.errors import ClaryError, LimitExceeded, Unavailable
from clary.domain.functions import outcomes
from clary.domain.functions import record as functions
from clary.domain.functions.outcomes import UNHANDLED, Invoked
from clary.domain.machine.workload import Observation, RunState
from clary.domain.resources import Record
from clary.loops.functions import sandboxed
from clary.loops.functions.sandboxed import Broken, FunctionSandbox, FunctionSettings, FunctionSocket
from clary.ports import LoopPorts

log = logging.getLogger(__name__)

LIFE = 10 * 3600.0  # seconds that a sandbox is used: its credentials last longer
CREDENTIALS = 12 * 3600.0
INIT = 30.0  # seconds from the start of the sandbox until it listens; unpacking and imports are in it
TAIL = 4096  # bytes of the log that an invocation answers
_TAIL_WAIT = 1.0  # seconds for the shim to write what the sandbox said
_END = 10.0  # seconds until a killed sandbox is gone
_SWEEP = 15.0  # seconds between looks at idle ones


class FunctionPool:
    """See `ports.Functions`. `run` until cancelled; before it has begun nothing can be invoked."""

    def __init__(self, ports: LoopPorts, settings: FunctionSettings) -> None:
        self._ports = ports
        self._settings = settings
        self._room = asyncio.Semaphore(settings.most)
        self._idle: list[FunctionSandbox] = []  # the longest idle first
        self._busy = 0
        self._ending: set[asyncio.Task[None]] = set()

    async def clear(self) -> None:
        """Remove the runs, and the sockets, that a predecessor left. Before the first invocation."""
        for handle in await self._ports.backend.handles():
            if handle.startswith(sandboxed.PREFIX):
                await self._remove(handle)
        await asyncio.to_thread(shutil.rmtree, self._settings.sockets, True)

    async def run(self) -> None:
        """End sandboxes that had nothing to do for a while."""
        try:
            while True:
                await asyncio.sleep(_SWEEP)
                now = self._ports.clock.monotonic()
                for sandbox in [each for each in self._idle if not self._is_good(each, now)]:
                    self._idle.remove(sandbox)
                    self._end_soon(sandbox)
        finally:
            for sandbox in self._idle:
                sandbox.writer.close()

    async def invoke(
        self, function: Record, payload: bytes, *, id_: str, client_context: str = "", tail: bool = False
    ) -> Invoked:
        # A client that hangs up ends no function.
        return await asyncio.shield(asyncio.ensure_future(self._invoke(function, payload, id_, client_context, tail)))

    async def _invoke(self, function: Record, payload: bytes, id_: str, context: str, tail: bool) -> Invoked:
        try:
            async with asyncio.timeout(self._settings.wait):
                await self._room.acquire()
        except TimeoutError:
            raise LimitExceeded(
                f"Rate Exceeded: {self._settings.most} functions run at once, and none ended for {self._settings.wait:g} s. Try again."
            ) from None
        self._busy += 1
        try:
            sandbox = self._take(function) or await self._start(function)
            if isinstance(sandbox, Invoked):
                return sandbox
            return await self._with(sandbox, function, payload, id_, context, tail)
        finally:
            self._busy -= 1
            self._room.release()

    async def _with(
        self, sandbox: FunctionSandbox, function: Record, payload: bytes, id_: str, context: str, tail: bool
    ) -> Invoked:
        seconds = functions.timeout(function)
        header = {"id": id_, "arn": function.arn, "deadline": self._ports.clock.now() + seconds}
        if context:
            header["client_context"] = context
        at = _size(sandbox.log_path) if tail else 0
        keep, done = False, b""
        try:
            async with asyncio.timeout(seconds):
                answer, body = await sandbox.ask(header, payload)
            error = str(answer.get("error") or "")
            keep = sandbox.is_idle
            found = Invoked(body, error)
            if answer.get("id") != id_ or len(body) > functions.LARGEST_PAYLOAD:
                keep, found = False, Invoked(outcomes.too_large(len(body)), UNHANDLED)
        except TimeoutError:
            done = outcomes.timed_out(id_, seconds)
            found = Invoked(done, UNHANDLED)
        except Broken:
            seen = await self._ended(sandbox)
            done = outcomes.exited(id_, seen.exit_code, seen.oom_killed)
            found = Invoked(done, UNHANDLED)
        finally:
            if keep:
                sandbox.idle_since = self._ports.clock.monotonic()
                self._idle.append(sandbox)
            else:
                await self._end(sandbox, function, id_, done)
        if not tail:
            return found
        return Invoked(found.payload, found.error, await self._tail(sandbox.log_path, at, id_, found.error and done))

    def _take(self, function: Record) -> FunctionSandbox | None:
        """The sandbox of this revision that had work last. Those of older revisions have none any more."""
        now = self._ports.clock.monotonic()
        for sandbox in [each for each in self._idle if each.arn == function.arn]:
            if sandbox.revision != function.document["revision"] or not self._is_good(sandbox, now):
                self._idle.remove(sandbox)
                self._end_soon(sandbox)
        mine = [each for each in self._idle if each.arn == function.arn]
        if not mine:
            return None
        self._idle.remove(mine[-1])
        return mine[-1]

    def _is_good(self, sandbox: FunctionSandbox, now: float) -> bool:
        fresh = now - sandbox.born < LIFE and now - sandbox.idle_since < self._settings.idle
        return fresh and sandbox.is_idle

    # -- starting ---------------------------------------------------------------------------------------------------------------

    async def _start(self, function: Record) -> FunctionSandbox | Invoked:
        """A new sandbox; or what its invocation is told when it ended before it listened."""
        while self._idle and len(self._idle) + self._busy > self._settings.most:
            self._end_soon(self._idle.pop(0))
        id_ = uuid.uuid4().hex[:12]
        where = FunctionSocket.of(self._settings, id_)
        now = self._ports.clock.now()
        day = datetime.fromtimestamp(now, UTC).strftime("%Y/%m/%d")
        stream = f"{day}/[{functions.version(function)}]{uuid.uuid4().hex}"
        try:
            return await self._started(function, id_, where, stream, now)
        except BaseException:
            await asyncio.to_thread(where.remove)
            raise

    async def _started(
        self, function: Record, id_: str, where: FunctionSocket, stream: str, now: float
    ) -> FunctionSandbox | Invoked:
        ports = self._ports
        environment = await self._environment(function)
        await asyncio.to_thread(where.make)
        credential = ports.keys.issue(function.scope.account, sandboxed.principal(function), CREDENTIALS, now)
        listener = ports.backend.address(id_)
        planned = ports.backend.plan(sandboxed.workload(function, self._settings, id_, environment, stream, listener))
        dialled: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        dialled = asyncio.get_running_loop().create_future()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if dialled.done():
                writer.close()
            else:
                dialled.set_result((reader, writer))

        server = await asyncio.start_unix_server(connected, where.socket, limit=1 << 20)
        where.folder.joinpath("s").chmod(0o666)
        handle = ""
        try:
            handle = await ports.backend.start(planned, sandboxed.secrets(credential))
            seen = await self._listening(handle, dialled)
        except BaseException:
            if handle:
                await self._remove(handle)
            raise
        finally:
            server.close()
            sandboxed.unlink(where.socket)
        if isinstance(seen, Observation):
            await self._remove(handle)
            await asyncio.to_thread(where.remove)
            if seen.failure is not None:  # it was never laid out: no word of the function's own
                raise Unavailable(f"{function.name} could not be started: {seen.failure.message}")
            return Invoked(outcomes.exited("", seen.exit_code, seen.oom_killed), UNHANDLED)
        reader, writer = seen
        log_path = ports.logs.path(function.scope, functions.log_group(function), stream)
        revision = function.document["revision"]
        born = ports.clock.monotonic()
        return FunctionSandbox(id_, function.arn, revision, handle, log_path, stream, born, reader, writer, born)

    async def _environment(self, function: Record) -> Any:
        name = function.document["runtime"]
        runtime = next((each for each in self._ports.runtimes.all() if each.name == name), None)
        if runtime is None:
            raise Unavailable(f"The runtime {function.document['config']['Runtime']} is not here any more")
        return await self._ports.runtimes.ensure(runtime)

    async def _listening(
        self, handle: str, dialled: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | Observation:
        """Its connection once it is ready; or how it ended instead. Unavailable after `INIT` seconds."""
        ready = asyncio.ensure_future(self._ready(dialled))
        ended = asyncio.ensure_future(self._watched(handle))
        try:
            await asyncio.wait({ready, ended}, timeout=INIT, return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and not ready.exception():
                return ready.result()
            if not ready.done() and not ended.done():
                return Observation(RunState.LOST)
            return await ended
        finally:
            for each in (ready, ended):
                each.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)

    async def _ready(
        self, dialled: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await dialled
        await sandboxed.receive(reader)
        return reader, writer

    async def _watched(self, handle: str) -> Observation:
        """How the run ended."""
        changed = asyncio.Event()
        unwatch = self._ports.backend.watch(lambda _: changed.set())
        try:
            while True:
                changed.clear()
                seen = await self._ports.backend.observe(handle)
                if seen is None or seen.state.is_terminal:
                    return seen or Observation(RunState.LOST)
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await changed.wait()
        finally:
            unwatch()

    # -- ending -----------------------------------------------------------------------------------------------------------------

    async def _ended(self, sandbox: FunctionSandbox) -> Observation:
        """How a sandbox ended that hung up; one that goes on without its connection is killed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                return await self._watched(sandbox.handle)
        return Observation(RunState.LOST)

    async def _end(
        self, sandbox: FunctionSandbox, function: Record | None = None, id_: str = "", said: bytes = b""
    ) -> None:
        """Kill it; its log says why where it could not say so itself."""
        sandbox.writer.close()
        await self._remove(sandbox.handle)
        await asyncio.to_thread(FunctionSocket.of(self._settings, sandbox.id).remove)
        if function is not None and said:
            now = int(self._ports.clock.now() * 1000)
            text = outcomes.message(said)
            line = f"{datetime.fromtimestamp(now / 1000, UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')[:-3]}Z {id_} {text}"
            with suppress(ClaryError, OSError):
                await asyncio.to_thread(
                    self._ports.logs.append,
                    function.scope,
                    functions.log_group(function),
                    sandbox.stream,
                    [(now, line)],
                )

    async def _remove(self, handle: str) -> None:
        try:
            await short_runs.end(self._ports.backend, handle, _END)
        except TimeoutError:
            log.warning("%s did not end within %g s", handle, _END)

    def _end_soon(self, sandbox: FunctionSandbox) -> None:
        self._later(self._end(sandbox))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _tail(self, path: str, at: int, id_: str, said: bytes | str) -> bytes:
        """What the invocation wrote, its last 4 KB. The shim writes what it reads: its line that ends the invocation is waited for."""
        deadline = time.monotonic() + _TAIL_WAIT
        while True:
            events, _ = await asyncio.to_thread(self._ports.logs.read, path, at, 1 << 20)
            lines = [text for _, text in events]
            whole = bool(said) or any(line.startswith(f"REPORT RequestId: {id_}") for line in lines)
            if whole or time.monotonic() > deadline:
                return "\n".join([*lines, ""]).encode()[-TAIL:]
            await asyncio.sleep(0.01)


def _size(path: str) -> int:
    try:
        with open(path, "rb") as file:
            return file.seek(0, 2)
    except OSError:
        return 0
