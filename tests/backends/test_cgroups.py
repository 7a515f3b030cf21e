"""Which control groups are chosen, what is written into them, what is read. The file systems are made up; real ones are in
`test_sandbox_limits`."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.backends import cgroups
from clary.backends.cgroups import Cgroups, Controller, Group, GroupLimits, own_groups, settings
from clary.domain.errors import Unschedulable

HYBRID_GROUPS = "9:name=systemd:/\n4:memory:/tenant/a\n2:cpu,cpuacct:/\n1:pids:/\n0::/\n"
HYBRID_MOUNTS = """\
25 30 0:22 / /sys rw - sysfs sysfs rw
31 25 0:26 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
32 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_where_we_are_in_a_hybrid_machine() -> None:
    found = own_groups(HYBRID_GROUPS, HYBRID_MOUNTS)
    assert found[0][:2] == (2, "/sys/fs/cgroup/unified")
    assert (1, "/sys/fs/cgroup/memory/tenant/a", ["memory"]) in found
    assert (1, "/sys/fs/cgroup/cpu,cpuacct", ["cpu"]) in found
    assert (1, "/sys/fs/cgroup/cpu,cpuacct", ["cpuacct"]) in found


def test_where_we_are_when_the_mount_shows_a_part() -> None:
    """In a container without a cgroup namespace the mount's root is our group."""
    mounts = "33 25 0:28 /box/7 /sys/fs/cgroup rw shared:1 - cgroup2 cgroup2 rw\n"
    assert own_groups("0::/box/7/inner\n", mounts)[0][:2] == (2, "/sys/fs/cgroup/inner")
    assert own_groups("0::/box/7\n", mounts)[0][:2] == (2, "/sys/fs/cgroup")


def test_our_leaf_is_not_a_parent() -> None:
    mounts = "33 25 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert own_groups("0::/clary.service/clary-main\n", mounts)[0][1] == "/sys/fs/cgroup/clary.service"


def version_two(folder: Path, controllers: str = "cpu memory pids") -> Path:
    """/proc/self and a cgroup2 mount made of files."""
    mount, proc = folder / "cgroup", folder / "proc"
    proc.mkdir()
    (mount / "own").mkdir(parents=True)
    (mount / "own/cgroup.controllers").write_text(controllers)
    (mount / "own/cgroup.subtree_control").write_text(controllers)
    (proc / "cgroup").write_text("0::/own\n")
    (proc / "mountinfo").write_text(f"33 25 0:28 / {mount} rw - cgroup2 cgroup2 rw\n")
    return proc


def test_without_a_writable_group_others_stand_in(tmp_path: Path) -> None:
    """Plain files lack what the kernel makes in a new folder, so that every write test fails."""
    found = cgroups.find("clary-x", str(version_two(tmp_path)))
    assert found.facts() == {"cpu": "affinity and giving way", "memory": "measured by the shim", "pids": "RLIMIT_NPROC"}
    assert "memory" not in found
    assert found.create("run", GroupLimits(1, 1 << 30, 10)) == Group({})


@pytest.mark.parametrize(
    ("controller", "version", "written"),
    [
        ("cpu", 1, {"cpu.shares": "512", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}),
        ("cpu", 2, {"cpu.weight": "50", "cpu.max": "50000 100000"}),
        ("memory", 1, {"memory.limit_in_bytes": "1000000", "memory.memsw.limit_in_bytes": "1000000"}),
        ("memory", 2, {"memory.max": "1000000", "memory.swap.max": "0"}),
        ("pids", 1, {"pids.max": "64"}),
        ("pids", 2, {"pids.max": "64"}),
        ("cpuacct", 1, {}),
    ],
)
def test_settings(controller: str, version: int, written: dict[str, str]) -> None:
    assert {file: value for file, value, _ in settings(controller, version, GroupLimits(0.5, 1_000_000, 64))} == written


def test_tiny_shares_stay_legal() -> None:
    assert ("cpu.shares", "2", True) in settings("cpu", 1, GroupLimits(0.001, 1, 1))
    assert ("cpu.max", "1000 100000", True) in settings("cpu", 2, GroupLimits(0.001, 1, 1))
    assert ("cpu.weight", "10000", True) in settings("cpu", 2, GroupLimits(1000, 1, 1))


def test_what_runs_in_the_background_weighs_little_and_may_use_as_much() -> None:
    assert {file: value for file, value, _ in settings("cpu", 1, GroupLimits(2.0, 1, 1, background=True))} == {
        "cpu.shares": "64",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "200000",
    }
    assert ("cpu.weight", "6", True) in settings("cpu", 2, GroupLimits(2.0, 1, 1, background=True))


def test_what_is_idle_may_be_borrowed_and_the_weight_stays() -> None:
    assert {file: value for file, value, _ in settings("cpu", 2, GroupLimits(0.5, 1, 1, burst=4.0))} == {
        "cpu.weight": "50",
        "cpu.max": "400000 100000",
    }
    assert ("cpu.cfs_quota_us", "200000", True) in settings("cpu", 1, GroupLimits(2.0, 1, 1, burst=1.0))


def test_a_group_is_made_limited_counted_and_named(tmp_path: Path) -> None:
    folder = str(tmp_path)
    made = Cgroups({name: Controller(name, 2, folder) for name in ("cpu", "memory", "pids")})
    group = made.create("run", GroupLimits(2, 1 << 30, 99))
    assert (tmp_path / "run/pids.max").read_text() == "99"
    assert group.join == [f"{folder}/run/cgroup.procs"]
    assert made.facts()["memory"] == f"cgroup v2 ({folder})"
    group.impose(GroupLimits(1, 1 << 20, 99))
    assert (tmp_path / "run/memory.max").read_text() == str(1 << 20)
    (tmp_path / "run/memory.current").write_text("5000\n")
    (tmp_path / "run/memory.stat").write_text("anon 1\ninactive_file 2000\n")
    assert group.memory() == 3000
    assert group.counters() == {
        "cpu": (f"{folder}/run/cpu.stat", "usage_usec", 1e6),
        "peak": (f"{folder}/run/memory.peak", "", 1),
        "oom": (f"{folder}/run/memory.events", "oom_kill", 1),
    }


def test_a_limit_that_the_kernel_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "memory.limit_in_bytes").mkdir()  # writing fails
    with pytest.raises(Unschedulable, match="limit_in_bytes"):
        Group({"memory": (1, str(tmp_path))}).impose(GroupLimits(1, 1 << 20, 9))
