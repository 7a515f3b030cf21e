"""What there is of a variant with a latency objective, and what may be: the first half of its turn (`objectives/turn.py`). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from clary.domain.endpoints.fleets import READY, Variant
from clary.domain.endpoints.routing import workers_of
from clary.domain.endpoints.sizes import SizeSeen
from clary.domain.endpoints.turn import NO_CAPACITY, plant_of
from clary.domain.machine import instances
from clary.domain.objectives.commands import Command, SeenObjective
from clary.domain.objectives.record import Asked, Range
from clary.domain.resources import Record
from clary.domain.scaling.retreat import may_sleep
from clary.domain.scaling.shape import Bounds, Have
from clary.domain.scaling.staffing import tail

AGAIN_LARGER, AGAIN_ANOTHER = 300.0, 60.0  # seconds after which a size, a replica without room is asked for again
STARTS = 20  # replicas whose starts are remembered
UNMEASURED_START = 1.2


@dataclass(slots=True)
class ObjectiveTurn:
    record: Record
    seen: SeenObjective
    asked: Asked
    endpoint: Record
    group: tuple[Variant, ...]
    now: float
    size: SizeSeen
    document: dict[str, Any] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    larger: bool = False  # a size, a replica that there was no room for is asked for again
    another: bool = False
    barred: str = ""  # why nothing can be asked of the endpoint now

    @property
    def variant(self) -> Variant:
        return self.group[0]


def group_of(endpoint: Record | None, name: str) -> tuple[Variant, ...]:
    """The containers of the variant that serves, or comes first; none when it is not there."""
    plant = plant_of(endpoint) if endpoint is not None else None
    fleet = (plant.serving or plant.incoming) if plant is not None else None
    return tuple(v for v in fleet.variants if v.name == name and not v.shadow) if fleet is not None else ()


def have_of(turn: ObjectiveTurn) -> Have:
    asked, live = turn.variant.count, len(turn.variant.live)
    ready = min(asked, *(sum(r.phase == READY for r in v.replicas) for v in turn.group))
    size = turn.size
    return Have(asked, ready, max(0, min(live, asked) - ready), size.actual or size.wanted)


def note_room(turn: ObjectiveTurn, have: Have) -> None:
    """What could not be had, until it is had."""
    document, now, asked = turn.document, turn.now, turn.asked
    cramped = turn.variant.cramped or (asked.millicpu.refused if asked.millicpu else "")
    failing = turn.variant.failure if turn.variant.deaths else ""
    full = failing.removeprefix(NO_CAPACITY) if failing.startswith(NO_CAPACITY) else ""
    full = full or (asked.count.refused if asked.count else "")
    turn.larger = _note_lack(document, "cramped", cramped, have.millicpu, AGAIN_LARGER, now)
    turn.another = _note_lack(document, "full", full, have.ready, AGAIN_ANOTHER, now)
    document["starts"] = [*document["starts"], *(round(each, 3) for each in turn.seen.starts)][-STARTS:]


def _note_lack(document: dict[str, Any], which: str, why: str, has: int, again: float, now: float) -> bool:
    """Why there was no room lately; answers whether it is time to ask again, which it is for one decision."""
    known = document[which]
    if known is None:
        document[which] = {"why": why, "at": now, "has": has} if why else None
        return False
    if not why and has > known["has"]:
        document[which] = None
        return False
    due = not 0 <= now - known["at"] < again
    if due or (why and why != known["why"]):
        document[which] = {"why": why or known["why"], "at": now, "has": known["has"]}
    return due


def bounds_of(turn: ObjectiveTurn, have: Have) -> Bounds:
    asked, variant, document = turn.asked, turn.variant, turn.document
    size = instances.find(variant.instance_type)
    own = min(size.vcpu if size is not None else turn.seen.cpus, turn.seen.cpus) * 1000
    if asked.millicpu is None and variant.millicpu:
        own = variant.millicpu
    count = asked.count or Range(have.asked, have.asked)
    millicpu = asked.millicpu or Range(0, 0)
    cramped, full = document["cramped"], document["full"]
    unlimited = replace(variant, allowance=1)
    fixed = workers_of(unlimited, turn.seen.cpus)
    return Bounds(
        max(count.least, 0 if _may_sleep(turn) else 1),
        count.most,
        millicpu.least,
        millicpu.most,
        own,
        0 if fixed == 1 and not variant.container.workers else fixed,
        cramped["why"] if cramped else "",
        full["why"] if full else "",
        turn.larger,
        turn.another,
        turn.seen.cpus * 1000,
    )


def _may_sleep(turn: ObjectiveTurn) -> bool:
    """Whether the last replica may go: the request that wakes it is still in time. What the start costs must have been measured."""
    recent, starts = turn.seen.recent, turn.document["starts"]
    if turn.asked.count is None or turn.asked.count.least or not starts:
        return False
    if recent is None or not recent.samples:
        return not turn.variant.count  # it sleeps: without news it goes on
    last = recent.samples[-1]
    return may_sleep(max(starts), tail(last.service, last.spread), turn.asked.objective)


def stays(turn: ObjectiveTurn) -> str:
    """Why the last replica stays where none would be allowed."""
    if turn.asked.count is None or turn.asked.count.least or turn.variant.count > 1 or _may_sleep(turn):
        return ""
    starts = turn.document["starts"]
    if not starts:
        return " One replica stays, parked: no start of it was measured yet."
    return (
        f" One replica stays, parked: a start takes {max(starts):.2g} s, and the request that wakes it would be late."
    )


def start_of(turn: ObjectiveTurn) -> float:
    """The 95th percentile of this model's starts."""
    starts = sorted(turn.document["starts"])
    return float(starts[min(len(starts) - 1, round(0.95 * len(starts)))]) if starts else UNMEASURED_START


def boosting(turn: ObjectiveTurn) -> bool:
    recent, boost = turn.seen.recent, turn.variant.boost
    return recent is not None and boost is not None and recent.working > max(1, boost.base)
