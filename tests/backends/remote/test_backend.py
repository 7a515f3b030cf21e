"""The backend of another machine keeps the contract that the machine's own keeps, over real connections."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.backends.remote.conftest import Dial

from clary.backends import host, local
from clary.backends.node.layout import NodePorts
from clary.backends.remote.backend import RemoteBackend
from clary.domain.errors import Invalid, Unavailable, Unschedulable
from clary.domain.machine.addresses import Address
from clary.domain.machine.workload import Feature, Laid, Mount, RunState, Workload
from clary.ports import Backend
from clary.stores.logs import FileLogs
from clary.testing.backends import ACCOUNT, BUCKET, OBJECT, BackendConformance, MemoryBackend
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.runtimes import OwnInterpreter

FACTS = host.find()


class RemoteConformance(BackendConformance):
    """Two control planes over one node: the second is the successor of the first. Workloads are by value."""

    first: RemoteBackend
    second: RemoteBackend

    def backend(self, folder: Path) -> Backend[Any]:
        return self.first

    def again(self, backend: Backend[Any], folder: Path) -> Backend[Any]:
        return self.second

    def workload(
        self, folder: Path, script: str, environment: Mapping[str, str] | None = None, **more: Any
    ) -> Workload:
        return replace(super().workload(folder, script, environment, **more), root="", log_path=None)


class TestRemoteMemory(RemoteConformance):
    @pytest.fixture(autouse=True)
    async def _nodes(self, dial: Dial) -> None:
        self.node = MemoryBackend()
        self.first, self.second = await dial(self.node), await dial(self.node)

    async def let(self, backend: Backend[Any], handle: str, exit_code: int) -> None:
        self.node.finish(handle, exit_code)

    async def lay(self, backend: Backend[Any], handle: str, laid: Mapping[str, Laid]) -> None:
        self.node.finish(handle, 0, laid=laid)

    async def leave(self, backend: Backend[Any], handle: str, files: str, path: str, text: str) -> None:
        self.node.left[handle, files, path] = text

    def state(self, backend: Backend[Any], folder: Path) -> Any:
        return dict(self.node._runs), dict(self.node.workloads), list(self.node.stops), dict(self.node.written)

    async def pack(self, backend: Backend[Any], key: str, members: Mapping[str, str]) -> None:
        self.node.contents = {f"model/{path}": text for path, text in members.items()}
        bad = f"ClientError: Cannot extract s3://{BUCKET}/{key}: no."
        self.node.refusal = bad if "../weights" in members else ""


@pytest.mark.skipif(bool(FACTS.problem), reason=f"NO SANDBOX ON THIS MACHINE: {FACTS.problem}")
class TestRemoteLocal(RemoteConformance):
    @pytest.fixture(autouse=True)
    async def _nodes(self, dial: Dial, tmp_path: Path) -> AsyncIterator[None]:
        self.stored = MemoryArtifacts({BUCKET: {"given/x": OBJECT}}, ACCOUNT)
        fronts = [str(tmp_path / "workers" / f"front-{number}.sock") for number in range(2)]
        ports = NodePorts(self.stored, FileLogs(tmp_path / "logs"), OwnInterpreter())
        listeners = str(tmp_path / "listen")
        node = local.create(str(tmp_path / "backend"), facts=FACTS, fronts=fronts, ports=ports, listeners=listeners)
        self.first, self.second = await dial(node), await dial(node)
        yield
        for handle in await node.handles():
            await node.stop(handle, 0)
            await self.ended(node, handle)
        node.close()

    def state(self, backend: Backend[Any], folder: Path) -> Any:
        tops = [folder / "models", *(folder / "backend" / name for name in ("runs", "own", "uids", "gpus"))]
        found = ((path, path.lstat()) for top in tops for path in sorted(top.rglob("*")))
        return [(path, seen.st_mtime_ns, seen.st_mode, seen.st_size, seen.st_ino) for path, seen in found]

    async def pack(self, backend: Backend[Any], key: str, members: Mapping[str, str]) -> None:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            for path, text in members.items():
                member = tarfile.TarInfo(path)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        self.stored.buckets[BUCKET][key] = data.getvalue()


def run(key: str = "job", **more: Any) -> Workload:
    return Workload(key=key, command=("/bin/true",), environment={}, **more)


async def test_a_control_plane_that_comes_back_hears_of_what_changed(dial: Dial) -> None:
    node = MemoryBackend()
    head = await dial(node)
    handle = await head.start(head.plan(run()))
    await head.close()
    assert not head.connected
    with pytest.raises(Unavailable, match="node-2 is not connected"):
        await head.observe(handle)
    node.finish(handle, 3)
    heard: list[str] = []
    head.watch(heard.append)
    await dial(node, again=head)
    assert heard == [handle]
    seen = await head.observe(handle)
    assert seen is not None
    assert (seen.state, seen.exit_code) == (RunState.EXITED, 3)


async def test_a_later_connection_takes_the_place_of_an_earlier_one(dial: Dial) -> None:
    node = MemoryBackend()
    head = await dial(node)
    assert await dial(node, again=head) is head
    assert head.connected
    assert await head.handles() == []


async def test_what_is_asked_when_the_connection_is_lost_fails(dial: Dial) -> None:
    class Slow(MemoryBackend):
        async def handles(self) -> list[str]:
            if held.is_set():
                await asyncio.Event().wait()
            held.set()
            return []

    held = asyncio.Event()
    head = await dial(Slow())
    asked = asyncio.create_task(head.handles())
    await asyncio.sleep(0)
    await head.close()
    with pytest.raises(Unavailable, match="connection to node node-2 is lost"):
        await asked


async def test_a_node_under_another_name_is_refused(dial: Dial) -> None:
    head = RemoteBackend("node-2")
    with pytest.raises(Invalid, match="calls itself node-3"):
        await dial(MemoryBackend(), node="node-3", again=head)
    assert not head.connected


async def test_what_names_folders_of_this_host_is_refused(dial: Dial) -> None:
    head = await dial(MemoryBackend())
    for wrong in (run(root="/here"), run(mounts=(Mount("/a", "/b"),))):
        with pytest.raises(Unschedulable, match="folders of this host, which node node-2 lacks"):
            head.plan(wrong)


async def test_gpus_need_a_node_that_has_them(dial: Dial) -> None:
    without = await dial(MemoryBackend(frozenset({Feature.LOGS})))
    with pytest.raises(Unschedulable, match="no GPU"):
        without.plan(run(gpus=1))
    withal = await dial(MemoryBackend())
    assert withal.plan(run(gpus=1)) == run(gpus=1)


async def test_a_front_that_the_node_does_not_reach(dial: Dial) -> None:
    head = await dial(MemoryBackend())
    with pytest.raises(Unschedulable, match="does not reach front 2"):
        head.address(2)


async def test_a_listener_that_the_node_does_not_reach(dial: Dial) -> None:
    class Far(MemoryBackend):
        def address(self, listener: int | str) -> Address:
            if isinstance(listener, str):
                raise Unschedulable(listener)
            return super().address(listener)

    head = await dial(Far())
    with pytest.raises(Unschedulable, match="node node-2 reaches no listener of the control plane"):
        head.plan(run(dials="mine"))
    assert (await dial(MemoryBackend())).plan(run(dials="mine")) == run(dials="mine")
