"""The room of monitoring: schedules that are due, and their executions."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any

from clary.app.given import Given, attended
from clary.domain.events.due import Fire
from clary.domain.monitoring.turn import ExecutionCommand, SeenExecution, SeenSchedule
from clary.loops.core.loop import Loop
from clary.loops.monitoring.sources import SourceFinder
from clary.loops.monitoring.subjects import MonitorRunSubject, MonitorSubject, attach


def room(given: Given) -> Iterable[Coroutine[Any, Any, None]]:
    """The loops of schedules and of executions."""
    api = given.ports
    sources = SourceFinder(api.store, api.artifacts, given.operations)
    ports = given.parents
    schedules: Loop[Fire, SeenSchedule] = Loop(MonitorSubject(ports), api.store, api.clock, given.owner)
    subject = MonitorRunSubject(ports, sources)
    runs: Loop[ExecutionCommand, SeenExecution] = Loop(subject, api.store, api.clock, given.owner)
    return schedules.run(), attended(runs, partial(attach, subject, runs, api.store))
