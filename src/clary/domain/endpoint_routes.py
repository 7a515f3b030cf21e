"""The route that an endpoint's plant amounts to: what its home front shall know. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from clary.domain import instances
from clary.domain.fleets import DRAINING, STOPPING, Plant, Variant
from clary.domain.resources import Record
from clary.domain.routes import EndpointRoute, ReplicaRoute, VariantRoute


def route_of(record: Record, plant: Plant, revision: int, cpus: int) -> EndpointRoute:
    """What the front shall do: every variant by name, replicas of all fleets, new work only for the fleet that serves (or for
    the first one, while the endpoint is created)."""
    front = plant.serving or plant.incoming
    variants: dict[str, VariantRoute] = {}
    for fleet in plant.fleets:
        for variant in fleet.variants:
            draining = fleet is not front
            routes = tuple(
                ReplicaRoute(
                    id=r.id,
                    token_sha256=hashlib.sha256(plant.token(r.id).encode()).hexdigest(),
                    allowance=workers_of(variant, cpus),
                    draining=draining or r.phase == DRAINING,
                )
                for r in variant.replicas
                if r.phase != STOPPING
            )
            known = variants.get(variant.name)
            if known is not None:
                variants[variant.name] = replace(known, replicas=known.replicas + routes)
            elif routes or not draining:
                variants[variant.name] = VariantRoute(
                    name=variant.name,
                    weight=0.0 if draining else variant.weight,
                    replicas=routes,
                    timeout=variant.container.timeout,
                )
    scope = record.scope
    return EndpointRoute(scope.account, scope.region, record.name, revision, tuple(variants.values()))


def workers_of(variant: Variant, cpus: int) -> int:
    """Workers of one replica on a machine with so many CPUs: what SAGEMAKER_MODEL_SERVER_WORKERS says, else one per vCPU of
    the instance type, never more than there are CPUs."""
    size = instances.find(variant.instance_type)
    return variant.container.workers or max(1, min(size.vcpu if size else cpus, cpus))
