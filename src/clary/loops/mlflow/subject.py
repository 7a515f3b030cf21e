"""The hands of MLflow servers: carries out what `domain/mlflow/life.py` decides, and tells whether a server answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from clary import short_runs, unix_http
from clary.domain.decisions import Decision, Unable
from clary.domain.errors import ClaryError, Unavailable
from clary.domain.machine.workload import RunState
from clary.domain.mlflow import life, servers
from clary.domain.mlflow.life import Command, EndServer, EraseServer, RegisterVersions, SeenServer, StartServer
from clary.domain.resources import Record
from clary.loops.core.loop import Loop
from clary.loops.mlflow import places, registration
from clary.loops.mlflow.places import MlflowSettings, ServerPlace
from clary.ports import ParentPorts

log = logging.getLogger(__name__)

CREDENTIALS = 10 * 365 * 86_400.0  # seconds: a server runs for as long as nobody stops it
_PROBE = 5.0  # seconds that an answer to GET /health may take
_LEASE = 30.0
_END = 30.0  # seconds until an ended process is gone


class MlflowSubject:
    """`loop.Subject` of tracking servers, or of apps."""

    statuses = servers.LOOKED_AFTER

    def __init__(self, kind: str, ports: ParentPorts, settings: MlflowSettings) -> None:
        self.kind = kind
        self._ports = ports
        self._settings = settings
        self._arns: dict[str, str] = {}  # a process's handle -> ARN of its server

    async def observe(self, record: Record) -> SeenServer:
        handle = record.document["handle"]
        if not handle:
            return SeenServer()
        self._arns[handle] = record.arn
        run = await self._ports.backend.observe(handle)
        running = run is not None and run.state is RunState.RUNNING
        return SeenServer(run, running and await self._answers(record))

    async def _answers(self, record: Record) -> bool:
        socket, path = ServerPlace.of(self._settings, record).socket, f"{servers.prefix(record)}/health"
        try:
            async with unix_http.exchange(socket, "GET", path, ((b"host", b"localhost"),), seconds=_PROBE) as answer:
                return answer.status == 200
        except Unavailable:
            return False

    def decide(self, record: Record, observation: SeenServer, now: float) -> Decision[Command]:
        return life.decide(record, observation, now)

    async def run(self, command: Command, record: Record) -> Any:
        match command:
            case StartServer(attempt):
                return await self._start(record, attempt)
            case EndServer(handle):
                await short_runs.end(self._ports.backend, handle, _END)
                self._arns.pop(handle, None)
            case RegisterVersions():
                return await self._register(record)
            case EraseServer():
                await asyncio.to_thread(ServerPlace.of(self._settings, record).remove)
        return None

    async def _register(self, record: Record) -> tuple[int, list[str]] | None:
        socket = ServerPlace.of(self._settings, record).socket
        try:
            return await registration.register(record, socket, self._ports.operations)
        except ClaryError as error:
            log.warning("%s: its versions wait to be registered: %s", record.arn, error.message)
            return None

    async def _start(self, record: Record, attempt: int) -> str | Unable:
        ports = self._ports
        runtime = next((each for each in ports.runtimes.all() if each.name == places.RUNTIME), None)
        assert runtime is not None
        try:
            environment = await ports.runtimes.ensure(runtime)
            await asyncio.to_thread(ServerPlace.of(self._settings, record).make)
            planned = ports.backend.plan(places.workload(record, self._settings, environment, attempt))
            credential = ports.keys.issue(
                record.scope.account, places.principal(record), CREDENTIALS, ports.clock.now()
            )
            handle = await ports.backend.start(planned, places.secrets(credential))
        except ClaryError as error:
            log.warning("%s: %s", record.arn, error.message)
            return Unable(error.message)
        self._arns[handle] = record.arn
        return handle

    def absorb(self, record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
        return life.absorb(record, outcomes, self._ports.clock.now())

    def arn_of(self, handle: str) -> str | None:
        """Whose process that is."""
        return self._arns.get(handle)


async def clear(ports: ParentPorts, owner: str) -> None:
    """At the start: end the processes of servers that are no more, which a control plane that died left behind."""
    known: set[str] = set()
    for kind in servers.KINDS:
        leases = await ports.store.claim(kind, owner, ports.clock.now(), _LEASE, servers.LOOKED_AFTER, 1_000_000)
        known |= {lease.record.document["id"] for lease in leases}
    for handle in await ports.backend.handles():
        if handle.startswith(places.PREFIX) and handle.split("-")[1] not in known:
            await short_runs.end(ports.backend, handle, _END)


def attach(subject: MlflowSubject, loop: Loop[Command, SeenServer], ports: ParentPorts) -> Callable[[], None]:
    """Wake the loop when a process ends. Answers the way to undo it."""

    def ended(handle: str) -> None:
        arn = subject.arn_of(handle)
        if arn is not None:
            loop.wake(arn)

    return ports.backend.watch(ended)
