"""Forks shims: a python that has imported all that a shim needs, so that one begins in a millisecond or two instead of 20 to 50.

Started as `main(CONNECTION)` in a python of its own, with every signal of a shim's blocked and two placeholders for what a process is
known by: the mark in its environment and the folder on its command line, which each shim overwrites with its own. One message a shim: its
mark and folder, with the descriptors of the run's lock and of who waits for it. Ends when its connection is closed, as at the control
plane's death; its shims go on. It has no thread and holds nothing that a shim could lose with it.
"""

from __future__ import annotations

import _socket  # the module around it takes 40 ms to import
import ctypes
import gc
import os
import signal
import sys

from clary.backends.shim.proc import MARK
from clary.backends.shim.run import LOCK_FD
from clary.backends.shim.run import main as shim

TYPE_CHECKING = False  # typing itself takes longer to import than all the rest
if TYPE_CHECKING:
    from typing import NoReturn

READY_FD = LOCK_FD + 1
MARK_BYTES = 32  # of a mark
LONGEST = 1024  # bytes of a folder's path; there is room for so many on the command line
PLACEHOLDER = "nursery".ljust(LONGEST)
LARGEST = MARK_BYTES + 1 + LONGEST  # bytes of a message
_ARGUMENTS, _ENVIRONMENT = (
    45,
    47,
)  # fields of /proc/PID/stat (proc_pid_stat(5)) after the name: begin, and then end, of each


def main(connection: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who is interested in a shim watches it by its pidfd
    gc.freeze()  # what is imported stays: nobody looks through it again, which would copy its pages
    talk = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, connection)
    while True:
        words, extras, _, _ = talk.recvmsg(LARGEST, _socket.CMSG_SPACE(8))
        fds = [
            int.from_bytes(data[at : at + 4], "little") for _, _, data in extras for at in range(0, len(data) - 3, 4)
        ]
        if not words:
            return
        if len(fds) == 2 and os.fork() == 0:
            become(words, *fds)
        for fd in fds:
            os.close(fd)


def become(words: bytes, lock: int, told: int) -> NoReturn:
    """In the child: be a shim of its own session, known by its own mark and folder."""
    try:
        mark, folder = words[:MARK_BYTES], words[MARK_BYTES + 1 :]
        os.setsid()
        overwrite(_ENVIRONMENT, f"{MARK}={PLACEHOLDER[:MARK_BYTES]}".encode(), f"{MARK}=".encode() + mark)
        overwrite(_ARGUMENTS, PLACEHOLDER.encode(), folder.ljust(LONGEST, b"\0"))
        log = os.open(folder + b"/shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        lock, told = (fd if fd > READY_FD else os.dup(fd) for fd in (lock, told))
        for source, target in ((log, 1), (log, 2), (lock, LOCK_FD), (told, READY_FD)):
            os.dup2(source, target)
        shim(os.fsdecode(folder), READY_FD)
    except SystemExit as error:
        sys.stderr.write(f"{error.code}\n")
    finally:
        if sys.exc_info()[1] is not None:
            sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)


def overwrite(begin: int, old: bytes, new: bytes) -> None:
    """Put something as long in the place of what this process shows of itself."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[begin]), int(fields[begin + 1])
    at = ctypes.string_at(start, end - start).find(old)
    if at < 0 or len(old) != len(new):
        raise OSError("there is no room for what the shim is known by")
    ctypes.memmove(start + at, new, len(new))
