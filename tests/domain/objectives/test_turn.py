"""A turn of a variant with a latency objective: its decision, who carries it out, and what it writes down."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.autoscaling import latency
from clary.domain.autoscaling.capacity import asked
from clary.domain.autoscaling.record import INSTANCES, MILLICPU, ScalableResource, new_target
from clary.domain.decisions import Unable
from clary.domain.endpoints.fleets import PLANNED, READY, Plant, Replica, Variant, new_fleet
from clary.domain.endpoints.sizes import asked_boost
from clary.domain.endpoints.turn import plant_of, with_plant
from clary.domain.models.containers import Container
from clary.domain.objectives import record, sight
from clary.domain.objectives import turn as objective_turn
from clary.domain.objectives.commands import Ask, Live, SeenObjective, Staff, Tell
from clary.domain.objectives.record import Asked, Range
from clary.domain.objectives.turn import ObjectiveStep
from clary.domain.resources import Record, Scope
from clary.domain.scaling.decisions import Event
from clary.domain.scaling.samples import Recent
from clary.domain.scaling.shape import SETTLES
from clary.domain.scaling.signals import Memory, Sample

NOW = 1_800_000_000.0
SCOPE = Scope("000000000000", "us-east-1")
BOTH = Asked("p", 0.5, Range(1, 4, True), Range(500, 2000, True))
PLACE = ScalableResource("endpoint", "e", "v")


class House:
    """A variant of ml.m5.large, its objective's record, and a clock. What is asked of the endpoint comes true at once."""

    def __init__(self, wants: Asked | None = BOTH, count: int = 1) -> None:
        row = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": count, "InstanceType": "ml.m5.large"}
        fleet = new_fleet("f", "c", [row], {"m": [Container("m", "image")]}, 0.0)
        document: dict[str, Any] = {"request": {}, "tags": [], "plant": Plant(seed="s", serving=fleet).to_json()}
        self.endpoint = Record("endpoint", SCOPE, "e", "arn:e", "InService", 0.0, 0.0, document)
        self.record = record.new(SCOPE, "e", "v", NOW)
        self.asked, self.recent, self.now = wants, Recent(), NOW
        self.live = Live(Memory())
        self.usual: tuple[float, ...] = ()
        self.events: list[Event] = []
        self.settle()

    @property
    def variant(self) -> Variant:
        serving = plant_of(self.endpoint).serving
        assert serving is not None
        return serving.variants[0]

    def change(self, **members: Any) -> None:
        plant = plant_of(self.endpoint)
        assert plant.serving is not None
        serving = plant.serving.with_variant(replace(self.variant, **members))
        self.endpoint = with_plant(self.endpoint, replace(plant, serving=serving))

    def settle(self) -> None:
        """As many replicas as are asked, of the size that is asked."""
        size = self.variant.size
        self.change(replicas=tuple(Replica(f"r{n}", READY, size=size) for n in range(self.variant.count)))

    def sample(self, arrivals: int, service: float = 0.1, queued: int = 0) -> None:
        self.recent.samples.append(Sample(self.now, arrivals, arrivals, 0, queued, 0, service, 0.0))
        self.recent.at = self.now

    def turn(self) -> ObjectiveStep:
        seen = SeenObjective(self.endpoint, self.asked, self.live, self.recent, 8, self.usual)
        step = objective_turn.decide(self.record, seen, self.now)
        self.carry(step)
        return step

    def carry(self, step: ObjectiveStep) -> None:
        """Do what was decided."""
        self.record, self.live = step.decision.record, step.live
        for command in step.decision.commands:
            match command:
                case Staff(boost, allowance):
                    self.endpoint = asked_boost(self.endpoint, "v", boost, allowance)
                case Ask(dimension=dimension, wanted=wanted):
                    self.endpoint = asked(self.endpoint, PLACE, dimension, wanted, self.now, steady=True)
                case Tell(event):
                    self.events.append(event)

    def second(self, arrivals: int, **sample: Any) -> ObjectiveStep:
        self.now += 1.0
        self.sample(arrivals, **sample)
        return self.turn()

    def grant(self) -> None:
        """What the scalable targets do with wishes."""
        for dimension, wish in self.record.document["wish"].items():
            self.endpoint = asked(self.endpoint, PLACE, dimension, wish["to"], self.now, steady=True)

    @property
    def wish(self) -> dict[str, tuple[int, int]]:
        return {name: (each["from"], each["to"]) for name, each in self.record.document["wish"].items()}


