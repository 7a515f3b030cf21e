"""A node's models: each made once, in a sandbox where there is an archive, and made again from its beginning."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from clary.backends.node.layout import NodePorts
from clary.backends.node.models import KEEP_SECONDS, NodeModels
from clary.domain.errors import Invalid, NotFound, Unavailable
from clary.domain.machine.workload import Environment, ModelFiles, Objects
from clary.domain.s3 import Location
from clary.testing.backends import MemoryBackend
from clary.testing.logs import MemoryLogs
from clary.testing.memory_artifacts import MemoryArtifacts

OPENER = Environment("xgboost", "xgboost")
PACKED = ModelFiles("d", "0", archives={"model": Location("b", "m.tar.gz")})


class Node:
    """A node whose sandboxes do what `opens` says: a folder that they leave, with an exit code, or nothing yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "models"
        self.backend = MemoryBackend()
        self.artifacts = MemoryArtifacts({"b": {"m.tar.gz": b"an archive", "p/a": b"plain"}}, "0")
        self.left, self.exit_code, self.timed_out, self.opens = {"model/a": "x"}, 0, False, True
        self.backend.watch(lambda handle: asyncio.get_running_loop().call_soon(self._act, handle))
        self.models = self.again()

    def again(self) -> NodeModels:
        return NodeModels(self.folder, self.backend, NodePorts(self.artifacts, MemoryLogs()))

    def _act(self, handle: str) -> None:
        run = self.backend._runs.get(handle)
        if not self.opens or run is None or run.state.is_terminal:
            return
        for path, text in self.left.items():
            (self.folder / "d" / "out" / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / "d" / "out" / path).write_text(text)
        self.backend.finish(handle, self.exit_code, timed_out=self.timed_out)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def test_it_is_opened_once_without_a_network_and_within_its_time(node: Node) -> None:
    before = os.umask(0o077)
    try:
        found = await node.models.make(PACKED, OPENER, 60.0)
    finally:
        os.umask(before)
    (workload,) = node.backend.workloads.values()
    assert (workload.key, workload.network, workload.max_runtime) == ("model-d", False, 60.0)
    assert await node.again().make(PACKED, None, 60.0) == found
    assert len(node.backend.workloads) == 1
    assert not (node.folder / "d" / "in").exists()
    assert stat.S_IMODE((node.folder / "d" / "out").stat().st_mode) == 0o755
    assert await node.backend.handles() == []


async def test_plain_files_need_no_sandbox(node: Node) -> None:
    model = ModelFiles("d", "0", {"model": Objects("0", "b", {"p/a": "deep/a"})})
    await node.models.make(model, None, 60.0)
    assert (node.folder / "d" / "out" / "model" / "deep" / "a").read_bytes() == b"plain"
    assert node.backend.workloads == {}


async def test_a_model_of_nothing_is_an_empty_folder(node: Node) -> None:
    assert (await node.models.make(ModelFiles("d", "0"), None, 60.0))["scripts"] == []
    assert list((node.folder / "d" / "out" / "model").iterdir()) == []


async def test_what_a_predecessor_began_is_ended_and_made_again(node: Node) -> None:
    node.opens = False
    first = asyncio.create_task(node.models.make(PACKED, OPENER, 60.0))
    async with asyncio.timeout(10):
        while not node.backend.workloads:
            await asyncio.sleep(0.001)
    (node.folder / "d" / "out" / "half").write_text("")
    successor = asyncio.create_task(node.again().make(PACKED, OPENER, 60.0))
    async with asyncio.timeout(10):
        while not node.backend.stops:
            await asyncio.sleep(0.001)
    node.opens = True
    first.cancel()
    await successor
    assert sorted(path.name for path in (node.folder / "d" / "out").iterdir()) == ["model"]


@pytest.mark.parametrize(
    ("left", "exit_code", "timed_out", "error", "words"),
    [
        ({"prepare-error": "ClientError: Cannot extract it."}, 3, False, Invalid, "Cannot extract it"),
        ({}, 137, True, Invalid, "could not be unpacked within 60 s"),
        ({}, 1, False, Unavailable, "Unpacking the model"),
        ({"other/a": ""}, 0, False, Unavailable, "left nothing"),
    ],
)
async def test_how_it_may_fail(
    node: Node, left: dict[str, str], exit_code: int, timed_out: bool, error: type[Exception], words: str
) -> None:
    node.left, node.exit_code, node.timed_out = left, exit_code, timed_out
    with pytest.raises(error, match=words):
        await node.models.make(PACKED, OPENER, 60.0)
    assert node.models.found("d") is None


async def test_what_is_missing_is_told(node: Node) -> None:
    with pytest.raises(Unavailable, match="nothing was given to open them with"):
        await node.models.make(PACKED, None, 60.0)
    with pytest.raises(NotFound):
        await node.models.make(ModelFiles("d", "0", {"model": Objects("0", "b", {"never": "x"})}), None, 60.0)
    with pytest.raises(Unavailable, match="no object store"):
        await NodeModels(node.folder, node.backend, None).make(PACKED, OPENER, 60.0)


async def test_a_model_that_lost_its_folder_is_made_again(node: Node) -> None:
    await node.models.make(PACKED, OPENER, 60.0)
    for path in (node.folder / "d" / "out" / "model").iterdir():
        path.unlink()
    (node.folder / "d" / "out" / "model").rmdir()
    assert node.models.found("d") is None


async def test_old_ones_that_nobody_keeps_are_removed(node: Node) -> None:
    for digest in ("kept", "old", "asked"):
        await node.models.make(ModelFiles(digest, "0"), None, 60.0)
    made = (node.folder / "old").stat().st_mtime
    for digest in ("kept", "old", "asked"):
        os.utime(node.folder / digest, (made - KEEP_SECONDS, made - KEEP_SECONDS))
    assert node.models.found("asked") is not None
    node.models.sweep({"kept"}, made + 1)
    assert sorted(path.name for path in node.folder.iterdir()) == ["asked", "kept"]
