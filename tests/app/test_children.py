"""Children are watched, started again with back-off, and ended with all that they started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from clary.app.children import Child, Spec, delay_after, end_session, ending

READY_THEN_WAIT = "import os,sys,time; os.write(int(sys.argv[1]), b'ready'); time.sleep(60)"


def child(tmp_path: Path, code: str, said: list[str], **options: object) -> Child:
    argv = [sys.executable, "-c", code, "{ready}"]
    spec = Spec("part", argv, tmp_path / "part.log", **options)  # type: ignore[arg-type]
    return Child(spec, lambda name, sentence: said.append(sentence))


async def until(condition: object, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError, FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.0), (1, 0.0), (2, 0.5), (3, 1.0), (4, 2.0), (6, 8.0), (7, 10.0), (99, 10.0)]
)
def test_back_off_starts_at_nothing_and_is_bounded(failures: int, seconds: float) -> None:
    assert delay_after(failures) == seconds


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.0), (2, 0.5), (3, 1.0), (4, 1.0), (99, 1.0)])
def test_what_had_become_ready_is_not_waited_for_long(failures: int, seconds: float) -> None:
    assert delay_after(failures, was_ready=True) == seconds


@pytest.mark.parametrize(
    ("status", "words"), [(9, "ended by SIGKILL"), (3 << 8, "ended with exit code 3"), (0, "ended with exit code 0")]
)
def test_endings_in_words(status: int, words: str) -> None:
    assert ending(status) == words


async def test_a_killed_child_is_started_again_and_the_reason_said(tmp_path: Path) -> None:
    said: list[str] = []
    part = child(tmp_path, READY_THEN_WAIT, said)
    part.start()
    await asyncio.wait_for(part.ready.wait(), 20)
    first = part.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: part.ready.is_set() and part.pid not in (0, first))
    assert said == ["ended by SIGKILL; started again"]
    part.spec.log.write_text("Traceback\nOSError: no disk\n")
    assert part.last_line() == "OSError: no disk"
    with part.spec.log.open("a") as file:
        file.write("2026-11-24 10:23:23,519 INFO control clary.access: {}\n")
    assert part.last_line() == ""  # that is no reason
    assert part.restarts == 1
    assert not part.failed
    await part.stop(5)
    assert not alive(first)
    assert part.pid == 0


async def test_a_child_that_refuses_to_start_says_why_in_its_own_words(tmp_path: Path) -> None:
    said: list[str] = []
    code = "import os,sys; os.write(int(sys.argv[1]), b'refused: the records are of a newer Clary.'); sys.exit(3)"
    part = child(tmp_path, code, said)
    part.start()
    await until(lambda: said)
    assert said == ["ended with exit code 3 (the records are of a newer Clary.); again in 1 s"]
    assert part.refused == "the records are of a newer Clary."
    assert not part.ready.is_set()
    await part.stop(5)


async def test_what_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    program = tmp_path / "program"
    part = Child(Spec("part", [str(program)], tmp_path / "part.log"), lambda name, sentence: said.append(sentence))
    part.start()
    await until(lambda: len(said) >= 2)
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    await until(lambda: part.pid)
    assert said[:2] == [
        "could not be started: No such file or directory; started again",
        "could not be started: No such file or directory; again in 0.5 s",
    ]
    await part.stop(5)


async def test_what_a_failing_child_wrote_last_is_in_the_report(tmp_path: Path) -> None:
    said: list[str] = []
    part = child(tmp_path, "import sys; sys.exit('no disk left')", said)
    part.start()
    await until(lambda: len(said) >= 2)
    assert said[0] == "ended with exit code 1 (no disk left); again in 1 s"
    assert said[1] == "ended with exit code 1 (no disk left); again in 1 s"
    assert part.failed
    await part.stop(5)


async def test_what_is_killed_before_it_is_ready_did_not_fail_by_itself(tmp_path: Path) -> None:
    said: list[str] = []
    part = child(tmp_path, "import time; time.sleep(60)", said)
    part.start()
    await until(lambda: part.pid)
    os.kill(part.pid, signal.SIGKILL)
    await until(lambda: said)
    assert not part.failed
    await part.stop(5)


async def test_a_child_that_ignores_its_end_is_killed_with_its_session(tmp_path: Path) -> None:
    stubborn = (
        "import os,signal,subprocess,sys,time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "p = subprocess.Popen([sys.executable, '-c', 'import signal,time; signal.pause()']);"
        "os.write(int(sys.argv[1]), str(p.pid).encode()); time.sleep(60)"
    )
    part = child(tmp_path, stubborn, [])
    part.start()
    await asyncio.wait_for(part.ready.wait(), 20)
    (grandchild,) = [int(p) for p in Path(f"/proc/{part.pid}/task/{part.pid}/children").read_text().split()]
    await part.stop(0.2)
    await until(lambda: not alive(grandchild))
    assert part.pid == 0


async def test_before_runs_before_every_start(tmp_path: Path) -> None:
    runs: list[int] = []
    part = child(tmp_path, READY_THEN_WAIT, [], before=lambda: runs.append(1))
    part.start()
    await asyncio.wait_for(part.ready.wait(), 20)
    os.kill(part.pid, signal.SIGKILL)
    await until(lambda: part.restarts == 1 and part.ready.is_set())
    assert len(runs) == 2
    await part.stop(5)


async def test_it_is_told_when_a_child_runs_and_when_it_is_ready(tmp_path: Path) -> None:
    part = child(tmp_path, READY_THEN_WAIT, [])
    seen: list[tuple[bool, bool]] = []
    part.changed = lambda name: seen.append((part.pid != 0, part.ready.is_set()))
    part.start()
    await asyncio.wait_for(part.ready.wait(), 20)
    await part.stop(5)
    assert seen == [(True, False), (True, True)]


async def test_a_session_is_ended_only_where_it_is_still_that_program(tmp_path: Path) -> None:
    part = child(tmp_path, READY_THEN_WAIT, [])
    part.start()
    await asyncio.wait_for(part.ready.wait(), 20)
    end_session(part.pid, "nginx")
    assert alive(part.pid)
    end_session(part.pid, Path(f"/proc/{part.pid}/comm").read_text().strip())
    await asyncio.wait_for(part.ended.wait(), 20)
    await part.stop(5)
