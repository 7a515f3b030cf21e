"""What a room of the control plane is built from: `rooms.py` has the table of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, fields
from typing import Any

from clary.api.call import Ports
from clary.app.operations import OwnOperations
from clary.app.settings import Settings
from clary.domain.machine.capacity import Machine
from clary.loops.core.ledger import Ledger
from clary.loops.core.loop import Loop
from clary.loops.endpoints.models import Models
from clary.loops.endpoints.replica_places import ServingSettings
from clary.ports import Backend, LoopPorts, Operations, ParentPorts


@dataclass(frozen=True, slots=True)
class Given:
    """What rooms are built from. `owner` names this control plane in leases; `serving` and `models` are those of endpoints."""

    settings: Settings
    owner: str
    ports: Ports
    backend: Backend[Any]
    measured: Callable[[], Machine]
    ledger: Ledger
    serving: ServingSettings
    models: Models

    @property
    def operations(self) -> Operations:
        """The API, for parents."""
        return OwnOperations(self.ports)

    @property
    def outside(self) -> LoopPorts:
        """The world, for loops."""
        api = self.ports
        return LoopPorts(
            api.store, self.backend, api.fronts, api.artifacts, api.runtimes, api.logs, api.datapoints, api.keys, api.clock, self.measured
        )  # fmt: skip

    @property
    def parents(self) -> ParentPorts:
        """The same, for loops whose records make children."""
        shared = {each.name: getattr(self.outside, each.name) for each in fields(LoopPorts)}
        return ParentPorts(**shared, operations=self.operations)


Room = Callable[[Given], Iterable[Coroutine[Any, Any, None]]]


async def attended(loop: Loop[Any, Any], attach: Callable[[], Callable[[], None]]) -> None:
    """Run a loop for as long as the process lives. `attach` wires what wakes it, and answers the way to undo that."""
    leave = attach()
    try:
        await loop.run()
    finally:
        leave()
