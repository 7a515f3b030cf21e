"""What runs in the background gives way to endpoints, and to nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.backends.conftest import PYTHON, Sandboxes, needs_sandbox

from clary.backends.shim import way
from clary.backends.shim.proc import cpu_time, family
from clary.backends.shim.records import load

BURN = "while True: pass"


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)


@pytest.fixture
def burning() -> Iterator[subprocess.Popen[bytes]]:
    """A process that burns a CPU, in a session of its own."""
    process = subprocess.Popen([sys.executable, "-c", BURN], start_new_session=True)
    yield process
    process.kill()
    process.wait()


class Replicas:
    """A folder in which replicas say where their CPU is counted; the test plays the counters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "serving"
        self.folder.mkdir()
        self.file = folder / "counter"
        self.use(0.0)
        way.tell(str(self.folder), "one", os.getpid(), [str(self.file), "", 1e9])

    def use(self, seconds: float) -> None:
        self.file.write_text(f"{int(seconds * 1e9)}\n")


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    return Replicas(tmp_path)


def giver(replicas: Replicas, tmp_path: Path, by: str) -> tuple[way.Way, list[str]]:
    said: list[str] = []
    spec = {"folder": str(replicas.folder), "weighed": False, "by": by}
    return way.Way(spec, str(tmp_path), said.append), said


def test_it_gives_way_while_replicas_want_cpu_and_for_a_while_after(replicas: Replicas, tmp_path: Path) -> None:
    made, said = giver(replicas, tmp_path, "weight")
    made.look(0.0, [])
    made.look(0.25, [])
    assert not made.giving
    assert said == []
    replicas.use(0.05)
    made.look(0.5, [])
    assert made.giving
    assert load(str(tmp_path), way.FILE) == {"giving": True, "by": "weight"}
    made.look(0.5 + way.HOLD_SECONDS - 0.1, [])
    assert made.giving
    made.look(0.5 + way.HOLD_SECONDS, [])
    assert not made.giving
    assert (load(str(tmp_path), way.FILE) or {})["giving"] is False
    replicas.use(9.0)
    made.look(6.0, [])
    assert made.giving
    assert said == [way.HELD_BACK], "the log is told once a minute at most"


def test_a_replica_that_hardly_works_is_no_reason(replicas: Replicas, tmp_path: Path) -> None:
    made, _ = giver(replicas, tmp_path, "weight")
    for step in range(40):
        replicas.use(step * 0.25 * way.WANTED / 2)
        made.look(step * 0.25, [])
        assert not made.giving


def test_who_has_ended_is_not_counted_nor_what_another_used_under_its_name(replicas: Replicas) -> None:
    assert way.used(str(replicas.folder)) == {"one": 0.0}
    process = subprocess.Popen(["true"])
    way.tell(str(replicas.folder), "two", process.pid, None)
    process.wait()
    assert set(way.used(str(replicas.folder))) == {"one"}
    way.untell(str(replicas.folder), "one")
    way.untell(str(replicas.folder), "one")
    assert way.used(str(replicas.folder)) == {}
    assert way.used(str(replicas.folder / "never")) == {}


def test_what_a_replica_uses_is_seen_without_control_groups(
    replicas: Replicas, burning: subprocess.Popen[bytes]
) -> None:
    way.tell(str(replicas.folder), "two", burning.pid, None)
    until(lambda: way.used(str(replicas.folder))["two"] > 0.1)


def niceness(pid: int) -> tuple[int, int]:
    """Of its session, where the kernel groups them, and its own."""
    try:
        group = int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])
    except OSError:
        group = 0
    return group, os.getpriority(os.PRIO_PROCESS, pid)


@pytest.mark.parametrize("by", ["autogroup", "priority", "turns"])
def test_each_way_holds_back_and_lets_go(
    replicas: Replicas, tmp_path: Path, burning: subprocess.Popen[bytes], by: str
) -> None:
    if by == "autogroup" and not Path("/proc/self/autogroup").exists():
        pytest.skip("THIS KERNEL DOES NOT GROUP SESSIONS")
    if by == "priority" and not way._may_lower():
        pytest.skip("NICENESS CANNOT BE LOWERED HERE")
    made, _ = giver(replicas, tmp_path, by)
    clock = [0.0]

    def look() -> None:
        clock[0] += 0.25
        made.look(clock[0], [burning.pid])

    look()
    look()
    assert niceness(burning.pid) == (0, 0)
    replicas.use(1.0)
    look()
    if by == "turns":
        states = []
        for _ in range(4):
            made.turn(clock[0])
            until(lambda: (_state(burning.pid) == "T") is not made.running)
            states.append((made.running, round((made.turn_due or 0.0) - clock[0], 3)))
        assert states == [(False, 0.08), (True, 0.02)] * 2
    wanted = {"autogroup": (way.NICE, 0), "priority": (0, way.NICE), "turns": (0, 0)}[by]
    until(lambda: look() or niceness(burning.pid) == wanted)  # type: ignore[func-returns-value]
    clock[0] += way.HOLD_SECONDS
    until(lambda: look() or niceness(burning.pid) == (0, 0))  # type: ignore[func-returns-value]
    assert not made.giving
    assert made.turn_due is None
    until(lambda: _state(burning.pid) != "T")


def test_who_is_to_end_is_let_go(replicas: Replicas, tmp_path: Path, burning: subprocess.Popen[bytes]) -> None:
    made, _ = giver(replicas, tmp_path, "turns")
    made.look(0.0, [burning.pid])
    replicas.use(1.0)
    made.look(0.25, [burning.pid])
    made.turn(0.25)
    until(lambda: _state(burning.pid) == "T")
    made.end()
    os.kill(burning.pid, signal.SIGTERM)
    assert burning.wait(20) == -signal.SIGTERM


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@needs_sandbox
@pytest.mark.parametrize("control_groups", [True, False], ids=["control groups", "none"])
async def test_a_job_gives_way_to_a_replica_and_is_told_so(tmp_path: Path, control_groups: bool) -> None:
    sandboxes = Sandboxes(tmp_path, control_groups=control_groups)
    try:
        job = await sandboxes.start("job", PYTHON, "-c", BURN, background=True)
        await sandboxes.start("idle", "/bin/sleep", "600")
        seen = await sandboxes.backend.observe(job)
        assert seen is not None
        assert not seen.giving_way
        replica = await sandboxes.start("replica", PYTHON, "-c", "print('up', flush=True)\n" + BURN)
        await sandboxes.shows("replica", "up")
        until_giving = time.monotonic() + 30
        while not (seen := await sandboxes.backend.observe(job)).giving_way:  # type: ignore[union-attr]
            assert time.monotonic() < until_giving
        until(lambda: way.HELD_BACK in sandboxes.log("job"))  # who holds it back tells its shim, which writes
        await sandboxes.backend.stop(replica, 0)
        await sandboxes.ended(replica)
        until_let = time.monotonic() + 60
        while (seen := await sandboxes.backend.observe(job)).giving_way:  # type: ignore[union-attr]
            assert time.monotonic() < until_let
        assert seen is not None
        # Its niceness is that of anybody else again: it does not give way to the machine for good.
        said = await sandboxes.backend.observe(job)
        assert said is not None
        assert said.pid is not None
        burns = max(family(said.pid), key=lambda pid: cpu_time([pid]))
        until(lambda: niceness(burns) == (0, 0))
    finally:
        await sandboxes.close()
