"""How much of a dimension an endpoint or an inference component has, and the change that asks for another amount: the one place that
knows how each dimension is written into records. Pure."""

from __future__ import annotations

from typing import Any

from clary.domain.autoscaling.record import COPIES, INSTANCES, MILLICPU, PROVISIONED, Capacity, ScalableResource
from clary.domain.endpoints import life, sizes
from clary.domain.endpoints.fleets import Variant
from clary.domain.errors import Invalid, NotFound
from clary.domain.lifecycle import EndpointStatus
from clary.domain.resources import Record

_STEADY = (EndpointStatus.IN_SERVICE,)
_STEADY_COMPONENT = (EndpointStatus.IN_SERVICE, EndpointStatus.OUT_OF_SERVICE)  # the second: it has no copy


def variants_of(record: Record, place: ScalableResource) -> tuple[Variant, ...]:
    """The containers of the variant that serves (or comes first), or the component's copies. NotFound when there is none."""
    plant = life.plant_of(record)
    fleet = plant.serving or plant.incoming
    found = tuple(v for v in fleet.variants if place.variant in ("", v.name) and not v.shadow) if fleet else ()
    if not found:
        raise NotFound(f"There is no {place.words}.")
    return found


def capacity_of(record: Record, place: ScalableResource, dimension: str) -> Capacity:
    plant, group = life.plant_of(record), variants_of(record, place)
    component = dimension == COPIES
    steady = record.status in (_STEADY_COMPONENT if component else _STEADY)
    failure = plant.failure
    if dimension == PROVISIONED:
        return Capacity(group[0].warm, group[0].kept, steady, failure, record.status)
    if dimension == MILLICPU:
        size = sizes.size_of(record, group[0].name)
        refused, count = size.refused or failure, group[0].count
        return Capacity(size.wanted, size.actual, steady, refused, record.status, count=count, millicpu=size.wanted)
    if component:
        return Capacity(group[0].count, sum(v.ready for v in group), steady, failure, record.status)
    # without an objective, and a queue, nothing would wake it
    floor = 0 if is_asynchronous(record) or group[0].hosting or group[0].boost is not None else 1
    count, millicpu = group[0].count, sizes.size_of_group(group).wanted if not group[0].hosting else 0
    return Capacity(count, min(v.ready for v in group), steady, failure, record.status, floor, count, millicpu)


def asked(
    record: Record, place: ScalableResource, dimension: str, wanted: int, now: float, steady: bool = False
) -> Record:
    """The record with so much asked for; `steady`: while it stays in service. IllegalTransition when it takes no change in its status;
    Invalid for what cannot be."""
    group = variants_of(record, place)
    name = group[0].name
    if steady and dimension == INSTANCES:
        return sizes.asked_count(record, name, wanted, now)
    if dimension == MILLICPU:
        return sizes.asked_size(record, name, wanted, now)
    row: dict[str, Any] = {"VariantName": name}
    match dimension:
        case _ if dimension == PROVISIONED:
            row["ServerlessUpdateConfig"] = {"ProvisionedConcurrency": wanted}
        case _ if dimension in (INSTANCES, COPIES):
            row["DesiredInstanceCount"] = wanted
        case _:
            raise Invalid(f"{dimension} of {place.words} cannot be changed.")
    return life.asked_capacity(record, [row], now)


def check(
    record: Record, place: ScalableResource, dimension: str, least: int, most: int, objective: bool = False
) -> None:
    """Invalid for a target that its resource could not be: of another kind of variant, or with a range that it cannot have.
    `objective`: a latency objective decides it."""
    group = variants_of(record, place)
    serverless = bool(group[0].serverless)
    if dimension == PROVISIONED and not serverless:
        raise Invalid(f"{place.words} is not serverless: its scalable dimension is {INSTANCES}.")
    if dimension == PROVISIONED and most > group[0].concurrency:
        raise Invalid(
            f"MaxCapacity ({most}) must be at most the MaxConcurrency of {place.words} ({group[0].concurrency})."
        )
    if dimension == MILLICPU and not serverless:
        sizes.check(group[0], least)
    if dimension in (INSTANCES, MILLICPU) and serverless:
        raise Invalid(f"{place.words} is serverless: its scalable dimension is {PROVISIONED}.")
    sleeps = objective or is_asynchronous(record) or group[0].hosting
    if dimension == INSTANCES and least < 1 and not sleeps:
        raise Invalid(
            f"MinCapacity must be at least 1 for {place.words}: only variants of asynchronous endpoints, those with a latency "
            "objective (put its policy first), inference components and provisioned concurrency may scale to 0."
        )


def is_asynchronous(record: Record) -> bool:
    """Whether predictions of the endpoint come from its queue."""
    plant = life.plant_of(record)
    fleet = plant.serving or plant.incoming
    return fleet is not None and bool(fleet.asynchronous)
