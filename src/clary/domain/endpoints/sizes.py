"""The size of a variant's replicas, beyond what its instance type says: CPU, memory, and how many workers may be busy.

Owns what scaling may ask of an endpoint's record besides a count, and what there is. A size is changed in place and moves no status: the
endpoint stays in service. Pure; `endpoints.decide` brings running replicas to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clary.domain.endpoints.fleets import READY, Fleet, Replica, Variant
from clary.domain.endpoints.routes import Boost
from clary.domain.endpoints.turn import noted, plant_of, with_plant
from clary.domain.errors import IllegalTransition, Invalid
from clary.domain.lifecycle import EndpointStatus
from clary.domain.machine import instances
from clary.domain.resources import Record

LEAST = 10  # thousandths of a vCPU: the least that the kernel rations
MOST_WORKERS = 256
_STEADY = (EndpointStatus.IN_SERVICE, EndpointStatus.OUT_OF_SERVICE)


@dataclass(frozen=True, slots=True)
class SizeSeen:
    """Thousandths of a vCPU of each replica of a variant: `wanted`, and `actual` of the smallest one that is ready (0: none is).
    `refused` says why the last size that was asked for was not given."""

    wanted: int
    actual: int
    refused: str = ""


def size_of(record: Record, name: str) -> SizeSeen:
    """The size of the replicas of the variant `name`."""
    return size_of_group(_group(record, name))


def size_of_group(group: Sequence[Variant]) -> SizeSeen:
    """The same, of a variant's containers."""
    ready = [_millicpu(r.size or v.instance_type) for v in group for r in v.replicas if r.phase == READY]
    return SizeSeen(_millicpu(group[0].size), min(ready, default=0), next((v.cramped for v in group if v.cramped), ""))


def asked_size(record: Record, name: str, millicpu: int, now: float) -> Record:
    """Set the size of every replica of the variant `name` in thousandths of a vCPU (0: as its instance type has)."""
    if record.status not in _STEADY:
        raise IllegalTransition(f'Cannot update endpoint "{record.arn}" in status {record.status}.')
    group = _group(record, name)
    check(group[0], millicpu or LEAST)
    if all((v.millicpu, v.cramped) == (millicpu, "") for v in group):
        return record
    changed = _with(record, tuple(replace(v, millicpu=millicpu, cramped="") for v in group))
    plant = plant_of(changed)
    what = f"{name}: {_millicpu(group[0].size)} to {_millicpu(replace(group[0], millicpu=millicpu).size)} millicpu"
    config = plant.serving.config if plant.serving else ""
    return with_plant(changed, noted(plant, "size asked", what, now, config))


def check(variant: Variant, least: int) -> None:
    """Invalid for a variant whose replicas have no size of their own, and for less than the kernel rations."""
    if variant.serverless or variant.hosting:
        kind = "serverless" if variant.serverless else "a place for inference components"
        raise Invalid(f"Variant {variant.name} is {kind}: its replicas have no size to change.")
    if not instances.find(variant.instance_type):
        raise Invalid(f"Variant {variant.name} has no instance type of a known size to start from.")
    if least < LEAST:
        raise Invalid(f"{least} thousandths of a vCPU are too few for variant {variant.name}: {LEAST} is the least.")


def asked_count(record: Record, name: str, count: int, now: float) -> Record:
    """So many replicas of the variant `name`, in place as a size is: the endpoint stays in service, may be asked again before they are
    there, and goes on trying where a start fails. So a policy asks that decides each second."""
    if record.status not in _STEADY:
        raise IllegalTransition(f'Cannot update endpoint "{record.arn}" in status {record.status}.')
    group = _group(record, name)
    if group[0].serverless or group[0].hosting or count < 0:
        raise Invalid(f"Variant {name} cannot have {count} replicas.")
    if all(v.count == count for v in group):
        return record
    changed = _with(record, tuple(replace(v, count=count, deaths=0, fatal=False, retry=0.0) for v in group))
    plant = plant_of(changed)
    config = plant.serving.config if plant.serving else ""
    return with_plant(changed, noted(plant, "count asked", f"{name}: {group[0].count} to {count}", now, config))


def asked_boost(record: Record, name: str, boost: Boost | None, allowance: int = 0) -> Record:
    """The front shall park workers of the variant `name` by `boost` (None: it parks none), and keep at most `allowance` workers of a
    replica busy (0: as many as its size has CPUs)."""
    group = _group(record, name)
    check(group[0], LEAST)
    if boost is not None and not (boost.objective > 0 and boost.delta > 0 and boost.base >= 0 and boost.hold >= 0):
        raise Invalid(f"The latency objective of variant {name} must be above 0, not {boost.objective:g} s.")
    if not 0 <= allowance <= MOST_WORKERS:
        raise Invalid(f"{allowance} workers are not possible for variant {name}: {MOST_WORKERS} is the most.")
    if all((v.boost, v.allowance) == (boost, allowance) for v in group):
        return record
    return _with(record, tuple(replace(v, boost=boost, allowance=allowance) for v in group))


def inherited(fleet: Fleet, serving: Fleet | None) -> Fleet:
    """A fleet that takes over is no smaller than the one before: variants of the same name and instance type keep their size, and every
    variant its objective, and with one as many replicas as it had."""
    before = {v.key: v for v in serving.variants} if serving is not None else {}
    for variant in fleet.variants:
        old = before.get(variant.key)
        if old is None or variant.serverless or old.serverless:
            continue
        if old.instance_type == variant.instance_type:
            variant = replace(variant, millicpu=old.millicpu, memory=old.memory, grown=old.grown)
        if old.boost is not None:  # what the load needs, not what an endpoint config once began with
            variant = replace(variant, count=max(variant.count, old.count))
        fleet = fleet.with_variant(replace(variant, boost=old.boost, allowance=old.allowance))
    return fleet


def kept_size(variant: Variant, replica: Replica, why: str) -> Variant | None:
    """A size that cannot be had: the variant goes back to what the replica has. None where the instance type itself is another, which
    was asked for by hand."""
    kind, millicpu, memory = instances.parts(replica.size or variant.instance_type)
    if kind != variant.instance_type:
        return None
    return replace(variant, millicpu=millicpu, memory=memory, cramped=why)


def _group(record: Record, name: str) -> tuple[Variant, ...]:
    """The containers of the variant that serves, or comes first."""
    plant = plant_of(record)
    fleet = plant.serving or plant.incoming
    group = tuple(v for v in fleet.variants if v.name == name and not v.shadow) if fleet is not None else ()
    if not group:
        raise Invalid(f'The variant name "{name}" is not a production variant of endpoint "{record.arn}".')
    return group


def _with(record: Record, variants: tuple[Variant, ...]) -> Record:
    plant = plant_of(record)
    fleet = plant.serving or plant.incoming
    assert fleet is not None
    for variant in variants:
        fleet = fleet.with_variant(variant)
    return with_plant(record, replace(plant, serving=fleet) if plant.serving else replace(plant, incoming=fleet))


def _millicpu(size: str) -> int:
    found = instances.find(size)
    return round(1000 * (found.cores or found.vcpu)) if found is not None else 0