def test_the_front_is_told_at_once_and_nothing_else_is_decided_without_a_sample() -> None:
    house = House()
    house.turn()
    boost = house.variant.boost
    assert boost is not None
    assert (boost.objective, house.variant.allowance) == (0.5, 8)
    assert house.wish == {}
    [event] = house.events
    assert (event.level, event.won, event.before.count, event.after.count) == ("hold", "stale", 1, 1)
    assert event.why == "Keep 1 replica: no samples arrived in the last seconds, so the size stays as it is."


def test_load_makes_wishes_for_both_dimensions() -> None:
    house = House()
    house.change(millicpu=500)
    house.settle()
    house.turn()
    house.second(46)
    assert house.wish == {INSTANCES: (1, 3), MILLICPU: (500, 2000)}
    event = house.events[-1]
    assert (event.level, event.won, event.applied, event.refused) == ("fleet", "load", True, "")
    assert (event.before.millicpu, event.after.millicpu) == (500, 2000)
    assert event.saw["rate"] == pytest.approx(46)
    assert event.why.startswith("Add 2, to 3 replicas: 46.00 requests a second of 100 ms need 5 workers now")
    assert event.why.endswith("Each is to have 2000 millicpu, not 500.")
    house.grant()
    house.settle()
    house.second(46)
    assert house.wish == {}
    boost = house.variant.boost
    assert boost is not None
    assert boost.rate > 10
    assert boost.base == 4


def test_a_wish_follows_the_load_while_replicas_start() -> None:
    house = House(replace(BOTH, millicpu=None))
    house.turn()
    house.second(25)
    assert house.wish == {INSTANCES: (1, 2)}
    house.grant()
    house.change(replicas=(*house.variant.replicas, Replica("r1", PLANNED)))
    house.second(25)
    assert house.wish == {}  # what starts is capacity: it is not started twice
    for _ in range(4):
        house.second(70)
    assert house.wish == {INSTANCES: (2, 3)}


def test_only_vertical_keeps_the_count() -> None:
    house = House(Asked("p", 0.5, None, Range(500, 4000, True)), count=2)
    house.turn()
    house.second(46)
    assert house.wish == {MILLICPU: (2000, 3000)}


def test_a_size_that_has_grown_stays_for_a_while_whatever_the_load_does() -> None:
    house = House(Asked("p", 0.5, None, Range(500, 2000), keep=2.0))
    house.turn()
    sizes = list[int]()
    for second in range(90):
        noise = 0.1 if second % 10 < 5 else 0.01  # what a request takes, on a machine with other work
        house.second(11, service=noise)
        house.settle()
        sizes.append(house.variant.millicpu)
    turns = [at for at, (one, other) in enumerate(itertools.pairwise(sizes)) if other < one]
    assert turns
    assert all(later - sooner >= SETTLES for sooner, later in itertools.pairwise(turns))
    assert max(sizes) == 2000


def test_without_targets_the_endpoint_is_asked_itself() -> None:
    house = House(Asked(record.TAG, 0.5, Range(1, 4)))
    house.turn()
    step = house.second(46)
    assert Ask(INSTANCES, 3, 1) in step.decision.commands
    assert (house.variant.count, house.endpoint.status) == (3, "InService")


def test_the_same_samples_are_decided_by_once() -> None:
    house = House()
    house.turn()
    house.second(46)
    before = house.record
    house.now += 0.1
    step = house.turn()
    assert (step.decision.commands, house.record) == ((), before)
    assert step.decision.again == pytest.approx(3.0)


