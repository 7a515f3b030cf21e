"""Events: who tells of changes, what carries deliveries, and what fires rules and schedules."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

from clary.app.given import Given
from clary.domain.events.deliveries import DeliveryCommand
from clary.domain.events.due import Fire
from clary.loops.core.loop import Loop
from clary.loops.events.carrier import Carrier
from clary.loops.events.subjects import DeliverySubject, RuleSubject, ScheduleSubject
from clary.loops.events.teller import Teller


def room(given: Given) -> Iterable[Coroutine[Any, Any, None]]:
    store, clock, owner = given.ports.store, given.ports.clock, given.owner
    carried: Loop[DeliveryCommand, None] = Loop(DeliverySubject(Carrier(given.operations, clock)), store, clock, owner)
    timed: Loop[Fire, None] = Loop(RuleSubject(store, clock), store, clock, owner)
    scheduled: Loop[Fire, None] = Loop(ScheduleSubject(store, clock), store, clock, owner)
    return Teller(store, given.operations, clock, owner).run(), carried.run(), timed.run(), scheduled.run()
