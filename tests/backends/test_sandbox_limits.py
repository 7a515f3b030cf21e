"""What takes too much is contained: its neighbours and the host do not notice. With control groups where they can be had, and with what
stands in for them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clary.domain.machine.workload import Mount, MountMode, RunState

from .conftest import FACTS, PYTHON, Sandboxes, needs_sandbox

pytestmark = needs_sandbox

FORK_BOMB = """
import os, sys, time
refused = 0
for _ in range(5000):
    try:
        if os.fork() == 0:
            time.sleep(60); os._exit(0)
    except OSError: refused += 1
    if refused > 20: break
print("refused" if refused else "all made", flush=True)
"""
THREAD_BOMB = """
import threading, time
refused = 0
for _ in range(5000):
    try: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    except RuntimeError: refused += 1
    if refused > 20: break
print("refused" if refused else "all made", flush=True)
import os; os._exit(0)
"""
MEMORY_BOMBS = {
    "heap": "taken = []\nwhile True: taken.append(bytearray(8 << 20))",
    "children": """
import os, time
for _ in range(20):
    if os.fork() == 0:
        taken = bytearray(60 << 20); time.sleep(60)
os.wait()
""",
    "shm": "file = open('/dev/shm/bomb', 'wb')\nwhile True: file.write(bytes(8 << 20)); file.flush()",
    "tmpfs": "file = open('/tmp/bomb', 'wb')\nwhile True: file.write(bytes(8 << 20)); file.flush()",
    "map": "import mmap\ntaken = mmap.mmap(-1, 4 << 30)\nfor at in range(0, 4 << 30, 4096): taken[at] = 1",
}


@pytest.fixture(params=["control groups", "stand-ins"])
async def limited(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sandboxes]:
    made = Sandboxes(tmp_path, control_groups=request.param == "control groups")
    if request.param == "control groups" and "memory" not in made.backend.groups:
        pytest.skip(f"NO CONTROL GROUPS TO TEST HERE: {made.backend.groups.facts()}")
    yield made
    await made.close()


async def neighbour_is_well(sandboxes: Sandboxes, key: str) -> None:
    before = time.monotonic()
    seen, log = await sandboxes.run(key, "/bin/sh", "-c", "echo well")
    assert (seen.exit_code, log) == (0, "well")
    assert time.monotonic() - before < 20


@pytest.mark.parametrize("bomb", [FORK_BOMB, THREAD_BOMB], ids=["fork", "thread"])
async def test_process_bombs(limited: Sandboxes, bomb: str) -> None:
    handle = await limited.start("bomb", PYTHON, "-c", bomb, pids=100)
    await limited.shows("bomb", "refused")
    await neighbour_is_well(limited, "neighbour")
    await limited.backend.stop(handle, 0)
    await limited.ended(handle)


@pytest.mark.parametrize("bomb", MEMORY_BOMBS)
async def test_memory_bombs(limited: Sandboxes, bomb: str) -> None:
    handle = await limited.start("bomb", PYTHON, "-c", MEMORY_BOMBS[bomb], memory=200 << 20)
    await neighbour_is_well(limited, "neighbour")
    seen = await limited.ended(handle)
    if bomb == "children":
        # The kernel ends one child, for which the parent waited; the shim, where it has to stand in, ends all.
        assert seen.exit_code == (0 if "memory" in limited.backend.groups else 137)
        return
    assert seen.exit_code != 0
    # A full file system may come first: an error that the script sees.
    assert seen.oom_killed or (bomb in ("shm", "tmpfs") and "No space left" in limited.log("bomb"))
    if bomb in ("heap", "map"):
        assert seen.exit_code == 137


async def test_memory_is_free_again(limited: Sandboxes) -> None:
    """What lay in the sandbox's tmpfs is gone with it."""
    script = "head -c 100000000 /dev/zero > /dev/shm/a; head -c 50000000 /dev/zero > /tmp/b; echo full; sleep 60"
    before = _shared_memory()
    handle = await limited.start("fill", "/bin/sh", "-c", script, memory=400 << 20)
    await limited.shows("fill", "full")
    assert _shared_memory() - before > 100 << 20
    await limited.backend.stop(handle, 0)
    await limited.ended(handle)
    async with asyncio.timeout(60):
        while _shared_memory() - before > 50 << 20:
            await asyncio.sleep(0.05)