def test_samples_that_stop_hold_and_say_so() -> None:
    house = House()
    house.turn()
    house.second(46)
    house.grant()
    house.settle()
    told = house.variant.boost
    house.now += 10.0
    house.turn()
    event = house.events[-1]
    assert (event.level, event.won, event.after.count) == ("hold", "stale", 3)
    assert event.why == "Keep 3 replicas: the newest sample is 10 s old, so the size stays as it is."
    assert house.variant.boost == told
    count = len(house.events)
    for _ in range(100):
        house.now += 2.0
        house.turn()
    assert len(house.events) == count


def test_absurd_samples_hold_and_say_so() -> None:
    house = House()
    house.turn()
    house.second(46)
    house.grant()
    house.settle()
    house.now += 5.0
    house.recent.absurd, house.recent.at = "service was counted as nan", house.now
    house.turn()
    event = house.events[-1]
    assert (event.level, event.won, event.after.count) == ("hold", "absurd", 3)
    assert "service was counted as nan, which is impossible" in event.why


@pytest.mark.parametrize("service", [0.0, math.nan, math.inf])
def test_an_unknown_service_time_is_no_ground(service: float) -> None:
    house = House()
    house.turn()
    house.second(1000, service=service)
    assert (house.events[-1].won, house.wish) == ("unmeasured", {})


def test_suspended_directions_hold() -> None:
    house = House(replace(BOTH, millicpu=None, count=Range(1, 4, True, grows=False)))
    house.turn()
    house.second(46)
    event = house.events[-1]
    assert (house.wish, event.after.count, event.applied) == ({}, 1, False)
    assert event.refused == "the count may not grow: DynamicScalingOutSuspended"


def test_what_may_not_shrink_was_not_given_up() -> None:
    held = replace(BOTH, millicpu=None, count=Range(1, 4, True, shrinks=False), keep=1.0)
    house = House(held, count=3)
    for _ in range(80):
        house.second(1)
    assert [event.why for event in house.events if "was removed" in event.why] == []
    assert house.events[-1].refused.startswith("the count may not shrink: DynamicScalingInSuspended")
    house.asked = replace(held, count=Range(1, 4, True))
    house.second(1)
    assert house.wish == {INSTANCES: (3, 2)}


def test_another_objective_is_another_decision() -> None:
    house = House()
    for _ in range(20):
        house.second(5)
    told = len(house.events)
    house.asked = replace(BOTH, objective=0.4)
    house.second(5)
    assert len(house.events) == told + 1
    assert house.events[-1].saw["objective_ms"] == 400.0


def test_what_holds_one_direction_leaves_the_others() -> None:
    """A size without room does not keep replicas from going, nor the size from shrinking."""
    house = House(replace(BOTH, keep=5.0, count=Range(1, 4, True, shrinks=False)))
    house.turn()
    house.second(46)
    house.grant()
    house.settle()
    assert house.variant.count == 3
    house.asked = replace(house.asked, millicpu=Range(500, 2000, True, refused="no vCPU")) if house.asked else None
    for _ in range(70):
        house.second(0)
    assert house.wish == {MILLICPU: (2000, 500)}
    event = house.events[-1]
    assert (event.applied, event.refused, event.after.count) == (True, "", 3)
    told = "Not all of it: the count may not shrink: DynamicScalingInSuspended, or DisableScaleIn."
    assert any(each.why.endswith(told) for each in house.events)


def test_an_endpoint_that_is_changed_by_its_user_is_left_alone() -> None:
    house = House()
    house.turn()
    house.endpoint = replace(house.endpoint, status="Updating")
    house.second(46)
    assert house.wish == {}
    assert house.events[-1].refused == "the endpoint is Updating"


