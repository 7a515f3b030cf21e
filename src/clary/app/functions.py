"""Lambda functions: where they run, and the loop of events that wait for them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine, Iterable
from typing import Any

from clary.app import proxies, reach
from clary.app.given import Given
from clary.domain.functions.events import EventCommand
from clary.loops.core.loop import Loop
from clary.loops.functions.events import EventSubject
from clary.loops.functions.pool import FunctionPool
from clary.loops.functions.sandboxed import FunctionSettings


def room(given: Given) -> Iterable[Coroutine[Any, Any, None]]:
    """The door for handlers is opened when the runs of a predecessor are gone."""
    ports, settings = given.ports, given.settings
    endpoint = reach.inside(settings)
    pool = FunctionPool(
        given.outside,
        FunctionSettings(
            sockets=str(settings.listeners),
            endpoint=endpoint,
            passed=proxies.passed(settings),
            ca_bundle=reach.bundle_text(settings, endpoint),
        ),
    )
    waiting: Loop[EventCommand, None] = Loop(
        EventSubject(ports.store, ports.clock, ports.functions), ports.store, ports.clock, given.owner
    )

    async def run() -> None:
        await pool.clear()
        await asyncio.to_thread(shutil.rmtree, settings.root / "functions", True)  # a Clary before laid them out there
        ports.functions.open(pool)
        await pool.run()

    return run(), waiting.run()
