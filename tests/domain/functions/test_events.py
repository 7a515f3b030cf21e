from __future__ import annotations

from clary.domain.functions import events
from clary.domain.functions.events import Bury, EventRun, InvokeFunction
from clary.domain.resources import Record, Scope

SCOPE = Scope("000000000000", "eu-west-1")
FUNCTION = Record("lambda-function", SCOPE, "f", "arn:aws:lambda:eu-west-1:000000000000:function:f", "", 0.0, 0.0, {})


def test_an_event_is_tried_three_times_and_then_buried() -> None:
    record, now = events.new(FUNCTION, "{}", 1000.0, "e"), 1000.0
    for wait in (60.0, 120.0, None):
        decision = events.decide(record, now)
        assert isinstance(decision.commands[0], InvokeFunction)
        record = events.absorb(record, EventRun(now, failure='{"errorMessage": "why"}'))
        if wait is not None:
            assert events.decide(record, now).again == wait
            now += wait
    last = events.decide(record, now)
    assert isinstance(last.commands[0], Bury)
    assert last.remove


def test_one_that_succeeds_or_has_no_function_any_more_is_done() -> None:
    record = events.new(FUNCTION, "{}", 1000.0, "e")
    for run in (EventRun(1001.0), EventRun(1001.0, missing=True)):
        assert events.decide(events.absorb(record, run), 1001.0).remove


def test_a_throttled_one_is_not_counted_but_does_not_wait_for_ever() -> None:
    record = events.absorb(events.new(FUNCTION, "{}", 1000.0, "e"), EventRun(1001.0, "busy", throttled=True))
    assert record.document["tries"] == 0
    assert events.decide(record, 1001.0).again == events.THROTTLED
    assert isinstance(events.decide(record, 1000.0 + events.LONGEST + 1).commands[0], Bury)
