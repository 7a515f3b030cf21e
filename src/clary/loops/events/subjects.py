"""The loops of events: deliveries that are carried, rules and schedules that are due."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.errors import AlreadyExists
from clary.domain.events import deliveries, due, rules, scheduled
from clary.domain.events.deliveries import Carried, Carry, DeliveryCommand
from clary.domain.events.due import Fire
from clary.domain.resources import Record
from clary.loops.events.carrier import Carrier
from clary.ports import Clock, Store

log = logging.getLogger(__name__)


class DeliverySubject:
    """`loop.Subject` of deliveries. The dead-letter queue that does not take one is no reason to keep it."""

    kind = deliveries.DELIVERY
    statuses = (deliveries.PENDING,)

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    async def observe(self, record: Record) -> None:
        """Only trying tells."""

    def decide(self, record: Record, observation: None, now: float) -> Decision[DeliveryCommand]:
        return deliveries.decide(record, now)

    async def run(self, command: DeliveryCommand, record: Record) -> Carried:
        if isinstance(command, Carry):
            carried = await self._carrier.carry(record)
        else:
            carried = await self._carrier.give_up(record)
            log.warning("%s: given up: %s", record.document["target"]["Arn"], record.document["failure"])
        if carried.failure:
            log.warning(
                "%s: not delivered to %s: %s",
                record.document["source"],
                record.document["target"]["Arn"],
                carried.failure,
            )
        return carried

    def absorb(self, record: Record, outcomes: Sequence[tuple[DeliveryCommand, Carried]]) -> Record:
        for command, carried in outcomes:
            if isinstance(command, Carry):
                record = deliveries.absorb(record, carried)
        return record


class _Timed:
    """What fires at times: its deliveries are named by the time, so that two control planes plan the same ones."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def observe(self, record: Record) -> None:
        """Time alone decides."""

    async def run(self, command: Fire, record: Record) -> None:
        for delivery in self.planned(record, command.at, self._clock.now()):
            with suppress(AlreadyExists):
                await self._store.add(delivery)

    def planned(self, record: Record, at: float, now: float) -> list[Record]:
        raise NotImplementedError

    def absorb(self, record: Record, outcomes: Sequence[tuple[Fire, Any]]) -> Record:
        return record


class RuleSubject(_Timed):
    """`loop.Subject` of rules: those with a schedule tell of their times."""

    kind = rules.RULE
    statuses = (rules.ENABLED,)

    def decide(self, record: Record, observation: None, now: float) -> Decision[Fire]:
        behind = due.behind(record, now, lambda moment: rules.next_time(record, moment))
        return due.decide(record, now, behind, None)

    def planned(self, record: Record, at: float, now: float) -> list[Record]:
        return rules.planned(record, due.event(record, at), now, deliveries.KEPT)


class ScheduleSubject(_Timed):
    """`loop.Subject` of schedules."""

    kind = scheduled.SCHEDULE
    statuses = (rules.ENABLED,)

    def decide(self, record: Record, observation: None, now: float) -> Decision[Fire]:
        return scheduled.decide(record, now)

    def planned(self, record: Record, at: float, now: float) -> list[Record]:
        return [scheduled.planned(record, at, now)]
