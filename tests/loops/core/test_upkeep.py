"""Upkeep goes on whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from clary.loops.core.upkeep import keep
from clary.testing.clock import FakeClock


class Logs:
    """Sweeps are counted; the first one fails."""

    def __init__(self, done: Callable[[], None]) -> None:
        self.swept: list[float] = []
        self.done = done

    def sweep(self, now: float) -> None:
        self.swept.append(now)
        if len(self.swept) == 1:
            raise OSError("the disk is on holiday")
        self.done()


async def test_a_failing_disk_does_not_end_it() -> None:
    loop, twice = asyncio.get_running_loop(), asyncio.Event()
    logs, clock = Logs(lambda: loop.call_soon_threadsafe(twice.set) and None), FakeClock()
    task = asyncio.create_task(keep(cast(Any, logs), clock, every=0))
    await asyncio.wait_for(twice.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert logs.swept[:2] == [clock.now(), clock.now()]
