"""In which of two directions a variant grows: what its policy wants, as a count and a size of its replicas.

Owns the split of workers over replicas and sizes, and what happens where one direction has no room. Does not know the load. A worker
keeps one vCPU busy at most, so a replica of so many thousandths of a vCPU has so many ready workers; more of them borrow what is idle.

Sizes change in place within a second and cost nothing but what they hold; replicas take a start. So the count is what replicas at
their largest need, and the size what each of those that serve needs now: it grows first, carries a start's time, and shrinks when the
new replicas are there. A size that the machine did not give is no size that replicas can count on: they become more instead. Replicas
for which there is no room are not waited for: those that serve grow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from clary.domain.scaling.costs import Strain
from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.signals import Desired

ALLOWANCE = 8  # workers of a replica at least: parked ones cost memory only
MOST_ALLOWANCE = 256
VCPU = 1000  # thousandths
NO_ROOM = "no-room"
NO_IDLE = "the machine has no idle CPU, so nothing that grows would have one to run on"
SETTLES = 30.0  # seconds for which a size that has grown stays
IDLE = 3.0  # times as long as capacity outlives the need for it the last replica is kept without a request


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be: replicas from `least` to `most`, thousandths of a vCPU of each from `low` to `high` (0, 0: the size stays).
    `own` is the size without vertical scaling. `fixed` workers (0: as many as are decided). `cramped`, `full`: why a larger size,
    another replica was not to be had the last time; they are asked for again when `larger`, `another` say so. `machine`: thousandths
    of a vCPU that there are in all (0: without a bound)."""

    least: int
    most: int
    low: int = 0
    high: int = 0
    own: int = VCPU
    fixed: int = 0
    cramped: str = ""
    full: str = ""
    larger: bool = False
    another: bool = False
    machine: int = 0


@dataclass(frozen=True, slots=True)
class Have:
    """What there is. `asked` replicas, of which `ready` serve and `starting` come; each has `millicpu`."""

    asked: int
    ready: int
    starting: int
    millicpu: int


@dataclass(frozen=True, slots=True)
class Shape:
    """`why` says what went another way than wanted, or could not be; `stuck` that nothing gives what is needed."""

    count: int
    millicpu: int
    why: str = ""
    stuck: bool = False


def ready_of(bounds: Bounds, have: Have) -> int:
    """Workers of a replica that count in the fleet's size: of the largest size that it can get."""
    if not bounds.high:
        largest = bounds.own
    elif bounds.cramped:
        largest = max(bounds.low, min(have.millicpu, bounds.high))
    else:
        largest = bounds.high
    return max(1, min(largest, bounds.machine or largest) // VCPU)


def allowance_of(bounds: Bounds, surge: float) -> int:
    """Workers of a replica that may be busy at most. It follows the largest size, whatever the present one is: a change of it costs a
    fork of workers."""
    if bounds.fixed:
        return bounds.fixed
    largest = bounds.high or bounds.own
    largest = max(1, min(largest, bounds.machine or largest) // VCPU)
    return min(max(ALLOWANCE, math.ceil(surge * largest)), MOST_ALLOWANCE)


def policy_of(objective: float, keep: float, bounds: Bounds, have: Have, floor: int = 0) -> ClaryPolicy:
    """The policy as it decides for these bounds. Where there is no room for more replicas, those that are asked are the most."""
    full = bounds.full and not bounds.another
    most = min(bounds.most, max(bounds.least, have.asked)) if full else bounds.most
    ready, floor = ready_of(bounds, have), min(floor, most)
    return ClaryPolicy(objective, bounds.least, most, ready, keep=keep, idle=IDLE * keep, floor=floor)


def shape(desired: Desired, bounds: Bounds, have: Have) -> Shape:
    """The count and the size. A decision that holds has no load: the size stays."""
    count = min(max(desired.count, bounds.least), bounds.most)
    terms = {term.name: dict(term.of) for term in desired.reason.terms}
    load = terms.get("load")
    if load is None:
        return Shape(count, have.millicpu)
    need = int(max(load["peak"], load["need"] + load["short"]))
    carried = count * ready_of(bounds, have)
    if not bounds.high:
        lacking = bounds.full if need > carried and bounds.full else ""
        return Shape(count, have.millicpu, _full(bounds.full) if lacking else "", bool(lacking))
    those = max(1, min(count, have.ready or count))
    wanted = math.ceil(need / those) * VCPU
    size = min(max(wanted, bounds.low), bounds.high)
    if bounds.cramped and not bounds.larger and size > have.millicpu:
        size = max(have.millicpu, bounds.low)
    why = _other_way(bounds, have, count, (wanted, size), need > carried)
    stuck = need > count * (size // VCPU or 1) and bool(bounds.full or bounds.cramped) and count <= have.asked
    return Shape(count, size, why, stuck and size <= have.millicpu)


def _other_way(bounds: Bounds, have: Have, count: int, sizes: tuple[int, int], lacking: bool) -> str:
    """What went another way than wanted, for want of room. `sizes`: the one that is wanted, the one that is to be; `lacking`: the replicas
    at their largest cannot carry what is needed."""
    (wanted, size), why = sizes, list[str]()
    if bounds.cramped and wanted > size:
        why.append(f"a replica cannot get {min(wanted, bounds.high)} millicpu: {bounds.cramped}")
        if not bounds.full and count > have.asked:
            why.append("so there are more replicas instead")
        elif count >= bounds.most:
            why.append(f"and the maximum is {bounds.most} replicas" if bounds.most > 1 else "and the count is fixed")
    if bounds.full and lacking:
        why.append(_full(bounds.full))
        if size > have.millicpu:
            why.append("so those that serve are larger instead")
    return ", ".join(why)


def held_back(made: Shape, bounds: Bounds, have: Have, strain: Strain) -> Shape:
    """On a machine that has no CPU to give nothing grows: more workers would share the same CPUs, and each be slower for it. The least
    that is asked for comes all the same, and one replica where there is none."""
    count = min(made.count, max(have.asked, bounds.least, 1))
    millicpu = min(made.millicpu, max(have.millicpu, bounds.low))
    if not strain.full or (count, millicpu) == (made.count, made.millicpu):
        return made
    return Shape(count, millicpu, NO_IDLE, (count, millicpu) == (have.asked, have.millicpu))


def settled(made: Shape, have: Have, grown: float, now: float) -> Shape:
    """A size that has grown a moment ago stays: where capacity is kept for seconds only, or replicas come and go, noise would turn it each
    few seconds, and each turn wakes every worker of every replica."""
    if made.millicpu >= have.millicpu or not 0 <= now - grown < SETTLES:
        return made
    return replace(made, millicpu=have.millicpu)


def _full(why: str) -> str:
    return f"there is no room for another replica: {why}"
