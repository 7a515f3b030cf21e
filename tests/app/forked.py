"""What `test_forks` forks: a program that tells what it has, and does what it is told."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence

preloaded: list[int] = []


def preload() -> None:
    preloaded.append(os.getpid())


def main(argv: Sequence[str] | None = None) -> int:
    """`argv`: what to do, the descriptor to write to, more."""
    words = list(argv or ())
    if words[0] == "exit":
        return int(words[1])
    if words[0] == "fail":
        raise OSError("no disk")
    if words[0] == "say":
        sys.exit("said")
    descriptors = [d for d in map(int, os.listdir("/proc/self/fd")) if d > 2 and os.path.exists(f"/proc/self/fd/{d}")]
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    gc.collect()  # an object of the parent that is collected here would close a descriptor that is ours now
    facts = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "threads": threading.active_count(),
        "descriptors": sorted(descriptors),
        "taken_back": [d for d in opened if not os.path.exists(f"/proc/self/fd/{d}")],
        "handlers": [s.name for s in signal.Signals if s != signal.SIGINT and callable(signal.getsignal(s))],
        "blocked": [int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "preloaded": preloaded,
        "words": words,
    }
    print("in the log", flush=True)
    os.write(int(words[1]), json.dumps(facts).encode())
    signal.pause()
    return 0
