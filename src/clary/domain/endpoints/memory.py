"""More memory for replicas that need it: before the kernel ends them, as long as there is room, and after it did. What they do not need for
long they give back.

Owns when a variant outgrew its size and to what it grows, and when it shrinks: by half, never below its instance type's own, when all of
its replicas used little of the smaller size for an hour; each growth doubles that time, so that nothing goes up and down. An update that
names another instance type starts from that type's own memory. Serverless variants, inference components and multi-model containers have
a size that was asked for and are left alone. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from clary.domain.endpoints.commands import SeenEndpoint
from clary.domain.endpoints.fleets import READY, STARTED, Replica, Variant
from clary.domain.machine import instances

NEAR = 0.9  # of its memory that a replica uses when it is grown
LEAST_GAIN = 1.1  # times the memory: less is not worth it
RESERVE = 512 << 20  # bytes that stay free on the machine
AGAIN = 300.0  # seconds after a growth that was refused
WATCHED, CLOSE = 0.5, 0.75  # of its memory, from which on a replica is looked at
EVERY, EVERY_CLOSE = 1.0, 0.25  # so many seconds
LITTLE, MORE = 0.4, 0.5  # of the smaller size: below is little, and above it is not little any more
LONG, LONGEST = 3600.0, 604_800.0  # seconds of little use before it shrinks: after the first growth, and at most


@dataclass(frozen=True, slots=True)
class Growth:
    """`variant` with more memory because of `replica`, and how to say it."""

    variant: Variant
    replica: str
    what: str
    name: str = "memory grown"

    def __str__(self) -> str:
        return f"{self.variant.name}, replica {self.replica}: {self.what}" if self.replica else self.what


def outgrown(variant: Variant, seen: SeenEndpoint, now: float) -> Growth | None:
    """The variant as it shall be because a replica is near its limit, or lost a worker to it; None: nothing is to be done."""
    if not _grows(variant, seen) or not seen.resizes or now < variant.outgrown + (AGAIN if variant.cramped else 0.0):
        return None
    for replica in variant.replicas:
        run = seen.runs.get(replica.id)
        if replica.phase not in (STARTED, READY) or run is None or not variant.fits(replica):
            continue
        limit = limit_of(variant, replica, seen)
        killed = run.oom_kills > replica.kills
        if killed or run.memory_bytes >= NEAR * limit:
            memory = _more(variant, seen, limit, run.memory_bytes)
            if memory:
                why = "the kernel ended a worker of it" if killed else f"{run.memory_bytes >> 20} MiB are used"
                what = f"{why} at a limit of {limit >> 20} MiB; it gets {memory} MiB"
                return Growth(_grown(variant, memory, now), replica.id, what)
    return None


def restarted(variant: Variant, replica: Replica, seen: SeenEndpoint, now: float) -> Growth | None:
    """The variant as it shall be because the kernel ended that replica for its memory. None: it did not, or there is no more."""
    run = seen.runs.get(replica.id)
    if run is None or not run.oom_killed or not run.state.is_terminal or not _grows(variant, seen):
        return None
    if not variant.fits(replica):
        return None  # it has grown since
    limit = limit_of(variant, replica, seen)
    memory = _more(variant, seen, limit, 0)
    if not memory:
        return None
    what = f"it ran out of memory at a limit of {limit >> 20} MiB; its successor gets {memory} MiB"
    return Growth(_grown(variant, memory, now), replica.id, what)


def not_started(variant: Variant, why: str) -> tuple[Variant, bool]:
    """A replica was not started: the variant that is tried next, and whether that is pointless. Where there is no place for more memory
    than its type has, there may be one for that."""
    if not variant.memory:
        return variant, True
    return replace(variant, memory=0, cramped=why), False


def roomy(variant: Variant, seen: SeenEndpoint, now: float) -> Growth | None:
    """The variant with less memory because none of its replicas needed what it has for long."""
    if not variant.roomy or not seen.resizes or not _grows(variant, seen):
        return None
    wait = min(LONGEST, LONG * 2.0 ** max(0, min(variant.grown, 16) - 1))
    if now - variant.roomy < wait or any(not variant.fits(r) for r in variant.live):
        return None
    own, smaller = _smaller(variant, seen)
    less = replace(variant, memory=0 if smaller <= own else smaller >> 20, roomy=now)
    what = f"{variant.name}: all of its replicas used little for {(now - variant.roomy) / 3600:.2g} h; they get {smaller >> 20} MiB"
    return Growth(less, "", what, "memory shrunk")


def noticed(variant: Variant, seen: SeenEndpoint, now: float) -> Variant:
    """The variant whose replicas' lost workers were taken note of, and since when they use little of the memory that was added."""
    variant = _at_ease(variant, seen, now)
    kills = {r.id: run.oom_kills for r in variant.replicas if (run := seen.runs.get(r.id)) is not None}
    if all(kills.get(r.id, r.kills) == r.kills for r in variant.replicas):
        return variant
    return replace(variant, replicas=tuple(replace(r, kills=kills.get(r.id, r.kills)) for r in variant.replicas))


def _at_ease(variant: Variant, seen: SeenEndpoint, now: float) -> Variant:
    if not variant.memory:
        return replace(variant, roomy=0.0) if variant.roomy else variant
    runs = [seen.runs.get(replica.id) for replica in variant.live]
    used = [run.memory_bytes for run in runs if run is not None]
    if len(used) < len(runs) or not used:
        return variant  # it cannot be told
    _, smaller = _smaller(variant, seen)
    if not variant.roomy:
        return replace(variant, roomy=now) if max(used) <= LITTLE * smaller else variant
    return replace(variant, roomy=0.0) if max(used) > MORE * smaller or variant.roomy > now else variant


def _smaller(variant: Variant, seen: SeenEndpoint) -> tuple[int, int]:
    """Bytes of its instance type's own, and of the next size below its present one."""
    size = instances.find(variant.instance_type)
    own = min(size.memory if size is not None else seen.memory, seen.memory)
    return own, max(own, min(variant.memory << 20, seen.memory) // 2)


def look_in(variant: Variant, seen: SeenEndpoint) -> float | None:
    """Seconds until its memory is to be looked at again; None: whenever."""
    if not _grows(variant, seen):
        return None
    shares = [
        run.memory_bytes / limit_of(variant, r, seen)
        for r in variant.replicas
        if r.phase in (STARTED, READY) and (run := seen.runs.get(r.id)) is not None
    ]
    share = max(shares, default=0.0)
    return None if share < WATCHED else EVERY if share < CLOSE else EVERY_CLOSE


def limit_of(variant: Variant, replica: Replica, seen: SeenEndpoint) -> int:
    """Bytes that the replica may use."""
    size = instances.find(replica.size or variant.size)
    return max(1, min(size.memory if size is not None else seen.memory, seen.memory))


def _grows(variant: Variant, seen: SeenEndpoint) -> bool:
    if variant.serverless or variant.hosting or variant.container.multi_model or not seen.memory:
        return False
    return instances.find(instances.sized(variant.instance_type, memory=1)) is not None


def _more(variant: Variant, seen: SeenEndpoint, limit: int, used: int) -> int:
    """MB of the next size: twice as much, or what the machine has for each of the variant's replicas; 0: not worth it."""
    room = used + max(0, seen.available - RESERVE) // max(1, len(variant.live))
    memory = min(2 * limit, seen.memory, room)
    return memory >> 20 if memory >= LEAST_GAIN * limit else 0


def _grown(variant: Variant, memory: int, now: float) -> Variant:
    return replace(variant, memory=memory, outgrown=now, roomy=0.0, grown=variant.grown + 1)
