"""`ports.Backend` of another machine: each call goes over the link that its node opened.

While the node is not connected every call is Unavailable, which loops meet by asking again; nothing is concluded from silence here. It
runs workloads by value only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clary.backends.node.layout import placed
from clary.backends.remote.calls import CALLS
from clary.backends.remote.link import Answer, NodeLink, Pulse
from clary.backends.remote.node import HELLO
from clary.domain.errors import Invalid, Unavailable, Unschedulable
from clary.domain.machine.addresses import Address
from clary.domain.machine.workload import (
    Collected,
    Environment,
    Feature,
    ModelFiles,
    Objects,
    Observation,
    SmallFile,
    Workload,
)


class RemoteBackend:
    """See ports.Backend. `node` is the machine's name; a handle is the one that its own backend gives."""

    name = "remote"

    def __init__(self, node: str) -> None:
        self.node = node
        self.features: frozenset[Feature] = frozenset()
        self._addresses: tuple[Address, ...] = ()
        self._listener: Address | None = None
        self._link: NodeLink | None = None
        self._listeners: list[Callable[[str], None]] = []

    async def connect(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pulse: Pulse | None = None,
        answer: Answer | None = None,
    ) -> asyncio.Event:
        """Take the connection that the node has opened; an older one is closed. `answer` does what the node asks. Answers what is set when
        this connection is lost. Invalid when another node is at its other end."""
        over = asyncio.Event()

        def lost(link: NodeLink) -> None:
            over.set()
            self._lost(link)

        link = NodeLink(self.node, reader, writer, answer or _asks_nothing, self._hear, lost, pulse or Pulse())
        try:
            hello = await link.ask(HELLO, {})
            if hello["node"] != self.node:
                raise Invalid(f"the node that connected as {self.node} calls itself {hello['node']}")
        except BaseException:
            await link.close()
            raise
        known = set(Feature)
        self.features = frozenset(Feature(each) for each in hello["features"] if each in known)
        self._addresses = tuple(_address(each) for each in hello["addresses"])
        self._listener = _address(hello["listener"]) if hello["listener"] else None
        before, self._link = self._link, link
        if before is not None:
            await before.close()
        for handle in await self.handles():  # what changed meanwhile nobody has heard
            self._hear(handle)
        return over

    @property
    def connected(self) -> bool:
        return self._link is not None

    async def close(self) -> None:
        """Let the connection go; runs go on."""
        if self._link is not None:
            await self._link.close()

    def plan(self, workload: Workload) -> Workload:
        """The workload itself: its node plans it, with what is true of its machine, when it starts."""
        if not workload.by_value or workload.mounts or (workload.container and workload.container.mounts):
            raise Unschedulable(f"the run {workload.key!r} names folders of this host, which node {self.node} lacks")
        if workload.gpus and Feature.GPU not in self.features:
            raise Unschedulable(f"node {self.node} has no GPU")
        if workload.dials:
            self.address(workload.dials)
        placed(workload, "/", Path("/"), lambda _run: "/")  # names that cannot be folders are told now
        return workload

    def at(self, node: str) -> RemoteBackend:
        return self

    def address(self, listener: int | str) -> Address:
        if isinstance(listener, str):
            if self._listener is None:
                raise Unschedulable(
                    f"node {self.node} reaches no listener of the control plane, so {listener!r} neither"
                )
            return self._listener
        if listener >= len(self._addresses):
            raise Unschedulable(f"node {self.node} does not reach front {listener}")
        return self._addresses[listener]

    async def start(self, request: Workload, secrets: Mapping[str, str] = MappingProxyType({})) -> str:
        return str(await self._ask("start", request=request, secrets=secrets))

    async def observe(self, handle: str) -> Observation | None:
        seen: Observation | None = await self._ask("observe", handle=handle)
        return seen

    async def stop(self, handle: str, grace: float | None = None) -> None:
        await self._ask("stop", handle=handle, grace=grace)

    async def resize(self, handle: str, cpu: float, memory: int, burst: float = 0.0) -> None:
        await self._ask("resize", handle=handle, cpu=cpu, memory=memory, burst=burst)

    async def forget(self, handle: str) -> None:
        await self._ask("forget", handle=handle)

    async def read(self, handle: str, files: str, path: str, limit: int) -> str:
        return str(await self._ask("read", handle=handle, files=files, path=path, limit=limit))

    async def write(self, handle: str, files: str, texts: Mapping[str, str]) -> bool:
        return bool(await self._ask("write", handle=handle, files=files, texts=texts))

    async def place(self, handle: str, files: str, folder: str, objects: Objects, keep: float) -> bool:
        return bool(await self._ask("place", handle=handle, files=files, folder=folder, objects=objects, keep=keep))

    async def model(self, digest: str) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = await self._ask("model", digest=digest)
        return found

    async def make_model(self, model: ModelFiles, opener: Environment | None, seconds: float) -> Mapping[str, Any]:
        made: Mapping[str, Any] = await self._ask("make_model", model=model, opener=opener, seconds=seconds)
        return made

    async def keep_models(self, digests: Collection[str]) -> None:
        await self._ask("keep_models", digests=digests)

    async def content(self, handle: str, files: str, path: str, limit: int) -> bytes:
        return bytes(await self._ask("content", handle=handle, files=files, path=path, limit=limit))

    async def names(self, handle: str, files: str, path: str) -> tuple[str, ...]:
        return tuple(await self._ask("names", handle=handle, files=files, path=path))

    async def small(self, handle: str, files: str, path: str) -> tuple[SmallFile, ...] | None:
        found: tuple[SmallFile, ...] | None = await self._ask("small", handle=handle, files=files, path=path)
        return found

    async def collect(self, handle: str) -> Mapping[str, Collected]:
        stored: Mapping[str, Collected] = await self._ask("collect", handle=handle)
        return stored

    async def handles(self) -> list[str]:
        return list(await self._ask("handles"))

    def watch(self, listener: Callable[[str], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def _ask(self, call: str, **given: Any) -> Any:
        if self._link is None:
            raise Unavailable(f"node {self.node} is not connected: ask again when it is back")
        return CALLS[call].told(await self._link.ask(call, CALLS[call].asked(given)))

    def _hear(self, handle: str) -> None:
        for listener in list(self._listeners):
            listener(handle)

    def _lost(self, link: NodeLink) -> None:
        if link is self._link:
            self._link = None


async def _asks_nothing(call: str, given: Mapping[str, Any]) -> Any:
    raise Invalid(f"a node may not ask its control plane to {call}")


def _address(text: str) -> Address:
    scheme, _, place = text.partition(":")
    return Address(scheme, place)
