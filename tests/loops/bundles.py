"""Bundles of ports out of fakes, for tests of loops that use a few of them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from clary.api.call import Ports
from clary.app.operations import OwnOperations
from clary.domain.machine.capacity import Machine
from clary.domain.machine.instances import GIB
from clary.ports import LoopPorts, ParentPorts
from clary.testing.backends import MemoryBackend
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.fronts import MemoryFronts
from clary.testing.keys import MemoryKeys
from clary.testing.logs import MemoryLogs
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.runtimes import MemoryRuntimes
from clary.testing.store import MemoryStore


def loop_ports(**given: Any) -> LoopPorts:
    """Fakes, but for what is given."""
    world: dict[str, Any] = {
        "store": MemoryStore(), "backend": MemoryBackend(), "fronts": MemoryFronts(), "artifacts": MemoryArtifacts(),
        "runtimes": MemoryRuntimes(), "logs": MemoryLogs(), "datapoints": MemoryDatapoints(), "keys": MemoryKeys(),
        "clock": FakeClock(), "measure": lambda: Machine(cpus=4, memory=16 * GIB, available=12 * GIB),
    }  # fmt: skip
    return LoopPorts(**{**world, **given})


def parent_ports(api: Ports, **given: Any) -> ParentPorts:
    """The world of that API, which its own loops ask; what it does not have are fakes, but for what is given."""
    shared = {each.name: getattr(api, each.name) for each in fields(LoopPorts) if hasattr(api, each.name)}
    world = loop_ports(**{**shared, **given})
    return ParentPorts(
        **{each.name: getattr(world, each.name) for each in fields(world)}, operations=OwnOperations(api)
    )
