"""The parts of an endpoint as its record keeps them: fleets of variants of replicas. Values with JSON forms; nothing decides here.

A *fleet* is what one endpoint config asked for. An endpoint has one that serves, while it is created or updated one that comes
in, and those that retire. Replica ids and tokens follow from the record alone (its fleet's id, the endpoint's seed), so a
decision that is taken twice names the same replicas.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from clary.domain.endpoints.deployment import Rollout
from clary.domain.endpoints.routes import Boost
from clary.domain.errors import Invalid
from clary.domain.machine import instances
from clary.domain.models.containers import Container

PLANNED, STARTED, READY, DRAINING, STOPPING = "planned", "started", "ready", "draining", "stopping"
LIVE = (PLANNED, STARTED, READY)


@dataclass(frozen=True, slots=True)
class Replica:
    """`phase`: planned (to be started) -> started -> ready -> draining (no new work) -> stopping -> gone from the list.

    `since` is when the phase began; `unseen` when the front last stopped seeing a ready replica (0: it sees it). `size` is the instance
    type whose CPU and memory it has ("": as it was started), `kills` how many of its processes the kernel ended for memory so far."""

    id: str
    phase: str = PLANNED
    handle: str = ""
    since: float = 0.0
    unseen: float = 0.0
    size: str = ""
    kills: int = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """The replicas of one container of a production variant: a model of several containers makes as many of these, of the same name.

    `config` is its row of the endpoint config. `prepared`: where the model lies once it was unpacked, below the folder of models (see
    loops/models). `made` counts replicas ever named; `deaths` those that died lately, `failure` how the last did;
    `fatal`: trying again is pointless; `retry` when the next may start. `routed` is the weight the front was told last.
    `shadow`: it gets copies of the production variant's requests, as many as its weight is of that one's.

    `millicpu` (thousandths of a vCPU) and `memory` (MB) are what a replica has instead of its instance type's own (0); `cramped` is
    why the last size that was asked for was not given, `outgrown` when memory was last asked for, `grown` how often it was given,
    `roomy` since when nobody needs it (0: somebody does). `boost`: by what workers are parked;
    `allowance`: workers that a replica may keep busy (0: by its size). See `endpoint_sizes`."""

    name: str
    container: Container
    config: Mapping[str, Any]
    count: int
    weight: float
    routed: float = 0.0
    prepared: Mapping[str, Any] | None = None
    replicas: tuple[Replica, ...] = ()
    made: int = 0
    deaths: int = 0
    failure: str = ""
    fatal: bool = False
    retry: float = 0.0
    shadow: bool = False
    millicpu: int = 0
    memory: int = 0
    cramped: str = ""
    outgrown: float = 0.0
    grown: int = 0
    roomy: float = 0.0
    boost: Boost | None = None
    allowance: int = 0

    @property
    def key(self) -> str:
        """What tells it from the others of its fleet."""
        hostname = self.container.hostname
        return f"{self.name}/{hostname}" if hostname else self.name

    @property
    def serverless(self) -> Mapping[str, Any]:
        """Its ServerlessConfig; empty where it has instances."""
        asked: Mapping[str, Any] = self.config.get("ServerlessConfig") or {}
        return asked

    @property
    def concurrency(self) -> int:
        """Predictions that a serverless variant may run at once; 0: no limit."""
        return int(self.serverless.get("MaxConcurrency", 0))

    @property
    def warm(self) -> int:
        """Workers of a serverless variant that never go."""
        return int(self.serverless.get("ProvisionedConcurrency", 0))

    @property
    def kept(self) -> int:
        """Of those as many as its replica has room for: a larger number counts when the replica has that size."""
        return min([self.warm, *(instances.kept(replica.size) for replica in self.live if replica.size)])

    @property
    def instance_type(self) -> str:
        """AWS's name; a serverless variant's size as `instances.serverless` names it."""
        if self.serverless:
            return instances.serverless(int(self.serverless["MemorySizeInMB"]), self.concurrency, self.warm)
        return str(self.config.get("InstanceType", ""))

    @property
    def size(self) -> str:
        """The wanted size of a replica, as `instances.sized` names it."""
        # a worker beyond its own CPUs, which its objective may need for a moment, borrows what is idle
        burst = self.allowance if self.boost is not None and not self.serverless else 0
        return instances.sized(self.instance_type, self.millicpu, self.memory, burst)

    @property
    def sleeps(self) -> bool:
        """Whether requests are held while it has no replica, and one comes: it is serverless, or its objective let the last one go."""
        return bool(self.serverless) or (self.boost is not None and not self.count)

    @property
    def hosting(self) -> bool:
        """It has instances and no model: inference components are placed on it."""
        return not self.container.image

    @property
    def live(self) -> tuple[Replica, ...]:
        return tuple(r for r in self.replicas if r.phase in LIVE)

    @property
    def ready(self) -> int:
        return sum(r.phase == READY for r in self.replicas)

    @property
    def settled(self) -> bool:
        """Exactly what is wanted serves, in its size; nothing is on its way in or out."""
        return self.ready == self.count == len(self.replicas) and all(self.fits(r) for r in self.replicas)

    def fits(self, replica: Replica) -> bool:
        """Whether the replica has the variant's size."""
        return (replica.size or self.instance_type) == self.size

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Variant:
        return Variant(
            **{
                **data,
                "container": Container.from_json(data["container"]),
                "replicas": tuple(Replica(**r) for r in data["replicas"]),
                "boost": Boost(**data["boost"]) if data.get("boost") else None,
            }
        )


