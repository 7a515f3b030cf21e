"""SQS queues: their loop."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

from clary.app.given import Given
from clary.loops.core.loop import Loop
from clary.loops.queues.sweeps import DeletedQueues, LivingQueues, Sweep


def room(given: Given) -> Iterable[Coroutine[Any, Any, None]]:
    """Old messages, and those of deleted queues, are removed."""
    ports = given.ports
    living: Loop[Sweep, None] = Loop(LivingQueues(ports.store, ports.clock), ports.store, ports.clock, given.owner)
    deleted: Loop[Sweep, bool] = Loop(DeletedQueues(ports.store, ports.clock), ports.store, ports.clock, given.owner)
    return living.run(), deleted.run()
