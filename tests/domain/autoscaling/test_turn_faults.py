"""A scalable target among faults: clocks that jump, samples that make no sense, policies that contradict, what goes in the middle."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from tests.domain.autoscaling.test_turn import House

from clary.domain.autoscaling.activity import LONGEST_PAUSE, Forget
from clary.domain.autoscaling.alarms import HIGH_POINTS, LOW_POINTS
from clary.domain.autoscaling.policies import LARGEST, Change, Heard, step, tracking
from clary.domain.autoscaling.record import Capacity
from clary.domain.metrics.datapoints import WindowValue

HOUR = 3600.0


# -- the clock --------------------------------------------------------------------------------------------------------------------


def test_a_cooldown_lasts_no_longer_because_the_clock_was_set_back() -> None:
    house = House(current=5)
    policy = house.tracking()
    house.alarm(policy, 1, 54, above=False)
    assert house.settle() == 4
    house.now -= HOUR
    house.alarm(policy, 1, 54, above=False)
    assert house.settle() == 4, "it cools down"
    house.now += 299
    house.alarm(policy, 1, 54, above=False)
    assert house.settle() == 4
    house.now += 61
    house.alarm(policy, 1, 54, above=False)
    assert house.settle() == 3, "from when the clock was set back on, and no hour longer"


def test_load_is_answered_at_once_although_the_clock_was_set_back() -> None:
    house = House(current=1)
    policy = house.tracking()
    house.alarm(policy, 120)
    assert house.settle() == 2
    house.now -= HOUR
    house.turn()  # the alarm is told again each step; this is the first that the target hears of the new time
    house.now += 240
    house.alarm(policy, 120)  # measured on two, after the change
    assert house.settle() == 4


def test_the_pause_after_a_failure_is_no_longer_because_the_clock_was_set_back() -> None:
    house = House(current=1)
    house.alarm(house.tracking(), 120)
    house.turn()
    house.turn()
    house.capacity = Capacity(1, 1, True, failure="no room")
    house.turn()
    assert house.last["StatusCode"] == "Failed"
    house.now -= HOUR
    decision = house.turn()
    assert decision.again is not None
    assert decision.again <= LONGEST_PAUSE


def test_a_schedule_runs_again_when_its_hour_comes_again() -> None:
    """As a range is set, not changed, twice is as good as once; a clock that was a year ahead for a moment must not silence it."""
    house = House()
    request = {"Schedule": "rate(1 hour)", "ScalableTargetAction": {"MinCapacity": 2}}
    house.actions["s"] = {"name": "s", "at": house.now, "request": request}
    house.now += 365 * 24 * HOUR
    assert house.settle() == 2
    house.now -= 364 * 24 * HOUR
    house.record.document["min"] = 1  # type: ignore[index]
    house.turn()
    house.now += HOUR
    house.turn()
    assert house.record.document["min"] == 2


class Once:
    """A target with an action for a moment half an hour away, which sets a minimum that is taken back each time it is seen."""

    def __init__(self) -> None:
        self.house = House()
        self.put(HOUR / 2)

    def put(self, away: float) -> None:
        at = datetime.fromtimestamp(self.house.now + away, UTC)
        request = {"Schedule": f"at({at:%Y-%m-%dT%H:%M:%S})", "ScalableTargetAction": {"MinCapacity": 2}}
        self.house.actions["once"] = {"name": "once", "at": self.house.now, "request": request}

    def ran(self, later: float) -> bool:
        """Whether it does when the clock is set so much further."""
        self.house.now += later
        self.house.record = replace(self.house.record, document=stored(self.house.record.document))
        self.house.turn()
        ran: bool = self.house.record.document["min"] == 2
        self.house.record.document["min"] = 1  # type: ignore[index]
        return ran


def stored(document: Any) -> Any:
    """As a control plane that was restarted meanwhile finds it."""
    return json.loads(json.dumps(document))


def test_what_runs_at_a_moment_runs_once_however_often_its_hour_comes() -> None:
    once = Once()
    jumps = (HOUR, -HOUR, HOUR, 24 * HOUR, -25 * HOUR, 60.0, HOUR, 365 * 24 * HOUR)
    assert [once.ran(jump) for jump in jumps] == [True, *[False] * 7]


def test_what_ran_at_a_moment_runs_again_when_it_is_put_again() -> None:
    once = Once()
    assert once.ran(24 * HOUR)
    assert not once.ran(60.0 - 24 * HOUR)
    once.put(HOUR)
    assert not once.ran(HOUR / 2)
    assert once.ran(HOUR)
    assert not once.ran(-HOUR)
    assert not once.ran(HOUR)


def test_another_of_the_same_name_is_not_taken_for_the_one_that_ran() -> None:
    once = Once()
    assert once.ran(HOUR)
    action = once.house.actions.pop("once")
    assert not once.ran(60.0)
    assert once.house.record.document["spent"] == {}
    assert once.house.record.document["ran"] == {}
    once.house.actions["once"] = action
    once.put(HOUR)
    assert once.ran(2 * HOUR)


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_clock_that_jumps_makes_no_storm(jump: float) -> None:
    """A steady load that three instances carry, a clock that jumps there and back each quarter of an hour."""
    house = House(current=1)
    policy = house.tracking()
    changes: list[int] = []
    for minute in range(120):
        house.now += 60 + (jump if minute % 15 == 0 else 0) - (jump if minute % 15 == 7 else 0)
        house.heard.clear()
        value = 170 / house.capacity.desired
        if value > 60:
            house.alarm(policy, value)
        elif value < 54:
            house.alarm(policy, value, 54, above=False)
        before = house.capacity.desired
        for _ in range(3):
            decision = house.turn()
            house.capacity = replace(house.capacity, running=house.capacity.desired)
            assert decision.again is None or decision.again <= HOUR
        if house.capacity.desired != before:
            changes.append(house.capacity.desired)
    assert changes == [3]


def test_an_activity_outlives_a_clock_that_is_set_back() -> None:
    house = House()
    house.alarm(house.tracking(), 120)
    house.turn()
    house.turn()
    house.now -= HOUR
    house.turn()
    house.now += 901
    house.turn()
    assert house.last["StatusCode"] == "Unfulfilled", "its patience begins anew, it does not wait for an hour more"


# -- samples ----------------------------------------------------------------------------------------------------------------------

ABSURD = (1e18, -1e18, 2.0**360, -(2.0**360), 1.7e308, -1.7e308, 5e-324)


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize("target", [60.0, 1e-300, 1.7e308])
@pytest.mark.parametrize("above", [True, False])
def test_an_absurd_value_is_an_amount_within_what_a_capacity_can_be(value: float, target: float, above: bool) -> None:
    points = (WindowValue(0, value, 1),) * 3
    heard = Heard("a", above, target, points)
    for last in (None, Change(1, 1, 300)):
        wanted = tracking(heard, 4, target, last).capacity
        assert wanted is None or 0 <= wanted <= LARGEST
    steps = {"AdjustmentType": "PercentChangeInCapacity", "StepAdjustments": [{"ScalingAdjustment": 2**31 - 1}]}
    wanted = step(heard, steps, 4).capacity
    assert wanted is None or wanted >= 0


@pytest.mark.parametrize(("value", "wanted"), [(1e18, 10), (1.7e308, 10), (-1e18, 2)])
def test_an_absurd_value_ends_where_the_range_does(value: float, wanted: int) -> None:
    house = House(low=1, high=10, current=2)
    house.alarm(house.tracking(), value)
    assert house.settle() == wanted
    assert all(math.isfinite(float(note["StartTime"])) for note in house.notes.values())


def test_an_absurd_low_value_scales_in_by_one_and_not_below_the_range() -> None:
    house = House(low=2, current=3)
    policy = house.tracking()
    house.alarm(policy, -1e18, 54, above=False)
    assert house.settle() == 2
    house.now += 600
    house.alarm(policy, -1e18, 54, above=False)
    assert house.settle() == 2


# -- contradictions, and what goes ------------------------------------------------------------------------------------------------


def test_two_policies_that_contradict_end_at_the_top_and_stay_there() -> None:
    """One is always for more, one always for less: availability wins, and nothing flaps."""
    house = House(high=4, current=2)
    more, less = house.stepping("more", Cooldown=60), house.stepping("less", below=True, Cooldown=60)
    seen = []
    for _ in range(30):
        house.now += 60
        house.alarm(more, 90, 70)
        house.alarm(less, 10, 30, above=False)
        seen.append(house.settle())
    assert seen == sorted(seen)
    assert set(seen[3:]) == {4}
    told = [note["NotScaledReasons"][0]["Code"] for note in house.notes.values() if "NotScaledReasons" in note]
    assert told == ["AlreadyAtMaxCapacity"], "said once"


def test_an_alarm_that_is_deleted_drives_nothing_any_more() -> None:
    """In the middle of a change: that goes to its end, and then nothing follows."""
    house = House(current=1)
    house.alarm(house.stepping("out", Cooldown=0), 90)
    house.turn()
    house.heard.clear()  # what is not there is not heard
    assert house.settle() == 2
    house.now += 600
    assert house.settle() == 2
    assert house.record.document["triggers"] == {}


def test_a_resource_that_goes_in_the_middle_of_a_change_takes_the_target_with_it() -> None:
    house = House(current=1)
    house.alarm(house.tracking(), 120)
    house.turn()
    house.turn()
    house.capacity = None  # type: ignore[assignment]
    decision = house.turn()
    assert (decision.commands, decision.remove) == ((Forget(),), True)


def test_a_maximum_below_what_there_is_pulls_it_down_in_spite_of_an_alarm() -> None:
    house = House(current=8)
    house.alarm(house.tracking(), 600)
    house.record = replace(house.record, document={**house.record.document, "max": 3})
    assert house.settle() == 3
    assert house.last["StatusCode"] == "Successful"
    house.now += 60
    house.alarm("arn:p", 600)
    assert house.settle() == 3, "and no policy takes it beyond"


# -- thrash (44) ------------------------------------------------------------------------------------------------------------------


def driven(house: House, loads: Iterable[float], policy: str) -> list[tuple[float, int]]:
    """The load of each minute against a target of 60 for each instance, by the alarms of target tracking: three minutes above it, fifteen
    below nine tenths of it. Answers (when, by how many) of each change."""
    measured: list[float] = []
    changed: list[tuple[float, int]] = []
    for load in loads:
        house.now += 60
        house.heard.clear()
        measured.append(load / house.capacity.desired)
        if min(measured[-HIGH_POINTS:]) > 60 and len(measured) >= HIGH_POINTS:
            house.alarm(policy, measured[-1])
        elif max(measured[-LOW_POINTS:]) < 54 and len(measured) >= LOW_POINTS:
            house.alarm(policy, measured[-1], 54, above=False)
        before = house.capacity.desired
        for _ in range(3):
            house.turn()
            house.capacity = replace(house.capacity, running=house.capacity.desired)
        if house.capacity.desired != before:
            changed.append((house.now, house.capacity.desired - before))
    return changed


def test_a_quick_sawtooth_ends_where_its_teeth_are_and_stays_there() -> None:
    """Up from 40 to 400 within four minutes and down at once, for three hours: what is added for a tooth is not taken away behind it."""
    house = House(current=1)
    changed = driven(house, [40.0 + 120.0 * (minute % 4) for minute in range(180)], house.tracking())
    assert {by > 0 for _, by in changed} == {True}
    assert len(changed) <= 3
    assert changed[-1][0] < changed[0][0] + 1800


@pytest.mark.parametrize("period", [20, 30, 45, 60, 90])
def test_a_slow_sawtooth_is_followed_and_nothing_flaps_within_a_cooldown(period: int) -> None:
    house = House(current=1)
    loads = [40.0 + 360.0 * (minute % period) / period for minute in range(8 * period)]
    changed = driven(house, loads, house.tracking())
    assert changed
    for (before, _), (after, by) in pairwise(changed):
        if by < 0:  # in; out may come at once, as on AWS
            assert after - before >= 300, changed
    # one tooth: up by as many as it takes, down by steps; never to and fro within one
    turns = sum(was * by < 0 for (_, was), (_, by) in pairwise(changed))
    assert turns <= 2 * 8


def test_a_metric_that_is_missing_is_no_zero() -> None:
    """Nothing is heard: the capacity stays what it is, for hours, and an activity tells why; a zero that is measured scales in."""
    house = House(current=6)
    policy = house.tracking()
    house.silent = frozenset([policy])
    for _ in range(180):
        house.now += 60
        house.turn()
        assert house.capacity.desired == 6
    house.silent = frozenset()
    house.alarm(policy, 0.0, 54, above=False)
    assert house.settle() < 6