def test_idle_capacity_goes_after_its_time_one_by_one() -> None:
    house = House(replace(BOTH, keep=30.0, millicpu=None))
    house.turn()
    for _ in range(3):
        house.second(46)
        house.grant()
        house.settle()
    assert house.variant.count == 3
    went: list[float] = []
    for _ in range(150):
        before = house.variant.count
        house.second(0)
        house.grant()
        house.settle()
        if house.variant.count < before:
            assert house.variant.count == before - 1
            went.append(house.now)
    assert house.variant.count == 1
    assert went[0] - NOW > 30.0
    assert went[1] - went[0] >= 10.0


def test_no_room_for_a_size_makes_replicas_and_it_is_asked_again_later() -> None:
    house = House(replace(BOTH, millicpu=Range(500, 4000, True), count=Range(1, 6, True)))
    house.turn()
    house.change(cramped="this machine has 2 vCPU, and 4 are asked for")
    house.second(46)
    assert house.wish == {INSTANCES: (1, 3)}
    assert "so there are more replicas instead" in house.events[-1].why
    assert house.record.document["cramped"]["why"] == "this machine has 2 vCPU, and 4 are asked for"
    house.grant()
    house.settle()
    asked_at = []
    for _ in range(2 * int(sight.AGAIN_LARGER)):
        house.second(120)
        if MILLICPU in house.wish:
            asked_at.append(house.now - NOW - 1.0)
    assert asked_at == [sight.AGAIN_LARGER, 2 * sight.AGAIN_LARGER]


def test_no_room_for_replicas_makes_them_larger() -> None:
    house = House(replace(BOTH, millicpu=Range(500, 4000, True)), count=2)
    house.change(millicpu=1000)
    house.settle()
    house.turn()
    house.change(deaths=1, failure="CapacityError: 7 of 8 vCPU are reserved")
    house.second(46)
    assert house.wish == {MILLICPU: (1000, 3000)}
    assert "7 of 8 vCPU are reserved, so those that serve are larger instead" not in house.events[-1].why
    house.second(150)
    house.second(150)
    assert house.wish == {MILLICPU: (1000, 4000)}
    assert house.events[-1].why.endswith("7 of 8 vCPU are reserved, so those that serve are larger instead.")


def test_what_the_endpoint_refuses_is_told_and_rested_from() -> None:
    house = House(Asked("p", 0.5, Range(1, 4)))
    house.turn()
    house.now += 1
    house.sample(46)
    seen = SeenObjective(house.endpoint, house.asked, house.live, house.recent, 8)
    step = objective_turn.decide(house.record, seen, house.now)
    outcomes = [(c, Unable("no room at all", scarce=True)) for c in step.decision.commands if isinstance(c, Ask)]
    house.record, house.live = objective_turn.absorb(step.decision.record, outcomes, house.now), step.live
    house.second(46)
    event = house.events[-1]
    assert (event.won, event.applied) == ("no-room", False)
    assert "no room at all" in event.refused
    assert house.variant.count == 1


@pytest.mark.parametrize("gone", ["endpoint", "asked"])
def test_without_an_objective_the_front_parks_nothing_and_the_record_goes(gone: str) -> None:
    house = House()
    house.turn()
    assert house.variant.boost is not None
    seen = SeenObjective(house.endpoint, None if gone == "asked" else BOTH, house.live)
    step = objective_turn.decide(house.record, seen if gone == "asked" else replace(seen, endpoint=None), NOW)
    assert step.decision.remove
    told = [command.event for command in step.decision.commands if isinstance(command, Tell)]
    assert step.decision.commands[:1] == ((Staff(None, 0),) if gone == "asked" else ())
    assert [event.why for event in told] == (
        ["The latency objective is gone: what there is stays until others change it."] if gone == "asked" else []
    )
    assert all((event.policy, event.level, event.after.count) == ("p", "hold", 1) for event in told)


def test_a_variant_that_can_have_no_objective_any_more_says_why() -> None:
    house = House()
    house.turn()
    house.change(container=Container("m", ""))
    step = objective_turn.decide(house.record, SeenObjective(house.endpoint, None, house.live), NOW)
    [event] = [command.event for command in step.decision.commands if isinstance(command, Tell)]
    assert event.why.startswith(
        "The latency objective has no effect any more, since the variant hosts inference components"
    )


