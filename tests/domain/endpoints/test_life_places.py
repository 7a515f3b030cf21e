"""Which places a change takes together, in the small world of test_endpoints."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.domain.endpoints.test_life import World, fleet

from clary.domain.endpoints.commands import ReplicaNeed, ResizeReplica, StartReplica, WriteHistory
from clary.domain.endpoints.fleets import Fleet
from clary.domain.endpoints.life import asked_capacity, asked_update


def together(world: World) -> list[set[str]]:
    """The ids of the places that each command takes beside its own."""
    commands = [*world.of(StartReplica), *world.of(ResizeReplica)]
    return [{place.id for place in command.beside} for command in commands]


def ids(world: World) -> set[str]:
    return {command.id for command in (*world.of(StartReplica), *world.of(ResizeReplica))}


@pytest.fixture
def world() -> World:
    world = World(fleet(count=2))
    world.settle()
    return world


def update(world: World, wanted: Fleet) -> None:
    world.log.clear()
    world.record = asked_update(world.record, wanted, {}, world.now)
    world.settle()


def test_a_new_endpoint_takes_the_places_of_all_its_variants_at_once() -> None:
    world = World(fleet(count=2, variants=(("A", 1.0), ("B", 1.0))))
    world.settle()
    assert len(ids(world)) == 4
    assert together(world) == [ids(world)] * 4
    assert world.of(StartReplica)[0].beside[0] == ReplicaNeed(world.of(StartReplica)[0].id, "ml.m5.large", 1)


def test_so_does_an_update(world: World) -> None:
    update(world, fleet("f2", 3, V="2"))
    assert len(ids(world)) == 3
    assert together(world) == [ids(world)] * 3


def test_a_change_in_place_takes_what_grows_and_what_comes_at_once(world: World) -> None:
    update(world, fleet("f2", 3, kind="ml.m5.xlarge"))
    assert (len(world.of(ResizeReplica)), len(world.of(StartReplica))) == (2, 1)
    assert together(world) == [ids(world)] * 3


def test_more_instances_are_taken_at_once(world: World) -> None:
    world.log.clear()
    world.record = asked_capacity(world.record, [{"VariantName": "A", "DesiredInstanceCount": 4}], world.now)
    world.settle()
    assert together(world) == [ids(world)] * 2


def test_each_replica_that_died_comes_back_where_it_finds_room(world: World) -> None:
    world.log.clear()
    for replica in world.ready():
        world.end(replica, exit_code=1)
    world.settle()
    world.now += 10.0  # the second start after two deaths waits a little
    world.settle()
    assert together(world) == [set(), set()]


def test_without_room_a_replica_is_tried_ever_less_often_and_the_history_says_so_once(world: World) -> None:
    world.broken["A"] = "crowded"
    world.end(world.ready()[0], exit_code=1)
    world.log.clear()
    tried: list[float] = []
    while world.now < 1000.0 + 3600.0:
        before = len(world.of(StartReplica))
        world.turn()
        tried += [world.now] * (len(world.of(StartReplica)) - before)
        world.now += 1.0
    assert world.record.status == "InService"  # the other one serves
    pauses = [after - before for before, after in pairwise(tried)]
    assert all(after >= before - 2 for before, after in pairwise(pauses))
    assert 60.0 <= pauses[-1] <= 62.0
    noted = [c.note for c in world.of(WriteHistory)]
    assert [note.what for note in noted] == ["no room"]
    assert noted[0].why.startswith("A: CapacityError: no place, 100")
    world.broken.clear()
    world.now += 60.0
    world.settle()
    assert len(world.ready()) == 2