@dataclass(frozen=True, slots=True)
class Fleet:
    """`id` is new with every fleet. `asynchronous`, `capture`, `explainer`: the config's AsyncInferenceConfig, DataCaptureConfig and
    ExplainerConfig, if it has them. `objective`: the latency in seconds that its variants shall meet by themselves (0: none is asked).
    `specification`: an inference component's Specification, which it has in place of an endpoint config. `private`: of a job's fleet, which
    its own process alone calls: "timeout" of a request in seconds, "payload" and "answer" the most bytes of one."""

    id: str
    config: str  # endpoint config's name
    variants: tuple[Variant, ...]
    created: float
    asynchronous: Mapping[str, Any] = field(default_factory=dict)
    capture: Mapping[str, Any] = field(default_factory=dict)
    explainer: Mapping[str, Any] = field(default_factory=dict)
    objective: float = 0.0
    specification: Mapping[str, Any] = field(default_factory=dict)
    private: Mapping[str, Any] = field(default_factory=dict)

    @property
    def replicas(self) -> tuple[Replica, ...]:
        return tuple(r for v in self.variants for r in v.replicas)

    @property
    def settled(self) -> bool:
        return all(v.settled for v in self.variants)

    @property
    def counts(self) -> dict[str, int]:
        """Replicas that are wanted, by production variant."""
        return {group[0].name: group[0].count for group in self.groups}

    @property
    def reachable(self) -> bool:
        """Every variant has all the replicas it wants ready (some may still be on their way out)."""
        return self.has(self.counts)

    def has(self, counts: Mapping[str, int]) -> bool:
        """Whether so many replicas of each variant are ready."""
        return all(v.ready >= counts.get(v.name, v.count) for v in self.variants)

    @property
    def groups(self) -> tuple[tuple[Variant, ...], ...]:
        """The production variants, each as its containers in order."""
        return self._groups(shadow=False)

    @property
    def shadows(self) -> tuple[tuple[Variant, ...], ...]:
        """The shadow variants in the same form."""
        return self._groups(shadow=True)

    def _groups(self, shadow: bool) -> tuple[tuple[Variant, ...], ...]:
        named: dict[str, list[Variant]] = {}
        for variant in (v for v in self.variants if v.shadow is shadow):
            named.setdefault(variant.name, []).append(variant)
        return tuple(tuple(group) for group in named.values())

    def with_variant(self, variant: Variant) -> Fleet:
        return replace(self, variants=tuple(variant if v.key == variant.key else v for v in self.variants))

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Fleet:
        known = {name: value for name, value in data.items() if name != "keep_until"}  # of records before rollouts
        return Fleet(**{**known, "variants": tuple(Variant.from_json(v) for v in data["variants"])})


@dataclass(frozen=True, slots=True)
class Note:
    """A step of the endpoint's history that is to be written down: what happened, why, and when (epoch seconds)."""

    what: str
    why: str
    at: float
    config: str = ""


