"""The backend of a state folder, by its name in the table of backends.

Owns what a backend is told when it is made, and what it answers beside the port (to the CLI, and at an orderly end). Does not know any
backend: this module stays out of the package's `__init__`, which shims import too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, TypeVar

from clary.backends import BACKENDS
from clary.backends.containers import Engine
from clary.backends.node.layout import NodePorts
from clary.backends.reentry import Reentry
from clary.domain.errors import Invalid
from clary.domain.machine.capacity import Machine
from clary.domain.machine.nodes import LEAST_LOST
from clary.ports import Backend

R = TypeVar("R")
Answer = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """What a backend is told of the Clary that it works for. `folder` is the backend's own state folder; `fronts` are the sockets on
    which the fronts wait for workers, in one folder. `uid_range`: first and last user id for sandboxes when Clary runs as root. `reach`:
    URLs that sandboxes are given. `listeners`: the folder in which each listener of the control plane has a folder of its name, with the
    socket `s` in it; "" for none. `strict_network`: refuse to run what would share the machine's network."""

    folder: str
    fronts: tuple[str, ...]
    uid_range: tuple[int, int]
    engine: Engine | None
    reach: tuple[str, ...]
    strict_network: bool
    ports: NodePorts | None = None  # of whoever starts workloads by value
    listeners: str = ""
    lost: float = LEAST_LOST  # seconds without a word after which a node is given up


class Members(Protocol):
    """The nodes of a backend that has some, by name. A node is `ready`, `suspect` (no word for two seconds: nothing new goes there) or
    `lost` (no word for so long that it has certainly ended its jobs)."""

    def expect(self, name: str) -> None:
        """A node that is known from before: it is lost when it does not come in time."""
        ...

    async def connect(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer
    ) -> None:
        """Take the connection that the node has opened, until it is lost. `answer` does what the node asks beside its lease."""
        ...

    def machines(self) -> tuple[Machine, ...]:
        """Those on which something may be placed now, as they were measured last."""
        ...

    def state(self, name: str) -> str: ...
    def let_go(self, name: str) -> None:
        """It has left: its runs are lost, and its connection ends."""
        ...

    async def leave_nodes(self) -> None:
        """End all connections; runs go on."""
        ...


class ChosenBackend(Backend[R], Protocol[R]):
    """A backend as those see it who put Clary together."""

    members: Members | None

    @property
    def gpus(self) -> int:
        """How many GPUs its workloads can be given."""
        ...

    async def take_up(self) -> None:
        """Go on with the starts of a predecessor that was killed."""
        ...

    def facts(self) -> dict[str, str]: ...
    def log_path(self, handle: str) -> str:
        """The host's file that the run's output goes to; empty when there is no such run."""
        ...

    def reentry(self, handle: str, command: Sequence[str], variables: Mapping[str, str], terminal: bool) -> Reentry: ...
    def tidy(self) -> None:
        """Remove what ended runs left in the state folder that a copy of it would stumble over. It waits for the disk."""
        ...

    def close(self) -> None:
        """Hear of no ends any more; the runs go on."""
        ...


def choose(name: str, options: BackendOptions) -> ChosenBackend[Any]:
    """The backend of that name. Invalid for a name that the table does not have."""
    if name not in BACKENDS:
        raise Invalid(f"There is no backend '{name}': the setting backend is one of {', '.join(BACKENDS)}.")
    chosen: ChosenBackend[Any] = import_module(BACKENDS[name]).for_site(options)
    return chosen
