"""Which jobs and replicas hold a part of this machine, and which wait: a projection of the records of training jobs and endpoints, kept in
memory. It is the only one: jobs, endpoints and their components, scaling, and the pages that show it read the same `book`.

Filled from the store at first use and by `Store.watch` from then on, so a successor of a killed control plane sees the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from clary.domain.jobs import training
from clary.domain.jobs.record import ACTIVE, KIND, ending
from clary.domain.machine.capacity import Book, Claim, Fit, Machine, Owner, Part, Waiting, owner_of
from clary.domain.resources import Record
from clary.ports import Clock


class Ledger:
    """Claims of jobs that were granted a place, and the order of those that wait. One event loop's thread only."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._waiting: dict[str, tuple[float, str]] = {}
        self._told: dict[str, Waiting] = {}  # what those jobs wait for
        self._replicas: dict[str, Claim] = {}
        self._wishes: dict[str, tuple[Waiting, float]] = {}
        self._parts: tuple[Part, ...] = ()

    def book(self, machine: Machine, policy: str, now: float) -> Book:
        """The account of this moment."""
        for key in [key for key, (wish, seen) in self._wishes.items() if now - seen > wish.hold]:
            del self._wishes[key]
        jobs = (self._told[arn] for arn in self.waiting() if arn in self._told)
        wishes = sorted((wish for wish, _ in self._wishes.values()), key=lambda wish: (wish.since, wish.key))
        replicas = tuple(self._replicas.values())
        return Book(machine, policy, now, tuple(self._claims.values()), replicas, (*wishes, *jobs), self._parts)

    # -- jobs ---------------------------------------------------------------------------------------------------------------------

    def note(self, record: Record) -> None:
        """Take in a record as stored."""
        if record.kind != KIND:
            return
        if record.status not in ACTIVE:
            self.release(record.arn)
        elif record.document["phase"] == "starting":
            self._waiting[record.arn] = (record.created, record.arn)
            self._told[record.arn] = _waiting(record)
            self._claims.pop(record.arn, None)
        else:
            self._waiting.pop(record.arn, None)
            if record.arn not in self._claims and "fits" in record.document:
                self._claims[record.arn] = _claim(record)
            if record.arn in self._claims:
                self._claims[record.arn] = replace(self._claims[record.arn], ending=ending(record))

    def reserve(self, claim: Claim) -> None:
        self._waiting.pop(claim.key, None)
        self._claims[claim.key] = claim

    def release(self, arn: str) -> None:
        for kept in (self._claims, self._waiting, self._told):
            kept.pop(arn, None)

    def ahead(self, record: Record) -> int:
        """How many waiting jobs came before this one."""
        mine = (record.created, record.arn)
        return sum(1 for place in self._waiting.values() if place < mine)

    def waiting(self) -> Sequence[str]:
        """ARNs of those that wait, first come first."""
        return [arn for _, arn in sorted(self._waiting.values())]

    # -- replicas -----------------------------------------------------------------------------------------------------------------

    def hold(self, replica: str, fit: Fit, since: float, owner: Owner = Owner()) -> None:
        """A replica takes its place."""
        self._replicas.setdefault(replica, Claim(replica, (fit,), since, 0, owner))
        self._wishes.pop(replica, None)

    def resize(self, replica: str, fit: Fit, since: float, owner: Owner) -> None:
        """A replica takes its place, or has another size from now on."""
        before = self._replicas.get(replica)
        self.hold(replica, fit, since, owner)
        if before is not None:
            self._replicas[replica] = replace(before, fits=(fit,))

    def drop(self, replica: str) -> None:
        self._replicas.pop(replica, None)

    def wish(self, waiting: Waiting, now: float) -> None:
        """A replica found no room: what it needs is kept from jobs for as long as it is asked for again."""
        before = self._wishes.get(waiting.key)
        since = before[0].since if before else waiting.since
        self._wishes[waiting.key] = replace(waiting, since=since), now

    def withdraw(self, key: str) -> None:
        self._wishes.pop(key, None)

    def weigh(self, key: str, used: int, cpu: float | None = None) -> None:
        """What a job or a replica uses now: bytes, and vCPU where that is known."""
        for held in (self._replicas, self._claims):
            claim = held.get(key)
            if claim is not None and (claim.used, claim.cpu) != (used, cpu):
                held[key] = replace(claim, used=used, cpu=cpu)

    def share(self, parts: tuple[Part, ...]) -> None:
        """What endpoints have of the CPUs that they all want; none while there is enough."""
        self._parts = parts

    def held(self) -> tuple[Claim, ...]:
        """Every place that is taken."""
        return (*self._replicas.values(), *self._claims.values())


@dataclass(frozen=True, slots=True)
class Places:
    """The ledger with the machine as it is now: what others than its own loops may ask."""

    ledger: Ledger
    measure: Callable[[], Machine]
    clock: Clock
    policy: str

    def book(self) -> Book:
        return self.ledger.book(self.measure(), self.policy, self.clock.now())

    def share(self, parts: tuple[Part, ...]) -> None:
        self.ledger.share(parts)

    def wish(self, key: str, waiting: Waiting | None) -> None:
        """None: it is no more."""
        if waiting is None:
            self.ledger.withdraw(key)
        else:
            self.ledger.wish(waiting, self.clock.now())


def _waiting(record: Record) -> Waiting:
    return Waiting(record.arn, owner_of(record), record.created, record.document["transitions"][-1]["StatusMessage"])


def _claim(record: Record) -> Claim:
    by_type = {
        kind: Fit(float(fit["cpu"]), int(fit["memory"]), int(fit["gpus"]))
        for kind, fit in record.document["fits"].items()
    }
    fits = tuple(by_type[host.instance_type] for host in training.hosts(record.document["request"]))
    since = float(record.document.get("run_started") or record.document.get("started") or record.created)
    return Claim(record.arn, fits, since, 0, owner_of(record))
