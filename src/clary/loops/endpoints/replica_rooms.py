"""Reserves room for replicas on this machine when they start or change size, and releases it when they end; stored as grants.

What a change needs is taken all at once or not at all, so that two changes cannot each take a part of the room and both fail. What finds
no room becomes a wish, which is kept from jobs for as long as the endpoint tries again. A place that was free when it was looked at is
free when it is taken, or the write is refused and both are done again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from clary.domain.endpoints.commands import ReplicaNeed, SeenEndpoint, SettleRooms
from clary.domain.endpoints.fleets import PLANNED, Plant
from clary.domain.endpoints.turn import NO_CAPACITY, places
from clary.domain.errors import LimitExceeded
from clary.domain.grants import Grant
from clary.domain.machine import capacity, instances, rooms
from clary.domain.machine.capacity import Book, Fit, Machine, Owner, Waiting, owner_of
from clary.domain.machine.grants import fit_of, of_replica, same
from clary.domain.machine.instances import GIB, Size
from clary.domain.machine.machines import choose
from clary.domain.machine.workload import Observation
from clary.domain.resources import Record
from clary.guarded import until_first
from clary.loops.core.ledger import Ledger
from clary.ports import Clock


class ReplicaRooms:
    """Of the replicas of one kind of record."""

    def __init__(self, ledger: Ledger, measure: Callable[[], Machine], clock: Clock, policy: str) -> None:
        self._ledger = ledger
        self._measure = measure
        self._clock = clock
        self._policy = policy
        self._refused: dict[
            str, tuple[Sequence[ReplicaNeed], str]
        ] = {}  # ARN -> the change that had no room last, and why
        self._wishing: set[str] = set()  # ARNs

    async def take(
        self,
        record: Record,
        own: ReplicaNeed,
        beside: Sequence[ReplicaNeed] = (),
        look: Callable[[], None] = lambda: None,
    ) -> Fit:
        """What the replica gets, and its place with those `beside`. LimitExceeded, in AWS's words, when others hold too much, or as `look`
        raises it at the very moment at which places are taken."""
        async with self._ledger.deciding:
            known = self._refused.get(record.arn)
            if known is not None and beside and known[0] is beside:  # the same change, of which each start asks
                raise LimitExceeded(known[1])
            return await self._take(record, own, beside, look)

    async def _take(
        self, record: Record, own: ReplicaNeed, beside: Sequence[ReplicaNeed], look: Callable[[], None]
    ) -> Fit:
        machine = self._placed(own)
        fit = self._fit(own, machine)
        wanted = {own.id: own} | {place.id: place for place in beside}
        fits = {id_: self._fit(place, machine) for id_, place in wanted.items()}

        async def attempt() -> None:
            if self._lacking(fits):  # else nobody may take them away: each start of a change asks for the places of all
                await self._ledger.look()
            look()
            held, lacking = self._held(fits), self._lacking(fits)
            now = self._clock.now()
            book = self._ledger.book(machine, self._policy, now)
            try:
                self._check(record, book, [wanted[id_] for id_ in lacking], fits)
            except LimitExceeded as error:
                self._refused[record.arn] = (beside, error.message)
                raise
            # A replica that shrinks keeps what it has until it has shrunk: `unsettled` then tells.
            most = {id_: _larger(fits[id_], fit_of(held[id_]) if id_ in held else None) for id_ in lacking}
            since = {id_: held[id_].since if id_ in held else now for id_ in lacking}
            await self._ledger.change(
                of_replica(machine.name, record, id_, given, since[id_])
                for id_, given in most.items()
                if id_ not in held or not same(held[id_], given)
            )

        await until_first(attempt, f"What is given of the machine {machine.name}")
        self._content(record.arn)
        return fit

    def _placed(self, own: ReplicaNeed) -> Machine:
        """Where it goes, by the book of machines."""
        offers = self._ledger.offers(self._measure(), self._policy, self._clock.now())
        chosen = choose(offers, lambda machine: (self._fit(own, machine),), instead=(own.id,))
        assert chosen is not None  # one is always offered, and no label is asked for
        return chosen.machine

    def _held(self, of: Mapping[str, Fit]) -> dict[str, Grant]:
        return {grant.key: grant for grant in self._ledger.grants() if grant.key in of}

    def _lacking(self, fits: Mapping[str, Fit]) -> list[str]:
        """Those which have no place, or one of another size."""
        held = self._held(fits)
        return [id_ for id_, fit in fits.items() if id_ not in held or not same(held[id_], fit)]

    def _content(self, arn: str) -> None:
        """It waits for nothing any more."""
        self._wishing.discard(arn)
        self._ledger.withdraw(arn)

    def _check(self, record: Record, book: Book, lacking: Sequence[ReplicaNeed], fits: Mapping[str, Fit]) -> None:
        """That there is room for those which lack their places."""
        held = {claim.key: claim.fits[0].kept for claim in book.replicas}
        # under `fit` a size is a limit, not a place; but what is kept for its workers is to be there
        if book.policy != "strict":
            lacking = [place for place in lacking if place.id not in held or fits[place.id].kept > held[place.id]]
        if not lacking:
            return
        each = tuple(fits[place.id] for place in lacking)
        like = max(place.like for place in lacking)
        ids = tuple(place.id for place in lacking)
        answer = rooms.room_of(book, each, instead=ids, like=like, account=record.scope.account)
        if answer.granted:
            return
        need = sum(rooms.expected(fit, like) for fit in each)
        self._wishing.add(record.arn)
        self._ledger.wish(Waiting(record.arn, owner_of(record), book.at, answer.why, each, need), book.at)
        why = answer.why + (", and the capacity policy is 'strict'" if book.policy == "strict" else "")
        raise LimitExceeded(
            f"{NO_CAPACITY}Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. {why}."
        )

    def weigh(self, runs: Mapping[str, Observation | None]) -> None:
        """Note what each replica was measured to use."""
        for id_, run in runs.items():
            self._ledger.weigh(id_, run.memory_bytes if run is not None else 0)

    def strays(self, record: Record, plant: Plant) -> list[str]:
        """Replicas that have a place, and that the record neither names nor wants."""
        named = {replica.id for replica in plant.replicas} | _wanted(plant)
        return [grant.key for grant in self._ledger.grants() if grant.arn == record.arn and grant.key not in named]

    def unsettled(self, record: Record, plant: Plant, seen: Mapping[str, Observation | None]) -> SettleRooms | None:
        """What `settle` has to do, None for nothing. Running replicas keep their room, also those that a predecessor started; one that was
        seen to have ended, and a stray that does not run, release it."""
        held = {grant.key: grant for grant in self._ledger.grants() if grant.arn == record.arn}
        gone = {key for key, run in seen.items() if run is not None and run.state.is_terminal}
        gone |= {key for key in self.strays(record, plant) if key in seen and seen[key] is None}
        take = tuple(
            replace(grant, since=held[grant.key].since) if grant.key in held else grant
            for grant in self.owed(record, plant)
            if grant.key not in gone and (grant.key not in held or fit_of(held[grant.key]) != fit_of(grant))
        )
        found = SettleRooms(take, tuple(sorted(gone & held.keys())), record.arn in self._wishing and not _wanted(plant))
        return found if found != SettleRooms() else None

    def owed(self, record: Record, plant: Plant) -> list[Grant]:
        """The grants that the record's replicas have once they were started."""
        machine, found = self._measure(), []
        for fleet in plant.fleets:
            for variant in fleet.variants:
                for replica in variant.replicas:
                    if replica.phase == PLANNED:
                        continue
                    place = ReplicaNeed(replica.id, replica.size or variant.size, variant.container.of)
                    with suppress(LimitExceeded):  # of a time with another policy
                        fit = self._fit(place, machine)
                        found.append(of_replica(machine.name, record, replica.id, fit, replica.since))
        return found

    async def settle(self, command: SettleRooms, arn: str) -> None:
        """Carry it out. What runs is granted whatever else there is: it has the memory."""

        async def attempt() -> None:
            if command.take:
                await self._ledger.look()
            await self._ledger.change(command.take, command.release)

        await until_first(attempt, "What is given of this machine")
        if command.content:
            self._content(arn)

    def granted(self) -> Counter[Owner]:
        """How many places each owner has."""
        return Counter(claim.owner for claim in self._ledger.held())

    async def drop(self, replica: str) -> None:
        """It has ended, or never started."""
        await self._ledger.change(release=(replica,))

    def held(self, arn: str) -> list[str]:
        """The replicas of the record that have a place."""
        return [grant.key for grant in self._ledger.grants() if grant.arn == arn]

    async def forget(self, arn: str, gone: Collection[str]) -> None:
        """The record is gone, and so are these replicas of it; others that have a place are dropped when they have ended."""
        self._refused.pop(arn, None)
        self._content(arn)
        await self._ledger.change(release=[key for key in self.held(arn) if key in gone])

    def _fit(self, place: ReplicaNeed, machine: Machine) -> Fit:
        size = instances.find(place.size) or Size(place.size or "this machine", machine.cpus, 4 * GIB)
        fit = capacity.fit(size, machine, self._policy, "endpoint")
        return capacity.part(fit, place.containers) if self._policy == "strict" else fit


def _wanted(plant: Plant) -> set[str]:
    """Replicas that are to be started or resized."""
    coming = (plant.serving, plant.incoming)
    return {place.id for fleet in coming if fleet is not None for place in places(fleet, SeenEndpoint())}


def _larger(one: Fit, other: Fit | None) -> Fit:
    if other is None:
        return one
    most = max(one.cpu, other.cpu), max(one.memory, other.memory), max(one.gpus, other.gpus)
    return Fit(*most, one.notes, one.burst, max(one.kept, other.kept))
