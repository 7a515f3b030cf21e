"""The room of feature groups: the loop that makes and removes their stores and writes their history, the removal of expired records,
and the loop of queries over the history. Records are served by a process of their own, `features.py`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from clary.app.given import Given
from clary.domain.features.life import Command, SeenGroup
from clary.domain.features.queries import Answered, QueryCommand
from clary.loops.core.loop import Loop
from clary.loops.features.offline import OfflineWriter
from clary.loops.features.queries import QuerySubject, attach
from clary.loops.features.subject import FeatureSubject, flusher, sweeper


def room(given: Given) -> tuple[Coroutine[Any, Any, None], ...]:
    """See `given.Room`."""
    ports = given.ports
    writer = OfflineWriter(given.backend, ports.runtimes)
    subject = FeatureSubject(ports.features, ports.artifacts, writer, ports.clock)
    loop: Loop[Command, SeenGroup] = Loop(subject, ports.store, ports.clock, given.owner)
    query_subject = QuerySubject(given.outside)
    query_loop: Loop[QueryCommand, Answered | None] = Loop(query_subject, ports.store, ports.clock, given.owner)
    attach(query_subject, query_loop.wake, ports.store)
    expiry = sweeper(ports.features, ports.clock)
    return loop.run(), flusher(subject, ports.features, loop.wake), expiry, query_loop.run()
