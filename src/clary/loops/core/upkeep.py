"""Periodic cleanup: deletes logs and datapoints that are too old or exceed their disk space.

A failing disk is logged and tried again at the next turn; it never ends the loop.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from clary.domain.errors import Unavailable
from clary.ports import Clock

log = logging.getLogger(__name__)
EVERY = 300.0  # seconds


class Swept(Protocol):
    """What is swept: `Logs`, `Datapoints`."""

    def sweep(self, now: float) -> None: ...


async def keep(swept: Swept, clock: Clock, every: float = EVERY) -> None:
    """For as long as the process lives. Cancel it to end it."""
    while True:
        try:
            await asyncio.to_thread(swept.sweep, clock.now())
        except (OSError, Unavailable) as error:
            log.warning("cannot sweep the %s: %s", type(swept).__name__, error)
        await asyncio.sleep(every)
