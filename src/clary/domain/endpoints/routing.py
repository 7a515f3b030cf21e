"""Computes an endpoint's route, which its home front gets, from its plant. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from clary.domain.endpoints import capture
from clary.domain.endpoints.async_inference import LARGEST, LONGEST
from clary.domain.endpoints.fleets import DRAINING, STOPPING, Fleet, Plant, Variant
from clary.domain.endpoints.regression import SLOWER
from clary.domain.endpoints.routes import EndpointRoute, ReplicaRoute, VariantRoute
from clary.domain.machine import instances
from clary.domain.models import own_servers
from clary.domain.names import route_name
from clary.domain.resources import Record

CALLER = "caller"  # whose token the private route of a job admits
SLEEPLESS = 3  # deaths in a row after which requests are no longer held for a replica that may never come
SHADOW_REQUESTS, SHADOW_BYTES = 64, 16 << 20  # that may wait at a shadow: its copies are worth no more memory


def route_of(record: Record, plant: Plant, revision: int, cpus: int, rest: float) -> EndpointRoute:
    """What the front shall do: every variant of every fleet, and which part of the variant's traffic each fleet takes. `rest`: seconds
    after which workers of a serverless variant that nobody needed go."""
    variants = [
        _variant_route(plant, fleet, variant, cpus, rest)
        for fleet in plant.fleets
        for variant in fleet.variants
        if variant.replicas or fleet is (plant.serving or plant.incoming)
    ]
    scope = record.scope
    front = plant.serving or plant.incoming
    hosting = front is not None and any(v.hosting for v in front.variants)
    explains = any(fleet.explainer for fleet in plant.fleets)
    name = route_name(record)
    route = EndpointRoute(
        scope.account, scope.region, name, revision, tuple(variants), hosting=hosting, explains=explains
    )
    if front is not None and front.private:
        slow = tuple(replace(variant, timeout=float(front.private["timeout"])) for variant in route.variants)
        caller = hashlib.sha256(plant.token(CALLER).encode()).hexdigest()
        return replace(route, variants=slow, max_payload=int(front.private["payload"]), caller=caller)
    if front is not None and front.asynchronous:
        # Each invocation has a deadline of its own; by the longest the front judges how many may wait.
        slow = tuple(replace(variant, timeout=LONGEST) for variant in route.variants)
        return replace(route, variants=slow, asynchronous=True, max_payload=LARGEST)
    return route


def share_of(plant: Plant, fleet: Fleet, variant: Variant) -> float:
    """The part of the variant's traffic that this fleet gets: all for the one that serves alone (or comes up first, while the endpoint
    is created), none for one that retires, and what the rollout says while two serve.

    A variant whose replicas are all gone takes nothing while the other fleet has some that are ready."""
    if fleet is not plant.serving and fleet is not plant.incoming:
        return 0.0
    if plant.serving is None or plant.incoming is None or plant.rollout is None:
        return 1.0 if fleet is (plant.serving or plant.incoming) else 0.0
    share = plant.rollout.share(variant.name)
    if 0 < share < 1 and not variant.serverless:  # a serverless one sleeps, and wakes for its share
        new, old = (_alive(f, variant.name) for f in (plant.incoming, plant.serving))
        share = 0.0 if old and not new else 1.0 if new and not old else share
    return share if fleet is plant.incoming else 1 - share


def _alive(fleet: Fleet, name: str) -> bool:
    """Whether every container of that variant has a replica that is ready, or the fleet has no such variant."""
    return all(v.ready for v in fleet.variants if v.name == name)


def weight_of(plant: Plant, fleet: Fleet, variant: Variant) -> float:
    """Its weight among the variants. Weights of two fleets that serve beside each other are brought to the same sum, so that shares
    are shares of the endpoint's traffic."""
    if fleet is not plant.incoming or plant.serving is None:
        return variant.weight
    old, new = (sum(group[0].weight for group in f.groups) for f in (plant.serving, fleet))
    return variant.weight * old / new if old and new else variant.weight


