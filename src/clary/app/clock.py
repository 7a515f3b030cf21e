"""The real clock: the only place where Clary's own processes read the time for a port."""

from __future__ import annotations

import time


class SystemClock:
    """`ports.Clock` on this machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
