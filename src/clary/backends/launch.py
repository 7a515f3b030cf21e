"""Starts a shim: a process of its own session that has the run's lock and says when it can be spoken to. One process at a time may."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from clary.backends.shim import nursery, standby
from clary.backends.shim.proc import MARK, end_marked
from clary.backends.state import Folder
from clary.domain.errors import Unavailable, Unschedulable

SHIM = "import sys; sys.path.insert(0, sys.argv[1]); from clary.backends.shim.run import main; main(sys.argv[2], 4)"
ROOT = str(Path(__file__).resolve().parents[2])  # where the shim finds its modules
LITTLE = 1 << 20  # bytes free on a disk, below which a shim that says nothing is taken to have found no room
READY_SECONDS = 20.0
NURSERY = "import sys; sys.path.insert(0, sys.argv[1]); from clary.backends.shim.nursery import main; main(5)"
# Signals stay blocked until a shim has its handlers: one that comes early waits instead of killing it.
BLOCKED = [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT]


def claim(folder: Folder, key: str) -> int | None:
    """The right to start this run; None when another process that had it has started it. If that one, or its shim, dies before it has, the
    right is ours."""
    until = time.monotonic() + 2 * READY_SECONDS
    while (lock := folder.lock()) is None and folder.read("run.json") is None:
        if time.monotonic() > until:
            raise Unavailable(f"another process has been starting {key!r} for {2 * READY_SECONDS:.0f} s; try again")
        time.sleep(0.005)
    return lock


class Nursery:
    """Starts shims by a process that forks them (`shim/nursery.py`). It is started with the first one, and again when it died."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._talk: socket.socket | None = None
        self._pid = 0

    def fork(self, folder: Path, lock: int, told: int, mark: str) -> bool:
        """Ask for a shim, which has copies of both descriptors. False: there is no nursery that could be asked."""
        path = os.fsencode(str(folder))
        if len(path) > nursery.LONGEST:
            return False
        with self._turn:
            for _ in range(2):
                talk = self._talk or self._start()
                try:
                    socket.send_fds(talk, [mark.encode() + b"\0" + path], [lock, told])
                    return True
                except OSError:  # it was killed
                    self._end()
        return False

    def close(self) -> None:
        """End it; its shims go on."""
        with self._turn:
            self._end()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 10)
            actions = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in range(3)]
            variables = {"LC_ALL": "C.UTF-8", MARK: nursery.PLACEHOLDER[: nursery.MARK_BYTES]}
            argv = [sys.executable, "-I", "-S", "-c", NURSERY, ROOT, nursery.PLACEHOLDER]
            try:
                self._pid = os.posix_spawn(
                    sys.executable,
                    argv,
                    variables,
                    file_actions=[*actions, (os.POSIX_SPAWN_DUP2, connection, nursery.READY_FD + 1)],
                    setsid=True,
                    setsigmask=BLOCKED,
                )
            finally:
                os.close(connection)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._talk = ours
        return ours

    def _end(self) -> None:
        if self._talk is None:
            return
        self._talk.close()
        self._talk = None
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


def spawn(folder: Path, lock: int, mark: str, forks: Nursery) -> None:
    """Start the shim and wait until it can be spoken to. It has a copy of the lock. `mark` is what it is known by."""
    if _begun(folder, mark, lambda told: forks.fork(folder, lock, told, mark)):
        return
    # There is no nursery, or it died just now, or hangs: a python of its own, and another nursery for the next one.
    forks.close()
    if not _begun(folder, mark, lambda told: _executed(folder, lock, told, mark)):
        raise Unschedulable("the shim did not start: " + words(folder / "shim.log", _free(folder)))


def give(waiting: Folder, folder: Folder, lock: int) -> bool:
    """Have the shim of a sandbox that waits take a run. False: it does not, and will not later."""
    heard = _heard(lambda told: standby.ask(str(waiting.path), str(folder.path), lock, told))
    if heard is None:  # it hangs
        end_marked(waiting.mark)
    if not heard:
        (folder.path / "run.json").unlink(missing_ok=True)  # it died just when it had begun with it
    return bool(heard)


def _begun(folder: Path, mark: str, begin: Callable[[int], bool]) -> bool:
    """Whether a shim says that it is ready. None is left otherwise."""
    heard = _heard(begin)
    if not heard:
        end_marked(mark)
    return bool(heard)


def _heard(begin: Callable[[int], bool]) -> bool | None:
    """Whether the shim that is asked says that it is ready. None: it says nothing for too long."""
    ready, told = os.pipe()
    try:
        try:
            asked = begin(told)
        finally:
            os.close(told)
        waiting = select.poll()
        waiting.register(ready, select.POLLIN | select.POLLHUP)
        if not asked:
            return False
        return bool(os.read(ready, 1)) if waiting.poll(READY_SECONDS * 1000) else None
    finally:
        os.close(ready)


def _executed(folder: Path, lock: int, told: int, mark: str) -> bool:
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
    try:
        os.posix_spawn(
            sys.executable,
            argv,
            {"LC_ALL": "C.UTF-8", MARK: mark},
            file_actions=actions,
            setsid=True,
            setsigmask=BLOCKED,
        )
    finally:
        os.close(high)
    return True


def words(log: Path, free: int) -> str:
    """Why a shim did not start, as it said itself; on a disk with `free` bytes left it may have had no room to say anything."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    if lines:
        return lines[-1]
    return f"no room on the disk: {free >> 10} KiB are free" if free < LITTLE else "no word from it"


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
