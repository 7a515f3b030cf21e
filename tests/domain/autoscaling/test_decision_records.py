"""AWS's policies, ranges and schedules write the same decision records as Clary's own policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.domain.autoscaling.test_turn import NOW, House

from clary.domain.autoscaling.activity import Write
from clary.domain.metrics.datapoints import WindowValue
from clary.domain.scaling.decisions import RANGE, Event, State, done, line, parse, seen


def events(house: House) -> list[Event]:
    """Of one turn; each survives its log line."""
    found = [command.event for command in house.turn().commands if isinstance(command, Write)]
    assert [parse(line(event)) for event in found] == found
    return found


def test_a_target_tracking_policy_beside_a_step_policy() -> None:
    house = House()
    house.alarm(house.tracking(), 120)
    house.alarm(house.stepping("steps"), 90)
    [event] = events(house)
    assert (event.policy, event.level, event.won, event.applied) == ("p", "fleet", "p", True)
    assert (event.before, event.after) == (State(1), State(2))
    assert event.why == "Set instance count to 2: 1 x 120 / 60 is 2."
    assert {term.name: (term.wanted, dict(term.of)) for term in event.candidates} == {
        "p": (2, {"value": 120.0, "threshold": 60.0}),
        "steps": (2, {"value": 90.0, "threshold": 60.0}),
    }
    assert event.saw == {"count": 1.0, "value": 120.0, "threshold": 60.0}


def test_a_policy_at_the_end_of_its_range_says_once_why_it_does_nothing() -> None:
    house = House(high=1)
    house.alarm(house.tracking(), 120)
    [event] = events(house)
    assert (event.level, event.refused, event.applied) == ("hold", "AlreadyAtMaxCapacity", False)
    house.now += 60
    assert events(house) == []


def test_a_silent_metric_holds() -> None:
    house = House(current=2)
    name = house.alarm(house.tracking(), 120)
    house.heard.clear()
    house.silent = frozenset({name})
    [event] = events(house)
    assert (event.policy, event.level, event.after) == ("p", "hold", State(2))
    assert event.refused == "the metric has no datapoints: capacity stays"


def test_a_schedule_moves_the_range_and_capacity_follows() -> None:
    house = House()
    request: dict[str, Any] = {"Schedule": "rate(1 minute)", "ScalableTargetAction": {"MinCapacity": 3}}
    house.actions["s"] = {"name": "s", "at": NOW - 60, "request": request}
    first, second = events(house)
    assert (first.level, first.won, first.after) == ("range", "range", State(1))
    assert first.why == "Keep instance count at 1: scheduled action name s was triggered; it may be 3 to 10 now."
    assert (second.after, second.applied) == (State(3), True)


def test_a_change_that_the_resource_refused() -> None:
    house = House()
    house.alarm(house.tracking(), 120)
    house.turn()
    house.turn()
    activity = {**house.record.document["activity"], "refused": "no room", "scarce": True}
    house.record = replace(house.record, document={**house.record.document, "activity": activity})
    [event] = events(house)
    assert (event.policy, event.won, event.refused, event.applied) == ("p", "refused", "no room", False)
    assert (event.before, event.after) == (State(1), State(2))


def test_a_range_that_the_resource_refused_is_no_policys() -> None:
    house = House(low=2, current=1)
    house.turn()
    house.turn()
    activity = {**house.record.document["activity"], "refused": "no room", "scarce": True}
    house.record = replace(house.record, document={**house.record.document, "activity": activity})
    house.turn()
    event = house.wrote[-1]
    assert (event.policy, event.level, event.refused, event.applied) == ("range", RANGE, "no room", False)
    assert event.why == "Minimum capacity was set to 2: capacity 1 is outside of 2 to 10."


def test_a_size() -> None:
    house = House(current=500, high=4000)
    house.record = replace(
        house.record, document={**house.record.document, "dimension": "clary:variant:DesiredMillicpuPerInstance"}
    )
    house.alarm(house.tracking(), 120)
    house.capacity = replace(house.capacity, count=2, millicpu=500)
    [event] = events(house)
    assert (event.level, event.before, event.after) == ("size", State(2, 500), State(2, 1000))
    assert event.saw == {"count": 2.0, "size": 500.0, "value": 120.0, "threshold": 60.0}
    assert seen(event) == "a metric of 120 against 60, 2 replicas of 500 millicpu"
    house.turn()
    activity = {**house.record.document["activity"], "refused": "no room", "scarce": True}
    house.record = replace(house.record, document={**house.record.document, "activity": activity})
    house.turn()
    event = house.wrote[-1]
    assert (event.refused, event.before, event.after) == ("no room", State(2, 500), State(2, 1000))


def test_a_count_tells_the_size_of_its_replicas() -> None:
    house = House()
    house.alarm(house.tracking(), 120)
    house.capacity = replace(house.capacity, count=1, millicpu=2000)
    [event] = events(house)
    assert (event.level, event.before, event.after) == ("fleet", State(1, 2000), State(2, 2000))
    assert (done(event), seen(event)) == (
        "1 to 2 replicas",
        "a metric of 120 against 60, 1 replica of 2000 millicpu",
    )


def test_what_is_told_is_what_was_reckoned_with() -> None:
    """Out by the highest of the last two windows, in by the highest of all, each against the policy's target, not its alarm's."""
    house = House()
    name = house.alarm(house.tracking(), 0)
    points = tuple(WindowValue(NOW - 60 * back, value, 1) for back, value in ((3, 200.0), (2, 100.0), (1, 66.0)))
    house.heard[name] = replace(house.heard[name], points=points)
    [event] = events(house)
    assert event.why == "Set instance count to 2: 1 x 100 / 60 is 2."
    assert (event.saw["value"], event.saw["threshold"]) == (100.0, 60.0)
    assert seen(event).startswith("a metric of 100 against 60, ")
    house = House(current=8)
    name = house.alarm(house.tracking(), 0, threshold=54.0, above=False)
    points = tuple(WindowValue(NOW - 60 * back, value, 1) for back, value in ((3, 30.0), (2, 12.0), (1, 12.0)))
    house.heard[name] = replace(house.heard[name], points=points)
    [event] = events(house)
    assert event.why == "Set instance count to 7: 8 x 30 / 60 is 4."
    assert (event.saw["value"], event.saw["threshold"]) == (30.0, 60.0)


def test_a_step_tells_the_mean_that_it_went_by() -> None:
    house = House()
    name = house.alarm(house.stepping("steps"), 90)
    points = tuple(WindowValue(NOW - 60 * back, value, 1) for back, value in ((2, 110.0), (1, 70.0)))
    house.heard[name] = replace(house.heard[name], points=points)
    [event] = events(house)
    assert (event.saw["value"], event.saw["threshold"]) == (90.0, 60.0)


def test_a_window_of_before_the_last_change_is_told_with_the_capacity_of_its_time() -> None:
    house = House(current=2)
    house.alarm(house.tracking(), 120)
    change = {"at": NOW, "before": 1, "cooldown": 0.0}
    house.record = replace(house.record, document={**house.record.document, "changes": {"last": change}})
    event = events(house)[-1]
    assert event.why == "Keep instance count at 2: 1 (before the last change) x 120 / 60 is 2."
