"""Starts a shim: a python of its own session that inherits the run's lock and says when it can be spoken to. One process at a time may."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import time
from pathlib import Path

from clary.backends.shim.proc import MARK
from clary.backends.state import Folder
from clary.domain.errors import Unavailable, Unschedulable

SHIM = "import sys; sys.path.insert(0, sys.argv[1]); from clary.backends.shim.run import main; main(sys.argv[2], 4)"
ROOT = str(Path(__file__).resolve().parents[2])  # where the shim finds its modules
READY_SECONDS = 20.0


def claim(folder: Folder, key: str) -> int | None:
    """The right to start this run; None when another process that had it has started it. If that one, or its shim, dies before it has, the
    right is ours."""
    until = time.monotonic() + 2 * READY_SECONDS
    while (lock := folder.lock()) is None and folder.read("run.json") is None:
        if time.monotonic() > until:
            raise Unavailable(f"another process has been starting {key!r} for {2 * READY_SECONDS:.0f} s; try again")
        time.sleep(0.005)
    return lock


def spawn(folder: Path, lock: int, mark: str) -> None:
    """Start the shim and wait until it can be spoken to. The lock is handed over by inheritance. `mark` is what it is known by."""
    ready, told = os.pipe()
    try:
        high = fcntl.fcntl(told, fcntl.F_DUPFD_CLOEXEC, 10)  # clear of the numbers that the shim is given
        argv = [sys.executable, "-I", "-S", "-c", SHIM, ROOT, str(folder)]
        log = str(folder / "shim.log")
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, lock, 3),
            (os.POSIX_SPAWN_DUP2, high, 4),
        ]
        # Signals stay blocked until the shim has its handlers: one that comes early waits instead of killing it.
        blocked = [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT]
        pid = os.posix_spawn(
            sys.executable,
            argv,
            {"LC_ALL": "C.UTF-8", MARK: mark},
            file_actions=actions,
            setsid=True,
            setsigmask=blocked,
        )
        os.close(high)
    finally:
        os.close(told)
    try:
        waiting = select.poll()
        waiting.register(ready, select.POLLIN | select.POLLHUP)
        if waiting.poll(READY_SECONDS * 1000) and os.read(ready, 1):
            return
    finally:
        os.close(ready)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise Unschedulable("the shim did not start: " + _words(folder / "shim.log"))


def _words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "no word from it"
