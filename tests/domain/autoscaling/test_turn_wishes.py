"""A latency objective's wish in a scalable target's turn: beside other policies, within what is suspended, overtaken by the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.domain.autoscaling.test_turn import House as Plain

from clary.domain.autoscaling.activity import SeenTarget, Want
from clary.domain.autoscaling.record import INSTANCES
from clary.domain.autoscaling.turn import decide
from clary.domain.decisions import Decision
from clary.domain.endpoints.fleets import Variant, new_fleet
from clary.domain.machine.rooms import Room
from clary.domain.models.containers import Container
from clary.domain.objectives import record as latency_objectives


class House(Plain):
    """With a wish."""

    wish: dict[str, Any] | None = None
    room: Room | None = None
    keeps = ""
    count = 0

    def wants(self, to: int) -> None:
        self.count = self.count + 1
        self.wish = {"from": self.capacity.desired, "to": to, "why": "because", "policy": "p99", "at": self.count}

    def turn(self) -> Decision[Any]:
        def seeing(record: Any, seen: SeenTarget, now: float) -> Decision[Any]:
            return decide(record, replace(seen, wish=self.wish, room=self.room, keeps=self.keeps), now)

        return self.turned(seeing)


def suspended(house: House, direction: str) -> None:
    held = {**house.record.document["suspended"], f"DynamicScaling{direction}Suspended": True}
    house.record = replace(house.record, document={**house.record.document, "suspended": held})


def test_a_wish_is_an_activity_in_a_steady_endpoint() -> None:
    house = House()
    house.wants(3)
    house.turn()
    assert house.last["StatusCode"] == "Pending"
    decision = house.turn()
    assert any(getattr(command, "steady", False) for command in decision.commands)
    assert house.settle() == 3
    assert (house.last["StatusCode"], house.last["Cause"]) == ("Successful", "latency objective of policy p99")
    assert house.last["Details"] == "because"


def test_the_next_wish_overtakes_one_that_is_on_its_way() -> None:
    house = House()
    house.wants(2)
    house.turn()
    house.turn()
    assert house.capacity.desired == 2
    house.wants(5)
    house.turn()
    assert (house.last["StatusCode"], house.record.document["activity"]) == ("Overridden", None)
    assert house.settle() == 5
    assert [each["StatusCode"] for each in house.notes.values()] == ["Overridden", "Successful"]


def test_an_old_wish_does_nothing() -> None:
    house = House(current=2)
    house.wants(5)
    house.capacity = replace(house.capacity, desired=3, running=3)
    house.turn()
    assert house.record.document["activity"] is None


def test_a_wish_is_acted_on_once() -> None:
    house = House(low=0)
    house.wants(0)
    assert house.settle() == 0
    house.capacity = replace(house.capacity, desired=1, running=1)  # woken by a request
    assert house.settle() == 1
    house.wants(0)
    assert house.settle() == 0


def test_the_largest_capacity_that_a_policy_wants_wins() -> None:
    house = House(current=2)
    house.alarm(house.stepping("steps", by=4), 90)
    house.wants(3)
    assert house.settle() == 6
    calm = House(current=4)
    calm.alarm(calm.stepping("steps", by=1), 90)
    calm.wants(2)
    assert calm.settle() == 5  # nothing is scaled in while a policy wants more


def test_no_step_policy_takes_away_what_the_objective_needs() -> None:
    house = House(current=3)
    house.alarm(house.stepping("in", below=True), 10, above=False)
    house.keeps = "p99"
    assert house.settle() == 3
    assert house.last["NotScaledReasons"] == [{"Code": "AutoScalingAnticipatedFlapping", "CurrentCapacity": 3}]
    assert house.last["Details"] == "latency objective of policy p99 needs all 3"
    house.wants(2)  # it needs less, and so both agree
    assert house.settle() == 2
    free = House(current=3)
    free.alarm(free.stepping("in", below=True), 10, above=False)
    assert free.settle() == 2  # a policy with DisableScaleIn leaves the way down to others


def test_the_objective_does_not_undo_a_scale_out_that_cools_down() -> None:
    house = House(current=2)
    house.alarm(house.stepping("out"), 90)
    assert house.settle() == 3
    house.now += 60
    house.wants(2)
    assert house.settle() == 3, "the alarm is still there: it would be scaled out again after the cooldown"
    house.heard.clear()
    house.wants(2)
    assert house.settle() == 2


def test_suspended_directions_and_the_range_hold() -> None:
    house = House(current=2, low=1, high=4)
    suspended(house, "Out")
    house.wants(3)
    assert house.settle() == 2
    suspended(house, "In")
    house.wants(1)
    assert house.settle() == 2
    wide = House(current=2, high=4)
    wide.wants(9)
    assert wide.settle() == 4


def test_a_schedule_moves_the_range_under_it() -> None:
    house = House(current=1)
    house.wants(2)
    house.record = replace(house.record, document={**house.record.document, "min": 3})
    assert house.settle() == 3


def test_a_refusal_is_kept_for_the_policy_to_see() -> None:
    house = House()
    house.wants(2)
    house.turn()
    house.turn()
    activity = {**house.record.document["activity"], "refused": "no room", "scarce": True}
    house.record = replace(house.record, document={**house.record.document, "activity": activity})
    house.turn()
    assert (house.last["StatusCode"], house.record.document["refused"]) == ("Unfulfilled", "no room")
    assert house.record.document["retry"] > house.now


def test_what_nothing_would_wake_keeps_one() -> None:
    house = House(low=0, current=0)
    house.capacity = replace(house.capacity, floor=1)
    assert house.settle() == 1
    assert house.last["Cause"] == "nothing would start it again from 0"
    house.alarm(house.tracking(), 1, above=False)
    assert house.settle() == 1


def test_a_range_of_nothing_does_not_turn_what_nothing_would_wake() -> None:
    house = House(low=0, high=0, current=0)
    house.capacity = replace(house.capacity, floor=1)
    assert house.settle() == 1
    assert house.settle() == 1
    assert len(house.notes) == 1


def test_a_wish_without_room_says_so_once_and_is_told_to_its_policy() -> None:
    house = House(current=2)
    house.room = Room(False, 2, "1024 MiB of memory are needed, 12 MiB are free", held="endpoint other (8 GiB)")
    house.wants(4)
    first = [command for command in house.turn().commands if isinstance(command, Want)]
    assert [each.first for each in first] == [True]
    assert house.last["NotScaledReasons"] == [{"Code": "TargetServicePutResourceAsUnscalable"}]
    assert "no room on this machine" in house.last["StatusMessage"]
    again = [command for command in house.turn().commands if isinstance(command, Want)]
    assert [each.first for each in again] == [False]
    target = latency_objectives.asked_of((variant(),), 0.5, {INSTANCES: house.record.document}, [], 4, house.now)
    assert target is not None
    assert target.count is not None
    assert "1024 MiB of memory are needed" in target.count.refused
    house.room = Room(False, 3, "1024 MiB of memory are needed, 12 MiB are free")
    house.turn()
    assert house.record.document["activity"]["to"] == 3  # a part of it
    assert house.record.document["lacks"] is None


def variant() -> Variant:
    row = {"VariantName": "v", "InstanceType": "ml.m5.large", "InitialInstanceCount": 2, "ModelName": "m"}
    return new_fleet("f", "c", [row], {"m": [Container("m", "image")]}, 0.0).variants[0]
