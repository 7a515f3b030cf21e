"""A scalable target's turn, in the cases that AWS documents, and an activity from its decision to its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.domain.autoscaling.activity import ActivityNote, Apply, Forget, SeenTarget, Want, Write, absorb
from clary.domain.autoscaling.policies import Heard
from clary.domain.autoscaling.record import ACTIVE, TARGET, Capacity, new_target, triggered
from clary.domain.autoscaling.turn import decide
from clary.domain.decisions import Decision, Unable
from clary.domain.machine.rooms import Room
from clary.domain.metrics.datapoints import WindowValue
from clary.domain.resources import Record, Scope
from clary.domain.scaling.decisions import HOLD, Event

NOW = 1_800_000_000.0
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
RESOURCE = "endpoint/e/variant/v"


class House:
    """A target, its world, and a clock. `settle` lets what was asked come true."""

    def __init__(self, low: int = 1, high: int = 10, current: int = 1) -> None:
        document = new_target(RESOURCE, DIMENSION, "r") | {"min": low, "max": high}
        scope = Scope("000000000000", "us-east-1")
        self.record = Record(TARGET, scope, "t", "arn:t", ACTIVE, NOW, NOW, document)
        self.capacity = Capacity(current, current, True)
        self.heard: dict[str, Heard] = {}
        self.policies: dict[str, Any] = {}
        self.actions: dict[str, Any] = {}
        self.now = NOW
        self.notes: dict[str, dict[str, Any]] = {}
        self.timing = "aws"
        self.silent: frozenset[str] = frozenset()
        self.room: Room | None = None
        self.missing: dict[str, str] = {}
        self.wrote: list[Event] = []
        self.wanted: list[Want] = []

    def tracking(self, name: str = "p", target: float = 60.0, **config: Any) -> str:
        config = {"TargetValue": target, "ScaleOutCooldown": 300, "ScaleInCooldown": 300, **config}
        request = {"PolicyName": name, "PolicyType": "TargetTrackingScaling"}
        self.policies[f"arn:{name}"] = {
            "request": {**request, "TargetTrackingScalingPolicyConfiguration": config},
        }
        return f"arn:{name}"

    def stepping(self, name: str, **config: Any) -> str:
        rows = [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": config.pop("by", 1)}]
        if config.pop("below", False):
            rows = [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1}]
        config = {"AdjustmentType": "ChangeInCapacity", "Cooldown": 300, "StepAdjustments": rows, **config}
        request = {"PolicyName": name, "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": config}
        self.policies[f"arn:{name}"] = {"request": request}
        return f"arn:{name}"

    def alarm(
        self, policy: str, value: float, threshold: float = 60.0, above: bool = True, state: str = "ALARM"
    ) -> str:
        """The alarm says this now, and drives the policy in that state."""
        name = f"{policy}-{'high' if above else 'low'}"
        points = tuple(WindowValue(self.now - 60 * back, value, 1) for back in (3, 2, 1))
        self.heard[name] = Heard(name, above, threshold, points)
        if name not in self.record.document["triggers"]:
            self.record = replace(self.record, document=triggered(self.record, name, policy, state))
        return name

    def turn(self) -> Decision[Any]:
        return self.turned(decide)

    def turned(self, deciding: Any) -> Decision[Any]:
        seen = SeenTarget(
            self.capacity,
            dict(self.heard),
            dict.fromkeys(self.heard, 60.0),
            self.policies,
            self.actions,
            self.silent,
            self.timing,
            self.room,
            missing=self.missing,
        )
        decision: Decision[Any] = deciding(self.record, seen, self.now)
        self.record = decision.record
        for command in decision.commands:
            if isinstance(command, ActivityNote):
                self.notes[command.id] = dict(command.entry)
            if isinstance(command, Write):
                self.wrote.append(command.event)
            if isinstance(command, Want):
                self.wanted.append(command)
            if isinstance(command, Apply):
                self.capacity = replace(self.capacity, desired=command.capacity)
        return decision

    def settle(self) -> int:
        """Turns until the activity is over."""
        for _ in range(5):
            self.turn()
            self.capacity = replace(self.capacity, running=self.capacity.desired)
            if self.record.document["activity"] is None:
                break
        return self.capacity.desired

    @property
    def last(self) -> dict[str, Any]:
        return list(self.notes.values())[-1]


def test_an_activity_from_its_decision_to_its_end() -> None:
    house = House()
    house.alarm(house.tracking(), 120)
    house.turn()
    assert house.last["StatusCode"] == "Pending"
    assert house.capacity.desired == 1  # nothing is asked before the decision is saved
    house.turn()
    assert (house.last["StatusCode"], house.capacity.desired) == ("InProgress", 2)
    house.capacity = replace(house.capacity, settled=False)
    house.turn()
    assert house.last["StatusCode"] == "InProgress"
    house.capacity = Capacity(2, 2, True)
    house.turn()
    assert house.last == {
        "ActivityId": house.last["ActivityId"],
        "ResourceId": RESOURCE,
        "ScalableDimension": DIMENSION,
        "Description": "Setting desired instance count to 2.",
        "Cause": "monitor alarm arn:p-high in state ALARM triggered policy p",
        "StartTime": NOW,
        "EndTime": NOW,
        "StatusCode": "Successful",
        "StatusMessage": "Successfully set desired instance count to 2. Change successfully fulfilled by sagemaker.",
        "Details": "1 x 120 / 60 is 2",
        "scaled": "yes",
    }
    assert len(house.notes) == 1


@pytest.mark.parametrize(
    ("after", "status"),
    [
        (Capacity(1, 1, True, "no memory"), "Failed"),
        (Capacity(5, 5, True), "Overridden"),
    ],
)
def test_an_activity_that_does_not_get_there(after: Capacity, status: str) -> None:
    house = House()
    house.alarm(house.tracking(), 120)
    house.turn()
    house.turn()
    house.capacity = after
    house.turn()
    assert house.last["StatusCode"] == status
    if status == "Failed":
        assert "no memory" in house.last["StatusMessage"]
        house.turn()
        assert house.record.document["activity"] is None  # no flapping: a pause comes first


def test_an_activity_that_takes_too_long_is_not_fulfilled() -> None:
    house = House()
    house.alarm(house.tracking(), 120)
    house.turn()
    house.turn()
    house.now += 901
    house.turn()
    assert house.last["StatusCode"] == "Unfulfilled"


@pytest.mark.parametrize(("scarce", "status"), [(True, "Unfulfilled"), (False, "Failed")])
def test_a_refused_change_says_why(scarce: bool, status: str) -> None:
    house = House()
    house.alarm(house.tracking(), 120)
    house.turn()
    decision = house.turn()
    house.record = absorb(house.record, [(c, Unable("no room", scarce)) for c in decision.commands])
    house.turn()
    assert house.last["StatusCode"] == status
    assert house.last["StatusMessage"] == "Failed to set desired instance count to 2. Reason: no room"


def test_a_resource_that_is_gone_takes_the_target_with_it() -> None:
    house = House()
    decision = decide(house.record, SeenTarget(None), NOW)
    assert decision.remove
    assert decision.commands == (Forget(),)


@pytest.mark.parametrize(
    ("low", "high", "current", "wanted", "cause"),
    [
        (2, 4, 1, 2, "minimum capacity was set to 2"),
        (1, 2, 5, 2, "maximum capacity was set to 2"),
    ],
)
def test_capacity_is_pulled_into_its_range(low: int, high: int, current: int, wanted: int, cause: str) -> None:
    house = House(low, high, current)
    assert house.settle() == wanted
    assert house.last["Cause"] == cause


def test_what_is_being_changed_is_waited_for() -> None:
    house = House(2, 4, 1)
    house.capacity = replace(house.capacity, settled=False)
    decision = house.turn()
    assert (decision.commands, decision.again) == ((), 1.0)


# -- several policies, cooldowns, suspension --------------------------------------------------------------------------------------


def test_a_cause_names_the_state_in_which_the_alarm_drives_the_policy() -> None:
    house = House()
    house.alarm(house.tracking(), 120, state="OK")
    house.turn()
    assert house.last["Cause"] == "monitor alarm arn:p-high in state OK triggered policy p"


def test_the_largest_of_several_policies_wins() -> None:
    house = House()
    house.alarm(house.tracking("a"), 120)
    house.alarm(house.tracking("b"), 240)
    house.alarm(house.stepping("c"), 70)
    assert house.settle() == 4
    assert house.last["Cause"].endswith("triggered policy b")


def test_scale_in_waits_until_every_policy_that_scales_in_agrees() -> None:
    house = House(current=4)
    house.alarm(house.tracking("a"), 1, 54, above=False)
    house.tracking("b")  # silent, or without datapoints
    house.turn()
    assert house.record.document["activity"] is None
    house.alarm("arn:b", 2, 54, above=False)
    assert house.settle() == 3


def test_what_a_deleted_alarm_means_is_said_and_said_again_after_an_hour() -> None:
    house = House(current=4)
    house.alarm(house.tracking("a"), 1, 54, above=False)
    house.tracking("b")
    low = "TargetTracking-x-AlarmLow-1"
    house.missing = {low: "arn:b"}
    why = (
        f"policy b has lost its alarm {low}, so it never scales in, and no other target tracking policy of this target does: "
        "put the policy again to have the alarm back, or delete the policy"
    )
    for later, times in ((0, 1), (60, 1), (3599, 1), (3600, 2), (3700, 2)):
        house.now = NOW + later
        house.turn()
        assert house.record.document["activity"] is None
        told = (HOLD, "b", f"Keep instance count at 4: {why}.", "its alarm is gone")
        assert [(event.level, event.policy, event.why, event.refused) for event in house.wrote] == [told] * times
    notes = [note for note in house.notes.values() if note["scaled"] == "no"]
    assert [(note["Cause"], note["StatusMessage"]) for note in notes] == [
        (f"monitor alarm {low} was deleted", f"Nothing was changed: {why}.")
    ]
    house.missing = {}
    house.turn()
    house.missing = {low: "arn:b"}
    house.turn()
    assert len(house.wrote) == 3, "it came back meanwhile"


def test_without_its_high_alarm_a_policy_never_scales_out_and_is_told_so() -> None:
    house = House(current=4)
    house.missing = {"TargetTracking-x-AlarmHigh-1": house.tracking("a")}
    house.turn()
    [event] = house.wrote
    assert "so it never scales out: put the policy again" in event.why


def test_a_policy_that_never_scales_in_has_no_say_in_it() -> None:
    house = House(current=4)
    house.alarm(house.tracking("a"), 1, 54, above=False)
    house.tracking("b", DisableScaleIn=True)
    assert house.settle() == 3


def test_nothing_is_scaled_in_while_a_policy_wants_out() -> None:
    house = House(current=2)
    house.alarm(house.stepping("in", below=True), 1, 30, above=False)
    house.alarm(house.tracking("out"), 90)
    assert house.settle() == 3


def test_a_scale_in_cooldown_ends_with_time_or_a_scale_out() -> None:
    house = House(current=5)
    policy = house.tracking()
    house.alarm(policy, 1, 54, above=False)
    assert house.settle() == 4
    house.now += 200
    house.alarm(policy, 1, 54, above=False)
    decision = house.turn()
    assert house.record.document["activity"] is None
    assert decision.again is not None
    assert decision.again <= 100
    house.heard.clear()
    house.alarm(policy, 120)
    assert house.settle() == 8  # at once
    house.heard.clear()
    house.now += 240
    house.alarm(policy, 1, 54, above=False)
    assert house.settle() == 7  # the scale-out ended the cooldown of the scale-in before it


def test_in_a_scale_out_cooldown_only_what_is_larger_counts() -> None:
    """AWS's own example: an increase by 2, then by 3 while it cools: 1 is added."""
    house = House(current=10, high=20)
    policy = house.stepping("s", by=2)
    house.alarm(policy, 70)
    assert house.settle() == 12
    house.now += 120
    house.alarm(policy, 70)
    house.turn()
    assert house.record.document["activity"] is None
    house.stepping("s", by=3)
    house.alarm(policy, 70)
    assert house.settle() == 13
    for _ in range(3):  # the same breach a minute later has what it asks for: 3 more than before the cooldown began
        house.now += 60
        house.alarm(policy, 70)
        assert house.settle() == 13
    house.now += 301
    house.alarm(policy, 70)
    assert house.settle() == 16


