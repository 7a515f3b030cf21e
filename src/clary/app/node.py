"""The agent of a node: `clary node join`. It runs workloads for its heads on this machine, by this machine's own backend.

Its folder D has what it is (`node.json`, `node.pem`, `authority.pem`), and what a backend has everywhere: `backend/`, `models/`, `logs/`,
`environments/`. It dials a head, is told over that link what to do, and dials again when the link is lost; its runs go on meanwhile, and
when the agent itself dies. Jobs alone end when no head has spoken for the time of their lease: they may be started elsewhere then.

Sandboxes reach the API and S3 by the head's own address. Where that is a loopback one, the agent listens at the same address of this
machine, and passes the bytes on to the head over TLS of both ends.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import logging
import os
import random
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clary.app.clock import boot_id
from clary.app.machine import measure
from clary.app.nodes import network
from clary.app.reach import is_loopback
from clary.app.settings import Settings
from clary.backends import containers, runtimes
from clary.backends.choice import BackendOptions, ChosenBackend, choose
from clary.backends.node.layout import NodePorts
from clary.backends.remote.link import NodeLink
from clary.backends.remote.node import serve
from clary.backends.remote.relay import relay
from clary.backends.remote.tls import client_context, dial
from clary.domain.errors import ClaryError, Denied, Invalid, Unavailable
from clary.domain.machine.capacity import Machine
from clary.domain.machine.machines import parse_labels
from clary.domain.machine.nodes import LEASE, RENEW_SECONDS, check_name, parse_place, parse_token
from clary.domain.machine.workload import Observation
from clary.domain.stored import dumped
from clary.objects.lent import Lender, LentArtifacts
from clary.ports import Credential
from clary.stores.authority import asked_identity, digest_of, expiry
from clary.stores.node_logs import NodeLogs

log = logging.getLogger(__name__)

BEAT, SHIP, SWEEP = 0.5, 2.0, 3600.0  # seconds between two words, two shipments of logs, two looks at old logs
SILENCE = 5.0  # seconds that a head has for an answer
FIRST, LONGEST = 0.2, 5.0  # seconds between two attempts to reach a head
_FENCED = ("job-", "pool-")  # what must not run twice


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """What a node keeps of itself in D."""

    path: Path

    @property
    def identity(self) -> Path:
        return self.path / "node.pem"

    @property
    def authority(self) -> Path:
        return self.path / "authority.pem"

    def facts(self) -> dict[str, Any]:
        """Its name and where heads are, and what a head told last; {} of a machine that never joined."""
        try:
            found: dict[str, Any] = json.loads((self.path / "node.json").read_text())
            return found
        except FileNotFoundError:
            return {}

    def note(self, facts: Mapping[str, Any]) -> None:
        self.write("node.json", json.dumps(dict(facts)))

    def write(self, name: str, text: str) -> None:
        part = self.path / f".{name}.part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self.path / name)

    def hold(self) -> int:
        """Unavailable where another agent runs here."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise Unavailable(f"an agent runs on {self.path} already") from None
        return lock


async def join(folder: NodeFolder, address: str, name: str, token: str, machine: Machine) -> None:
    """Become a node: know the authority by the token's word, and have a certificate. What was begun and not answered may be repeated."""
    head, asked = parse_place(address), parse_token(token)
    told, _, writer = await dial(head, client_context(""), {"ask": "authority"})
    writer.close()
    authority = str(told["certificate"])
    if digest_of(authority) != asked.authority:
        raise Denied(
            f"{address} is not the installation that made this token, or somebody stands in between: nothing was sent to it"
        )
    pending = folder.path / "joining.json"
    if pending.exists() and (kept := json.loads(pending.read_text()))["token"] == token:
        key, request = kept["key"], kept["request"]
    else:
        key, request = asked_identity(name)
        folder.write("joining.json", json.dumps({"token": token, "key": key, "request": request}))
    question = {"ask": "join", "token": token, "name": name, "request": request, "machine": dumped(machine)}
    welcome, _, writer = await dial(head, client_context(authority), question)
    writer.close()
    folder.write("authority.pem", authority)
    folder.write("node.pem", welcome["certificate"] + key)
    folder.note({**_facts(welcome), "name": name, "heads": [address]})
    pending.unlink()


def _facts(welcome: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(welcome[name]) for name in ("endpoint", "region", "bundle", "network")}


