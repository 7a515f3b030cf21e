"""The commands and the observation of the loop of latency objectives. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clary.domain.endpoints.routes import Boost
from clary.domain.objectives.record import Asked
from clary.domain.resources import Record
from clary.domain.scaling.costs import EASY, Strain
from clary.domain.scaling.decisions import Event
from clary.domain.scaling.samples import Recent
from clary.domain.scaling.sharing import Claim
from clary.domain.scaling.signals import Memory


@dataclass(frozen=True, slots=True)
class Staff:
    """Tell the front by what it parks workers (None: by nothing), and how many of a replica may be busy."""

    boost: Boost | None
    allowance: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the endpoint, which has `has`, for so much of a dimension, at once. Answers `Unable` when it cannot be."""

    dimension: str
    wanted: int
    has: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Write the decision down."""

    event: Event


Command = Staff | Ask | Tell


@dataclass(frozen=True, slots=True)
class Live:
    """What is between two savings of the record: the policy's memory, and the last decision that was told."""

    memory: Memory
    outcome: tuple[Any, ...] | None = None
    told: float = 0.0
    decided: float = 0.0
    heard: float = 0.0  # when what it was decided by was counted
    claim: Claim | None = None  # what it would do with the machine's CPUs
    asleep: bool = False  # it had no replica, and none was asked for


@dataclass(frozen=True, slots=True)
class SeenObjective:
    """`endpoint` None: it is gone. `asked` None: nobody asks for an objective any more."""

    endpoint: Record | None
    asked: Asked | None
    live: Live
    recent: Recent | None = None
    cpus: int = 1
    usual: tuple[float, ...] = ()  # requests a second at this time of the last days, oldest first
    starts: tuple[float, ...] = ()  # of replicas that came since the last look, in seconds
    strain: Strain = EASY
