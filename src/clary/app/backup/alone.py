"""One process at a time: a lock that the kernel takes back when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clary.domain.errors import Unavailable


@contextmanager
def alone(lock: Path, taken: str) -> Iterator[None]:
    """Hold the file `lock`. Unavailable where another process holds it: `taken` says what that does."""
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"{taken}: wait until it ended") from None
        yield
    finally:
        os.close(descriptor)
