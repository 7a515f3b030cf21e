"""Events that wait for their functions, over the store and functions in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.domain.functions import events
from clary.domain.queues import messages
from clary.domain.queues import record as queues
from clary.domain.resources import Query, Record, Scope
from clary.loops.core.loop import Loop
from clary.loops.functions.events import EventSubject
from clary.testing.clock import FakeClock
from clary.testing.functions import FunctionsConformance, MemoryFunctions
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "eu-west-1")
QUEUE = queues.queue_arn(SCOPE, "dead")


def function(**config: Any) -> Record:
    arn = "arn:aws:lambda:eu-west-1:000000000000:function:f"
    return Record("lambda-function", SCOPE, "f", arn, "", 0.0, 0.0, {"config": config})


class TestMemoryFunctions(FunctionsConformance):
    @pytest.fixture
    def functions(self) -> MemoryFunctions:
        return MemoryFunctions()

    @pytest.fixture
    def function(self) -> Record:
        return function()


class Place:
    def __init__(self) -> None:
        self.store, self.clock, self.functions = MemoryStore(), FakeClock(), MemoryFunctions()
        subject = EventSubject(self.store, self.clock, self.functions)
        self.loop: Loop[events.EventCommand, None] = Loop(subject, self.store, self.clock, "me")

    async def turns(self, record: Record, count: int) -> None:
        for _ in range(count):
            await self.loop.turn(record.arn)
            self.clock.advance(121)


async def test_an_event_is_run_and_gone() -> None:
    place = Place()
    made = await place.store.add(function())
    event = await place.store.add(events.new(made, '{"a": 1}', place.clock.now(), "e"))
    await place.turns(event, 2)
    assert place.functions.ran == [("f", b'{"a": 1}', "e")]
    assert await place.store.by_arn(event.arn) is None


async def test_one_that_fails_three_times_goes_to_the_dead_letter_queue_once() -> None:
    place = Place()
    made = await place.store.add(function(DeadLetterConfig={"TargetArn": QUEUE}))
    await place.store.add(
        Record(queues.QUEUE, SCOPE, "dead", QUEUE, "", 0.0, 0.0, {"id": "q", "attributes": {}, "tags": {}})
    )
    event = await place.store.add(events.new(made, '{"fail": "always"}', place.clock.now(), "e"))
    await place.turns(event, 4)
    assert len(place.functions.ran) == 3
    [message] = await place.store.page(Query(messages.MESSAGE, SCOPE))
    assert json.loads(message.document["body"]) == {"fail": "always"}
    assert message.document["attributes"]["ErrorMessage"]["StringValue"] == "always"
