"""Latency objectives: where they are set, their limits, and the record of the policy's state for a variant that has one. Pure.

A variant has an objective by a target tracking policy on the metric `ClaryLatencyObjective` (on either of its dimensions; it decides
both, where both are registered), or by its endpoint config (`TAG`, or the setting of that name), without Application Auto Scaling.

The record's document: `endpoint`, `variant`, `memory` (the policy's), `wish` (by dimension, what its scalable target is to do next),
`keeps` (by dimension, the policy without whose consent its scalable target takes nothing away),
`changed` and `grown` (when the count was changed, when the size was to grow last), `starts` (seconds that the last replicas took),
`cramped` and `full` (why, and when last, there was no room for a larger size, for a replica; None: there is), `refused` (why the
endpoint took no change, and when). What else a record of an older version has is left as it is, and read by nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.autoscaling.latency import configuration, is_latency
from clary.domain.autoscaling.record import INSTANCES, MILLICPU, place_of
from clary.domain.endpoints.fleets import Variant
from clary.domain.errors import Invalid
from clary.domain.extensions import milliseconds
from clary.domain.ids import arn as make_arn
from clary.domain.machine import instances
from clary.domain.resources import Record, Scope
from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.signals import Memory

KIND = "latency-objective"
ACTIVE = "Active"
TAG = "clary:latency-objective-ms"
RESTS = 60.0  # seconds in which what a target found no room for is not wished again
KEEP = ClaryPolicy(1.0).keep  # seconds for which capacity outlives the need for it


@dataclass(frozen=True, slots=True)
class Range:
    """Of one dimension. `target`: a scalable target has it, which does what is decided; else the endpoint is asked at once. `grows`,
    `shrinks`: neither is suspended. `refused`: why the target's last change was not made, while it rests after that."""

    least: int
    most: int
    target: bool = False
    grows: bool = True
    shrinks: bool = True
    refused: str = ""

    def within(self, wanted: int, now: int) -> int:
        """What of that may be, from what there is now."""
        wanted = min(max(wanted, self.least), self.most)
        if (wanted > now and (self.refused or not self.grows)) or (wanted < now and not self.shrinks):
            return now
        return wanted


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a variant. `objective` and `keep` in seconds. A dimension without a range stays as it is."""

    policy: str
    objective: float
    count: Range | None = None
    millicpu: Range | None = None
    keep: float = KEEP


def objective_of(tags: Iterable[Mapping[str, str]], default: float, where: str) -> tuple[float, bool]:
    """Seconds that an endpoint config's variants shall meet by themselves (0: none is asked), and whether its tag says so."""
    for tag in tags:
        if tag["Key"] == TAG:
            return milliseconds(tag["Value"], f"The tag {TAG}{where}") / 1000.0, True
    return default, False


def check_variant(group: Sequence[Variant], asynchronous: bool) -> None:
    """Invalid for a variant that cannot have an objective."""
    what = unable(group, asynchronous)
    if what:
        raise Invalid(f"Variant {group[0].name} cannot have a latency objective: it {what}.")


def unable(group: Sequence[Variant], asynchronous: bool) -> str:
    """Why a variant cannot have an objective; "": it can."""
    variant = group[0]
    return (
        "is serverless: its workers come with demand and go to nothing by themselves"
        if variant.serverless
        else "hosts inference components"
        if variant.hosting
        else "serves many models"
        if variant.container.multi_model
        else "has a model of several containers"
        if len(group) > 1
        else "is of an asynchronous endpoint, which predicts at whatever time suits"
        if asynchronous
        else f"has no instance type of a known size ({variant.instance_type or 'none'})"
        if not instances.find(variant.instance_type)
        else ""
    )


