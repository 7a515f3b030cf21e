"""The backend of several machines: the control plane's own, and each node that has joined, by the key of a run (`KEY@NODE`).

It decides nothing: loops say where a run goes. It knows when a node was heard of last. A node holds a lease that each of its words renews;
without one it ends its jobs by itself. One that is silent for longer than that is lost: its runs are told as LOST then, and what was asked
of them meanwhile is done when it comes back. Everything else of a node that is away is Unavailable, which loops meet by asking again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from clary.backends.choice import Answer, BackendOptions, ChosenBackend, choose
from clary.backends.reentry import Reentry
from clary.backends.remote.backend import RemoteBackend
from clary.backends.remote.link import Pulse
from clary.domain.errors import ClaryError, InUse, Invalid, Unavailable
from clary.domain.machine.addresses import Address
from clary.domain.machine.capacity import Machine
from clary.domain.machine.nodes import LEASE, LEAST_LOST, SUSPECT, node_of
from clary.domain.machine.workload import (
    Collected,
    Environment,
    Feature,
    ModelFiles,
    Objects,
    Observation,
    RunState,
    SmallFile,
    Workload,
)
from clary.domain.stored import loaded_as
from clary.ports import Backend

log = logging.getLogger(__name__)

LEASED = "lease"  # what a node asks for twice a second
READY, WAITED_FOR, GONE = "ready", "suspect", "lost"
_LOOK = 0.5  # seconds between two looks at who is silent


@dataclass(frozen=True, slots=True)
class OnNode:
    """A plan of a run on a node: there it is planned once more, with what is true of that machine."""

    node: str
    workload: Workload

    def __str__(self) -> str:
        what = " ".join(self.workload.command) or f"lay out {', '.join(each.name for each in self.workload.files)}"
        return f"on node {self.node}: {what}"


@dataclass(slots=True)
class NodeMember:
    """A node. `heard`: when it was last, on our own clock; `machine` as it measured itself then; `dropped`: runs that nobody wants any
    more, to be ended and forgotten when it is back."""

    remote: RemoteBackend
    heard: float
    machine: Machine | None = None
    runs: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    lost: bool = False


class ClusterBackend:
    """See `ports.Backend`, `choice.ChosenBackend` and `choice.Members`. One event loop's thread only."""

    name = "cluster"

    def __init__(
        self,
        own: ChosenBackend[Any],
        lost: float = LEAST_LOST,
        monotonic: Callable[[], float] = time.monotonic,
        pulse: Pulse | None = None,
    ) -> None:
        self._own = own
        self._lost = lost
        self._monotonic = monotonic
        self._pulse = pulse or Pulse()
        self._nodes: dict[str, NodeMember] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._watching: asyncio.Task[None] | None = None
        self.members: ClusterBackend = self
        own.watch(self._tell)

    @property
    def features(self) -> frozenset[Feature]:
        return self._own.features

    # -- nodes --------------------------------------------------------------------------------------------------------------------

    def expect(self, name: str) -> None:
        self._member(name)
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch_silence())

    async def connect(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer
    ) -> None:
        self.expect(name)
        member = self._nodes[name]

        async def asked(call: str, given: Mapping[str, Any]) -> Any:
            if call == LEASED:
                return self._leased(name, given)
            return await answer(call, given)

        over = await member.remote.connect(reader, writer, self._pulse, asked)
        try:
            member.runs |= set(await member.remote.handles())
            await self._drop(member)
            await over.wait()
        except Unavailable:
            pass  # lost again
        finally:
            if self._nodes.get(name) is not member:
                await member.remote.close()

    def machines(self) -> tuple[Machine, ...]:
        known = ((name, self._nodes[name].machine) for name in sorted(self._nodes) if self.state(name) == READY)
        return tuple(replace(machine, name=name, node=True) for name, machine in known if machine is not None)

    def state(self, name: str) -> str:
        member = self._nodes.get(name)
        if member is None or member.lost:
            return GONE
        return READY if member.remote.connected and self._monotonic() - member.heard < SUSPECT else WAITED_FOR

    def let_go(self, name: str) -> None:
        member = self._nodes.pop(name, None)
        if member is not None:
            asyncio.get_running_loop().create_task(member.remote.close())
            for handle in sorted(member.runs):
                self._tell(handle)

    def _member(self, name: str) -> NodeMember:
        if name not in self._nodes:
            self._nodes[name] = member = NodeMember(RemoteBackend(name), self._monotonic())
            member.remote.watch(self._tell)
        return self._nodes[name]

    def _leased(self, name: str, given: Mapping[str, Any]) -> dict[str, float]:
        """A word of a node. Its lease begins when it asked, which was before now; so it ends before the node can be lost here."""
        member = self._nodes.get(name)
        if member is None:
            raise Unavailable(f"{name} has left")
        member.heard, member.lost = self._monotonic(), False
        member.machine = loaded_as(Machine, given["machine"])
        return {"seconds": LEASE + self._lost - LEAST_LOST}

    async def _watch_silence(self) -> None:
        while True:
            for name, member in list(self._nodes.items()):
                if not member.lost and self._monotonic() - member.heard > self._lost:
                    log.warning("node %s is lost: no word for %g s", name, self._lost)
                    member.lost = True
                    for handle in sorted(member.runs):
                        self._tell(handle)
                elif member.dropped and member.remote.connected:
                    await self._drop(member)
            await asyncio.sleep(_LOOK)

    async def _drop(self, member: NodeMember) -> None:
        """What was given up while the node was away."""
        for handle in sorted(member.dropped):
            try:
                await member.remote.stop(handle, 0.0)
                await member.remote.forget(handle)
            except (InUse, Unavailable):  # it is just ending, or the node is gone again: the next look does it
                continue
            member.dropped.discard(handle)
            member.runs.discard(handle)

    def _on(self, handle: str) -> tuple[Backend[Any], NodeMember | None]:
        """Who has that run, and which node that is; a node that is lost, or has left, has none of its runs."""
        node = node_of(handle)
        if not node:
            return self._own, None
        member = self._nodes.get(node)
        return (self._own, None) if member is None else (member.remote, member)

    def _gone(self, handle: str) -> str:
        """Why a run is lost with its node; "" where it is not."""
        node = node_of(handle)
        if not node or self.state(node) != GONE:
            return ""
        return f"node {node} was lost" if node in self._nodes else f"node {node} has left"

    # -- the port -----------------------------------------------------------------------------------------------------------------

    def at(self, node: str) -> Backend[Any]:
        if not node:
            return self._own
        if node not in self._nodes:
            raise Unavailable(f"there is no node {node}")
        return self._nodes[node].remote

    def plan(self, workload: Workload) -> Any:
        node = node_of(workload.key)
        if not node:
            return self._own.plan(workload)
        planned: Workload = self.at(node).plan(workload)
        return OnNode(node, planned)

    def address(self, listener: int | str) -> Address:
        return self._own.address(listener)

    async def start(self, request: Any, secrets: Mapping[str, str] = MappingProxyType({})) -> str:
        if not isinstance(request, OnNode):
            return await self._own.start(request, secrets)
        if self._gone(request.workload.key):
            raise Unavailable(self._gone(request.workload.key))
        handle = await self.at(request.node).start(request.workload, secrets)
        self._nodes[request.node].runs.add(handle)
        return handle

    async def observe(self, handle: str) -> Observation | None:
        if why := self._gone(handle):
            return Observation(RunState.LOST, detail=why)
        return await self._on(handle)[0].observe(handle)

    async def stop(self, handle: str, grace: float | None = None) -> None:
        if not self._gone(handle):
            await self._on(handle)[0].stop(handle, grace)

    async def forget(self, handle: str) -> None:
        backend, member = self._on(handle)
        if self._gone(handle):
            if member is not None:
                member.dropped.add(handle)
            return
        await backend.forget(handle)
        if member is not None:
            member.runs.discard(handle)

    async def resize(self, handle: str, cpu: float, memory: int, burst: float = 0.0) -> None:
        await self._there(handle).resize(handle, cpu, memory, burst)

    async def read(self, handle: str, files: str, path: str, limit: int) -> str:
        return "" if self._gone(handle) else await self._on(handle)[0].read(handle, files, path, limit)

    async def write(self, handle: str, files: str, texts: Mapping[str, str]) -> bool:
        return False if self._gone(handle) else await self._on(handle)[0].write(handle, files, texts)

    async def place(self, handle: str, files: str, folder: str, objects: Objects, keep: float) -> bool:
        return False if self._gone(handle) else await self._on(handle)[0].place(handle, files, folder, objects, keep)

    async def content(self, handle: str, files: str, path: str, limit: int) -> bytes:
        return b"" if self._gone(handle) else await self._on(handle)[0].content(handle, files, path, limit)

    async def names(self, handle: str, files: str, path: str) -> tuple[str, ...]:
        return () if self._gone(handle) else await self._on(handle)[0].names(handle, files, path)

    async def small(self, handle: str, files: str, path: str) -> tuple[SmallFile, ...] | None:
        return None if self._gone(handle) else await self._on(handle)[0].small(handle, files, path)

    async def collect(self, handle: str) -> Mapping[str, Collected]:
        return await self._there(handle).collect(handle)

    def _there(self, handle: str) -> Backend[Any]:
        if why := self._gone(handle):
            raise Unavailable(f"{why}, and with it the run {handle!r}")
        return self._on(handle)[0]

    async def model(self, digest: str) -> Mapping[str, Any] | None:
        return await self._own.model(digest)

    async def make_model(self, model: ModelFiles, opener: Environment | None, seconds: float) -> Mapping[str, Any]:
        return await self._own.make_model(model, opener, seconds)

    async def keep_models(self, digests: Collection[str]) -> None:
        await self._own.keep_models(digests)
        for member in list(self._nodes.values()):
            if member.remote.connected:
                try:
                    await member.remote.keep_models(digests)
                except ClaryError as error:  # the next time will do
                    log.info("models of node %s are not looked through: %s", member.remote.node, error)

    async def handles(self) -> list[str]:
        """Those of nodes that are away are not among them: nobody may conclude that they ended."""
        found = await self._own.handles()
        for member in list(self._nodes.values()):
            if member.remote.connected:
                found += await member.remote.handles()
        return found

    def watch(self, listener: Callable[[str], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def _tell(self, handle: str) -> None:
        for listener in list(self._listeners):
            listener(handle)

    # -- as those see it who put Clary together -----------------------------------------------------------------------------------

    @property
    def gpus(self) -> int:
        return self._own.gpus

    async def take_up(self) -> None:
        await self._own.take_up()

    def facts(self) -> dict[str, str]:
        return self._own.facts()

    def log_path(self, handle: str) -> str:
        return "" if node_of(handle) else self._own.log_path(handle)

    def reentry(self, handle: str, command: Sequence[str], variables: Mapping[str, str], terminal: bool) -> Reentry:
        if node := node_of(handle):
            raise Invalid(f"the run {handle!r} is on node {node}: its sandbox can only be entered there")
        return self._own.reentry(handle, command, variables, terminal)

    def tidy(self) -> None:
        self._own.tidy()

    async def leave_nodes(self) -> None:
        """Close all connections; runs go on."""
        if self._watching is not None:
            self._watching.cancel()
        for member in list(self._nodes.values()):
            await member.remote.close()

    def close(self) -> None:
        self._own.close()


def for_site(options: BackendOptions) -> ClusterBackend:
    """With this machine's own sandboxes as the head's part (see `choice.py`)."""
    if options.lost < LEAST_LOST:
        raise Invalid(
            f"The setting node_lost is at least {LEAST_LOST:g} seconds: a node's jobs end themselves before they are started elsewhere."
        )
    return ClusterBackend(choose("local", options), options.lost)
