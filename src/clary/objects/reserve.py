"""A file that holds disk space for deletions: when the disk is full, it makes room for the row that a deletion has to write.

While it is given up, nothing else may be written, or the room would be gone before it served. Does not know: what is deleted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from clary.objects.files import free_bytes, unlink

SIZE = 8 << 20  # a deletion of a thousand keys writes half of it
ROOMY = 4 * SIZE  # free bytes from which it is made


class Reserve:
    def __init__(self, path: Path, free: Callable[[Path], int] = free_bytes) -> None:
        self._path, self._free = path, free
        self.given_up = False

    def keep(self) -> None:
        """Make it, where there is none and room for it."""
        if self._path.exists() or self._free(self._path.parent) < ROOMY:
            return
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        made = False
        try:
            with suppress(OSError):
                os.posix_fallocate(descriptor, 0, SIZE)
                made = True
        finally:
            os.close(descriptor)
            if not made:
                unlink(str(self._path))
        self.given_up = self.given_up and not made

    def give_up(self) -> bool:
        """Let its space go; whether there was any."""
        if not self._path.exists():
            return False
        self.given_up = True
        unlink(str(self._path))
        return True
