"""The rooms of the control plane beside training and serving: each noun that has a loop of its own is one function here.

A room is built from `Given` and answers the work that must not end; its wake-ups it wires itself. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from clary.api.call import Ports
from clary.app.operations import OwnOperations
from clary.app.settings import Settings
from clary.domain.machine.capacity import Machine
from clary.loops.core.ledger import Ledger
from clary.ports import Backend, Operations


@dataclass(frozen=True, slots=True)
class Given:
    """What rooms are built from. `owner` names this control plane in leases."""

    settings: Settings
    owner: str
    ports: Ports
    backend: Backend[Any]
    measured: Callable[[], Machine]
    ledger: Ledger

    @property
    def operations(self) -> Operations:
        """The API, for parents."""
        return OwnOperations(self.ports)


Room = Callable[[Given], Iterable[Coroutine[Any, Any, None]]]

ROOMS: tuple[Room, ...] = ()


def work(given: Given) -> tuple[Coroutine[Any, Any, None], ...]:
    """The work of all rooms."""
    return tuple(each for room in ROOMS for each in room(given))
