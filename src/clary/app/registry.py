"""The room of the model registry: export jobs of model cards, and endpoints that follow an alias."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any

from clary.app.given import Given, attended
from clary.domain.registry.following import Move, Seen
from clary.loops.core.loop import Loop
from clary.loops.registry.exports import ExportSubject
from clary.loops.registry.following import FollowingSubject, attach


def room(given: Given) -> tuple[Coroutine[Any, Any, None], ...]:
    """What must not end."""
    ports = given.ports
    exports = Loop(ExportSubject(ports.artifacts, ports.clock), ports.store, ports.clock, given.owner)
    subject = FollowingSubject(ports.store, given.operations, ports.clock)
    following: Loop[Move, Seen] = Loop(subject, ports.store, ports.clock, given.owner)
    return exports.run(), attended(following, partial(attach, following, ports.store))
