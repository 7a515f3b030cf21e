"""The room of tuning jobs: their loop, and the sampler, whose process ends when no tuning job has asked it for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any

from clary.app.given import Given, attended
from clary.backends.sampler import OptunaSampler
from clary.domain.tuning.record import Command, SeenTuning
from clary.loops.core.loop import Loop
from clary.loops.tuning.subject import TuningSubject, attach

_REST = 60.0  # seconds without a tuning job after which the sampler's process ends


def room(given: Given) -> Iterable[Coroutine[Any, Any, None]]:
    """The loop of tuning jobs."""
    ports = given.ports
    sampler = OptunaSampler(ports.runtimes)
    subject = TuningSubject(given.parents, sampler)
    loop: Loop[Command, SeenTuning] = Loop(subject, ports.store, ports.clock, given.owner)

    async def work() -> None:
        try:
            await attended(loop, partial(attach, subject, loop, ports.store))
        finally:
            await subject.tasks.close()
            await sampler.rest()

    async def rest() -> None:
        while True:
            await asyncio.sleep(_REST)
            if not subject.busy:
                await sampler.rest()

    return work(), rest()