def test_what_no_size_can_keep_is_said() -> None:
    house = House(replace(BOTH, objective=0.05))
    house.second(5)
    why = "No size keeps the p99 within 50 ms: one request in twenty takes 100 ms or more with a worker to itself."
    assert why in house.events[-1].why
    assert house.events[-1].saw["objective_ms"] == 50.0
    assert house.variant.count <= 2, "it is no ground for more than the load needs"
    fine = House()
    fine.second(5)
    assert "No size" not in fine.events[-1].why


def test_the_policy_that_needs_what_there_is_is_kept_for_its_targets() -> None:
    house = House()
    house.second(5)
    assert house.record.document["keeps"] == {INSTANCES: "p", MILLICPU: "p"}
    house.asked = replace(BOTH, count=Range(1, 4, True, shrinks=False), millicpu=Range(500, 2000))
    house.second(5)
    assert house.record.document["keeps"] == {}


def test_the_memory_survives_in_the_record() -> None:
    house = House(replace(BOTH, keep=900.0))
    house.turn()
    for _ in range(40):
        house.second(46)
    kept = record.unpack(house.record.document["memory"], house.now)
    assert kept.peaks == house.live.memory.peaks
    assert kept.seen >= house.now - objective_turn.SAVED_EVERY
    saved = house.record.version, house.record.modified
    house.second(46)
    assert (house.record.version, house.record.modified) == saved  # not each second


def test_a_clock_that_was_set_back_holds_nothing_for_long() -> None:
    memory = Memory(seen=NOW + 3600, last=5, steps=1.0, sums=2.0, peaks=((3, 2.0),), shrunk=NOW + 3600, busy=NOW)
    back = record.unpack(record.pack(memory), NOW)
    assert (back.seen, back.shrunk, back.busy, back.last) == (NOW, NOW, NOW, -1)
    assert record.unpack(record.pack(memory), NOW + 7200) == memory


def test_starts_are_remembered() -> None:
    house = House()
    seen = SeenObjective(house.endpoint, BOTH, house.live, house.recent, 8, starts=(8.25,))
    step = objective_turn.decide(house.record, seen, NOW)
    assert step.decision.record.document["starts"] == [8.25]


def test_what_this_time_of_day_usually_needs_is_a_floor() -> None:
    house = House(Asked("p", 0.5, Range(1, 4, True)))
    house.turn()
    house.usual = (40.0,) * 14
    house.second(2)
    assert house.wish == {INSTANCES: (1, 3)}
    assert (house.events[-1].won, house.events[-1].why) == (
        "forecast",
        "Add 2, to 3 replicas: this time of day usually needs 3 replicas.",
    )


# -- to zero ----------------------------------------------------------------------------------------------------------------------

ZERO = Asked("p", 10.0, Range(0, 4, True), keep=30.0)


def idle(house: House, seconds: int) -> None:
    for _ in range(seconds):
        house.second(0)
        house.grant()
        house.settle()


def test_the_last_replica_goes_after_a_long_rest_where_a_start_is_quick_enough() -> None:
    house = House(ZERO)
    house.record = replace(house.record, document={**house.record.document, "starts": [2.0, 2.5]})
    house.turn()
    house.second(5)
    idle(house, 85)
    assert house.variant.count == 1
    idle(house, 15)
    assert house.variant.count == 0
    assert house.variant.sleeps
    house.change(count=1)  # as the endpoint's turn wakes it
    house.settle()
    house.turn()
    assert house.variant.count == 1
    house.second(1)
    [woken] = [event for event in house.events if event.won == "request"]
    assert woken.why == "Add 1, to 1 replica: a request came, and was held until one served."
    assert (woken.before.count, woken.after.count, woken.applied) == (0, 1, True)
    idle(house, 60)
    assert house.variant.count == 1