def route_key(fleet: Fleet, variant: Variant) -> str:
    """What tells the variant's route, and its counters, from that of another fleet."""
    return f"{variant.key}@{fleet.id}"


def _variant_route(plant: Plant, fleet: Fleet, variant: Variant, cpus: int, rest: float) -> VariantRoute:
    share = share_of(plant, fleet, variant)
    allowance = workers_of(variant, cpus)
    source = _shadowed(fleet, variant) if variant.shadow else None
    container = variant.container
    group = [v for v in fleet.variants if v.name == variant.name]
    after = next((v for v in group if v.container.stage == container.stage + 1), None)
    replicas = tuple(
        ReplicaRoute(
            id=r.id,
            token_sha256=hashlib.sha256(plant.token(r.id).encode()).hexdigest(),
            allowance=allowance,
            # a later container of a pipeline goes on for what its fleet has begun
            draining=r.phase == DRAINING or (not share and not container.stage),
            threads=threads_of(variant, cpus),
        )
        for r in variant.replicas
        if r.phase != STOPPING
    )
    made = VariantRoute(
        name=variant.name,
        weight=weight_of(plant, fleet, variant),
        replicas=replicas,
        container=container.label,
        # one request has one deadline, however many containers it passes
        timeout=container.timeout if container.direct else max(v.container.timeout for v in group),
        key=route_key(fleet, variant),
        fleet=fleet.config,
        share=share,
        entry=not container.stage,
        direct=container.direct,
        then=route_key(fleet, after) if after is not None else "",
        sleeps=variant.sleeps and variant.deaths < SLEEPLESS,
        concurrency=variant.concurrency,
        warm=variant.kept,
        rest=rest,
        shadow_of=route_key(fleet, source) if source is not None else "",
        sample=min(1.0, variant.weight / source.weight) if source is not None and source.weight else 0.0,
        slow=slow_of(plant, variant),
        multi_model=container.multi_model,
        cached=container.cached,
        boost=None if variant.serverless or container.multi_model or variant.shadow else variant.boost,
        # a pipeline is captured as its clients see it: what came in at its first container, and what came of it
        capture={} if container.stage else capture.in_force(fleet.capture),
    )
    if not variant.shadow:
        return made
    return replace(made, queue_requests=SHADOW_REQUESTS, queue_bytes=SHADOW_BYTES)


def _shadowed(fleet: Fleet, shadow: Variant) -> Variant | None:
    """Whose requests this container of a shadow gets; None for a later one of a pipeline. Of containers that clients name, the one of
    the same name."""
    if shadow.container.stage:
        return None
    wanted = shadow.container.hostname if shadow.container.direct else ""
    entries = (v for group in fleet.groups for v in group if not v.container.stage)
    return next((v for v in entries if (v.container.hostname if v.container.direct else "") == wanted), None)


def slow_of(plant: Plant, variant: Variant) -> float:
    """Seconds beyond which an answer counts as slow, for both fleets of a rollout that are compared."""
    evidence = plant.rollout.evidence if plant.rollout is not None else {}
    return SLOWER * float(evidence.get("p99", {}).get(variant.name, 0.0)) if evidence else 0.0


def workers_of(variant: Variant, cpus: int) -> int:
    """Workers of one replica on a machine with so many CPUs: what SAGEMAKER_MODEL_SERVER_WORKERS says, else one per vCPU of
    the replica's size, never more than there are CPUs."""
    if variant.concurrency or variant.container.workers:
        return variant.concurrency or variant.container.workers
    prepared = variant.prepared or {}
    if prepared.get("server") or prepared.get("image"):  # it has a concurrency of its own; ours only passes requests on
        return max(own_servers.FORWARDERS, cpus)
    return variant.allowance or max(1, _cpus_of(variant, cpus))


def threads_of(variant: Variant, cpus: int) -> int:
    """Threads of each worker: the size's CPUs are divided among the workers."""
    return max(1, _cpus_of(variant, cpus) // workers_of(variant, cpus))


def _cpus_of(variant: Variant, cpus: int) -> int:
    size = instances.find(variant.size)
    return min(size.vcpu if size else cpus, cpus)
