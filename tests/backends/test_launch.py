"""Shims that are forked: what they are known by, and that a start outlives the process that forks them."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clary.backends.launch import LITTLE, Nursery, words
from clary.backends.shim import nursery
from clary.backends.shim.proc import marked
from clary.backends.state import Folder


@pytest.fixture
def forks() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def asked(forks: Nursery, folder: Folder) -> tuple[int, bytes]:
    """A shim without a spec: it says why it ended in its log. What it wrote to who waits for it: nothing."""
    folder.path.mkdir(parents=True)
    lock = folder.lock()
    assert lock is not None
    ready, told = os.pipe()
    assert forks.fork(folder.path, lock, told, folder.mark)
    os.close(told)
    os.close(lock)
    select.select([ready], [], [], 20)
    said = os.read(ready, 1)
    os.close(ready)
    return lock, said


def test_a_shim_that_cannot_begin_ends_and_says_why(forks: Nursery, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run" / "shim")
    _, said = asked(forks, folder)
    assert said == b""
    assert "no readable spec.json" in (folder.path / "shim.log").read_text()
    until = time.monotonic() + 20
    while (folder.alive() or marked(folder.mark)) and time.monotonic() < until:
        time.sleep(0.005)  # who forked it lets go of the lock at its own pace
    assert not folder.alive()
    assert marked(folder.mark) == []


def test_another_nursery_is_started_when_it_was_killed(forks: Nursery, tmp_path: Path) -> None:
    asked(forks, Folder(tmp_path / "one" / "shim"))
    first = forks._pid
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    folder = Folder(tmp_path / "two" / "shim")
    asked(forks, folder)
    assert forks._pid != first
    assert "no readable spec.json" in (folder.path / "shim.log").read_text()


def test_a_path_that_is_too_long_is_nobody_a_nursery_forks(forks: Nursery) -> None:
    assert not forks.fork(Path("/" + "x" * nursery.LONGEST), 0, 0, "m" * 32)
    assert forks._pid == 0


@pytest.mark.parametrize(
    ("said", "free", "told"),
    [
        ("first\nno readable spec.json\n", 0, "no readable spec.json"),
        ("", 4096, "no room on the disk: 4 KiB are free"),
        ("", LITTLE, "no word from it"),
    ],
)
def test_why_a_shim_did_not_start(said: str, free: int, told: str, tmp_path: Path) -> None:
    log = tmp_path / "shim.log"
    assert words(log, LITTLE) == "no word from it"
    log.write_text(said)
    assert words(log, free) == told
