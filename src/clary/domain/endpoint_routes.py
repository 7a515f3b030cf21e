"""The route that an endpoint's plant amounts to: what its home front shall know. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from clary.domain import instances, own_servers
from clary.domain.fleets import DRAINING, STOPPING, Fleet, Plant, Variant
from clary.domain.resources import Record
from clary.domain.routes import EndpointRoute, ReplicaRoute, VariantRoute

SLEEPLESS = 3  # deaths in a row after which requests are no longer held for a replica that may never come
SHADOW_REQUESTS, SHADOW_BYTES = 64, 16 << 20  # that may wait at a shadow: its copies are worth no more memory


def route_of(record: Record, plant: Plant, revision: int, cpus: int, rest: float) -> EndpointRoute:
    """What the front shall do: every variant of every fleet, new work only for the fleet that serves (or for the first one, while
    the endpoint is created). `rest`: seconds after which workers of a serverless variant that nobody needed go."""
    front = plant.serving or plant.incoming
    variants = [
        _variant_route(plant, fleet, variant, 1.0 if fleet is front else 0.0, cpus, rest)
        for fleet in plant.fleets
        for variant in fleet.variants
        if variant.replicas or fleet is front
    ]
    scope = record.scope
    return EndpointRoute(scope.account, scope.region, record.name, revision, tuple(variants))


def _variant_route(plant: Plant, fleet: Fleet, variant: Variant, share: float, cpus: int, rest: float) -> VariantRoute:
    """`share` of the variant's traffic is this fleet's; with none its replicas take no new work."""
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
        )
        for r in variant.replicas
        if r.phase != STOPPING
    )
    made = VariantRoute(
        name=variant.name,
        weight=variant.weight,
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
        sleeps=bool(variant.serverless) and variant.deaths < SLEEPLESS,
        concurrency=variant.concurrency,
        warm=variant.warm,
        rest=rest,
        shadow_of=route_key(fleet, source) if source is not None else "",
        sample=min(1.0, variant.weight / source.weight) if source is not None and source.weight else 0.0,
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


def route_key(fleet: Fleet, variant: Variant) -> str:
    """What tells a variant of a fleet from all others of the endpoint."""
    return f"{variant.key}@{fleet.id}"


def workers_of(variant: Variant, cpus: int) -> int:
    """Workers of one replica on a machine with so many CPUs: what SAGEMAKER_MODEL_SERVER_WORKERS says, else one per vCPU of
    the instance type, never more than there are CPUs."""
    if variant.concurrency:
        return variant.concurrency
    size = instances.find(variant.instance_type)
    if (variant.prepared or {}).get("server"):  # it has a concurrency of its own; ours only passes requests on
        return variant.container.workers or max(own_servers.FORWARDERS, cpus)
    return variant.container.workers or max(1, min(size.vcpu if size else cpus, cpus))
