"""The room of batch transform: the loop of its jobs, and that of the replicas which they have."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from clary.app.given import Given
from clary.domain.endpoints.commands import Command as FleetCommand
from clary.domain.endpoints.commands import SeenEndpoint
from clary.domain.names import TRANSFORM_FLEET
from clary.domain.transform import record as transform_records
from clary.domain.transform.record import Command, SeenTransform
from clary.loops.core.loop import Loop
from clary.loops.endpoints import subject as endpoints
from clary.loops.transform import subject as transforms
from clary.loops.transform.fleets import TransformFleetSubject
from clary.loops.transform.places import TransformSettings
from clary.loops.transform.subject import TransformSubject

LIVING = ((transform_records.KIND, transform_records.ACTIVE), (TRANSFORM_FLEET, transform_records.FLEET_STATUSES))


def room(given: Given) -> tuple[Coroutine[Any, Any, None], ...]:
    ports = given.ports
    outside = given.outside
    fleets = TransformFleetSubject(outside, given.serving, given.ledger, given.models)
    fleet_loop: Loop[FleetCommand, SeenEndpoint] = Loop(fleets, ports.store, ports.clock, given.owner)
    endpoints.attach(fleets, fleet_loop, outside)
    settings = TransformSettings(str(given.settings.root / "transforms"), given.owner, given.serving.home)
    jobs = TransformSubject(outside, given.models, settings)
    loop: Loop[Command, SeenTransform] = Loop(jobs, ports.store, ports.clock, given.owner)
    transforms.attach(jobs, loop, outside)

    async def run() -> None:
        await jobs.sweep()
        await loop.run()

    return fleet_loop.run(), run()
