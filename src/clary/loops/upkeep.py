"""What must be done now and then whatever the records say: logs past their retention or their size give their space back.

A failing disk is logged and tried again at the next turn; it never ends the loop.
"""

from __future__ import annotations

import asyncio
import logging

from clary.ports import Clock, Logs

log = logging.getLogger(__name__)
EVERY = 300.0  # seconds


async def keep(logs: Logs, clock: Clock, every: float = EVERY) -> None:
    """For as long as the process lives. Cancel it to end it."""
    while True:
        try:
            await asyncio.to_thread(logs.sweep, clock.now())
        except OSError as error:
            log.warning("cannot sweep the logs: %s", error)
        await asyncio.sleep(every)
