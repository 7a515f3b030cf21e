"""The real clock, the only place where Clary's own processes read the time for a port; and what was set while none of them ran."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path

from clary.ports import Clock

LOOK = 1.0  # seconds
SLEWED = 1.0  # seconds of change that are worth a note


class SystemClock:
    """`ports.Clock` on this machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class Steps:
    """Keeps in a file how far the time of day is from the seconds since the machine was started (the boot `boot`): what changes there while
    no control plane runs is by how much somebody set the clock. `away`: that, in seconds, since the last note of this boot."""

    def __init__(self, path: Path, clock: Clock, boot: str) -> None:
        self._path, self._clock, self._boot = path, clock, boot
        self._noted: float | None = None
        offset, known = self._offset(), self._read()
        self._note(offset)
        self.away = 0.0 if known is None else offset - known

    async def keep(self) -> None:
        """Note what is set while this process runs, where its loops see it themselves. Until cancelled."""
        while True:
            offset = self._offset()
            if self._noted is None or abs(offset - self._noted) >= SLEWED:
                self._note(offset)
            await asyncio.sleep(LOOK)

    def _offset(self) -> float:
        return self._clock.now() - self._clock.monotonic()

    def _read(self) -> float | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(self._path.read_text())
            return float(said["offset"]) if said["boot"] == self._boot else None
        return None

    def _note(self, offset: float) -> None:
        fresh = self._path.with_suffix(".new")
        with suppress(OSError):  # a full disk: it is tried again
            fresh.write_text(json.dumps({"boot": self._boot, "offset": offset}))
            fresh.replace(self._path)
            self._noted = offset


def boot_id() -> str:
    """This start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