def test_what_was_taken_away_in_a_scale_out_cooldown_does_not_count() -> None:
    """An increase by 2, all of it and more taken away by hand while it cools: one more than there is, and once."""
    house = House(low=0, current=1, high=9)
    house.alarm(house.stepping("s", by=2), 70)
    assert house.settle() == 3
    house.capacity = Capacity(0, 0, True)
    house.now += 60
    policy = house.stepping("s", by=1)
    house.alarm(policy, 70)
    assert house.settle() == 1
    for _ in range(3):
        house.now += 60
        house.alarm(policy, 70)
        assert house.settle() == 1


def test_an_alarm_acts_again_each_minute_and_not_sooner() -> None:
    house = House()
    policy = house.stepping("s", Cooldown=0)
    house.alarm(policy, 70)
    assert house.settle() == 2
    house.now += 30
    house.turn()
    assert house.record.document["activity"] is None
    house.now += 30
    assert house.settle() == 3


@pytest.mark.parametrize(("by", "below"), [(1, False), (-1, True)])
def test_a_datapoint_that_was_answered_is_not_answered_again_when_the_metric_stops(by: int, below: bool) -> None:
    """The alarm stays in its state for a while, by what came before."""
    house = House(current=4)
    policy = house.stepping("s", Cooldown=0, by=by, below=below)
    name = house.alarm(policy, 50 if below else 70, above=not below)
    house.heard[name] = replace(house.heard[name], late=True)  # it comes late, and nothing has answered it yet
    assert house.settle() == 4 + by
    for _ in range(3):
        house.now += 60
        assert house.settle() == 4 + by
    house.alarm(policy, 50 if below else 70, above=not below)
    assert house.settle() == 4 + 2 * by


