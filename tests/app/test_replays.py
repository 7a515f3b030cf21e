"""A replay in a process of its own: what it answers, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from clary.app.replays import ProcessReplays, answered, asked, read
from clary.domain.errors import Unavailable
from clary.domain.scaling.day import MOST, UNKNOWN, Day
from clary.testing.replays import NOON, SETUP, MemoryReplays, ReplaysConformance

DAY = Day(NOON * 60, [0, UNKNOWN, MOST] * 20, [(0.1, 0.5)])


def child(code: str, budget: int = 5, patience: float = 300.0) -> ProcessReplays:
    begin = "import sys; from clary.app.replays import give_way; give_way(int(sys.argv[1]), int(sys.argv[2]))\n"
    return ProcessReplays(budget, patience, (sys.executable, "-c", begin + code))


class TestMemoryReplays(ReplaysConformance):
    def replays(self) -> MemoryReplays:
        return MemoryReplays()


class TestProcessReplays(ReplaysConformance):
    def replays(self) -> ProcessReplays:
        return ProcessReplays()


def test_a_question_is_read_as_it_was_asked() -> None:
    assert read(asked(DAY, SETUP)) == (DAY, SETUP)


async def test_it_gives_way_to_everything_else() -> None:
    told = child("import os; sys.exit(os.nice(0))")
    with pytest.raises(Unavailable, match="status 19"):
        await told.play(DAY, SETUP)


async def test_one_that_fails_says_with_what() -> None:
    with pytest.raises(Unavailable, match="the replay failed with status 1: RuntimeError: no luck"):
        await child("raise RuntimeError('no luck')").play(DAY, SETUP)


async def test_one_that_uses_up_its_cpu_is_ended() -> None:
    with pytest.raises(Unavailable, match="it may use 1 s of CPU"):
        await child("while True: pass", budget=1).play(DAY, SETUP)


async def test_one_that_does_not_come_to_an_end_is_ended() -> None:
    with pytest.raises(Unavailable, match=r"not done after 0\.2 s"):
        await child("import signal; signal.pause()", patience=0.2).play(DAY, SETUP)


async def test_it_does_not_outlive_who_waits_for_it() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    code = "import os, signal; print(os.getpid(), file=open(f'/proc/{os.getppid()}/fd/" + str(writing)
    playing = asyncio.create_task(child(code + "', 'w')); signal.pause()").play(DAY, SETUP))
    pid = int(await asyncio.to_thread(os.read, reading, 20))
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    os.close(reading)
    os.close(writing)


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(Unavailable, match="could not be started"):
        await ProcessReplays(command=("/nowhere/python",)).play(DAY, SETUP)


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"scores": {"a": [1]}, "cpu": 1}', b'{"scores": {}}'])
def test_an_answer_that_is_none(answer: bytes) -> None:
    with pytest.raises(Unavailable, match="no score"):
        answered(answer)
