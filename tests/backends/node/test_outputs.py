"""Results: what is stored, under which keys, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clary.backends.node.outputs import store
from clary.domain.errors import NotFound
from clary.domain.machine.workload import Result
from clary.domain.s3 import Location
from clary.testing.memory_artifacts import MemoryArtifacts

ONE = Result("out", "one", "0", Location("b", "key"), "text/plain")


def out(root: Path) -> Path:
    folder = root / "files" / "out"
    (folder / "tree" / "deep").mkdir(parents=True)
    (folder / "one").write_text("1")
    (folder / "tree" / "a").write_text("a")
    (folder / "tree" / "deep" / "b").write_text("bb")
    (folder / "tree" / "link").symlink_to("/etc/passwd")
    (folder / "away").symlink_to("/etc")
    return folder


@pytest.mark.parametrize("given", [False, True])
async def test_a_file_is_stored_as_often_as_asked_and_stays(tmp_path: Path, given: bool) -> None:
    folder, objects = out(tmp_path), MemoryArtifacts({"b": {}}, "0")
    for _ in range(2):
        (stored,) = (await store(str(tmp_path), [replace(ONE, given=given)], objects)).values()
        assert (stored.size, objects.buckets["b"], objects.types["b", "key"]) == (1, {"key": b"1"}, "text/plain")
    assert (folder / "one").read_text() == "1"
    assert not (tmp_path / "staged").exists()


async def test_a_tree_is_stored_below_a_key_without_its_links(tmp_path: Path) -> None:
    out(tmp_path)
    objects = MemoryArtifacts({"b": {}}, "0")
    tree = replace(ONE, path="tree", to=Location("b", "p/"), tree=True)
    stored = await store(str(tmp_path), [tree, replace(tree, path="away"), replace(tree, path="none")], objects)
    assert sorted(stored) == ["s3://b/p/a", "s3://b/p/deep/b"]
    assert objects.buckets["b"] == {"p/a": b"a", "p/deep/b": b"bb"}


@pytest.mark.parametrize("name", ["none", "tree/link"])
async def test_what_is_not_there_is_left_out(tmp_path: Path, name: str) -> None:
    out(tmp_path)
    objects = MemoryArtifacts({"b": {}}, "0")
    if name == "none":
        assert await store(str(tmp_path), [replace(ONE, path=name)], objects) == {}
    else:
        with pytest.raises(Exception, match="symbolic link"):
            await store(str(tmp_path), [replace(ONE, path=name)], objects)
    assert objects.buckets["b"] == {}


async def test_the_stores_own_error_goes_through(tmp_path: Path) -> None:
    out(tmp_path)
    with pytest.raises(NotFound):
        await store(str(tmp_path), [replace(ONE, to=Location("none", "key"))], MemoryArtifacts({"b": {}}, "0"))


async def test_a_run_of_an_older_clary_has_its_files_beside_its_own(tmp_path: Path) -> None:
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "m").write_text("m")
    objects = MemoryArtifacts({"b": {}}, "0")
    assert await store(str(tmp_path), [replace(ONE, files="ml", path="m")], objects)
    assert objects.buckets["b"] == {"key": b"m"}
