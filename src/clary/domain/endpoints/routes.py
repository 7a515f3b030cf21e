"""What the fronts are told about an endpoint, and what they tell about it. Values with JSON forms; nothing here acts.

The control plane's endpoint loop makes an `EndpointRoute` from records; the `Fronts` port carries it to the endpoint's home
front. A front keeps the last route on disk, so it serves without the control plane.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from clary.domain.metrics.counts import Signals

STREAM_SECONDS = 480.0  # AWS's limit of a streamed answer


@dataclass(frozen=True, slots=True)
class ReplicaRoute:
    """A replica that may serve. Its workers dial in with the token whose SHA-256 (hex) is here."""

    id: str
    token_sha256: str
    allowance: int = 1  # workers that may be busy at once (boost ceiling)
    draining: bool = False  # finish what it has, get nothing new
    threads: int = 0  # of each worker; 0: as it was started


@dataclass(frozen=True, slots=True)
class Boost:
    """By what a front keeps workers of a variant busy or parked (`serving/parking.py`). `objective`: the latency that is wanted, in
    seconds. `base` workers of all replicas together stay ready, `rate` requests a second are expected (what comes beyond them, the
    queue asks for), a queue is to be gone in `delta` of the objective, and a worker is parked after `hold` idle seconds."""

    objective: float
    base: int = 1
    rate: float = 0.0
    delta: float = 1.0
    hold: float = 0.5


class Ceiling(NamedTuple):
    """On a full machine: no more `workers` of this variant may be busy, whatever its replicas allow; 0: it has no ceiling any more. No
    part of a route: it changes each second, is told by itself, and lapses when the control plane is gone."""

    account: str
    region: str
    endpoint: str
    variant: str
    workers: int


@dataclass(frozen=True, slots=True)
class VariantRoute:
    """The replicas of one fleet behind one variant, with a queue of their own. Sizes in bytes, times in seconds.

    While an endpoint changes, fleets of two endpoint configs serve the same variant: `key` tells them apart (and is the name where
    nobody gives one), `fleet` is the endpoint config's name, `share` the part of the variant's traffic that this fleet gets (0: it
    comes in, or retires). `weight` is the variant's among the variants.

    A model of several containers has one of these for each. In a serial pipeline clients' requests come in at the first (`entry`),
    and `then` is the key of the one that an answer goes on to. With `direct` they come in at every one, for clients that name it.

    A shadow gets copies of a `sample` (0 to 1) of what comes in at the variant of key `shadow_of`, and nothing else."""

    name: str
    weight: float
    replicas: tuple[ReplicaRoute, ...] = ()
    container: str = "primary"
    timeout: float = 60.0  # deadline of one prediction
    batch: int = 64  # most requests in one worker batch; 1 = one by one
    queue_requests: int = 2048
    queue_bytes: int = 256 << 20
    environment: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    fleet: str = ""
    share: float = 1.0
    entry: bool = True
    direct: bool = False
    then: str = ""
    sleeps: bool = False  # requests are held where no replica serves: one comes
    concurrency: int = 0  # predictions at once, more are throttled; 0: no limit. Workers come with demand
    warm: int = 0  # of those, workers that never go
    rest: float = 60.0  # seconds after which workers that nobody needed go
    shadow_of: str = ""
    sample: float = 0.0
    slow: float = 0.0  # seconds: answers that took longer are counted (`VariantView.slow`); 0: none are
    multi_model: bool = False  # requests name one of many models (TargetModel), each loaded when it is asked for
    cached: bool = True  # models of a multi-model variant stay loaded between requests
    boost: Boost | None = None  # None: every worker that is allowed may be busy
    capture: Mapping[str, Any] = field(default_factory=dict)  # the DataCaptureConfig; empty: nothing is captured

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.name)


@dataclass(frozen=True, slots=True)
class EndpointRoute:
    """Everything a front needs to serve an endpoint. A higher `revision` replaces a lower one. `asynchronous`: predictions come
    from its queue only, not from clients.

    `caller`: it is the private route of a job. Nobody invokes it by name; the job's own process proves itself on the workers' socket by the
    token whose SHA-256 (hex) this is.

    An inference component is one too, of the name ENDPOINT/COMPONENT; its endpoint is `hosting` and has nothing to predict with."""

    account: str
    region: str
    name: str
    revision: int
    variants: tuple[VariantRoute, ...]
    max_payload: int = 25 << 20
    asynchronous: bool = False
    hosting: bool = False
    caller: str = ""
    explains: bool = False  # its replicas explain their answers

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> EndpointRoute:
        variants = tuple(
            VariantRoute(
                **{
                    **v,
                    "replicas": tuple(ReplicaRoute(**r) for r in v["replicas"]),
                    "boost": Boost(**v["boost"]) if v.get("boost") else None,
                }
            )
            for v in data["variants"]
        )
        return EndpointRoute(**{**data, "variants": variants})


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """What the front sees of a replica. `state`: absent (nobody dialled) | loading | ready | failed.

    `failure` carries the user's traceback when the model did not load."""

    id: str
    state: str
    workers: int = 0
    busy: int = 0
    in_flight: int = 0
    failure: str = ""
    load_seconds: float = 0.0
    load_mode: str = ""  # fork | per-worker
    allowed: int = 0  # workers that may be given work; 0 while it drains


