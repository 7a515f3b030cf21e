"""Serverless variants: what a ServerlessConfig asks for, what it excludes, and when its replica sleeps and wakes. Pure.

A serverless variant is one replica whose workers come with demand, up to MaxConcurrency, and go without it (the front does that by
itself); after a longer rest the replica goes too, and the endpoint costs disk only. ProvisionedConcurrency keeps so many workers
warm for ever. Source: AWS, "Serverless Inference"; reference/sagemaker.md 3.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.endpoints.fleets import Fleet, Variant
from clary.domain.endpoints.routes import VariantView
from clary.domain.endpoints.routing import route_key
from clary.domain.errors import Invalid

MEMORY_STEP = 1024  # MB
_INSTANCES_ONLY = (  # members of a variant that mean nothing without an instance
    "InstanceType",
    "InitialInstanceCount",
    "AcceleratorType",
    "VolumeSizeInGB",
    "ManagedInstanceScaling",
    "RoutingConfig",
)


@dataclass(frozen=True, slots=True)
class Rest:
    """Seconds without a request after which `workers` leave (the zygote stays, with the model), and after which the `replica`
    stops."""

    workers: float = 60.0
    replica: float = 900.0


def check(rows: Sequence[Mapping[str, Any]], request: Mapping[str, Any]) -> None:
    """Invalid for a ServerlessConfig that contradicts itself, its variant or the rest of the endpoint config."""
    serverless = [row for row in rows if row.get("ServerlessConfig")]
    for place, row in enumerate(rows, 1):
        if row.get("ServerlessConfig"):
            _check_row(row, place)
    if not serverless:
        return
    if len(rows) > 1 or request.get("ShadowProductionVariants"):
        raise Invalid("A serverless endpoint has exactly one production variant and no shadow variants.")
    for member in ("DataCaptureConfig", "AsyncInferenceConfig", "VpcConfig", "ExplainerConfig"):
        if request.get(member):
            raise Invalid(f"{member} is not supported for serverless endpoints.")


def _check_row(row: Mapping[str, Any], place: int) -> None:
    asked, name = row["ServerlessConfig"], row["VariantName"]
    for member in _INSTANCES_ONLY:
        if row.get(member) not in (None, ""):
            raise Invalid(
                f"Production variant '{name}' has a ServerlessConfig and {member}; a serverless variant has no instances. "
                f"Remove one of them."
            )
    memory = asked["MemorySizeInMB"]
    if memory % MEMORY_STEP:
        raise Invalid(
            f"1 validation error detected: Value '{memory}' at 'productionVariants.{place}.member.serverlessConfig.memorySizeInMB' "
            "failed to satisfy constraint: Member must satisfy enum value set: [1024, 2048, 3072, 4096, 5120, 6144]"
        )
    _check_concurrency(asked, name)


def _check_concurrency(asked: Mapping[str, Any], name: str) -> None:
    warm, most = asked.get("ProvisionedConcurrency", 0), asked["MaxConcurrency"]
    if warm > most:
        raise Invalid(
            f"ProvisionedConcurrency ({warm}) of production variant '{name}' must be less than or equal to its MaxConcurrency ({most})."
        )


def check_fleet(fleet: Fleet) -> None:
    """Invalid for models that no serverless variant serves."""
    for variant in fleet.variants:
        if variant.serverless and len([v for v in fleet.variants if v.name == variant.name]) > 1:
            raise Invalid(
                f"Model '{variant.container.model}' has several containers, which is not supported for serverless endpoints."
            )


def check_change(serving: Fleet, wanted: Fleet) -> None:
    """Invalid where an update would turn a serverless variant into one with instances (AWS allows the other way only)."""
    before = {variant.name for variant in serving.variants if variant.serverless}
    for variant in wanted.variants:
        if before and not variant.serverless:
            raise Invalid(
                "A serverless endpoint cannot be updated to an instance-based one. Create a new endpoint with the endpoint configuration "
                f'"{wanted.config}" and delete this one.'
            )


def changed(variant: Variant, row: Mapping[str, Any]) -> Variant:
    """ServerlessUpdateConfig of UpdateEndpointWeightsAndCapacities. Invalid for a variant with instances, and the other way round."""
    asked = row.get("ServerlessUpdateConfig")
    if asked is None:
        if variant.serverless and row.get("DesiredInstanceCount") is not None:
            raise Invalid(f'DesiredInstanceCount is not supported for serverless variant "{variant.name}".')
        return variant
    if not variant.serverless:
        raise Invalid(
            f'ServerlessUpdateConfig is only allowed for serverless variants, and "{variant.name}" is not one.'
        )
    config = {**variant.serverless, **asked}
    _check_concurrency(config, variant.name)
    return replace(variant, config={**variant.config, "ServerlessConfig": config})


def tended(fleet: Fleet, views: Mapping[str, VariantView], rest: Rest, settled: bool) -> Fleet:
    """The fleet that serves, with its sleepers woken when somebody waits (in any status), and, when `settled`, serverless ones put to
    sleep when nobody came for a long time. `views` are by the key of their route."""
    for variant in fleet.variants:
        view = views.get(route_key(fleet, variant))
        if view is None or not variant.sleeps:
            continue
        if variant.count == 0 and view.queued:
            fleet = fleet.with_variant(replace(variant, count=1))
        elif settled and variant.serverless and variant.count and not variant.warm and view.idle >= rest.replica:
            fleet = fleet.with_variant(replace(variant, count=0))
    return fleet


def woken(before: Fleet, after: Fleet) -> list[str]:
    """Variants with a latency objective that `tended` woke, for the history. (Serverless ones do nothing else all day.)"""
    pairs = zip(before.variants, after.variants, strict=True)
    found = [(old, new) for old, new in pairs if new.count > old.count and not new.serverless]
    return [f"{new.name}: {old.count} to {new.count}, for a request that is held" for old, new in found]


def waits(fleet: Fleet, views: Mapping[str, VariantView], rest: Rest) -> list[float]:
    """Seconds until a variant that rests may be put to sleep."""
    found = [(v, views.get(route_key(fleet, v))) for v in fleet.variants if v.serverless and v.count and not v.warm]
    return [rest.replica - view.idle for _, view in found if view is not None and 0 < view.idle < rest.replica]
