"""Synced results: what is stored when, what goes, and what is never followed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from clary.backends.node.layout import LaidOut, NodePorts, lay_out
from clary.backends.node.syncs import Syncs
from clary.domain.errors import Invalid
from clary.domain.machine.workload import Files, LeftBy, MountMode, Result, Selected, Workload
from clary.domain.s3 import Location
from clary.stores.logs import FileLogs
from clary.testing.memory_artifacts import MemoryArtifacts

WHERE = Location("b", "ck/")
BEGINS = Selected("0", WHERE, copies=True, optional=True, nothing="Nothing to begin with")
RESULT = Result("sync.ck", "", "0", WHERE, tree=True, synced=True, running=True, mirror=True)


class Scene:
    """Two hosts with copies of one prefix, and one with a folder of its own."""

    def __init__(self, folder: Path, objects: Mapping[str, bytes]) -> None:
        self.folder, self.syncs, self.result = folder, Syncs(), RESULT
        self.artifacts = MemoryArtifacts({"b": objects}, "0")
        self.objects = self.artifacts.buckets["b"]
        self.data = Workload(
            "data", (), {}, files=tuple(Files(f"sync.algo-{number}.ck", "/x", selected=BEGINS) for number in (1, 2))
        )

    async def lay_out(self) -> LaidOut:
        ports = NodePorts(self.artifacts, FileLogs(self.folder / "logs"))
        return await lay_out(self.data, {}, self.root("data"), self.root, ports, lambda _: None)

    def root(self, key: str) -> str:
        return str(self.folder / key)

    def inside(self, number: int) -> Path:
        return self.folder / "data" / "files" / f"sync.algo-{number}.ck" / "data"

    async def collect(self, number: int, running: bool = False, after: float = 10.0, mirror: bool = True) -> list[str]:
        """The keys that were stored, `after` seconds."""
        left = LeftBy("data", f"sync.algo-{number}.ck", "data")
        files = (Files("sync.ck", "/ck", MountMode.READ_WRITE, left=left),)
        host = Workload(f"algo-{number}", ("x",), {}, files=files, results=(replace(self.result, mirror=mirror),))
        root, now = self.root(host.key), max(path.stat().st_mtime for path in self.folder.rglob("*")) + after
        stored = await self.syncs.collect(host, root, self.root, self.artifacts, running, now)
        return sorted(uri.removeprefix("s3://b/ck/") for uri in stored)


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path, {"ck/keep": b"1", "ck/deep/gone": b"2", "ckx/other": b"3"})
    laid = (await made.lay_out()).laid
    assert [each.size for each in laid.values()] == [2, 2]
    return made


async def test_only_what_changed_is_stored_and_once(scene: Scene) -> None:
    assert sorted(str(path.relative_to(scene.inside(1))) for path in scene.inside(1).rglob("*") if path.is_file()) == [
        "deep/gone",
        "keep",
    ]
    assert await scene.collect(1) == []
    (scene.inside(1) / "keep").write_text("changed")
    (scene.inside(1) / "new").write_text("4")
    (scene.inside(1) / "link").symlink_to("/etc/hostname")
    assert await scene.collect(1) == ["keep", "new"]
    assert scene.objects == {"ck/keep": b"changed", "ck/new": b"4", "ck/deep/gone": b"2", "ckx/other": b"3"}
    assert await scene.collect(1) == []
    scene.syncs = Syncs()  # a successor's
    assert await scene.collect(1) == []


async def test_an_object_goes_when_the_last_host_that_has_it_deletes_it(scene: Scene) -> None:
    (scene.inside(1) / "deep/gone").unlink()
    await scene.collect(1)
    assert "ck/deep/gone" in scene.objects, "the other host has it"
    (scene.inside(2) / "deep/gone").unlink()
    await scene.collect(2, mirror=False)
    assert "ck/deep/gone" in scene.objects
    await scene.collect(2)
    assert scene.objects == {"ck/keep": b"1", "ckx/other": b"3"}


async def test_while_it_runs_what_is_being_written_waits_and_what_is_for_the_end_too(scene: Scene) -> None:
    (scene.inside(1) / "keep").write_text("changed")
    assert await scene.collect(1, running=True, after=0.5) == []
    scene.result = replace(RESULT, running=False)
    assert await scene.collect(1, running=True) == []
    scene.result = RESULT
    assert await scene.collect(1, running=True, after=1.5) == ["keep"]


async def test_what_cannot_be_stored_is_stored_the_next_time(scene: Scene) -> None:
    for name in ("a", "z"):
        (scene.inside(1) / name).write_text(name)
    store_file, asked = scene.artifacts.store_file, list[str]()

    class Broken(MemoryArtifacts):
        def of(self, account: str) -> MemoryArtifacts:
            return self

        async def store_file(self, path: str, bucket: str, key: str, content_type: str = "", move: bool = False) -> str:
            asked.append(key)
            if key == "ck/z" and asked.count(key) == 1:
                raise Invalid("no room")
            return await store_file(path, bucket, key, content_type, move)

    scene.artifacts, objects = Broken(account="0"), scene.objects
    scene.artifacts.buckets = {"b": objects}
    with pytest.raises(Invalid, match="no room"):
        await scene.collect(1)
    done = asked[:-1]
    await scene.collect(1)
    assert (objects["ck/a"], objects["ck/z"]) == (b"a", b"z")
    assert all(asked.count(key) == 1 for key in done), "what was stored is not stored again"


async def test_nothing_goes_when_the_folder_is_gone(scene: Scene) -> None:
    os.rename(scene.inside(1), scene.folder / "away")
    assert await scene.collect(1) == []
    assert len(scene.objects) == 3


async def test_there_may_be_nothing_to_begin_with_but_not_no_bucket(tmp_path: Path) -> None:
    scene = Scene(tmp_path, {})
    assert [each.size for each in (await scene.lay_out()).laid.values()] == [0, 0]
    (scene.inside(2) / "new").write_text("1")
    assert await scene.collect(2) == ["new"]
    nowhere = replace(BEGINS, location=Location("none", "ck/"))
    scene.data = replace(scene.data, files=(Files("sync.algo-1.ck", "/x", selected=nowhere),))
    with pytest.raises(Invalid, match=r"Nothing to begin with .The specified bucket does not exist: none"):
        await scene.lay_out()
