"""A Python child of `clary up` is a fork of it: the modules that it needs are imported already, so that a successor serves at once.

Starting Python and importing the control plane takes 2.5 s of CPU, on a busy machine three to five times as long; a fork takes
milliseconds, and the processes share the memory of what was imported. Owns what a fork must not inherit: descriptors, signal handlers,
the parent's objects (never collected, so that none of them closes a descriptor that means something else by then), its session, its
name. Does not know what the child is for.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
libc = ctypes.CDLL(None, use_errno=True)
_loaded: set[str] = set()


def load(module: str) -> None:
    """Import a child's module here, and what its `preload` adds, once. One that cannot be imported fails in the child, where its log is."""
    if module in _loaded:
        return
    _loaded.add(module)
    collects = gc.isenabled()
    gc.disable()  # nothing of what modules make is garbage
    try:
        with suppress(ImportError):
            found = importlib.import_module(module)
            preload = getattr(found, "preload", None)
            if preload is not None:
                preload()
    finally:
        gc.freeze()  # nor is it looked at again: a look would copy the pages that forks share
        if collects:
            gc.enable()
    if hasattr(libc, "malloc_trim"):  # glibc's
        libc.malloc_trim(0)  # what imports used meanwhile would be copied into each fork that uses it again


def fork(module: str, argv: Sequence[str], log: Path, keep: Sequence[int], death_signal: int) -> int:
    """The pid of a child that runs `module.main(argv)` in a session of its own, dies with this process, writes to `log` and has no
    descriptors but `keep`. Call it on the main thread: the kernel ends the child with the thread that forked it. OSError when the
    machine has no room for another process."""
    load(module)
    parent = os.getpid()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):
            stream.flush()
    # A signal that arrived before the child has handlers of its own would be written into the parent's wakeup socket.
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = parent  # until there is a child
    try:
        pid = os.fork()
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
    if pid:
        return pid
    status = 1
    try:
        _leave(parent, log, keep, death_signal)
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        _rename([module, *argv])
        status = importlib.import_module(module).main(argv)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1 if error.code else 0
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    finally:
        if sys.exc_info()[1] is not None:
            traceback.print_exc()
        for stream in (sys.stdout, sys.stderr):
            with suppress(ValueError, OSError):
                stream.flush()
        os._exit(status)  # whatever the frames above are in the middle of is the parent's


def _leave(parent: int, log: Path, keep: Sequence[int], death_signal: int) -> None:
    """In the child: nothing of the parent is left but its modules."""
    gc.freeze()
    os.setsid()
    libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it died before it could be watched
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP) and callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    out, null = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666), os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in keep:
            with suppress(OSError):
                os.close(descriptor)


def _rename(words: Sequence[str]) -> None:
    """What `ps` and `top` show: as much of the new command line as there is room in the parent's."""
    libc.prctl(PR_SET_NAME, words[0].rpartition(".")[2].encode()[:15], 0, 0, 0)
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start, arg_end: see proc(5)
    if 0 < begin < end:
        ctypes.memmove(begin, "\0".join(words).encode()[: end - begin - 1].ljust(end - begin, b"\0"), end - begin)
