"""The room of the model registry: export jobs of model cards."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from clary.app.given import Given
from clary.loops.core.loop import Loop
from clary.loops.registry.exports import ExportSubject


def room(given: Given) -> tuple[Coroutine[Any, Any, None], ...]:
    """What must not end."""
    ports = given.ports
    exports = Loop(ExportSubject(ports.artifacts, ports.clock), ports.store, ports.clock, given.owner)
    return (exports.run(),)
