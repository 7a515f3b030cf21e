"""Parts of the shim that need no sandbox: lines, records, figures."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clary.backends import launch
from clary.backends.shim.log import LINE_BYTES, Log
from clary.backends.shim.proc import (
    MARK,
    counter,
    cpu_time,
    disk_use,
    end_marked,
    family,
    marked,
    resident,
    started_ticks,
    waited,
)
from clary.backends.shim.records import load, reserve, save
from clary.backends.shim.run import Run


def written(path: Path) -> list[str]:
    return [line.partition("\t")[2] for line in path.read_text().splitlines()]


def test_lines_come_whole_however_they_arrive(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), 1 << 20)
    for piece in (b"on", b"e\ntwo\nth", b"r", b"ee\n\nfour"):
        log.feed(piece)
    log.close()
    assert written(tmp_path / "log") == ["one", "two", "three", "", "four"]


def test_an_overlong_line_is_cut_and_the_next_is_not(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), 1 << 30)
    for _ in range(10):
        log.feed(b"x" * 100_000)
    log.feed(b"end\nnext\n" + b"y" * (LINE_BYTES + 5) + b"\nlast\n")
    log.close()
    lines = written(tmp_path / "log")
    assert [line[-12:] for line in lines] == [" [truncated]", "next", " [truncated]", "last"]
    assert {len(lines[0]), len(lines[2])} == {LINE_BYTES}


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), 1 << 20)
    log.feed("gr\u00fc\u00df\n".encode() + b"\xff\xfe bad\r\n")
    assert written(tmp_path / "log") == ["gr\u00fc\u00df", "\ufffd\ufffd bad"]


def test_a_log_has_an_end(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), 1000)
    for _ in range(1000):
        log.feed(b"z" * 99 + b"\n")
    log.close()
    assert (tmp_path / "log").stat().st_size < 2500
    assert "larger than 1000 bytes" in written(tmp_path / "log")[-1]


def test_without_a_file_only_the_tail_is_kept() -> None:
    log = Log(None, 1000)
    log.feed(b"a" * 10_000 + b"\nwhy\n")
    log.note("nothing")
    log.close()
    assert log.tail.endswith(b"\nwhy\n")
    assert len(log.tail) == 4096


def test_records_are_whole_or_absent(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert load(folder, "exit.json") is None
    reserve(folder, "exit.json", 8192)
    assert load(folder, "exit.json") is None
    assert (tmp_path / "exit.json.new").stat().st_blocks * 512 >= 8192
    save(folder, "exit.json", {"a": 1}, 8192)
    assert load(folder, "exit.json") == {"a": 1}
    save(folder, "exit.json", {"a": "long" * 100})
    save(folder, "exit.json", {"a": 2})
    assert load(folder, "exit.json") == {"a": 2}
    (tmp_path / "torn.json").write_text('{"a":')
    assert load(folder, "torn.json") is None


def test_a_run_goes_on_when_who_started_it_died_before_the_shim_was_ready(tmp_path: Path) -> None:
    """Its word that it can be spoken to reaches nobody: that must not be the end of the run."""
    bwrap = tmp_path / "bwrap"
    bwrap.write_text("#!/bin/sh\nexit 7\n")
    bwrap.chmod(0o755)
    spec = {"bwrap": str(bwrap), "args": os.devnull, "seccomp": os.devnull, "command": ["x"], "log": None}
    spec["mark"] = "m"
    limits = {"log_limit": 1000, "grace": 1.0, "max_runtime": None, "memory": None, "pids": 1, "disk": None}
    lists = {"join": [], "groups": [], "counters": {}, "scratch": [], "disk_paths": [], "rlimits": {}}
    save(str(tmp_path), "spec.json", {**spec, **limits, **lists})
    gone, told = os.pipe()
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (lock, told)]
    for fd in (gone, told, lock):
        os.close(fd)
    argv = [sys.executable, "-I", "-S", "-c", launch.SHIM, launch.ROOT, str(tmp_path)]
    actions = [(os.POSIX_SPAWN_DUP2, high[0], 3), (os.POSIX_SPAWN_DUP2, high[1], 4)]
    pid = os.posix_spawn(sys.executable, argv, {}, file_actions=actions, setsid=True)
    for fd in high:
        os.close(fd)
    os.waitpid(pid, 0)
    ended = load(str(tmp_path), "exit.json")
    assert ended is not None, "the shim died without a word"
    assert ended["exit_code"] == 7


def test_counters(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1500000\n")
    (tmp_path / "many").write_text("low 1\noom_kill 3\n")
    assert counter((str(tmp_path / "one"), "", 1e6)) == 1.5
    assert counter((str(tmp_path / "many"), "oom_kill", 1)) == 3
    assert counter((str(tmp_path / "many"), "absent", 1)) is None
    assert counter((str(tmp_path / "absent"), "", 1)) is None
    assert counter(None) is None


def test_processes_are_seen() -> None:
    me = os.getpid()
    assert started_ticks(me)
    assert started_ticks(1 << 22) is None
    assert me in family(os.getppid())
    assert resident([me]) > 1 << 20
    assert cpu_time([me]) > 0


def test_what_bears_a_mark_is_found_and_what_has_no_environment_is_not() -> None:
    with (
        subprocess.Popen(["sleep", "60"], env={MARK: "mine"}) as mine,
        subprocess.Popen(["sleep", "60"], env={MARK: "mine-too"}) as other,
        subprocess.Popen(["sleep", "60"], env={}) as bare,
    ):
        try:
            assert marked("mine") == [mine.pid]
        finally:
            for process in (mine, other, bare):
                process.kill()
    assert marked("mine") == []


def test_what_is_forked_while_one_looks_is_ended_too() -> None:
    """Each look ends what it found, and finds another that came meanwhile; one look finds nobody although there will be one."""
    left = [subprocess.Popen(["sleep", "60"]) for _ in range(6)]
    found = iter([[left[0]], [], [left[1], left[2]], [left[3]], [], left[4:], [], [], left])
    end_marked("any", lambda _: [process.pid for process in next(found)])
    assert [process.wait(20) for process in left] == [-9] * 6
    assert next(found) is left  # two looks without a find end it


def test_the_process_that_asks_is_let_be() -> None:
    end_marked("any", lambda _: [os.getpid()])


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not tell who waits for a CPU")
def test_processes_that_want_the_same_cpu_wait_for_it() -> None:
    burn = [sys.executable, "-c", "import sys\nsys.stdin.read(1)\nwhile True: pass"]
    cpu = min(os.sched_getaffinity(0))
    processes = [subprocess.Popen(burn, stdin=subprocess.PIPE) for _ in range(2)]
    pids = [process.pid for process in processes]
    try:
        for process in processes:
            os.sched_setaffinity(process.pid, {cpu})
            assert process.stdin is not None
            process.stdin.write(b"x")
            process.stdin.flush()
        until = time.monotonic() + 30
        while waited(pids) < 0.2 and time.monotonic() < until:
            time.sleep(0.02)
        assert waited(pids) >= 0.2
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert waited([1 << 22]) == 0.0


def test_disk_use_walks_in_slices(tmp_path: Path) -> None:
    for number in range(2500):
        (tmp_path / str(number)).touch()
    (tmp_path / "big").write_bytes(bytes(100_000))
    (tmp_path / "link").symlink_to("/usr")
    steps = list(disk_use([str(tmp_path), "/never"]))
    assert None in steps
    assert steps[-1] is not None
    assert 100_000 <= steps[-1] < 2_000_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_only_what_is_the_workloads_is_given_away(tmp_path: Path) -> None:
    from clary.backends.access import give
    from clary.domain.machine.workload import Mount, MountMode, Workload

    outside, output, farm = tmp_path / "outside", tmp_path / "job/output", tmp_path / "job/farm"
    for folder in (outside, output, farm):
        folder.mkdir(parents=True)
    blob = outside / "blob"
    blob.touch()
    (output / "own").touch()
    os.link(blob, output / "linked")
    (output / "away").symlink_to(outside)
    os.link(blob, farm / "data")
    mounts = (
        Mount(str(output), "/a", MountMode.READ_WRITE),
        Mount(str(farm), "/b", MountMode.OVERLAY),
        Mount(str(outside), "/c", MountMode.OVERLAY),
    )
    give(Workload("k", ("x",), {}, mounts, root=str(tmp_path / "job")), 210_007)
    assert {path.name for path in tmp_path.rglob("*") if path.lstat().st_uid == 210_007} == {
        "output",
        "own",
        "away",
        "farm",
    }


def test_a_sandbox_that_ended_while_its_network_was_made_needs_no_gate() -> None:
    """bwrap may be killed (a run that is stopped at once) just before its network is there: the shim must live to tell how it ended."""
    run = Run("", {"log": None, "log_limit": 0, "memory": None, "disk": None}, 0.0)
    waits, run.gate = os.pipe()
    os.close(waits)
    run.open_gate()
    assert run.gate is None
    run.open_gate()
