"""The commands and the observation of the endpoint loop. Values only: frozen commands, each idempotent by what it
names, and the observation `SeenEndpoint`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from clary.domain.endpoints.fleets import Note
from clary.domain.endpoints.routes import EndpointRoute, EndpointView, ReplicaView, VariantView
from clary.domain.endpoints.serverless import Rest
from clary.domain.grants import Grant
from clary.domain.machine.workload import Observation
from clary.domain.models.containers import Container


@dataclass(frozen=True, slots=True)
class PrepareModel:
    """Bring the container's model and code into a folder that replicas mount (download, unpack in a sandbox). Long: its
    outcome is `SeenEndpoint.prepared[key]`."""

    key: str
    container: Container
    seconds: float  # ModelDataDownloadTimeoutInSeconds


@dataclass(frozen=True, slots=True)
class EnsureEnvironment:
    """Build the runtime behind the container's image with the user's requirements. Long: its outcome is
    `SeenEndpoint.environments[key]`."""

    key: str
    container: Container
    prepared: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReplicaNeed:
    """What a replica needs of the machine: `size` as `instances` names it, shared by so many `containers`. `like`: bytes that one of
    its kind uses."""

    id: str
    size: str
    containers: int = 1
    like: int = 0


@dataclass(frozen=True, slots=True)
class StartReplica:
    """Start (or find) the replica's process group. Answers `Started`. `beside`: places that are taken at the same moment as its own, all
    or none, so that of two changes for which there is room once one goes through."""

    together: ClassVar[bool] = True

    id: str
    token: str
    endpoint: str
    variant: str
    container: Container
    prepared: Mapping[str, Any]
    instance_type: str
    workers: int
    timeout: float
    beside: tuple[ReplicaNeed, ...] = ()
    like: int = 0
    explainer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Started:
    """What StartReplica answers: the backend's handle, or why there will be none (in words for the user). `unprepared`: the
    prepared model is not there any more."""

    handle: str = ""
    refused: str = ""
    unprepared: bool = False


@dataclass(frozen=True, slots=True)
class ResizeReplica:
    """Give a running replica the CPU and memory of another instance type. Answers `Resized`. `beside` as of `StartReplica`."""

    together: ClassVar[bool] = True

    id: str
    handle: str
    instance_type: str
    containers: int = 1  # that share the instance
    beside: tuple[ReplicaNeed, ...] = ()


@dataclass(frozen=True, slots=True)
class Resized:
    """What ResizeReplica answers: `refused` says why it kept its size (in words for the user)."""

    refused: str = ""


@dataclass(frozen=True, slots=True)
class WriteHistory:
    """One step of the endpoint's history. Written twice it has the same number twice: readers take the first."""

    number: int
    note: Note
    status: str


@dataclass(frozen=True, slots=True)
class StopReplica:
    """SIGTERM, 30 s, SIGKILL (reference/sagemaker.md 3.1)."""

    together: ClassVar[bool] = True

    id: str
    handle: str
    grace: float = 30.0


@dataclass(frozen=True, slots=True)
class ForgetReplica:
    """Remove what is left of an ended replica on disk; its log stays."""

    id: str
    handle: str


@dataclass(frozen=True, slots=True)
class LogDeath:
    """Tell in the replica's own log how it ended, where its process could not."""

    variant: str
    id: str
    how: str
    container: str = ""  # its hostname, where the model has several


@dataclass(frozen=True, slots=True)
class PutRoute:
    route: EndpointRoute


@dataclass(frozen=True, slots=True)
class DropRoute:
    account: str
    region: str
    name: str


@dataclass(frozen=True, slots=True)
class ForgetWork:
    """Forget outcomes of PrepareModel and EnsureEnvironment (they may be tried again, or are no longer wanted)."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SettleRooms:
    """Write grants of replicas that run and have none, or one of another size; release those of replicas that ended or are not wanted any
    more. `content`: the endpoint waits for no room any more."""

    take: tuple[Grant, ...] = ()
    release: tuple[str, ...] = ()
    content: bool = False


@dataclass(frozen=True, slots=True)
class MountModels:
    """Keep these folders of models: the record's replicas mount them."""

    folders: frozenset[str]


@dataclass(frozen=True, slots=True)
class RenewCredentials:
    """Write new keys for these replicas, which read them again before the old ones end."""

    replicas: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForgetEndpoint:
    """The record goes: what is kept for it alone may go."""


Command = (
    PrepareModel
    | EnsureEnvironment
    | StartReplica
    | ResizeReplica
    | WriteHistory
    | StopReplica
    | ForgetReplica
    | LogDeath
    | PutRoute
    | DropRoute
    | ForgetWork
    | ForgetEndpoint
    | SettleRooms
    | MountModels
    | RenewCredentials
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How long work stands: running, or `done` with a value, or `failed` with a message for the user.

    `transient`: not the user's fault, worth another try."""

    state: str  # running | done | failed
    value: Any = None
    message: str = ""
    transient: bool = False


@dataclass(frozen=True, slots=True)
class SeenEndpoint:
    """The world as far as one endpoint goes. `runs` has every replica that has a handle (None: the backend never heard of it).

    `view` is None when the home front cannot be asked or does not know the endpoint. `alarms`: state of each alarm that guards the
    rollout under way (None: there is no such alarm)."""

    runs: Mapping[str, Observation | None] = field(default_factory=dict)
    view: EndpointView | None = None
    prepared: Mapping[str, Outcome] = field(default_factory=dict)
    environments: Mapping[str, Outcome] = field(default_factory=dict)
    cpus: int = 1  # of the machine: more workers than that are of no use
    memory: int = 0  # bytes that workloads may have on it in all; 0: not known
    available: int = 0  # bytes that nobody uses
    rest: Rest = field(default_factory=Rest)
    due: tuple[SettleRooms | MountModels | RenewCredentials, ...] = ()  # to be run first, whatever is decided

    @property
    def variants(self) -> dict[str, VariantView]:
        """What the front sees of each variant of each fleet, by the key of its route."""
        return {v.key: v for v in self.view.variants} if self.view is not None else {}

    def queued(self, key: str) -> int:
        """Requests that wait at the variant of that route key, as far as one knows."""
        return sum(v.queued for v in self.view.variants if v.key == key) if self.view is not None else 0

    alarms: Mapping[str, str | None] = field(default_factory=dict)
    resizes: bool = True  # the backend gives a running replica another size

    def replica(self, replica: str) -> ReplicaView | None:
        if self.view is None:
            return None
        return next((r for v in self.view.variants for r in v.replicas if r.id == replica), None)
