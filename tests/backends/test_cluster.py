"""The backend of several machines: the port's contract on the head's own and over a node's connection, and nodes that fall silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from clary.backends.choice import BackendOptions, ChosenBackend
from clary.backends.cluster import ClusterBackend, for_site
from clary.backends.remote.link import NodeLink, Pulse
from clary.backends.remote.node import serve
from clary.domain.errors import Invalid, Unavailable
from clary.domain.machine.capacity import Machine
from clary.domain.machine.nodes import LEASE, LEAST_LOST, SUSPECT, key_on, node_of
from clary.domain.machine.workload import Laid, RunState, Workload
from clary.domain.stored import dumped
from clary.ports import Backend
from clary.testing.backends import BUCKET, BackendConformance, MemoryBackend

MACHINE = Machine(2, 8 << 30, 4 << 30)
PATIENT = Pulse(silence=60.0)


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Nodes:
    """Nodes in memory, over real connections to one head."""

    def __init__(self) -> None:
        self.time, self.own = Time(), MemoryBackend()
        self.head = ClusterBackend(cast(ChosenBackend[Any], self.own), LEAST_LOST, self.time, PATIENT)
        self._tasks: list[asyncio.Task[None]] = []
        self._servers: list[asyncio.Server] = []
        self.links: dict[str, NodeLink] = {}
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def dial(self, name: str, backend: Backend[Any]) -> None:
        """Connect, and say the first word."""
        came: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        came = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda *streams: came.set_result(streams), "127.0.0.1", 0)
        self._servers.append(server)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        spoken = asyncio.Event()

        async def talk(link: NodeLink) -> None:
            self.links[name] = link
            await self.speak(name)
            spoken.set()
            await asyncio.Event().wait()

        async def answer(call: str, given: Mapping[str, Any]) -> Any:
            self.asked.append((call, given))

        serving = serve(backend, name, 0, reader, writer, PATIENT, talk)
        taking = self.head.connect(name, *await came, answer)
        self._tasks += [asyncio.create_task(serving), asyncio.create_task(taking)]
        await spoken.wait()
        while self.head.state(name) != "ready":
            await asyncio.sleep(0)

    async def speak(self, name: str) -> Mapping[str, Any]:
        told: Mapping[str, Any] = await self.links[name].ask("lease", {"machine": dumped(MACHINE)})
        return told

    async def cut(self, name: str) -> None:
        await self.links[name].close()
        while self.head.at(name).connected:  # type: ignore[attr-defined]
            await asyncio.sleep(0)

    async def lose(self, name: str) -> None:
        await self.cut(name)
        self.time.now += LEAST_LOST + 1
        while self.head.state(name) != "lost":
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        await self.head.leave_nodes()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            server.close()


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes()
    yield made
    await made.end()


class ClusterConformance(BackendConformance):
    """`memory` is the backend in memory that the runs are on; the successor is the cluster itself: it keeps nothing of runs."""

    memory: MemoryBackend
    nodes: Nodes

    def backend(self, folder: Path) -> Backend[Any]:
        return self.nodes.head

    async def let(self, backend: Backend[Any], handle: str, exit_code: int) -> None:
        self.memory.finish(handle, exit_code)

    async def lay(self, backend: Backend[Any], handle: str, laid: Mapping[str, Laid]) -> None:
        self.memory.finish(handle, 0, laid=laid)

    async def leave(self, backend: Backend[Any], handle: str, files: str, path: str, text: str) -> None:
        self.memory.left[handle, files, path] = text

    def state(self, backend: Backend[Any], folder: Path) -> Any:
        node = self.memory
        return dict(node._runs), dict(node.workloads), list(node.stops), dict(node.written)

    async def pack(self, backend: Backend[Any], key: str, members: Mapping[str, str]) -> None:
        self.memory.contents = {f"model/{path}": text for path, text in members.items()}
        bad = f"ClientError: Cannot extract s3://{BUCKET}/{key}: no."
        self.memory.refusal = bad if "../weights" in members else ""


class TestClusterOwnMachine(ClusterConformance):
    @pytest.fixture(autouse=True)
    async def _nodes(self, nodes: Nodes) -> None:
        self.nodes, self.memory = nodes, nodes.own


class Placing:
    """The cluster as a loop uses it that places all on one node."""

    def __init__(self, head: ClusterBackend, node: str) -> None:
        self._head, self._node = head, node
        there = head.at(node)
        self.model, self.make_model, self.keep_models = there.model, there.make_model, there.keep_models

    def plan(self, workload: Workload) -> Any:
        return self._head.plan(replace(workload, key=_there(workload.key)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._head, name)


class TestClusterNode(ClusterConformance):
    @pytest.fixture(autouse=True)
    async def _nodes(self, nodes: Nodes) -> None:
        self.nodes, self.memory = nodes, MemoryBackend()
        await nodes.dial("node-2", self.memory)

    def backend(self, folder: Path) -> Backend[Any]:
        return cast(Backend[Any], Placing(self.nodes.head, "node-2"))

    def workload(
        self, folder: Path, script: str, environment: Mapping[str, str] | None = None, **more: Any
    ) -> Workload:
        return replace(super().workload(folder, script, environment, **more), root="", log_path=None)


def _there(key: str) -> str:
    return key if node_of(key) else key_on(key, "node-2")


def run(key: str = "job-1@node-2", **more: Any) -> Workload:
    return Workload(key=key, command=("/bin/true",), environment={}, **more)


async def test_a_run_is_where_its_key_says(nodes: Nodes) -> None:
    one, other = MemoryBackend(), MemoryBackend()
    await nodes.dial("node-1", one)
    await nodes.dial("node-2", other)
    for key in ("job-1", "job-1@node-1", "job-1@node-2"):
        await nodes.head.start(nodes.head.plan(run(key)))
    assert [list(each.workloads) for each in (nodes.own, one, other)] == [["job-1"], ["job-1@node-1"], ["job-1@node-2"]]
    assert sorted(await nodes.head.handles()) == ["job-1", "job-1@node-1", "job-1@node-2"]
    await nodes.head.stop("job-1@node-1")
    assert (one.stops, other.stops, nodes.own.stops) == ([("job-1@node-1", None)], [], [])
    assert nodes.head.at("node-1") is not nodes.head.at("node-2")
    with pytest.raises(Unavailable, match="no node node-3"):
        nodes.head.at("node-3")


async def test_a_silent_node_takes_nothing_new_and_its_runs_are_not_concluded(nodes: Nodes) -> None:
    await nodes.dial("node-2", MemoryBackend())
    handle = await nodes.head.start(nodes.head.plan(run()))
    assert [machine.name for machine in nodes.head.machines()] == ["node-2"]
    assert nodes.head.machines()[0].node
    nodes.time.now += SUSPECT
    assert (nodes.head.state("node-2"), nodes.head.machines()) == ("suspect", ())
    await nodes.speak("node-2")
    assert nodes.head.state("node-2") == "ready"
    await nodes.cut("node-2")
    assert nodes.head.state("node-2") == "suspect"
    with pytest.raises(Unavailable, match="node-2 is not connected"):
        await nodes.head.observe(handle)
    with pytest.raises(Unavailable):
        await nodes.head.collect(handle)


async def test_a_lease_ends_before_its_node_can_be_lost(nodes: Nodes) -> None:
    await nodes.dial("node-2", MemoryBackend())
    assert (await nodes.speak("node-2"))["seconds"] == LEASE < LEAST_LOST
    assert nodes.asked == []
    await nodes.links["node-2"].ask("keys", {"account": "1"})
    assert nodes.asked == [("keys", {"account": "1"})]


async def test_the_runs_of_a_lost_node_are_lost_and_told(nodes: Nodes) -> None:
    await nodes.dial("node-2", MemoryBackend())
    handle = await nodes.head.start(nodes.head.plan(run()))
    heard: list[str] = []
    nodes.head.watch(heard.append)
    await nodes.lose("node-2")
    assert handle in heard
    seen = await nodes.head.observe(handle)
    assert seen is not None
    assert (seen.state, seen.detail) == (RunState.LOST, "node node-2 was lost")
    with pytest.raises(Unavailable, match="node-2 was lost"):
        await nodes.head.start(nodes.head.plan(run("job-2@node-2")))
    with pytest.raises(Unavailable, match="node-2 was lost"):
        await nodes.head.collect(handle)
    assert await nodes.head.content(handle, "f", "p", 10) == b""


async def test_what_was_given_up_of_a_lost_node_is_ended_when_it_is_back(nodes: Nodes) -> None:
    node = MemoryBackend()
    await nodes.dial("node-2", node)
    handle = await nodes.head.start(nodes.head.plan(run()))
    await nodes.lose("node-2")
    await nodes.head.stop(handle, 0.0)
    await nodes.head.forget(handle)
    assert node.stops == []
    await nodes.dial("node-2", node)
    async with asyncio.timeout(10):
        while handle in await node.handles():
            await asyncio.sleep(0.01)
    assert node.stops == [(handle, 0.0)]


async def test_a_node_that_was_expected_and_does_not_come_is_lost(nodes: Nodes) -> None:
    nodes.head.expect("node-7")
    assert nodes.head.state("node-7") == "suspect"
    nodes.time.now += LEAST_LOST + 1
    async with asyncio.timeout(10):
        while nodes.head.state("node-7") != "lost":
            await asyncio.sleep(0.01)
    seen = await nodes.head.observe("job-1@node-7")
    assert seen is not None
    assert seen.state is RunState.LOST


async def test_a_node_that_leaves_has_no_runs(nodes: Nodes) -> None:
    await nodes.dial("node-2", MemoryBackend())
    handle = await nodes.head.start(nodes.head.plan(run()))
    nodes.head.let_go("node-2")
    seen = await nodes.head.observe(handle)
    assert seen is not None
    assert seen.detail == "node node-2 has left"
    assert nodes.head.machines() == ()


def test_a_node_is_not_given_up_before_its_jobs_have_ended(tmp_path: Path) -> None:
    options = BackendOptions(str(tmp_path / "b"), (), (1, 2), None, (), False, lost=LEAST_LOST - 1)
    with pytest.raises(Invalid, match="node_lost is at least 40 seconds"):
        for_site(options)
