"""The head's end of nodes: who may join, what a node may ask, and the page `/nodes`. Rests on the backend `cluster`.

A node's row in the book of machines tells that it is one; a join token that was used is a record too, so that it is used once, whichever
head it is shown to.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clary.app.clock import boot_id
from clary.app.keyed_page import Application, KeyedPage
from clary.app.settings import Settings
from clary.backends.choice import Members
from clary.backends.remote.door import NodeDoor, Streams
from clary.backends.remote.tls import server_context
from clary.domain.access.roles import assumed_arn
from clary.domain.errors import AlreadyExists, ClaryError, Denied, InUse, Invalid, NotFound
from clary.domain.machine import machines
from clary.domain.machine.capacity import DRAINING, READY, Machine
from clary.domain.machine.nodes import RENEW_SECONDS, check_name, parse_token
from clary.domain.resources import Query, Record, Scope
from clary.domain.stored import loaded_as
from clary.guarded import until_first
from clary.loops.core.machines import Machines
from clary.ports import Clock, Grants, Keys, Logs, Store
from clary.stores.keys import Keyring

if TYPE_CHECKING:  # its packages are an extra
    from clary.stores.authority import Authority

log = logging.getLogger(__name__)

PATH = "/nodes"
PURPOSE = b"join tokens"
TOKEN = "join-token"
KEYS_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class HeadPorts:
    """What the gate reaches."""

    store: Store
    grants: Grants
    keys: Keys
    logs: Logs
    clock: Clock
    machines: Machines
    members: Members


@dataclass(slots=True)
class HeadGate:
    """See `remote.door.Gate`. `own` is this machine's name, `seal` what join tokens are sealed with."""

    settings: Settings
    ports: HeadPorts
    of: Authority
    own: str
    seal: bytes
    _told: dict[tuple[str, ...], int] = field(default_factory=dict)

    def authority(self) -> str:
        return self.of.certificate

    async def join(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        now = self.ports.clock.now()
        token, name = parse_token(str(asked["token"])), check_name(str(asked["name"]))
        token.check(self.seal, now)
        machine = replace(loaded_as(Machine, asked["machine"]), name=name, state=READY, node=True)
        made = self.of.node(name, str(asked["request"]), now)
        request = hashlib.sha256(str(asked["request"]).encode()).hexdigest()
        stored = await self.ports.store.get(machines.KIND, machines.SCOPE, name)
        again = stored is not None and stored.document.get("node", {}).get("request") == request
        if name == self.own or (stored is not None and stored.status != machines.LEFT and not again):
            raise AlreadyExists(
                f"a machine {name} is there already: take another --name, or `clary node leave {name}` on a head first"
            )
        await self._use(token.nonce, name, request, now)
        row = machines.joined(stored, machine, request, now)
        await (self.ports.store.add(row) if stored is None else self.ports.store.save(row))
        log.info("node %s has joined", name)
        return {"certificate": made, **self._welcome()}

    async def _use(self, nonce: str, name: str, request: str, now: float) -> None:
        """Denied where somebody else did. Who asks the same again had no answer the first time."""
        whose = {"node": name, "request": request}
        record = Record(TOKEN, machines.SCOPE, nonce, f"arn:aws:clary:::{TOKEN}/{nonce}", "", now, now, whose)
        try:
            await self.ports.store.add(record)
        except AlreadyExists:
            used = await self.ports.store.get(TOKEN, machines.SCOPE, nonce)
            if used is None or dict(used.document) != whose:
                raise Denied(
                    "the join token was used already: `clary node token` on a head makes another one"
                ) from None
        old = await self.ports.store.page(Query(TOKEN, machines.SCOPE, created_before=now - 86_400.0, limit=100))
        for each in old:  # too old to be shown again
            await self.ports.store.remove(each)

    async def renew(self, name: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"certificate": self.of.node(name, str(asked["request"]), self.ports.clock.now()), **self._welcome()}

    def _welcome(self) -> dict[str, Any]:
        at = self.settings.endpoint
        certificate = Path(self.settings.tls_cert).read_text() if self.settings.tls_cert else ""
        return {"endpoint": at, "region": self.settings.region, "bundle": certificate, "network": network()}

    async def admit(self, name: str) -> Mapping[str, Any]:
        row = self.ports.machines.row(name)
        if row is None or not row.machine.node:
            raise Denied(
                f"{name} is no node of this installation (any more): `clary node token` on a head lets it join again"
            )
        return self._welcome()

    async def take(self, name: str, streams: Streams) -> None:
        async def answer(call: str, given: Mapping[str, Any]) -> Any:
            return await self._do(name, call, given)

        await self.ports.members.connect(name, *streams, answer)

    async def edge(self) -> Streams:
        at = urlsplit(self.settings.endpoint)
        return await asyncio.open_connection(at.hostname, at.port, limit=1 << 18)

    # -- what a node asks -----------------------------------------------------------------------------------------------------------

    async def _do(self, name: str, call: str, given: Mapping[str, Any]) -> Any:
        match call:
            case "keys":
                account = str(given["account"])
                principal = assumed_arn(account, "clary-node", name)
                return asdict(self.ports.keys.issue(account, principal, KEYS_SECONDS, self.ports.clock.now()))
            case "logs":
                return await asyncio.to_thread(self._log, name, given)
        raise Invalid(f"a head cannot be asked to {call}: give all machines the same Clary")

    def _log(self, name: str, given: Mapping[str, Any]) -> None:
        """Lines of a node's run. A piece that comes again (its answer was lost) is not written again. Times never fall within a stream: a
        line that is older than what we wrote meanwhile gets that time."""
        scope, group, stream = Scope(given["account"], given["region"]), str(given["group"]), str(given["stream"])
        where = (name, scope.account, scope.region, group, stream)
        if int(given["end"]) <= self._told.get(where, -1):
            return
        logs = self.ports.logs
        logs.open(scope, group, stream, self.ports.clock.now())
        last = logs.page(scope, group, stream, limit=1, backward=True).events
        floor = last[-1].timestamp if last else 0
        logs.append(scope, group, stream, [(max(int(ms), floor), text) for ms, text in given["lines"]])
        self._told[where] = int(given["end"])

    # -- the page -------------------------------------------------------------------------------------------------------------------

    async def show(self, account: str, _: Mapping[str, str]) -> str:
        self._operator(account)
        now, shown = self.ports.clock.now(), []
        for row in self.ports.machines.rows():
            if row.machine.node:
                granted = (await self.ports.grants.granted(row.machine.name)).grants
                shown.append(self._line(row, [grant.name for grant in granted], now))
        return json.dumps({"nodes": shown}) + "\n"

    def _line(self, row: machines.MachineRow, holders: Sequence[str], now: float) -> dict[str, Any]:
        machine, state = row.machine, self.ports.members.state(row.machine.name)
        live = {each.name: each for each in self.ports.members.machines()}.get(machine.name)
        return {
            "name": machine.name,
            "state": machine.state if state == "ready" else state.capitalize(),
            "zone": machine.zone,
            "labels": dict(machine.labels),
            "cpus": machine.cpus,
            "memory": machine.memory,
            "available": live.available if live else None,
            "gpus": machine.gpus,
            "jobs": sorted(set(holders)),
        }

    async def act(self, account: str, asked: Mapping[str, str]) -> str:
        """`drain` (and back, with `undo`; a head's own machine too) or `leave` (although it has jobs, with `force`)."""
        self._operator(account)
        name, what = asked.get("name", ""), asked.get("do", "")
        if what not in ("drain", "leave"):
            raise Invalid("a node can be asked to drain or to leave")
        if what == "leave" and not asked.get("force") and self.ports.members.state(name) != "lost":
            held = (await self.ports.grants.granted(name)).grants
            if held:
                raise InUse(
                    f"node {name} has {len(held)} place(s) in use ({held[0].name}): `clary node drain {name}` and wait, or leave "
                    "with --force"
                )
        status = machines.LEFT if what == "leave" else READY if asked.get("undo") else DRAINING

        async def attempt() -> None:
            stored = await self.ports.store.get(machines.KIND, machines.SCOPE, name)
            there = stored is not None and stored.status != machines.LEFT
            if stored is None or not there or (what == "leave" and not stored.document.get("node")):
                raise NotFound(f"there is no node {name!r}: `clary node list` lists them")
            await self.ports.store.save(replace(stored, status=status, modified=self.ports.clock.now()))

        await until_first(attempt, f"The row of the node {name}")
        if what == "leave":
            self.ports.members.let_go(name)
        return await self.show(account, {})

    def _operator(self, account: str) -> None:
        if account != self.settings.account:
            raise Denied("nodes are the operator's: use a key of the account that Clary was set up with")


def network() -> str:
    """Which machine, and which network of it, a process is in: who is in the same reaches the same addresses."""
    return f"{boot_id()}/{os.stat('/proc/self/ns/net').st_ino}"


def placeable(known: Machines, members: Members | None) -> Callable[[], Sequence[Machine]]:
    """The nodes that something may be placed on, each in the state that the book has of it."""

    def found() -> Sequence[Machine]:
        live = members.machines() if members is not None else ()
        rows = ((each, known.row(each.name)) for each in live)
        return tuple(replace(each, state=row.machine.state) for each, row in rows if row is not None)

    return found


def nodes_page(application: Application, keys: Keys, gate: HeadGate | None) -> Application:
    """The page, where there can be nodes."""
    return application if gate is None else KeyedPage(application, keys, PATH, "application/json", gate.show, gate.act)


def open_gate(settings: Settings, ports: HeadPorts, keys: Keyring, own: str) -> HeadGate:
    """Its authority is made where there is none. Unavailable where the packages for that are not installed."""
    from clary.stores.authority import open_authority

    authority = open_authority(settings.root / "keys", ports.clock.now())
    for row in ports.machines.rows():
        if row.machine.node:
            ports.members.expect(row.machine.name)
    return HeadGate(settings, ports, authority, own, keys.derive(PURPOSE))


async def keep_door(gate: HeadGate, listener: socket.socket) -> None:
    """Let nodes in for as long as the process lives, with a certificate of our own that is renewed in time."""
    file = gate.settings.run / "nodes.pem"
    name = "".join(c if c.isalnum() else "-" for c in gate.own.lower()).strip("-") or "head"

    def fresh() -> None:
        made = gate.of.head(name[:63], gate.ports.clock.now())
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as written:
            written.write(made.certificate + made.key)

    await asyncio.to_thread(fresh)
    context = server_context(str(file), gate.authority())
    server = await asyncio.start_server(NodeDoor(gate).serve, sock=listener, ssl=context, limit=1 << 18)
    try:
        async with server:
            renewed = asyncio.get_running_loop().time()
            while True:
                await asyncio.sleep(5.0)
                await _heard(gate)
                if asyncio.get_running_loop().time() - renewed > RENEW_SECONDS:
                    await asyncio.to_thread(fresh)
                    context.load_cert_chain(file)
                    renewed = asyncio.get_running_loop().time()
    finally:
        await gate.ports.members.leave_nodes()


async def _heard(gate: HeadGate) -> None:
    for machine in gate.ports.members.machines():
        try:
            await gate.ports.machines.hear(machine)
        except ClaryError as error:
            log.warning("the book of machines hears nothing of node %s: %s", machine.name, error)