def test_a_state_that_was_set_by_hand_where_no_step_holds_is_told_once() -> None:
    """As by `aws cloudwatch set-alarm-state`: the metric is not where the alarm says."""
    house = House()
    policy = house.stepping("s", Cooldown=0)
    for _ in range(3):
        house.alarm(policy, 5)
        assert house.settle() == 1
        house.now += 60
    assert [(note["StatusMessage"], note.get("NotScaledReasons")) for note in house.notes.values()] == [
        ("Nothing was changed: there is no step for a metric at 5, 55 below its threshold of 60.", None)
    ]


def test_suspended_directions_do_nothing() -> None:
    house = House(current=2)
    house.record.document["suspended"].update(DynamicScalingOutSuspended=True)  # type: ignore[attr-defined]
    policy = house.tracking()
    house.alarm(policy, 600)
    house.turn()
    assert house.record.document["activity"] is None
    house.heard.clear()
    house.alarm(policy, 1, 54, above=False)
    house.record.document["suspended"].update(DynamicScalingInSuspended=True)
    house.turn()
    assert house.record.document["activity"] is None
    house.record.document["suspended"].update(DynamicScalingInSuspended=False)
    assert house.settle() == 1


@pytest.mark.parametrize(
    ("current", "value", "above", "reason"),
    [
        (10, 120, True, {"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 10}),
        (1, 1, False, {"Code": "AlreadyAtMinCapacity", "MinCapacity": 1}),
        (4, 53, False, {"Code": "AutoScalingAnticipatedFlapping", "CurrentCapacity": 4}),
    ],
)
def test_why_nothing_is_done_is_said_once(current: int, value: float, above: bool, reason: dict[str, Any]) -> None:
    house = House(current=current)
    house.alarm(house.tracking(), value, 60 if above else 54, above)
    for _ in range(3):
        house.turn()
        house.now += 60
    assert [note["NotScaledReasons"] for note in house.notes.values()] == [[reason]]
    assert house.last["Description"] == "Attempting to scale due to alarm triggered"


def test_a_resource_that_takes_no_change_is_named_as_the_reason() -> None:
    house = House()
    house.capacity = Capacity(1, 1, False, status="Updating")
    house.alarm(house.tracking(), 120)
    house.turn()
    assert house.last["NotScaledReasons"] == [{"Code": "TargetServicePutResourceAsUnscalable"}]
    house.capacity = Capacity(1, 1, True)
    assert house.settle() == 2


def test_a_metric_that_stops_holds_capacity_and_says_so() -> None:
    house = House(current=4)
    name = house.alarm(house.tracking(), 1, 54, above=False)
    house.heard.clear()
    house.silent = frozenset({name})
    house.turn()
    house.turn()
    assert house.capacity.desired == 4
    assert [note["StatusMessage"] for note in house.notes.values()] == [
        "Nothing was changed: the metric has no datapoints: capacity stays."
    ]


def test_an_alarm_that_left_its_state_is_forgotten() -> None:
    house = House()
    house.alarm(house.tracking(), 120)
    house.heard.clear()
    house.turn()
    assert house.record.document["triggers"] == {}


# -- scheduled actions ------------------------------------------------------------------------------------------------------------


def action(schedule: str, low: int | None = None, high: int | None = None, **more: Any) -> dict[str, Any]:
    asked = {k: v for k, v in {"MinCapacity": low, "MaxCapacity": high}.items() if v is not None}
    return {"at": NOW, "request": {"Schedule": schedule, "ScalableTargetAction": asked, **more}}


def test_a_scheduled_action_sets_the_range_and_capacity_follows() -> None:
    house = House()
    house.actions["morning"] = action("rate(1 hour)", 3, 5)
    decision = house.turn()
    assert decision.again == 3600.0
    house.now += 3600
    assert house.settle() == 3
    notes = list(house.notes.values())
    assert [(note["Description"], note["Cause"]) for note in notes] == [
        ("Setting min capacity to 3 and max capacity to 5", "scheduled action name morning was triggered"),
        ("Setting desired instance count to 3.", "scheduled action name morning was triggered"),
    ]
    house.now += 60
    house.turn()
    assert len(house.notes) == 2


def test_what_was_missed_is_done_once() -> None:
    house = House()
    house.actions["often"] = action("rate(1 minute)", 2)
    house.now += 600
    house.settle()
    assert len([n for n in house.notes.values() if n["Description"] == "Setting min capacity to 2"]) == 1


def test_a_schedule_begins_and_ends() -> None:
    house = House()
    house.actions["short"] = action("rate(10 minutes)", 2, StartTime=NOW + 3600, EndTime=NOW + 4300)
    house.now += 3599
    house.turn()
    assert house.record.document["min"] == 1
    house.now = NOW + 4200
    house.settle()
    assert house.record.document["min"] == 2
    house.record = replace(house.record, document={**house.record.document, "min": 1})
    house.now = NOW + 9000
    house.turn()
    assert house.record.document["min"] == 1


def test_suspended_schedules_and_ranges_that_cannot_be() -> None:
    house = House()
    house.actions["up"] = action("rate(1 minute)", 11)
    house.now += 60
    house.turn()
    assert "less than minimum" in house.last["StatusMessage"]
    assert house.record.document["min"] == 1
    house.record.document["suspended"].update(ScheduledScalingSuspended=True)  # type: ignore[attr-defined]
    house.actions["up"] = action("rate(1 minute)", 2)
    house.now += 60
    house.turn()
    assert house.record.document["min"] == 1