class Agent:
    """One run of a node's agent."""

    def __init__(self, folder: NodeFolder, settings: Settings, say: Callable[[str], None]) -> None:
        self._folder, self._settings, self._say = folder, settings, say
        self._facts = folder.facts()
        self.name = str(self._facts["name"])
        self._link: NodeLink | None = None
        self._linked = asyncio.Event()
        self._shipping = asyncio.Lock()
        self._logs = NodeLogs(folder.path / "logs", folder.path / "shipped.json")
        self._backend = self._made()
        self._lease = self._kept_lease()
        self._refused = ""

    def _made(self) -> ChosenBackend[Any]:
        settings, facts = self._settings, self._facts
        bundle = ""
        if facts["bundle"]:
            self._folder.write("bundle.pem", facts["bundle"])
            bundle = str(self._folder.path / "bundle.pem")
        engine = containers.find(settings.container_engine)
        built = runtimes.create(
            str(settings.environments_folder), None, environment=settings.build_environment(), engine=engine
        )
        lender = Lender(facts["endpoint"], facts["region"], self._lend, bundle)
        options = BackendOptions(
            folder=str(self._folder.path / "backend"),
            fronts=(),
            uid_range=(settings.uid_first, settings.uid_first + settings.uid_count - 1),
            engine=engine,
            reach=(facts["endpoint"], *settings.passed.values()),
            strict_network=settings.strict_network,
            ports=NodePorts(LentArtifacts(lender), self._logs, built),
        )
        backend = choose("local", options)
        built.build_in(backend)
        return backend

    def machine(self) -> Machine:
        """As it is now."""
        settings = self._settings
        labels = parse_labels(settings.machine_labels)
        return measure(self._backend.gpus, settings.max_jobs, self.name, settings.machine_zone, labels)

    async def run(self) -> None:
        """Until cancelled, or a head says that this is no node any more (Denied)."""
        doors = await self._doors()
        await self._backend.take_up()
        chores = [asyncio.create_task(each) for each in (self._fence(), self._ship_often(), self._renew_in_time())]
        try:
            await self._serve()
        finally:
            for task in chores:
                task.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            for door in doors:
                door.close()
            self._backend.close()

    # -- heads ----------------------------------------------------------------------------------------------------------------------

    def _context(self) -> ssl.SSLContext:
        return client_context(self._folder.authority.read_text(), str(self._folder.identity))

    async def _dial(self, question: Mapping[str, Any]) -> tuple[Any, asyncio.StreamReader, asyncio.StreamWriter]:
        """The first head that answers."""
        missing: ClaryError = Unavailable("no head is known")
        for address in self._facts["heads"]:
            try:
                return await dial(parse_place(address), self._context(), question)
            except Unavailable as error:
                missing = error
        raise missing

    async def _serve(self) -> None:
        pause, said = FIRST, ""
        while True:
            try:
                welcome, reader, writer = await self._dial({"ask": "link"})
            except Unavailable as error:
                if error.message != said:
                    said = error.message
                    self._say(f"{said}; trying again")
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(LONGEST, pause * 2)
                continue
            pause, said = FIRST, ""
            self._folder.note({**self._facts, **_facts(welcome)})
            self._say(f"node {self.name} is connected")
            await serve(self._backend, self.name, 0, reader, writer, beside=self._talk, seen=self._seen)
            self._link = None
            self._linked.clear()
            self._say("the connection to the head is lost")

    async def _talk(self, link: NodeLink) -> None:
        """A word twice a second, which renews the lease from when it was said."""
        self._link = link
        try:
            while True:
                began = _now()
                async with asyncio.timeout(SILENCE):
                    told = await link.ask("lease", {"machine": dumped(self.machine())})
                self._renewed(began + float(told["seconds"]))
                self._linked.set()
                await asyncio.sleep(BEAT)
        except (TimeoutError, ClaryError):
            return  # the connection ends with it

    async def _ask(self, call: str, given: Mapping[str, Any]) -> Any:
        """A head's answer, as soon as there is one. Unavailable after the time of a lease."""
        try:
            async with asyncio.timeout(LEASE):
                await self._linked.wait()
        except TimeoutError:
            raise Unavailable("no head answers") from None
        link = self._link
        if link is None:
            raise Unavailable("the connection to the head was just lost")
        return await link.ask(call, given)

    async def _lend(self, account: str) -> Credential:
        return Credential(**await self._ask("keys", {"account": account}))

    # -- the lease ------------------------------------------------------------------------------------------------------------------

    def _kept_lease(self) -> float:
        """That of the agent before, on the same start of the machine; else what runs has none."""
        try:
            boot, until = (self._folder.path / "lease").read_text().split()
        except (FileNotFoundError, ValueError):
            return 0.0
        return float(until) if boot == boot_id() else 0.0

    def _renewed(self, until: float) -> None:
        self._lease = max(self._lease, until)
        part = self._folder.path / ".lease.part"
        part.write_text(f"{boot_id()} {self._lease}")
        part.rename(self._folder.path / "lease")

    async def _fence(self) -> None:
        """Without a lease no job runs here."""
        while True:
            if _now() > self._lease:
                for handle in await self._backend.handles():
                    if handle.startswith(_FENCED) and await self._goes_on(handle):
                        self._say(f"no head has spoken for the time of a lease: {handle} is ended")
                        await self._backend.stop(handle, 0.0)
            await asyncio.sleep(BEAT)

    async def _goes_on(self, handle: str) -> bool:
        seen = await self._backend.observe(handle)
        return seen is not None and not seen.state.is_terminal

    # -- logs -----------------------------------------------------------------------------------------------------------------------

    async def _seen(self, found: Observation | None) -> None:
        """Who hears that a run has ended has its last lines already."""
        if found is not None and found.state.is_terminal:
            await self._ship()

    async def _ship(self) -> None:
        async with self._shipping:
            while pieces := await asyncio.to_thread(self._logs.pending):
                for piece in pieces:
                    await self._ask("logs", piece.asked())
                    await asyncio.to_thread(self._logs.told, piece)

    async def _ship_often(self) -> None:
        swept = _now()
        while True:
            await asyncio.sleep(SHIP)
            try:
                await self._ship()
            except (ClaryError, OSError) as error:
                log.info("logs wait: %s", error)
            if _now() - swept > SWEEP:
                await asyncio.to_thread(self._logs.sweep, time.time())
                swept = _now()

    # -- the certificate ------------------------------------------------------------------------------------------------------------

    async def _renew_in_time(self) -> None:
        while True:
            left = expiry(self._folder.identity.read_text()) - time.time()
            if left < RENEW_SECONDS:
                try:
                    await self._renew()
                except ClaryError as error:
                    log.warning("the certificate holds for %d more minutes and is not renewed: %s", left // 60, error)
            await asyncio.sleep(60.0)

    async def _renew(self) -> None:
        key, request = await asyncio.to_thread(asked_identity, self.name)
        told, _, writer = await self._dial({"ask": "renew", "request": request})
        writer.close()
        self._folder.write("node.pem", told["certificate"] + key)
        if self._link is not None:  # the next one is opened with the new certificate
            await self._link.close()

    # -- the way to the API ---------------------------------------------------------------------------------------------------------

    async def _doors(self) -> list[asyncio.Server]:
        """Listen where the head's own address is a loopback one. Unavailable where something else does."""
        at = urlsplit(self._facts["endpoint"])
        if not is_loopback(at.hostname or "") or self._facts["network"] == network():
            return []
        try:
            return [await asyncio.start_server(self._pass_on, at.hostname, at.port, limit=1 << 18)]
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise Unavailable(
                f"port {at.port} of this machine is in use, and its sandboxes reach the API there, as on the head: "
                "free it, or give the head another `port`"
            ) from error

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _, other, to = await self._dial({"ask": "edge"})
        except ClaryError as error:
            log.info("a connection to the API is refused: %s", error)
            writer.close()
            return
        await relay((reader, writer), (other, to))


def _now() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def run(settings: Settings, address: str, token: str, name: str, say: Callable[[str], None]) -> None:
    """Join where this machine has not yet, and be a node until SIGTERM or SIGINT."""
    folder = NodeFolder(settings.root)
    lock = folder.hold()
    try:
        facts = folder.facts()
        if not facts:
            if not token or not address:
                raise Invalid(
                    "this machine is no node yet: `clary node join HOST:PORT --token T`; `clary node token` on a head makes one"
                )
            labels = parse_labels(settings.machine_labels)
            machine = measure(0, settings.max_jobs, name, settings.machine_zone, labels)
            await join(folder, address, check_name(name), token, machine)
            say(f"joined as {name}")
        elif address and [address] != facts["heads"]:
            folder.note({**facts, "heads": [parse_place(address) and address]})
        await _until_told(Agent(folder, settings, say).run)
    finally:
        os.close(lock)


async def _until_told(work: Callable[[], Awaitable[None]]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    working, stopped = asyncio.ensure_future(work()), asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not working.done():
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return
    working.result()
