"""The dimension of sizes in an endpoint's record, as the scaling loop asks for it (the world is test_endpoints')."""

from __future__ import annotations

import pytest
from tests.domain.endpoints.test_life import World, fleet

from clary.domain.autoscaling.capacity import asked, capacity_of, check
from clary.domain.autoscaling.record import INSTANCES, MILLICPU, Capacity, place_of
from clary.domain.endpoints.routes import Boost
from clary.domain.endpoints.sizes import asked_boost
from clary.domain.errors import Invalid

PLACE = place_of("endpoint/e/variant/A", MILLICPU)


@pytest.fixture
def world() -> World:
    world = World(fleet(count=2))
    world.settle()
    return world


def test_a_size_is_asked_and_reached_while_the_endpoint_serves(world: World) -> None:
    assert capacity_of(world.record, PLACE, MILLICPU) == Capacity(
        2000, 2000, True, "", "InService", count=2, millicpu=2000
    )
    world.record = asked(world.record, PLACE, MILLICPU, 500, world.now)
    assert capacity_of(world.record, PLACE, MILLICPU) == Capacity(
        500, 2000, True, "", "InService", count=2, millicpu=500
    )
    world.settle()
    assert capacity_of(world.record, PLACE, MILLICPU) == Capacity(
        500, 500, True, "", "InService", count=2, millicpu=500
    )


def test_a_size_that_cannot_be_had_is_not_what_is_wanted_any_more(world: World) -> None:
    world.no_resize = "no room"
    world.record = asked(world.record, PLACE, MILLICPU, 4000, world.now)
    world.settle()
    assert capacity_of(world.record, PLACE, MILLICPU) == Capacity(
        2000, 2000, True, "no room", "InService", count=2, millicpu=2000
    )


def test_an_endpoint_that_comes_up_has_a_size_and_no_replica_of_it() -> None:
    world = World(fleet(count=2))
    assert capacity_of(world.record, PLACE, MILLICPU) == Capacity(
        2000, 0, False, "", "Creating", count=2, millicpu=2000
    )


def test_less_than_the_kernel_rations_is_refused(world: World) -> None:
    check(world.record, PLACE, MILLICPU, 10, 1000)
    with pytest.raises(Invalid, match="9 thousandths"):
        check(world.record, PLACE, MILLICPU, 9, 1000)
    with pytest.raises(Invalid, match="9 thousandths"):
        asked(world.record, PLACE, MILLICPU, 9, world.now)


def test_no_replica_is_for_those_whom_something_wakes(world: World) -> None:
    count = place_of("endpoint/e/variant/A", INSTANCES)
    with pytest.raises(Invalid, match="those with a latency objective \\(put its policy first\\)"):
        check(world.record, count, INSTANCES, 0, 4)
    check(world.record, count, INSTANCES, 0, 4, objective=True)
    assert capacity_of(world.record, count, INSTANCES).floor == 1
    held = capacity_of(world.record, count, INSTANCES)
    assert (held.desired, held.count, held.millicpu) == (2, 2, 2000), "a decision tells both"
    world.record = asked_boost(world.record, "A", Boost(5.0))
    assert capacity_of(world.record, count, INSTANCES).floor == 0
    world.record = asked(world.record, count, INSTANCES, 0, world.now, steady=True)
    world.settle()
    assert (world.record.status, world.ready()) == ("InService", [])
    assert world.route is not None
    assert world.route.variants[0].sleeps
