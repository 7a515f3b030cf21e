"""What is put into a run that goes on: whole, once, and away again in time."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from clary.backends.node.changes import Changes
from clary.backends.node.layout import NodePorts
from clary.domain.errors import Invalid, NotFound, Unavailable
from clary.domain.machine.workload import Objects
from clary.stores.logs import FileLogs
from clary.testing.memory_artifacts import MemoryArtifacts

KEEP = 60.0
MODEL = Objects("0", "b", {"m/a": "model.tar.gz"})
NOW = 1_000.0


@pytest.fixture
def artifacts() -> MemoryArtifacts:
    return MemoryArtifacts({"b": {"m/a": b"archive"}}, "0")


@pytest.fixture
def changes(artifacts: MemoryArtifacts, tmp_path: Path) -> Changes:
    return Changes(NodePorts(artifacts, FileLogs(tmp_path / "logs")))


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"


async def test_a_folder_is_there_whole_and_readable(changes: Changes, top: Path) -> None:
    await changes.place(str(top), "one", MODEL, KEEP, NOW)
    assert (top / "one" / "model.tar.gz").read_bytes() == b"archive"
    assert stat.S_IMODE((top / "one").stat().st_mode) == 0o755


async def test_asked_twice_or_at_once_it_is_done_once(changes: Changes, artifacts: MemoryArtifacts, top: Path) -> None:
    await asyncio.gather(*(changes.place(str(top), "one", MODEL, KEEP, NOW) for _ in range(2)))
    artifacts.buckets["b"]["m/a"] = b"newer"
    await changes.place(str(top), "one", MODEL, KEEP, NOW)
    assert [path.name for path in top.iterdir()] == ["one"]
    assert (top / "one" / "model.tar.gz").read_bytes() == b"archive"


async def test_what_a_predecessor_left_half_done_is_made_anew(changes: Changes, top: Path) -> None:
    (top / ".one.part").mkdir()
    (top / ".one.part" / "rubbish").write_text("")
    await changes.place(str(top), "one", MODEL, KEEP, NOW)
    assert [path.name for path in (top / "one").iterdir()] == ["model.tar.gz"]


async def test_it_goes_when_nobody_asked_for_long(changes: Changes, top: Path) -> None:
    await changes.place(str(top), "one", MODEL, KEEP, NOW)
    await changes.place(str(top), "one", MODEL, KEEP, NOW + KEEP)
    await changes.place(str(top), "two", MODEL, KEEP, NOW + 2 * KEEP)
    assert (top / "one").exists()
    await changes.place(str(top), "two", MODEL, KEEP, NOW + 2 * KEEP + 1)
    assert not (top / "one").exists()


async def test_an_object_that_is_not_there_leaves_nothing_to_be_found(changes: Changes, top: Path) -> None:
    with pytest.raises(NotFound):
        await changes.place(str(top), "one", Objects("0", "b", {"never": "x"}), KEEP, NOW)
    assert not (top / "one").exists()


async def test_the_files_of_a_run_that_is_gone_are_not_made_again(changes: Changes, top: Path) -> None:
    top.rmdir()
    for change in (
        changes.place(str(top), "one", MODEL, KEEP, NOW),
        changes.write(str(top), {"a": "x"}),
    ):
        with pytest.raises(Unavailable):
            await change
    assert not top.exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "..", "."])
async def test_a_name_that_is_no_folder(changes: Changes, top: Path, name: str) -> None:
    with pytest.raises(Invalid, match="cannot be the name"):
        await changes.place(str(top), name, MODEL, KEEP, NOW)


async def test_a_text_is_replaced_and_readable_whatever_it_was(changes: Changes, top: Path) -> None:
    (top / "a").write_text("old")
    (top / "a").chmod(0o600)
    await changes.write(str(top), {"a": "new"})
    assert (top / "a").read_text() == "new"
    assert stat.S_IMODE((top / "a").stat().st_mode) == 0o644
    assert [path.name for path in top.iterdir()] == ["a"]
    with pytest.raises(Invalid, match="does not lie below"):
        await changes.write(str(top), {"../a": "new"})