def asked_of(
    group: Sequence[Variant],
    objective: float,
    targets: Mapping[str, Mapping[str, Any]],
    policies: Iterable[Mapping[str, Any]],
    cpus: int,
    now: float,
    asynchronous: bool = False,
) -> Asked | None:
    """What is asked of the variant; None: nothing. `objective` (seconds) is its endpoint config's, `targets` are documents by
    dimension, `policies` the requests of their policies."""
    found = [request for request in policies if is_latency(request)]
    if not (found or objective) or unable(group, asynchronous):
        return None
    count, millicpu = (_range(targets.get(dimension), now) for dimension in (INSTANCES, MILLICPU))
    if not found:
        return Asked(TAG, objective, count or _managed(group[0], cpus), millicpu)
    request = min(found, key=lambda each: float(configuration(each)["TargetValue"]))
    config = configuration(request)
    keep = config.get("ScaleInCooldown")
    if config.get("DisableScaleIn"):
        count, millicpu = (replace(each, shrinks=False) if each is not None else None for each in (count, millicpu))
    return Asked(
        request["PolicyName"],
        float(config["TargetValue"]) / 1000.0,
        count,
        millicpu,
        KEEP if keep is None else float(keep),
    )


def kept_of(asked: Asked) -> dict[str, str]:
    """A policy that scales in as well as out has a say in both; one with DisableScaleIn leaves the way down to others."""
    ranges = ((INSTANCES, asked.count), (MILLICPU, asked.millicpu))
    return {name: asked.policy for name, one in ranges if one is not None and one.target and one.shrinks}


def _range(target: Mapping[str, Any] | None, now: float) -> Range | None:
    if target is None:
        return None
    held = target["suspended"]
    grows, shrinks = not held["DynamicScalingOutSuspended"], not held["DynamicScalingInSuspended"]
    refused, lacks = target.get("refused") if now < target.get("retry", 0.0) else "", target.get("lacks")
    if lacks and 0 <= now - lacks["at"] < RESTS:
        refused = lacks["why"]
    return Range(target["min"], target["max"], True, grows, shrinks, refused or "")


def _managed(variant: Variant, cpus: int) -> Range:
    """ManagedInstanceScaling's range; without one, up to a replica for each CPU of the machine."""
    scaling = variant.config.get("ManagedInstanceScaling") or {}
    initial = int(variant.config.get("InitialInstanceCount") or 1)
    if scaling.get("Status") != "ENABLED":
        return Range(1, max(initial, cpus))
    least = int(scaling.get("MinInstanceCount", 1))
    return Range(least, int(scaling.get("MaxInstanceCount", max(least, initial, cpus))))


# -- the record -------------------------------------------------------------------------------------------------------------------


def new(scope: Scope, endpoint: str, variant: str, now: float) -> Record:
    document: dict[str, Any] = {
        "endpoint": endpoint,
        "variant": variant,
        "memory": pack(Memory()),
        "wish": {},
        "keeps": {},
        "changed": 0.0,
        "grown": 0.0,
        "starts": [],
        "cramped": None,
        "full": None,
        "refused": None,
    }
    name = name_of(endpoint, variant)
    arn = make_arn("clary", scope.region, scope.account, f"{KIND}/{name}")
    return Record(KIND, scope, name, arn, ACTIVE, now, now, document)


def name_of(endpoint: str, variant: str) -> str:
    return f"{endpoint}/{variant}"


def of_resource(resource: str, dimension: str) -> str:
    """The name of the record of the variant that a scalable target is of; "" for one of another kind."""
    if dimension not in (INSTANCES, MILLICPU):
        return ""
    place = place_of(resource, dimension)
    return name_of(place.name, place.variant)


def pack(memory: Memory) -> list[Any]:
    """As a record keeps it."""
    return [*memory[:4], [list(peak) for peak in memory.peaks], *memory[5:]]


def unpack(kept: Any, now: float) -> Memory:
    """A memory out of a record. What is of the future, because the clock was set back, would hold things for as long as it was set
    back: it is of now."""
    seen, last, steps, sums, peaks, shrunk, busy = kept
    needs = tuple((int(at), float(need)) for at, need in peaks)
    return sane(Memory(seen, last, steps, sums, needs, shrunk, busy), now)


def sane(memory: Memory, now: float) -> Memory:
    if max(memory.seen, memory.shrunk, memory.busy) <= now + 1.0:
        return memory
    return memory._replace(
        seen=min(memory.seen, now), last=-1, shrunk=min(memory.shrunk, now), busy=min(memory.busy, now)
    )