@dataclass(frozen=True, slots=True)
class Plant:
    """All of an endpoint's machinery: what its record keeps under "plant".

    `seed` makes the replicas' tokens and is never shown. `revision` and `mark` (a hash of the content) are of the route last put.
    `failure` is FailureReason. `before` is what to go back to when a change in place fails: the config's name, the component's
    specification, and count, weight and config row of each variant. `deployment` is the DeploymentConfig in force, `changed` when the
    change under way was asked, `rollout` how far it has come. `failed` is a fleet that never served and is gone: DescribeEndpoint shows
    it. `notes` are steps of the history that wait to be written, `noted` is the last one's number."""

    seed: str
    serving: Fleet | None = None
    incoming: Fleet | None = None
    retiring: tuple[Fleet, ...] = ()
    revision: int = 0
    mark: str = ""
    failure: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    deployment: Mapping[str, Any] = field(default_factory=dict)
    changed: float = 0.0
    rollout: Rollout | None = None
    notes: tuple[Note, ...] = ()
    noted: int = 0
    failed: Fleet | None = None

    @property
    def fleets(self) -> tuple[Fleet, ...]:
        return tuple(f for f in (self.serving, self.incoming) if f is not None) + self.retiring

    @property
    def replicas(self) -> tuple[Replica, ...]:
        return tuple(r for f in self.fleets for r in f.replicas)

    @property
    def shown(self) -> Fleet | None:
        """What DescribeEndpoint shows: who serves, or comes in, or goes, or has failed."""
        return self.serving or self.incoming or (self.retiring[-1] if self.retiring else self.failed)

    def moved(self, step: float) -> Plant:
        """The same after the clock was set by so many seconds: what began so long ago still did, and no wait becomes shorter or longer."""

        def at(time: float) -> float:
            return time + step if time else 0.0  # 0 is no time

        def fleet(of: Fleet) -> Fleet:
            return replace(of, variants=tuple(variant(each) for each in of.variants))

        def variant(of: Variant) -> Variant:
            replicas = tuple(replace(each, since=at(each.since), unseen=at(each.unseen)) for each in of.replicas)
            return replace(of, replicas=replicas, retry=at(of.retry), outgrown=at(of.outgrown), roomy=at(of.roomy))

        return replace(
            self,
            serving=self.serving and fleet(self.serving),
            incoming=self.incoming and fleet(self.incoming),
            retiring=tuple(fleet(each) for each in self.retiring),
            changed=at(self.changed),
            rollout=self.rollout and replace(self.rollout, since=at(self.rollout.since)),
        )

    def token(self, replica: str) -> str:
        """The secret by which the replica's processes prove who they are."""
        return hmac.new(self.seed.encode(), replica.encode(), hashlib.sha256).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Exactly what comes back from a store: lists, no tuples. A plant that did not change must compare as equal."""
        plain: dict[str, Any] = _plain(self)
        return plain

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Plant:
        def fleet(value: Mapping[str, Any] | None) -> Fleet | None:
            return Fleet.from_json(value) if value is not None else None

        return Plant(
            **{
                **data,
                "serving": fleet(data["serving"]),
                "incoming": fleet(data["incoming"]),
                "retiring": tuple(Fleet.from_json(f) for f in data["retiring"]),
                "failed": fleet(data.get("failed")),
                "rollout": Rollout.from_json(data["rollout"]) if data.get("rollout") else None,
                "notes": tuple(Note(**note) for note in data.get("notes", ())),
            }
        )


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def replica_id(fleet: str, variant: str, number: int) -> str:
    """`variant` is its key. Looks like an instance id, as in AWS's log streams: `i-` and 17 hex digits, the same for the same arguments."""
    return "i-" + hashlib.sha256(f"{fleet}/{variant}/{number}".encode()).hexdigest()[:17]


def new_fleet(
    id_: str,
    config: str,
    rows: list[Mapping[str, Any]],
    containers: Mapping[str, Container | Sequence[Container]],
    at: float,
    shadows: Sequence[Mapping[str, Any]] = (),
) -> Fleet:
    """A fleet as an endpoint config asks for it; `containers` by model name, one or several in order. `shadows` are the rows of
    ShadowProductionVariants. Rows without a model have the container under "": who runs there, and with which network."""
    variants = tuple(
        Variant(
            name=row["VariantName"],
            container=container,
            config=dict(row),
            count=int(row.get("InitialInstanceCount", 1)) if container.image else 0,
            weight=float(row.get("InitialVariantWeight", 1.0)),
            shadow=shadow,
        )
        for row, shadow in (*((row, False) for row in rows), *((row, True) for row in shadows))
        for container in _several(containers[row.get("ModelName", "")])
    )
    return Fleet(id_, config, variants, at)


def _several(containers: Container | Sequence[Container]) -> Sequence[Container]:
    return (containers,) if isinstance(containers, Container) else containers


def check_shadows(fleet: Fleet) -> None:
    """Invalid where a shadow cannot be given what comes in at the production variant."""
    named = {v.container.hostname for group in fleet.groups for v in group if v.container.direct}
    for shadow in (v for group in fleet.shadows for v in group):
        if shadow.container.direct != bool(named) or (named and shadow.container.hostname not in named):
            raise Invalid(
                f"Shadow variant '{shadow.name}' cannot follow the production variant: with direct invocation both need the same "
                "ContainerHostnames, and one without it cannot follow one with it."
            )
