"""Reserves room for replicas on this machine when they start or change size, and releases it when they end; kept in the `Ledger`.

What a change needs is taken all at once or not at all, so that two changes cannot each take a part of the room and both fail. What finds
no room becomes a wish, which is kept from jobs for as long as the endpoint tries again. Nothing here awaits: a place that was free when it
was looked at is free when it is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from clary.domain.endpoints.commands import ReplicaNeed, SeenEndpoint
from clary.domain.endpoints.fleets import PLANNED, Plant
from clary.domain.endpoints.turn import NO_CAPACITY, places
from clary.domain.errors import LimitExceeded
from clary.domain.machine import capacity, instances, rooms
from clary.domain.machine.capacity import Book, Fit, Machine, Owner, Waiting, owner_of
from clary.domain.machine.instances import GIB, Size
from clary.domain.machine.workload import Observation
from clary.domain.resources import Record
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
        self._early: dict[str, set[str]] = {}  # ARN -> replicas whose places were taken before they start

    def take(self, record: Record, own: ReplicaNeed, beside: Sequence[ReplicaNeed] = ()) -> Fit:
        """What the replica gets, and its place with those `beside`. LimitExceeded, in AWS's words, when others hold too much."""
        known = self._refused.get(record.arn)
        if known is not None and beside and known[0] is beside:  # the same change, of which each start asks
            raise LimitExceeded(known[1])
        machine, now = self._measure(), self._clock.now()
        fit = self._fit(own, machine)
        wanted = {own.id: own} | {place.id: place for place in beside}
        held = {claim.key: claim for claim in self._ledger.held() if claim.key in wanted}
        fits = {id_: self._fit(place, machine) for id_, place in wanted.items()}
        lacking = [id_ for id_ in wanted if id_ not in held or held[id_].fits != (fits[id_],)]
        try:
            self._check(record, self._ledger.book(machine, self._policy, now), [wanted[id_] for id_ in lacking], fits)
        except LimitExceeded as error:
            self._refused[record.arn] = (beside, error.message)
            raise
        for id_ in lacking:
            # A replica that shrinks keeps what it has until it has shrunk: `settle` then tells.
            before = held[id_].fits[0] if id_ in held else None
            self._ledger.resize(id_, _larger(fits[id_], before), now, owner_of(record))
        self._early.setdefault(record.arn, set()).update(wanted.keys() - held.keys() - {own.id})
        self._early[record.arn].discard(own.id)
        self._ledger.withdraw(record.arn)
        return fit

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
        self._ledger.wish(Waiting(record.arn, owner_of(record), book.at, answer.why, each, need), book.at)
        why = answer.why + (", and the capacity policy is 'strict'" if book.policy == "strict" else "")
        raise LimitExceeded(
            f"{NO_CAPACITY}Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. {why}."
        )

    def settle(self, record: Record, plant: Plant, seen: Mapping[str, Observation | None]) -> None:
        """Running replicas keep their room, also those that a predecessor started; a replica that ended or is no longer wanted releases
        it."""
        machine = self._measure()
        for fleet in plant.fleets:
            for variant in fleet.variants:
                for replica in variant.replicas:
                    run = seen.get(replica.id)
                    if run is not None and run.state.is_terminal:
                        self._ledger.drop(replica.id)
                    elif replica.phase != PLANNED:
                        place = ReplicaNeed(replica.id, replica.size or variant.size, variant.container.of)
                        with suppress(LimitExceeded):  # of a time with another policy
                            fit = self._fit(place, machine)
                            self._ledger.resize(replica.id, fit, replica.since, owner_of(record))
                        self._ledger.weigh(replica.id, run.memory_bytes if run is not None else 0)
        coming = (plant.serving, plant.incoming)
        wanted = {place.id for fleet in coming if fleet is not None for place in places(fleet, SeenEndpoint())}
        for id_ in self._early.get(record.arn, set()) - wanted:
            self._early[record.arn].discard(id_)
            if id_ not in {replica.id for replica in plant.replicas}:
                self._ledger.drop(id_)
        if not wanted:
            self._ledger.withdraw(record.arn)

    def granted(self) -> Counter[Owner]:
        """How many places each owner has."""
        return Counter(claim.owner for claim in self._ledger.held())

    def drop(self, replica: str) -> None:
        """It has ended, or never started."""
        self._ledger.drop(replica)

    def forget(self, arn: str) -> None:
        """The record is gone."""
        self._refused.pop(arn, None)
        for id_ in self._early.pop(arn, ()):
            self._ledger.drop(id_)
        self._ledger.withdraw(arn)

    def _fit(self, place: ReplicaNeed, machine: Machine) -> Fit:
        size = instances.find(place.size) or Size(place.size or "this machine", machine.cpus, 4 * GIB)
        fit = capacity.fit(size, machine, self._policy, "endpoint")
        return capacity.part(fit, place.containers) if self._policy == "strict" else fit


def _larger(one: Fit, other: Fit | None) -> Fit:
    if other is None:
        return one
    most = max(one.cpu, other.cpu), max(one.memory, other.memory), max(one.gpus, other.gpus)
    return Fit(*most, one.notes, one.burst, max(one.kept, other.kept))