@dataclass(frozen=True, slots=True)
class ShadowSample:
    """A request that the shadow answered differently. Texts are the beginnings of bodies; seconds from arrival to answer."""

    request: str
    status: int
    answer: str
    seconds: float
    shadow_status: int
    shadow_answer: str
    shadow_seconds: float


@dataclass(frozen=True, slots=True)
class ShadowView:
    """Copies since the front started: `skipped` where the shadow was full or not there, `failed` where it did not answer well.
    `later_seconds`: by how much its answers came later than the clients', summed up (negative: earlier)."""

    share: float = 0.0
    mirrored: int = 0
    skipped: int = 0
    agreed: int = 0
    differed: int = 0
    failed: int = 0
    later_seconds: float = 0.0
    samples: tuple[ShadowSample, ...] = ()

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> ShadowView:
        return ShadowView(**{**data, "samples": tuple(ShadowSample(**s) for s in data["samples"])})


@dataclass(frozen=True, slots=True)
class VariantView:
    """Counters since the front started (monotone) and gauges of one `VariantRoute` (`key`, `fleet`). Latencies in seconds.

    Sums over the containers of a variant count each request once: it arrives at its first, is `passed` on, completed at its last."""

    name: str
    replicas: tuple[ReplicaView, ...] = ()
    arrivals: int = 0
    completed: int = 0
    errors_4xx: int = 0
    errors_5xx: int = 0
    model_errors: int = 0
    queued: int = 0
    in_flight: int = 0
    model_seconds: float = 0.0  # sum over completions
    overhead_seconds: float = 0.0
    p50: float = 0.0  # of the last few thousand
    p99: float = 0.0
    key: str = ""
    fleet: str = ""
    container: str = "primary"
    passed: int = 0  # answers that went on to the next container
    idle: float = 0.0  # seconds since the last request, of a variant that sleeps; 0 while it has any
    setups: int = 0  # requests that had to wait for a worker to come
    setup_seconds: float = 0.0
    shadow: ShadowView | None = None  # of a shadow variant
    lost: int = 0  # requests that were let in and got no answer of the model: a death or the deadline came between
    faults: int = 0  # errors_5xx of requests that were let in
    slow: int = 0  # answers slower than `VariantRoute.slow`, since that was set
    models: Mapping[str, float] = field(
        default_factory=dict
    )  # of a multi-model variant: see `serving/copies.py` (`Loads`)
    signals: Signals | None = None  # of a variant with a `Boost`


@dataclass(frozen=True, slots=True)
class EndpointView:
    account: str
    region: str
    name: str
    revision: int
    variants: tuple[VariantView, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> EndpointView:
        variants = tuple(
            VariantView(
                **{
                    **v,
                    "replicas": tuple(ReplicaView(**r) for r in v["replicas"]),
                    "shadow": ShadowView.from_json(v["shadow"]) if v.get("shadow") else None,
                    "signals": Signals(**v["signals"]) if v.get("signals") else None,
                }
            )
            for v in data["variants"]
        )
        return EndpointView(**{**data, "variants": variants})
