"""A file's lock: taken at once, waited for, and not waited for any longer than one wants."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clary.backends.file_locks import locked


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


async def test_a_free_lock_is_taken_at_once_and_kept(tmp_path: Path) -> None:
    file, said = opened(tmp_path / "l"), list[str]()
    await locked(file, lambda: said.append("waits"))
    with pytest.raises(BlockingIOError):
        fcntl.flock(opened(tmp_path / "l"), fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(file)
    assert said == []


async def test_one_that_somebody_has_is_waited_for(tmp_path: Path) -> None:
    holder, file = opened(tmp_path / "l"), opened(tmp_path / "l")
    fcntl.flock(holder, fcntl.LOCK_EX)
    waits = asyncio.Event()
    waiting = asyncio.create_task(locked(file, waits.set))
    await waits.wait()
    assert not waiting.done()
    os.close(holder)
    await asyncio.wait_for(waiting, 30)
    with pytest.raises(BlockingIOError):
        fcntl.flock(opened(tmp_path / "l"), fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(file)


def test_ctrl_c_does_not_wait_for_whoever_has_it(tmp_path: Path) -> None:
    holder = opened(tmp_path / "l")
    fcntl.flock(holder, fcntl.LOCK_EX)
    code = (
        "import asyncio, os, sys\nfrom clary.backends.file_locks import locked\n"
        "file = os.open(sys.argv[1], os.O_RDWR)\n"
        "asyncio.run(locked(file, lambda: print('waits', flush=True)))\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "l")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(30) == -signal.SIGINT
        finally:
            process.kill()
    os.close(holder)
