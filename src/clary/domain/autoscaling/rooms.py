"""How much more of a dimension the machine has room for. Pure: from the account of the machine and the resource's record."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clary.domain.autoscaling.capacity import capacity_of, variants_of
from clary.domain.autoscaling.record import COPIES, INSTANCES, MILLICPU, PROVISIONED, ScalableResource
from clary.domain.endpoints.fleets import Variant
from clary.domain.errors import LimitExceeded
from clary.domain.machine import capacity, instances
from clary.domain.machine.capacity import Book, Fit
from clary.domain.machine.rooms import Room, expected, room, room_of
from clary.domain.resources import Record


def room_for(book: Book, record: Record, place: ScalableResource, dimension: str, most: int) -> Room | None:
    """Whether it can go up to `most`: `Room.most` is up to where. None where the machine sets no bound of its own."""
    group = variants_of(record, place)
    if dimension in (INSTANCES, COPIES) and not group[0].hosting:
        return _of_replicas(book, record, group, most)
    if dimension == PROVISIONED:
        return _of_kept(book, record, group[0], most)
    return _of_millicpu(book, record, group, most) if dimension == MILLICPU else None


def needed(
    book: Book, record: Record, place: ScalableResource, dimension: str, wanted: int
) -> tuple[tuple[Fit, ...], int]:
    """What the next step towards `wanted` needs: one replica more, and the bytes that it is expected to use at first; or the CPU that
    larger ones lack, or a worker that is kept."""
    group = variants_of(record, place)
    if dimension == MILLICPU:
        more = max(0, wanted - capacity_of(record, place, dimension).desired)
        return (Fit(more * group[0].count / 1000, 0, 0),), 0
    if dimension == PROVISIONED:
        return (Fit(0.0, instances.KEPT, 0),), instances.KEPT
    each = _fits(book, group)
    return each, sum(expected(fit, _like(book, group)) for fit in each)


def _of_replicas(book: Book, record: Record, group: Sequence[Variant], most: int) -> Room:
    count = group[0].count
    try:
        each = _fits(book, group)
    except LimitExceeded as error:
        return Room(False, count, error.message)
    answer = room_of(book, each, max(0, most - count), like=_like(book, group), account=record.scope.account)
    return Room(answer.granted, count + answer.most, answer.missing, answer.holders, answer.held)


def _of_kept(book: Book, record: Record, variant: Variant, most: int) -> Room:
    """Of workers of a serverless variant that are kept: memory for them, in place of what its replica uses now."""
    own, now = {replica.id for replica in variant.replicas}, variant.warm
    asked = dict(variant.serverless)
    answer = Room(True, now)
    for kept in range(now + 1, most + 1):
        name = instances.serverless(int(asked["MemorySizeInMB"]), variant.concurrency, kept)
        size = instances.find(name)
        assert size is not None
        each = room(book, size, instead=own, like=_like(book, [variant]), account=record.scope.account)
        if not each.granted:
            return Room(False, kept - 1, each.missing, each.holders, each.held)
        answer = Room(True, kept)
    return answer


def _of_millicpu(book: Book, record: Record, group: Sequence[Variant], most: int) -> Room | None:
    size = instances.find(instances.sized(group[0].instance_type, most, group[0].memory))
    if size is None:
        return None
    own = {replica.id for variant in group for replica in variant.replicas}
    count = max(1, group[0].count)
    answer = room(book, size, count, instead=own, account=record.scope.account)
    if answer.granted or book.policy != "strict":  # there each replica may have what the machine has, and shares it
        return Room(answer.granted, most if answer.granted else 1000 * book.machine.cpus, answer.missing)
    held = sum(fit.cpu for claim in book.claims if claim.key not in own for fit in claim.held)
    free = math.floor(1000 * (book.machine.cpus - held) / count)
    return Room(False, max(0, min(most, free)), answer.missing, answer.holders, answer.held)


def _fits(book: Book, group: Sequence[Variant]) -> tuple[Fit, ...]:
    """Of the containers of one instance."""
    found = []
    for variant in group:
        size = instances.find(variant.size)
        if size is not None:
            fit = capacity.fit(size, book.machine, book.policy, "endpoint")
            found.append(capacity.part(fit, variant.container.of) if book.policy == "strict" else fit)
    return tuple(found)


def _like(book: Book, group: Sequence[Variant]) -> int:
    """Bytes that a replica of theirs uses."""
    own = {replica.id for variant in group for replica in variant.replicas}
    return max((claim.used for claim in book.replicas if claim.key in own), default=0)