@pytest.mark.parametrize(
    ("starts", "objective", "why"),
    [
        ([], 10.0, "One replica stays, parked: no start of it was measured yet."),
        ([12.0], 10.0, "One replica stays, parked: a start takes 12 s, and the request that wakes it would be late."),
        ([9.95], 10.0, "One replica stays, parked: a start takes 9.9 s, and the request that wakes it would be late."),
    ],
)
def test_else_one_stays_and_the_decision_says_so(starts: list[float], objective: float, why: str) -> None:
    house = House(replace(ZERO, objective=objective))
    house.record = replace(house.record, document={**house.record.document, "starts": starts})
    house.turn()
    house.second(5)
    idle(house, 200)
    assert house.variant.count == 1
    assert house.events[-1].why.endswith(why)


def test_a_variant_at_zero_without_its_objective_gets_a_replica() -> None:
    house = House(ZERO, count=0)
    seen = SeenObjective(house.endpoint, None, house.live)
    step = objective_turn.decide(house.record, seen, NOW)
    ask, tell = step.decision.commands
    assert ask == Ask(INSTANCES, 1, 0)
    assert isinstance(tell, Tell)
    assert tell.event.why == "The latency objective is gone: a replica starts, since no request would wake one."


# -- who asks ---------------------------------------------------------------------------------------------------------------------


def policy(value: float, **config: Any) -> dict[str, Any]:
    specification = {"PredefinedMetricType": latency.METRIC}
    config = {"TargetValue": value, "PredefinedMetricSpecification": specification, **config}
    return {
        "PolicyName": f"p{value:g}",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": config,
    }


def test_what_is_asked() -> None:
    variant = House().variant
    target = new_target("endpoint/e/variant/v", INSTANCES, "r") | {"min": 2, "max": 5}

    def of(objective: float, targets: dict[str, Any], *policies: dict[str, Any]) -> Asked | None:
        return record.asked_of((variant,), objective, targets, policies, 4, NOW)

    assert of(0.0, {INSTANCES: target}) is None
    assert of(0.3, {}) == Asked(record.TAG, 0.3, Range(1, 4))
    assert of(0.0, {INSTANCES: target}, policy(500), policy(200)) == Asked("p200", 0.2, Range(2, 5, True))
    assert of(0.3, {INSTANCES: target}, policy(500)) == Asked("p500", 0.5, Range(2, 5, True))
    kept = of(0.0, {INSTANCES: target}, policy(500, ScaleInCooldown=0, DisableScaleIn=True))
    assert kept == Asked("p500", 0.5, Range(2, 5, True, shrinks=False), keep=0.0)
    target["suspended"] = {**target["suspended"], "DynamicScalingOutSuspended": True}
    held = of(0.0, {INSTANCES: target}, policy(500))
    assert held is not None
    assert held.count == Range(2, 5, True, grows=False)


def test_managed_instance_scaling_is_the_range() -> None:
    scaling = {"Status": "ENABLED", "MinInstanceCount": 2, "MaxInstanceCount": 9}
    variant = replace(House().variant, config={"InstanceType": "ml.m5.large", "ManagedInstanceScaling": scaling})
    made = record.asked_of((variant,), 0.3, {}, [], 4, NOW)
    assert made is not None
    assert made.count == Range(2, 9)


def test_a_record_of_a_version_with_the_shadow_tournament_is_decided_by_as_any_other() -> None:
    old, new = House(), House()
    kept = {"serving": "keep=600", "wins": {"z=4": 3}, "objective": 0.5, "told": "keep=600, then z=4"}
    old.record = replace(old.record, document={**old.record.document, "tournament": kept})
    for _ in range(90):
        for house in (old, new):
            house.second(40)
            house.settle()
    assert old.variant == new.variant
    assert [event.outcome for event in old.events] == [event.outcome for event in new.events]
    assert old.record.document == {**new.record.document, "tournament": kept}
