"""Is there room for more on this machine, and if not: what is missing, and who holds it. Pure answers from a `capacity.Book`.

Under `strict` what is reserved counts, under `fit` memory that is measured (CPU is shared, and a size ends where the machine does).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from clary.domain.errors import LimitExceeded
from clary.domain.machine.capacity import FLOOR, REPLICA_FLOOR, YOUNG, Book, Claim, Fit, fit, part
from clary.domain.machine.instances import GIB, Size

_NAMED = 3  # holders that a reason names


@dataclass(frozen=True, slots=True)
class Holder:
    """What one owner holds: vCPU, bytes and GPUs that its places have, and the bytes that it uses."""

    owner: str
    cpu: float
    memory: int
    gpus: int
    used: int


@dataclass(frozen=True, slots=True)
class Room:
    """The answer. `most` of what was asked find a place now; `missing` says what the next one lacks, `holders` who has it, the largest
    first."""

    granted: bool
    most: int
    missing: str = ""
    holders: tuple[Holder, ...] = ()
    held: str = ""  # `holders` in words

    @property
    def why(self) -> str:
        """The reason of a refusal in one line."""
        return self.missing + (f", held by {self.held}" if self.held else "")


def room(
    book: Book,
    size: Size,
    copies: int = 1,
    *,
    containers: int = 1,
    instead: Collection[str] = (),
    like: int = 0,
    account: str = "",
) -> Room:
    """Room for so many replicas of that size; each is of so many `containers` that share it. The claims whose keys are in `instead` give
    their places back (a replica that is resized asks with its own). `like`: bytes that one of their kind uses. `account`: who asks."""
    machine = book.machine
    if size.vcpu > machine.cpus and (size.cores or book.policy == "strict"):
        return _never(f"{size.cores or size.vcpu:g} vCPU are needed, and this machine has {machine.cpus}")
    try:
        each = part(fit(size, machine, book.policy, "endpoint"), containers)
    except LimitExceeded as error:
        return _never(error.message)
    return room_of(book, (each,) * containers, copies, instead=instead, like=like, account=account)


def room_of(
    book: Book,
    each: tuple[Fit, ...],
    copies: int = 1,
    *,
    instead: Collection[str] = (),
    like: int = 0,
    account: str = "",
) -> Room:
    """As `room`, of what has been fitted to the machine."""
    if book.machine.closed:
        return _never(book.machine.closed)
    held = [claim for claim in book.claims if claim.key not in instead]
    if book.policy == "strict":
        machine = book.machine
        limits = ((_CPU, float(machine.cpus)), (_MEMORY, machine.memory / GIB), (_GPU, float(machine.gpus)))
        return _reserved(limits, each, copies, held, account)
    mine = sum(claim.used for claim in book.claims if claim.key in instead)
    free = max(0, free_memory(book, instead)) + mine
    need = sum(expected(one, like) for one in each)
    most = min(copies, free // need) if need else copies
    of_gpus = gpu_room(book, each, copies, held=held, account=account)
    if of_gpus.most <= most:
        return of_gpus
    missing = f"{need >> 20} MiB of memory are needed, {max(0, free - most * need) >> 20} MiB are free"
    return _refused(most, missing, held, account, _USED)


def gpu_room(book: Book, each: tuple[Fit, ...], copies: int = 1, *, held: Sequence[Claim], account: str = "") -> Room:
    """GPUs alone, which no policy shares: room beside the claims that are `held`."""
    return _reserved(((_GPU, float(book.machine.gpus)),), each, copies, held, account)


def expected(each: Fit, like: int = 0) -> int:
    """Bytes that a replica which is about to start will soon use: as its like do, or the least that is worth a start, or what is kept
    for it."""
    return min(max(REPLICA_FLOOR, like, each.kept), each.memory)


def free_memory(book: Book, but: Collection[str] = ()) -> int:
    """Measured bytes that are free, less what the young ones are still going to take."""
    coming = 0
    for floor, claims in ((FLOOR, book.jobs), (REPLICA_FLOOR, book.replicas)):
        # What is ending takes no more.
        young = (c for c in claims if c.key not in but and book.at - c.since < YOUNG and not c.ending)
        coming += sum(max(0, sum(max(floor, each.kept) for each in claim.fits) - claim.used) for claim in young)
    return book.machine.available - coming


def holders(claims: Iterable[Claim], account: str) -> tuple[Holder, ...]:
    """What each owner holds, the largest first."""
    found: dict[str, Holder] = {}
    for claim in claims:
        name = claim.owner.told(account)
        before = found.get(name, Holder(name, 0.0, 0, 0, 0))
        found[name] = Holder(
            name,
            before.cpu + sum(f.cpu for f in claim.held),
            before.memory + sum(f.memory for f in claim.held),
            before.gpus + sum(f.gpus for f in claim.held),
            before.used + claim.used,
        )
    return tuple(sorted(found.values(), key=lambda h: (-h.cpu, -h.memory, h.owner)))


@dataclass(frozen=True, slots=True)
class _Unit:
    """Something that can be short, in how it is counted and told."""

    name: str
    of: Callable[[Fit], float]
    held: Callable[[Holder], float]
    told: Callable[[Holder], str]


_CPU = _Unit("vCPU", lambda f: f.cpu, lambda h: h.cpu, lambda h: f"{h.cpu:g} vCPU")
_MEMORY = _Unit("GiB of memory", lambda f: f.memory / GIB, lambda h: h.memory, lambda h: f"{h.memory / GIB:.4g} GiB")
_GPU = _Unit("GPU", lambda f: float(f.gpus), lambda h: h.gpus, lambda h: f"{h.gpus} GPU")
_USED = _Unit("MiB of memory", lambda f: f.memory >> 20, lambda h: h.used, lambda h: f"{h.used >> 20} MiB")


def _reserved(
    limits: Sequence[tuple[_Unit, float]], each: tuple[Fit, ...], copies: int, held: Sequence[Claim], account: str
) -> Room:
    most, short, missing = copies, _CPU, ""
    for unit, limit in limits:
        need, taken = sum(map(unit.of, each)), sum(unit.of(f) for claim in held for f in claim.held)
        places = max(0, int((limit - taken) / need + 1e-9)) if need else copies
        if places < most:
            most, short = places, unit
            missing = f"{need:g} {unit.name} are needed, {taken:g} of {limit:.4g} are reserved"
    return _refused(most, missing, held, account, short) if missing else Room(True, copies)


def _refused(most: int, missing: str, held: Sequence[Claim], account: str, short: _Unit) -> Room:
    largest = tuple(sorted(holders(held, account), key=short.held, reverse=True))
    having = [holder for holder in largest if short.held(holder)]
    names = [f"{holder.owner} ({short.told(holder)})" for holder in having[:_NAMED]]
    more = f" and {len(having) - _NAMED} more" if len(having) > _NAMED else ""
    return Room(False, most, missing, largest, ", ".join(names) + more)


def _never(missing: str) -> Room:
    return Room(False, 0, missing)
