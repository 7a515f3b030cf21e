"""When a job may start, and the most that a machine can reserve. Pure; computed from the machine's reservations.

Jobs are served first come, first served. What an endpoint waits for is kept for it: endpoints come before jobs, and a job that runs is
never ended for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clary.domain.errors import LimitExceeded
from clary.domain.machine.capacity import FLOOR, Book, Claim, Fit, Machine, Waiting, fit
from clary.domain.machine.instances import Size
from clary.domain.machine.rooms import free_memory, gpu_room, room_of

MOST_INSTANCES = 1000  # of one endpoint, component or job: a typing error must not cost everybody the control plane
WAITING = "Waiting for capacity: "


@dataclass(frozen=True, slots=True)
class Admission:
    granted: bool
    reason: str = ""


def admit(wanted: Sequence[Fit], book: Book, ahead: int, *, but: str = "", account: str = "") -> Admission:
    """May hosts of these fits start now, all together? `ahead` jobs that came earlier still wait: they go first. `but` is the key of
    the job that asks, `account` its namespace.

    A job that finds no other running, and no endpoint waiting, always starts, unless it waits for a GPU: it gets what there is."""
    if ahead:
        return Admission(
            False,
            f"{WAITING}{ahead} job{' that came earlier waits' if ahead == 1 else 's that came earlier wait'}",
        )
    if book.machine.closed:
        return Admission(False, WAITING + book.machine.closed)
    before = [each for each in book.waiting if each.fits]  # only endpoints say what is to be kept for them
    if book.policy == "strict":
        return _reserve(wanted, book, before, but, account)
    of_gpus = gpu_room(
        book, tuple(wanted), held=[*(c for c in book.claims if c.key != but), *_wished(before, book)], account=account
    )
    if not of_gpus.granted:
        return Admission(False, WAITING + of_gpus.why)
    running = [claim for claim in book.jobs if claim.key != but]
    if not running and not before:
        return Admission(True)
    slots = book.machine.slots or book.machine.cpus
    busy = sum(claim.hosts for claim in running)
    if busy and busy + len(wanted) > slots:
        return Admission(False, f"{WAITING}{busy} of {slots} places for hosts are in use, {len(wanted)} needed")
    free, need = free_memory(book, (but,)), sum(min(FLOOR, each.memory) for each in wanted)
    kept = sum(each.need for each in before)
    if free - kept >= need:
        return Admission(True)
    why = f"{max(0, free) >> 20} MiB of memory are free, {need >> 20} MiB needed"
    return Admission(False, WAITING + why + (_kept(before, account) if kept else ""))


def check_number(name: str, count: int, usage: str) -> None:
    """LimitExceeded for more instances of the type `name` than anything here may have."""
    if count > MOST_INSTANCES:
        raise LimitExceeded(
            f"The account-level service limit '{name} for {usage} usage' is {MOST_INSTANCES} Instances for one {usage}, and {count} are "
            "asked for."
        )


def check_reservable(sizes: Sequence[Size], machine: Machine, usage: str) -> None:
    """LimitExceeded unless the machine, with nothing else on it, could reserve all of them at once."""
    empty = Book(machine, "strict", 0.0)
    answer = room_of(empty, tuple(fit(size, machine, "strict", usage) for size in sizes))
    if not answer.granted:
        raise LimitExceeded(
            f"The account-level service limit '{sizes[0].name} for {usage} usage' cannot hold {len(sizes)} Instances on this machine "
            f"({answer.why}), and the capacity policy is 'strict'."
        )


def _reserve(wanted: Sequence[Fit], book: Book, before: Sequence[Waiting], but: str, account: str) -> Admission:
    answer = room_of(book, tuple(wanted), instead=(but,), account=account)
    if not answer.granted:
        return Admission(False, WAITING + answer.why)
    answer = room_of(
        replace(book, replicas=(*book.replicas, *_wished(before, book))), tuple(wanted), instead=(but,), account=account
    )
    return Admission(answer.granted, "" if answer.granted else WAITING + answer.missing + _kept(before, account))


def _wished(before: Sequence[Waiting], book: Book) -> list[Claim]:
    """What is kept for those that wait, as if they had it."""
    return [Claim(each.key, each.fits, book.at, 0, each.owner) for each in before]


def _kept(before: Sequence[Waiting], account: str) -> str:
    names = sorted({each.owner.told(account) for each in before})
    return f"; free capacity is reserved for {', '.join(names)}: endpoints have priority over jobs"
