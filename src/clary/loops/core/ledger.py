"""The accounts of this machine and of the nodes: which jobs and replicas hold a part of them, what they use, and which wait.
Jobs, endpoints and their components, scaling, and the pages that show it read the same `book`.

Who holds what is a view of the stored grants (`ports.Grants`): `look` reads them before something is decided by them, and what is taken is
refused when another control plane was first. What is used was measured, and who waits stands in the records and in what replicas asked for
last: both are kept in memory only.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from clary.domain.grants import REPLICA, Grant, GrantChange
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.jobs.record import ACTIVE, ending
from clary.domain.machine.capacity import Book, Claim, Machine, Part, Waiting, owner_of
from clary.domain.machine.grants import claims
from clary.domain.resources import Record
from clary.guarded import until_first
from clary.ports import Clock, Grants


class Ledger:
    """One per process, of the machine of that name, and of the `nodes` that take something now. One event loop's thread only."""

    def __init__(self, stored: Grants, machine: str = "", nodes: Callable[[], Sequence[Machine]] = tuple) -> None:
        self._stored = stored
        self.machine = machine
        self._nodes = nodes
        self._versions: dict[str, int] = {}  # machine -> that of what was read last
        self._writes = 0  # of this process, that were heard
        self._grants: dict[str, Grant] = {}
        self._used: dict[str, tuple[int, float | None]] = {}
        self._ending: set[str] = set()
        self._queue: list[
            tuple[float, str]
        ] = []  # of jobs that wait: when they were created, and their ARNs; first come first
        self._kinds: dict[str, str] = {}  # of those jobs
        self._told: dict[str, Waiting] = {}  # what those jobs wait for
        self._line: tuple[Waiting, ...] | None = None  # the same in their order, until one of them changes
        self._wishes: dict[str, tuple[Waiting, float]] = {}
        self._parts: tuple[Part, ...] = ()
        self.deciding = (
            asyncio.Lock()
        )  # held by who looks, decides and takes: those of one process need not refuse each other
        stored.watch_grants(self._written)

    def book(self, machine: Machine, policy: str, now: float) -> Book:
        """The account of this moment, by the grants as they were read or written last."""
        for key in [key for key, (wish, seen) in self._wishes.items() if now - seen > wish.hold]:
            del self._wishes[key]
        if self._line is None:
            self._line = tuple(self._told[arn] for _, arn in self._queue)
        of = machine.name if machine.node else self.machine
        here = claims(grant for grant in self._grants.values() if grant.machine == of)
        jobs, replicas = (tuple(map(self._measured, held)) for held in here)
        version = self._versions.get(of, 0)
        if machine.node:  # replicas, who alone wish, are this machine's
            return Book(machine, policy, now, jobs, replicas, self._line, (), version)
        wishes = sorted((wish for wish, _ in self._wishes.values()), key=lambda wish: (wish.since, wish.key))
        return Book(machine, policy, now, jobs, replicas, (*wishes, *self._line), self._parts, version)

    def offers(self, here: Machine, policy: str, now: float) -> tuple[Book, ...]:
        """The accounts of all machines that this control plane may place something on, its own first."""
        return tuple(self.book(machine, policy, now) for machine in (here, *self._nodes()))

    def _measured(self, claim: Claim) -> Claim:
        used, cpu = self._used.get(claim.key, (claim.used, claim.cpu))
        return replace(claim, used=used, cpu=cpu, ending=claim.key in self._ending)

    # -- grants -------------------------------------------------------------------------------------------------------------------

    async def look(self, machine: str = "") -> None:
        """Read the grants of this machine (or that node) as they are stored: before something is decided by the book."""
        of = machine or self.machine
        while True:
            before = self._writes
            read = await self._stored.granted(of)
            if before == self._writes:  # else it may have been read before what was written meanwhile
                break
        self._versions[of] = read.version
        others = {key: grant for key, grant in self._grants.items() if grant.machine != of}
        self._grants = {**others, **{grant.key: grant for grant in read.grants}}

    async def look_around(self) -> None:
        """The same of all machines that `offers` tells of."""
        for machine in ("", *(node.name for node in self._nodes())):
            await self.look(machine)

    async def granted(self) -> Sequence[Grant]:
        """As they are stored, for who only tells of them: nothing may be decided by it."""
        return (await self._stored.granted(self.machine)).grants

    def watch(self, listener: Callable[[GrantChange], None]) -> Callable[[], None]:
        """Hear the writes of this process; answers how to stop that."""
        return self._stored.watch_grants(listener)

    async def change(self, take: Iterable[Grant] = (), release: Iterable[str] = (), machine: str = "") -> None:
        """Write what was decided by the last look at this machine (or that node). Nothing is written for nothing. Stale when another
        control plane was first."""
        of = machine or self.machine
        given, back = tuple(take), tuple(key for key in release if key in self._grants)
        if given or back:
            await self._stored.write(GrantChange(of, self._versions.get(of, 0), given, back))

    async def adopt(self, owed: Sequence[Grant]) -> None:
        """See that what runs has its grants, where none of that key is stored for its machine."""
        for machine in sorted({grant.machine for grant in owed} | {self.machine}):
            mine = [grant for grant in owed if grant.machine == machine]

            async def attempt(of: str = machine, mine: Sequence[Grant] = mine) -> None:
                await self.look(of)
                await self.change((grant for grant in mine if grant.key not in self._grants), machine=of)

            await until_first(attempt, f"What is given of the machine {machine}")

    def _written(self, change: GrantChange) -> None:
        """A write of this process, by itself or with a record."""
        self._writes += 1
        for key in change.release:
            self._grants.pop(key, None)
            self._used.pop(key, None)
        for grant in change.take:
            if grant.machine in {self.machine, *self._versions}:
                self._grants[grant.key] = grant
                if grant.use == REPLICA:
                    self._wishes.pop(grant.key, None)

    def grants(self) -> tuple[Grant, ...]:
        """Every one of every machine, as it was read or written last."""
        return tuple(self._grants.values())

    def held(self) -> tuple[Claim, ...]:
        """Every place that is taken."""
        jobs, replicas = claims(self._grants.values())
        return tuple(map(self._measured, (*replicas, *jobs)))

    def weigh(self, key: str, used: int, cpu: float | None = None) -> None:
        """What a job or a replica uses now: bytes, and vCPU where that is known."""
        self._used[key] = used, cpu

    # -- what waits ---------------------------------------------------------------------------------------------------------------

    def note(self, record: Record) -> None:
        """Take in a job's record as stored: whether it waits, and whether it is ending."""
        if record.kind not in JOB_KINDS:
            return
        waits = record.status in ACTIVE and record.document["phase"] == "starting"
        self._queued(record, _waiting(record) if waits else None)
        self._ending.discard(record.arn)
        if record.status not in ACTIVE:
            self._used.pop(record.arn, None)
        elif not waits and ending(record):
            self._ending.add(record.arn)

    def _queued(self, record: Record, wait: Waiting | None) -> None:
        """Thousands may wait: none of this goes through all of them in Python."""
        before, place = self._told.get(record.arn), (record.created, record.arn)
        if wait == before:
            return
        self._line = None
        if wait is None:
            del self._queue[bisect_left(self._queue, place)]
            del self._told[record.arn], self._kinds[record.arn]
            return
        if before is None:
            insort(self._queue, place)
        self._kinds[record.arn] = record.kind
        self._told[record.arn] = wait

    def ahead(self, record: Record) -> int:
        """How many waiting jobs came before this one."""
        return bisect_left(self._queue, (record.created, record.arn))

    def first(self) -> tuple[str, str]:
        """Kind and ARN of the job that has waited longest, which alone may get a place now; empty when none waits."""
        arn = self._queue[0][1] if self._queue else ""
        return self._kinds.get(arn, ""), arn

    def wish(self, waiting: Waiting, now: float) -> None:
        """A replica found no room: what it needs is kept from jobs for as long as it is asked for again."""
        before = self._wishes.get(waiting.key)
        since = before[0].since if before else waiting.since
        self._wishes[waiting.key] = replace(waiting, since=since), now

    def withdraw(self, key: str) -> None:
        self._wishes.pop(key, None)

    # -- CPUs ---------------------------------------------------------------------------------------------------------------------

    def share(self, parts: tuple[Part, ...]) -> None:
        """What endpoints have of the CPUs that they all want; none while there is enough."""
        self._parts = parts


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