async def test_disk_quota(limited: Sandboxes, tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    mounts = (Mount(str(output), "/opt/ml/model", MountMode.READ_WRITE),)
    script = "cd /opt/ml/model; i=0; while :; do head -c 4000000 /dev/zero > file$i; i=$((i+1)); sleep 0.05; done"
    seen, _ = await limited.run("files", "/bin/sh", "-c", script, mounts=mounts, disk=20 << 20)
    assert seen.exit_code == 137
    assert "disk" in seen.detail
    seen, log = await limited.run(
        "file", "/bin/sh", "-c", "head -c 90000000 /dev/zero > /opt/ml/model/one", mounts=mounts, disk=30 << 20
    )
    assert seen.exit_code != 0
    assert (output / "one").stat().st_size <= 30 << 20, log


async def test_what_the_mounts_hold_is_told(limited: Sandboxes, tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    mounts = (Mount(str(output), "/opt/ml/model", MountMode.READ_WRITE),)
    script = "head -c 8000000 /dev/zero > /opt/ml/model/file; sleep 60"
    handle = await limited.start("told", "/bin/sh", "-c", script, mounts=mounts, disk=100 << 20)
    async with asyncio.timeout(20):
        while True:
            seen = await limited.backend.observe(handle)
            if seen is not None and (seen.disk_bytes or 0) >= 8_000_000:
                break
            await asyncio.sleep(0.05)
    assert (seen.disk_bytes or 0) < 20_000_000
    await limited.backend.stop(handle, 0)
    await limited.ended(handle)


async def test_resize_memory_in_place(limited: Sandboxes) -> None:
    script = "taken = []\nfor line in range(30): taken.append(bytearray(10 << 20))\nimport time; time.sleep(2)"
    seen, log = await limited.run("small", PYTHON, "-c", script, memory=150 << 20)
    assert (seen.oom_killed, seen.exit_code) == (True, 137), log
    go = "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('/ml/go'): time.sleep(0.01)\n" + script
    folder = limited.folder / "go"
    folder.mkdir()
    mounts = (Mount(str(folder), "/ml", MountMode.READ_WRITE),)
    handle = await limited.start("grown", PYTHON, "-c", go, memory=150 << 20, mounts=mounts)
    await limited.shows("grown", "up")
    await limited.backend.resize(handle, 2.0, 600 << 20)
    (folder / "go").touch()
    seen = await limited.ended(handle)
    assert (seen.exit_code, seen.oom_killed) == (0, False), limited.log("grown")


async def test_cpu_ceiling(limited: Sandboxes) -> None:
    """Two processes, with half a second of work each, get together what the workload may have: other load only makes them slower."""
    spin = "import os, time\nchild = os.fork()\nwhile time.thread_time() < 0.5: pass\nif child: os.wait()\n"
    allowed = 0.5 if "cpu" in limited.backend.groups else 1.0
    seen, log = await limited.run("spin", PYTHON, "-I", "-S", "-c", spin, cpu=allowed)
    assert seen.exit_code == 0, log
    assert seen.started_at is not None
    assert seen.ended_at is not None
    assert seen.cpu_seconds > 0.8  # as far as it was seen before the end
    assert seen.ended_at - seen.started_at > 0.8 / allowed


async def test_cpu_that_is_idle_may_be_borrowed(limited: Sandboxes) -> None:
    """Half a second of work at a fifth of a CPU takes two seconds and more, unless a whole CPU may be borrowed."""
    if "cpu" not in limited.backend.groups:
        pytest.skip("without control groups a CPU is the least that is given")
    spin = "import time\nend = time.thread_time() + 0.5\nwhile time.thread_time() < end: pass\n"

    async def takes(key: str, burst: float) -> float:
        seen, log = await limited.run(key, PYTHON, "-I", "-S", "-c", spin, cpu=0.2, burst=burst)
        assert (seen.exit_code, seen.cpu_seconds > 0.4) == (0, True), log
        assert seen.started_at is not None
        assert seen.ended_at is not None
        return seen.ended_at - seen.started_at

    assert await takes("alone", 0.0) > 1.8
    took = [await takes("borrows-0", 1.0)]
    while min(took) >= 1.8 and len(took) < 8:  # others may be at work on this machine: then nothing is idle
        took.append(await takes(f"borrows-{len(took)}", 1.0))
    assert min(took) < 1.8


async def test_what_runs_in_the_background_gives_way(limited: Sandboxes) -> None:
    """Both want every CPU at the same time. Other load may lie unevenly on the CPUs, and so on the two: then once more."""
    spin = (
        "import os, sys, time\nstart = float(sys.argv[1])\nfor _ in range(os.cpu_count() - 1):\n    if not os.fork(): break\n"
        "time.sleep(max(0, start - time.time()))\nbegan = time.process_time()\nwhile time.time() < start + 2: pass\n"
        "print('used', time.process_time() - began, flush=True)\ntime.sleep(0.3)\n"
    )
    cpus = float(os.cpu_count() or 1)

    async def used(key: str, background: bool, at: float) -> float:
        ended, log = await limited.run(key, PYTHON, "-I", "-S", "-c", spin, str(at), cpu=cpus, background=background)
        assert ended.exit_code == 0, log
        return sum(float(line.split()[-1]) for line in log.splitlines() if "used" in line)

    seen: list[tuple[float, float]] = []
    while not any(first > 4 * last for first, last in seen):
        assert len(seen) < 5, seen
        key, at = f"{len(seen)}", time.time() + 2.0
        seen.append(await asyncio.gather(used(f"front-{key}", False, at), used(f"back-{key}", True, at)))


async def test_without_memory_a_job_goes_before_a_replica_and_both_before_clary(limited: Sandboxes) -> None:
    tell = "print(open('/proc/self/oom_score_adj').read(), flush=True)"
    scores = []
    for key, background in (("replica", False), ("job", True)):
        seen, log = await limited.run(key, PYTHON, "-c", tell, background=background)
        assert seen.exit_code == 0, log
        scores.append(int(log.split()[-1]))
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert own < scores[0] < scores[1]


async def test_running_figures(limited: Sandboxes) -> None:
    script = "taken = bytearray(100 << 20); print('up', flush=True); import time; time.sleep(60)"
    handle = await limited.start("figures", PYTHON, "-c", script)
    await limited.shows("figures", "up")
    seen = await limited.backend.observe(handle)
    assert seen is not None
    assert seen.state is RunState.RUNNING
    assert 100 << 20 <= seen.memory_bytes <= 200 << 20
    assert seen.memory_peak_bytes >= 100 << 20
    await limited.backend.stop(handle, 0)
    ended = await limited.ended(handle)
    if "memory" in limited.backend.groups:  # the shim looks now and then, the kernel always
        assert ended.memory_peak_bytes >= 100 << 20


async def test_log_flood(limited: Sandboxes) -> None:
    """A gigabyte without a line's end costs no memory, overlong lines are cut with a mark."""
    handle = await limited.start("flood", "/bin/sh", "-c", "head -c 300000000 /dev/zero | tr '\\0' x; echo; echo after")
    peak = 0
    running = asyncio.create_task(limited.ended(handle))
    while not running.done():
        seen = await limited.backend.observe(handle)
        if seen is not None and seen.pid is not None:
            peak = max(peak, _resident(seen.pid))
        await asyncio.sleep(0.02)
    assert (await running).exit_code == 0
    first, second = limited.log("flood").splitlines()
    assert first.endswith("x [truncated]")
    assert len(first) == 256 * 1024
    assert second == "after"
    assert peak < 40 << 20


async def test_shim_is_small(sandboxes: Sandboxes) -> None:
    handle = await sandboxes.start("small", "/bin/sh", "-c", "echo up; sleep 60")
    await sandboxes.shows("small", "up")
    seen = await sandboxes.backend.observe(handle)
    assert seen is not None
    assert seen.pid is not None
    assert _proportional(seen.pid) < 16 << 20
    await sandboxes.backend.stop(handle, 0)


def test_facts_name_every_resource(tmp_path: Path) -> None:
    for control_groups in (True, False):
        facts = Sandboxes(tmp_path, control_groups).backend.groups.facts()
        assert set(facts) == {"cpu", "memory", "pids"}
    assert FACTS.cpus >= 1


def _shared_memory() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Shmem:"))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def _proportional(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
