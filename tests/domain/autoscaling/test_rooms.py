"""Up to where the machine has room, and what a target's turn makes of that."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from tests.domain.autoscaling.test_turn import House

from clary.domain.autoscaling.activity import LONGEST_PAUSE, REFUSED_PAUSE, Want
from clary.domain.autoscaling.record import INSTANCES, MILLICPU, PROVISIONED, ScalableResource
from clary.domain.autoscaling.rooms import needed, room_for
from clary.domain.endpoints.fleets import READY, Plant, Replica, new_fleet
from clary.domain.endpoints.turn import with_plant
from clary.domain.machine.capacity import REPLICA_FLOOR, Book, Claim, Fit, Machine, Owner
from clary.domain.machine.instances import GIB, KEPT
from clary.domain.machine.rooms import Room
from clary.domain.models.containers import Container
from clary.domain.resources import Record, Scope

ME = "000000000000"
PLACE = ScalableResource("endpoint", "e", "v")
MACHINE = Machine(cpus=8, memory=64 * GIB, available=32 * GIB)
FULL = Room(False, 1, "2 vCPU are needed, 8 of 8 are reserved", (), "endpoint other (6 vCPU)")


def endpoint(count: int = 2, kind: str = "ml.m5.large", containers: int = 1, **sizes: Any) -> Record:
    row = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": count, "InstanceType": kind}
    made = [Container("m", "image", hostname=f"c{n}" * (containers > 1), of=containers) for n in range(containers)]
    fleet = new_fleet("f", "c", [row], {"m": made}, 0.0)
    for n, variant in enumerate(fleet.variants):
        replicas = tuple(Replica(f"r{n}{k}", READY) for k in range(count))
        fleet = fleet.with_variant(replace(variant, replicas=replicas, **sizes))
    record = Record("endpoint", Scope(ME, "us-east-1"), "e", "arn:e", "InService", 0.0, 0.0, {"request": {}})
    return with_plant(record, Plant(seed="s", serving=fleet))


def book(policy: str = "strict", others: float = 0.0, used: int = 0, available: int = 32 * GIB) -> Book:
    own = tuple(Claim(f"r0{k}", (Fit(2.0, 8 * GIB, 0),), 0.0, used, Owner("endpoint", "e", ME)) for k in range(2))
    other = (Claim("x", (Fit(others, GIB, 0),), 0.0, 0, Owner("endpoint", "other", ME)),) if others else ()
    return Book(replace(MACHINE, available=available), policy, 100.0, (), (*own, *other))


def test_instances_up_to_what_is_not_reserved() -> None:
    answer = room_for(book(), endpoint(), PLACE, INSTANCES, 10)
    assert answer is not None
    assert (answer.granted, answer.most) == (False, 4)
    assert answer.why == "2 vCPU are needed, 4 of 8 are reserved, held by endpoint e (4 vCPU)"
    enough = room_for(book(), endpoint(), PLACE, INSTANCES, 4)
    assert enough is not None
    assert (enough.granted, enough.most) == (True, 4)


def test_instances_where_cpu_is_shared_are_as_many_as_memory_holds_of_their_like() -> None:
    answer = room_for(book("fit", used=2 * GIB, available=5 * GIB), endpoint(), PLACE, INSTANCES, 10)
    assert answer is not None
    assert answer.most == 4
    assert answer.missing == "2048 MiB of memory are needed, 1024 MiB are free"


def test_a_type_that_can_never_be_there_has_no_room() -> None:
    answer = room_for(book(), endpoint(kind="ml.m5.24xlarge"), PLACE, INSTANCES, 10)
    assert answer is not None
    assert (answer.granted, answer.most) == (False, 2)
    assert "account-level service limit" in answer.why


@pytest.mark.parametrize(
    ("policy", "others", "wanted", "most"),
    [
        ("strict", 0.0, 4000, 4000),
        ("strict", 3.0, 4000, 2500),  # five of eight for two replicas
        ("strict", 8.0, 4000, 0),
        ("fit", 8.0, 8000, 8000),
        ("fit", 0.0, 9000, 8000),
    ],
)
def test_a_size_up_to_what_each_replica_may_have(policy: str, others: float, wanted: int, most: int) -> None:
    answer = room_for(book(policy, others), endpoint(), PLACE, MILLICPU, wanted)
    assert answer is not None
    assert (answer.granted, answer.most) == (most == wanted, most)


def test_what_larger_replicas_lack() -> None:
    each, need = needed(book(), endpoint(), PLACE, MILLICPU, 2500)
    assert ([(fit.cpu, fit.memory) for fit in each], need) == ([(1.0, 0)], 0)


def test_what_one_replica_more_needs() -> None:
    each, need = needed(book("fit", used=GIB), endpoint(), PLACE, INSTANCES, 9)
    assert ([fit.cpu for fit in each], need) == ([2.0], GIB)
    each, need = needed(book(), endpoint(count=1, containers=2), PLACE, INSTANCES, 9)
    assert ([fit.cpu for fit in each], need) == ([1.0, 1.0], 2 * REPLICA_FLOOR)


# -- the turn ---------------------------------------------------------------------------------------------------------------------


def test_without_room_nothing_is_asked_and_the_reason_is_told_once() -> None:
    house = House(high=5)
    house.room = FULL
    for _ in range(30):
        house.alarm(house.tracking(), 300)
        house.turn()
        house.now += 60
    assert house.capacity.desired == 1
    [told] = house.notes.values()
    assert told["NotScaledReasons"] == [{"Code": "TargetServicePutResourceAsUnscalable"}]
    assert told["Details"] == (
        "there is no room on this machine for more: 2 vCPU are needed, 8 of 8 are reserved, held by endpoint other (6 vCPU)"
    )
    assert [want.first for want in house.wanted] == [True, *[False] * 29]  # wished for at each step, told once
    assert house.wanted[0] == Want(told["Details"], True, 5)


def test_when_room_comes_the_next_step_takes_it() -> None:
    house = House(high=5)
    house.room = FULL
    house.alarm(house.tracking(), 300)
    house.turn()
    house.room = Room(True, 5)
    house.now += 60
    house.alarm(house.tracking(), 300)
    house.turn()
    assert house.settle() == 5


def test_as_many_as_there_is_room_for_are_started_and_the_cause_says_so() -> None:
    house = House(high=5)
    house.room = replace(FULL, most=3)
    house.alarm(house.tracking(), 300)
    house.turn()
    assert house.settle() == 3
    assert house.last["StatusCode"] == "Successful"
    assert "5 are wanted, and there is room for 3: 2 vCPU are needed" in house.last["Details"]
    assert house.wanted == []


def test_without_room_it_still_scales_in() -> None:
    house = House(current=4)
    house.room = Room(False, 4, "no room")
    house.alarm(house.tracking(), 10, 54, above=False)
    house.turn()
    assert house.settle() < 4


def test_what_is_refused_again_and_again_is_asked_for_ever_less_often() -> None:
    """The resource takes it back each time: within three hours it is asked a few times, not a hundred and eighty."""
    house = House()
    asked: list[float] = []
    while house.now < 1_800_000_000.0 + 3 * 3600:
        house.alarm(house.tracking(), 120)
        house.turn()
        if house.capacity.desired == 2:
            asked.append(house.now)
            house.capacity = replace(house.capacity, desired=1, running=1, failure="CapacityError: no room")
        house.now += 5
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert pauses[0] >= REFUSED_PAUSE
    assert all(after >= before - 60 for before, after in itertools.pairwise(pauses))
    assert pauses[-1] >= LONGEST_PAUSE
    assert len(asked) < 30


@pytest.mark.parametrize(
    ("policy", "available", "most"), [("fit", 5, 5), ("fit", 9, 8), ("fit", 1, 2), ("strict", 1, 8)]
)
def test_provisioned_concurrency_up_to_what_memory_holds(policy: str, available: int, most: int) -> None:
    """Where sizes are reserved, all that may run at once is."""
    config = {"MemorySizeInMB": 1024, "MaxConcurrency": 8, "ProvisionedConcurrency": 2}
    fleet = new_fleet(
        "f",
        "c",
        [{"VariantName": "v", "ModelName": "m", "ServerlessConfig": config}],
        {"m": [Container("m", "i")]},
        0.0,
    )
    fleet = fleet.with_variant(replace(fleet.variants[0], replicas=(Replica("r", READY),)))
    record = Record("endpoint", Scope(ME, "us-east-1"), "e", "arn:e", "InService", 0.0, 0.0, {"request": {}})
    own = Claim("r", (Fit(4.0, 8 * GIB, 0),), 0.0, 0, Owner("endpoint", "e", ME))
    machine = replace(MACHINE, available=available * KEPT)
    answer = room_for(
        Book(machine, policy, 100.0, (), (own,)),
        with_plant(record, Plant(seed="s", serving=fleet)),
        PLACE,
        PROVISIONED,
        8,
    )
    assert answer is not None
    assert (answer.granted, answer.most) == (most == 8, most)
    if most == 5:
        assert answer.missing == "768 MiB of memory are needed, 640 MiB are free"
