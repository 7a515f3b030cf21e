"""The room of pipelines: the loop of their executions, and the one that removes pipelines."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

from clary.app.given import Given
from clary.domain.pipelines.record import ExecutionCommand, SeenExecution
from clary.loops.core.loop import Loop
from clary.loops.pipelines.removal import Holding, RemovalSubject, RemoveHeld
from clary.loops.pipelines.subject import ExecutionSubject, attach


def room(given: Given) -> Iterable[Coroutine[Any, Any, None]]:
    """Two loops."""
    ports = given.ports
    subject = ExecutionSubject(given.parents)
    executions: Loop[ExecutionCommand, SeenExecution] = Loop(subject, ports.store, ports.clock, given.owner)
    attach(subject, executions, ports.store)
    removals: Loop[RemoveHeld, Holding] = Loop(
        RemovalSubject(ports.store, ports.clock), ports.store, ports.clock, given.owner
    )
    return executions.run(), removals.run()
