"""Limits of the groups around Clary, in both versions, read from folders that look like the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clary.backends import own_limits
from clary.backends.own_limits import OwnLimits, find, usable

GIB = 1 << 30
NO_LIMIT = 9223372036854771712


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def version_two(tmp_path: Path) -> Path:
    """A container (4 GiB, two CPUs of a quota) around a service that has no limit of its own."""
    top = tmp_path / "cgroup"
    used = {"memory__current": f"{3 * GIB}\n", "memory__stat": f"anon 5\ninactive_file {GIB}\n"}
    write(
        top / "box", memory__max=f"{4 * GIB}\n", cpu__max="200000 100000\n", cgroup__controllers="cpu memory\n", **used
    )
    write(top / "box" / "own", memory__max="max\n", cpu__max="max 100000\n", cgroup__controllers="cpu memory\n")
    proc = tmp_path / "proc"
    write(proc, cgroup="0::/box/own\n", mountinfo=f"30 29 0:26 / {top} rw - cgroup2 cgroup2 rw\n")
    return proc


def version_one(tmp_path: Path, limit: int = 2 * GIB, quota: int = 150_000) -> Path:
    top = tmp_path / "v1"
    write(
        top / "memory" / "own",
        memory__limit_in_bytes=f"{limit}\n",
        memory__usage_in_bytes=f"{GIB}\n",
        memory__stat=f"inactive_file 1\ntotal_inactive_file {GIB // 2}\n",
    )
    write(top / "memory", memory__limit_in_bytes=f"{NO_LIMIT}\n", memory__usage_in_bytes=f"{9 * GIB}\n")
    write(top / "cpu" / "own", cpu__cfs_quota_us=f"{quota}\n", cpu__cfs_period_us="100000\n")
    proc = tmp_path / "proc"
    mounts = "".join(
        f"3{n} 29 0:2{n} / {top}/{kind} rw - cgroup cgroup rw,{kind}\n" for n, kind in enumerate(("memory", "cpu"))
    )
    write(proc, cgroup="4:memory:/own\n1:cpu:/own\n", mountinfo=mounts)
    return proc


def test_version_2_the_tightest_group_above_counts(tmp_path: Path) -> None:
    found = find(str(version_two(tmp_path)))
    assert found.bytes() == (4 * GIB, 2 * GIB)
    assert found.cpus() == 2.0


def test_version_1(tmp_path: Path) -> None:
    found = find(str(version_one(tmp_path)))
    assert found.bytes() == (2 * GIB, 3 * GIB // 2)
    assert found.cpus() == 1.5


def test_no_limit_is_none(tmp_path: Path) -> None:
    found = find(str(version_one(tmp_path, NO_LIMIT, -1)))
    assert (found.bytes(), found.cpus()) == (None, None)
    assert (OwnLimits().bytes(), OwnLimits().cpus()) == (None, None)


def test_more_used_than_allowed_leaves_nothing(tmp_path: Path) -> None:
    found = find(str(version_one(tmp_path, GIB // 4)))
    assert found.bytes() == (GIB // 4, 0)


@pytest.mark.parametrize("gone", ["memory.max", "cpu.max"])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, gone: str) -> None:
    found = find(str(version_two(tmp_path)))
    for file in (tmp_path / "cgroup").rglob(gone):
        file.unlink()
    assert (found.bytes() if gone == "memory.max" else found.cpus()) is None


def test_this_process() -> None:
    found = find()
    assert found.cpus() is None or found.cpus()


@pytest.mark.parametrize(
    ("affine", "quota", "usable_"),
    [(8, None, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.25, 1), (2, 4.0, 2), (1, 0.01, 1)],
)
def test_the_cpus_that_we_have(affine: int, quota: float | None, usable_: int) -> None:
    assert usable(affine, quota) == usable_


def test_the_cpus_of_this_process() -> None:
    assert own_limits.cpus() == usable(len(os.sched_getaffinity(0)), own_limits.own().cpus())


def test_fewer_cpus_by_affinity_are_seen_at_once() -> None:
    """What a machine has (`os.cpu_count`) is not what we may use of it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert own_limits.cpus() == 1
    finally:
        os.sched_setaffinity(0, before)
