"""Files are laid out as the sandbox's user can read them, below their folder only."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clary.backends.node.layout import LaidOut, NodePorts, lay_out, placed, text_of, with_packages
from clary.domain.errors import Invalid, NotFound, Unavailable
from clary.domain.machine.workload import (
    ENVIRONMENT,
    ContainerImage,
    Environment,
    Files,
    LeftBy,
    LogTarget,
    Mount,
    MountMode,
    Objects,
    Workload,
)
from clary.domain.resources import Scope
from clary.stores.logs import FileLogs
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.runtimes import MemoryRuntimes

FILES = Files("in", "/in", texts={"a": "one", "deep/er/b": "two"}, objects=(Objects("0", "bucket", {"k": "n"}, "o/p"),))
WORKLOAD = Workload("key", ("true",), {}, files=(FILES, Files("out", "/out", MountMode.READ_WRITE)))


def ports(folder: Path) -> NodePorts:
    return NodePorts(MemoryArtifacts({"bucket": {"k": b"object"}}, "0"), FileLogs(folder / "logs"))


async def test_all_is_there_and_readable_whatever_the_umask(tmp_path: Path) -> None:
    root, phases = tmp_path / "root", list[str]()
    before = os.umask(0o077)
    try:
        assert await lay_out(WORKLOAD, {}, str(root), str, ports(tmp_path), phases.append) == LaidOut(str(root / "log"))
        assert await lay_out(WORKLOAD, {}, str(root), str, ports(tmp_path), phases.append) == LaidOut(
            str(root / "log")
        )  # once more
    finally:
        os.umask(before)
    assert phases == ["laying out in", "laying out out"] * 2
    inside = root / "files" / "in"
    assert {path: (inside / path).read_text() for path in ("a", "deep/er/b", "o/p/n")} == {
        "a": "one",
        "deep/er/b": "two",
        "o/p/n": "object",
    }
    for path in (inside, inside / "deep", inside / "deep/er", inside / "o", inside / "o/p", root / "files" / "out"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert stat.S_IMODE((inside / "deep/er/b").stat().st_mode) == 0o644


async def test_output_goes_to_the_stream_that_is_named(tmp_path: Path) -> None:
    where = LogTarget(Scope("0", "r"), "/aws/jobs", "job/algo-1")
    given = ports(tmp_path)
    made = await lay_out(replace(WORKLOAD, logs=where), {}, str(tmp_path / "root"), str, given, lambda _: None)
    assert made.log == given.logs.path(where.scope, where.group, where.stream)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
def test_a_name_that_is_no_folder(name: str) -> None:
    with pytest.raises(Invalid, match="cannot be the name"):
        placed(replace(WORKLOAD, files=(Files(name, "/in"),)), "/root", Path("/models"), str)


@pytest.mark.parametrize("files", [Files("in", "/in", texts={"../a": ""}), Files("in", "/in", texts={"/etc/a": ""})])
async def test_nothing_is_written_outside(tmp_path: Path, files: Files) -> None:
    with pytest.raises(Invalid, match="does not lie below"):
        await lay_out(
            replace(WORKLOAD, files=(files,)), {}, str(tmp_path / "root"), str, ports(tmp_path), lambda _: None
        )
    assert [path.name for path in (tmp_path / "root").rglob("a")] == []


async def test_what_the_store_does_not_have(tmp_path: Path) -> None:
    gone = Files("in", "/in", objects=(Objects("0", "bucket", {"never": "n"}),))
    with pytest.raises(NotFound):
        await lay_out(
            replace(WORKLOAD, files=(gone,)), {}, str(tmp_path / "root"), str, ports(tmp_path), lambda _: None
        )
    with pytest.raises(Unavailable, match="no object store"):
        await lay_out(WORKLOAD, {}, str(tmp_path / "root"), str, None, lambda _: None)


def test_the_last_lines_of_its_output(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"{number}\tline {number}\n" for number in range(100)))
    assert text_of(str(tmp_path), "", "", 30) == "line 98\nline 99"
    assert text_of(str(tmp_path / "never"), "", "", 30) == ""


PACKED = replace(WORKLOAD, packages=Environment("xgboost", "xgboost-1", "pandas"))


async def test_an_environment_that_is_not_there_is_built_on_first_use(tmp_path: Path) -> None:
    runtimes, phases = MemoryRuntimes(), list[str]()
    given = replace(ports(tmp_path), environments=runtimes)
    await lay_out(PACKED, {}, str(tmp_path / "root"), str, given, phases.append)
    assert runtimes.builds == [("xgboost", "pandas")]
    assert phases == ["building the runtime xgboost", "laying out in", "laying out out"]


async def test_packages_that_cannot_be_had_are_the_users_fault_and_an_unknown_runtime_is_not(tmp_path: Path) -> None:
    runtimes = MemoryRuntimes()
    runtimes.broken["pandas"] = "no such package"
    given = replace(ports(tmp_path), environments=runtimes)
    with pytest.raises(Invalid, match="no such package"):
        await lay_out(PACKED, {}, str(tmp_path / "root"), str, given, lambda _: None)
    unknown = replace(PACKED, packages=Environment("never-heard-of", "0"))
    with pytest.raises(Unavailable, match="never-heard-of"):
        await lay_out(unknown, {}, str(tmp_path / "root"), str, given, lambda _: None)


@pytest.mark.parametrize(("installs", "mode"), [(False, MountMode.READ_ONLY), (True, MountMode.OVERLAY)])
def test_an_environment_lies_where_its_node_says_and_below_the_runs_own_mounts(
    tmp_path: Path, installs: bool, mode: MountMode
) -> None:
    own = Mount("/a", f"{ENVIRONMENT}/own")
    given = replace(ports(tmp_path), environments=MemoryRuntimes())
    found = with_packages(replace(PACKED, mounts=(own,), installs=installs), given)
    assert found.mounts == (Mount("/environments/xgboost-1", ENVIRONMENT, mode), own)
    assert with_packages(WORKLOAD, given) == WORKLOAD
    with pytest.raises(Unavailable, match="no environments"):
        with_packages(PACKED, ports(tmp_path))


def test_a_real_image_beside_it_has_the_files_that_it_names_and_no_others() -> None:
    files = (Files("spec", "/spec"), Files("model", "/m", model="d/model"), Files("code", "/c", model="d/model/code"))
    given = Mount("/etc/ca.pem", "/ca.pem")
    image = ContainerImage("my/own:1", ("serve",), {}, (given,), ("model", "code"))
    made = placed(replace(WORKLOAD, files=files, container=image), "/root", Path("/models"), str).container
    assert made is not None
    inside = (Mount("/models/d/out/model", "/m"), Mount("/models/d/out/model/code", "/c"))
    assert made.mounts == (given, *inside)


def roots(folder: Path) -> Callable[[str], str]:
    return lambda key: str(folder / key)


async def test_what_another_run_left_is_mounted_from_there(tmp_path: Path) -> None:
    (tmp_path / "first/files/out/code/deep").mkdir(parents=True, mode=0o755)
    code = Files("code", "/code", MountMode.OVERLAY, left=LeftBy("first", "out", "code"))
    empty = Files("none", "/none", left=LeftBy("first", "never"))
    second, root = replace(WORKLOAD, files=(code, empty)), str(tmp_path / "second")
    await lay_out(second, {}, root, roots(tmp_path), None, lambda _: None)
    sources = [mount.source for mount in placed(second, root, tmp_path, roots(tmp_path)).mounts]
    assert sources == [str(tmp_path / "first/files/out/code"), str(tmp_path / "first/files/never")]
    assert stat.S_IMODE((tmp_path / "first/files/out/code/deep").stat().st_mode) == 0o777
    assert os.listdir(tmp_path / "first/files/never") == []
    gone = Files("gone", "/gone", left=LeftBy("third", "out"))
    with pytest.raises(Unavailable, match="the run that left gone is not there any more"):
        await lay_out(replace(WORKLOAD, files=(gone,)), {}, root, roots(tmp_path), None, lambda _: None)
    away = Files("away", "/away", left=LeftBy("first", "out", "../../x"))
    with pytest.raises(Invalid, match="does not lie below"):
        placed(replace(WORKLOAD, files=(away,)), root, tmp_path, roots(tmp_path))


async def test_folders_are_there_and_empty(tmp_path: Path) -> None:
    ml = Files("ml", "/opt/ml", MountMode.READ_WRITE, folders=("model", "output/data"))
    await lay_out(replace(WORKLOAD, files=(ml,)), {}, str(tmp_path), str, None, lambda _: None)
    assert os.listdir(tmp_path / "files/ml/output/data") == []
    assert stat.S_IMODE((tmp_path / "files/ml/output").stat().st_mode) == 0o755
