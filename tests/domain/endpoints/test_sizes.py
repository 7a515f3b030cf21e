"""Sizes beyond the instance type's own, in the small world of test_endpoints: what is resized, what the front is told, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.domain.endpoints.test_life import World, fleet

from clary.domain.endpoints.commands import ResizeReplica, StartReplica, StopReplica, WriteHistory
from clary.domain.endpoints.life import asked_update
from clary.domain.endpoints.routes import Boost
from clary.domain.endpoints.sizes import SizeSeen, asked_boost, asked_count, asked_size, size_of
from clary.domain.errors import IllegalTransition, Invalid

BOOST = Boost(objective=0.2, base=2, hold=1.0)


@pytest.fixture
def world() -> World:
    """In service with two replicas of two vCPU each, on a machine with two."""
    world = World(fleet(count=2))
    world.settle()
    world.log.clear()
    world.routes.clear()
    return world


def ask(world: World, millicpu: int) -> None:
    world.record = asked_size(world.record, "A", millicpu, world.now)
    world.settle()


def told(world: World) -> list[tuple[str, str]]:
    return [(c.note.what, c.note.why) for c in world.of(WriteHistory)]


def test_running_replicas_get_another_size_and_the_endpoint_stays_in_service(world: World) -> None:
    old = world.ready()
    assert size_of(world.record, "A") == SizeSeen(2000, 2000)
    world.record = asked_size(world.record, "A", 500, world.now)
    assert size_of(world.record, "A") == SizeSeen(500, 2000)
    assert world.record.status == "InService"
    world.settle()
    assert world.record.status == "InService"
    assert [c.instance_type for c in world.of(ResizeReplica)] == ["ml.m5.large at 500 millicpu"] * 2
    assert (world.of(StartReplica), world.of(StopReplica)) == ([], [])
    assert (world.ready(), size_of(world.record, "A")) == (old, SizeSeen(500, 500))
    assert told(world) == [("size asked", "A: 2000 to 500 millicpu")]
    assert world.record.document["system_tags"]["aws:clary:sizes"] == "A=at 500 millicpu"


@pytest.mark.parametrize(("millicpu", "workers"), [(500, 1), (1000, 1), (1500, 2), (2000, 2), (8000, 2)])
def test_the_front_is_told_how_many_workers_may_be_busy(world: World, millicpu: int, workers: int) -> None:
    ask(world, millicpu)
    assert world.route is not None
    assert {(r.allowance, r.threads) for r in world.route.variants[0].replicas} == {(workers, 1)}


def test_threads_follow_where_the_number_of_workers_is_set() -> None:
    world = World(fleet(SAGEMAKER_MODEL_SERVER_WORKERS="1"))
    world.settle()
    ask(world, 1000)
    assert world.route is not None
    assert [(r.allowance, r.threads) for r in world.route.variants[0].replicas] == [(1, 1)]
    ask(world, 2000)
    assert [(r.allowance, r.threads) for r in world.route.variants[0].replicas] == [(1, 2)]


def test_the_size_of_the_type_is_asked_with_0(world: World) -> None:
    ask(world, 500)
    ask(world, 0)
    assert size_of(world.record, "A") == SizeSeen(2000, 2000)
    assert "aws:clary:sizes" not in world.record.document["system_tags"]


def test_what_is_there_already_changes_nothing(world: World) -> None:
    ask(world, 500)
    assert asked_size(world.record, "A", 500, world.now + 1) == world.record


def test_replicas_that_come_later_have_the_size(world: World) -> None:
    ask(world, 1500)
    world.end(world.ready()[0], exit_code=1)
    world.settle()
    assert [c.instance_type for c in world.of(StartReplica)] == ["ml.m5.large at 1500 millicpu"]


def test_a_size_that_cannot_be_had_is_taken_back_and_told(world: World) -> None:
    old = world.ready()
    world.no_resize = "2 of 2 vCPU are reserved, 4 needed"
    ask(world, 4000)
    assert (world.record.status, world.ready()) == ("InService", old)
    assert size_of(world.record, "A") == SizeSeen(2000, 2000, world.no_resize)
    assert told(world)[-1] == ("size kept", f"A: {world.no_resize}")
    world.no_resize = ""
    ask(world, 1000)
    assert size_of(world.record, "A") == SizeSeen(1000, 1000)


def test_replicas_that_had_the_new_size_already_go_back_too(world: World) -> None:
    first, second = world.ready()
    refuse: dict[str, str] = {second: "no room"}
    run = world.run

    def picky(command: Any) -> Any:
        world.no_resize = refuse.get(command.id, "") if isinstance(command, ResizeReplica) else ""
        return run(command)

    world.run = picky  # type: ignore[method-assign]
    ask(world, 4000)
    assert {world.sizes[first], world.sizes[second]} == {"ml.m5.large"}


def test_a_backend_that_cannot_resize_is_not_asked_to(world: World) -> None:
    world.resizes = False
    ask(world, 500)
    assert world.of(ResizeReplica) == []
    assert size_of(world.record, "A") == SizeSeen(500, 2000)


@pytest.mark.parametrize(("kind", "size"), [("ml.m5.large", 500), ("ml.m5.xlarge", 4000)])
def test_an_update_keeps_the_size_unless_it_changes_the_type(world: World, kind: str, size: int) -> None:
    world.record = asked_boost(world.record, "A", BOOST, 4)
    ask(world, 500)
    world.record = asked_update(world.record, fleet("f2", 2, kind=kind, VERSION="2"), {}, world.now)
    for _ in range(20):
        world.settle()
        world.now += 1
    assert world.record.status == "InService"
    assert size_of(world.record, "A") == SizeSeen(size, size)
    assert world.plant.serving is not None
    assert (world.plant.serving.config, world.plant.serving.variants[0].boost) == ("config-f2", BOOST)


def test_an_update_of_the_type_alone_counts_from_that_type(world: World) -> None:
    old = world.ready()
    ask(world, 500)
    world.record = asked_update(world.record, fleet("f2", 2, kind="ml.m5.xlarge"), {}, world.now)
    world.settle()
    assert (world.ready(), size_of(world.record, "A")) == (old, SizeSeen(4000, 4000))


def test_an_objective_goes_to_the_front(world: World) -> None:
    world.record = asked_boost(world.record, "A", BOOST, 8)
    world.settle()
    assert world.route is not None
    assert world.route.variants[0].boost == BOOST
    assert {r.allowance for r in world.route.variants[0].replicas} == {8}
    assert asked_boost(world.record, "A", BOOST, 8) == world.record
    assert {world.sizes[replica] for replica in world.ready()} == {"ml.m5.large up to 8 vCPU"}  # of those that are idle
    assert size_of(world.record, "A") == SizeSeen(2000, 2000)
    world.record = asked_boost(world.record, "A", None)
    world.settle()
    assert {world.sizes[replica] for replica in world.ready()} == {"ml.m5.large"}
    assert world.route.variants[0].boost is None
    assert {r.allowance for r in world.route.variants[0].replicas} == {2}


@pytest.mark.parametrize(
    ("variant", "millicpu", "words"),
    [
        ("B", 500, 'name "B" is not a production variant'),
        ("A", 9, "9 thousandths .* 10 is the least"),
        ("A", -1, "too few"),
    ],
)
def test_sizes_that_are_refused(world: World, variant: str, millicpu: int, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        asked_size(world.record, variant, millicpu, world.now)


@pytest.mark.parametrize("boost", [replace(BOOST, objective=0.0), replace(BOOST, delta=0.0), replace(BOOST, hold=-1.0)])
def test_objectives_that_are_refused(world: World, boost: Boost) -> None:
    with pytest.raises(Invalid, match="variant A"):
        asked_boost(world.record, "A", boost)
    with pytest.raises(Invalid, match="257 workers"):
        asked_boost(world.record, "A", BOOST, 257)


def test_nothing_is_resized_while_the_endpoint_changes(world: World) -> None:
    world.record = asked_update(world.record, fleet("f2", 2, VERSION="2"), {}, world.now)
    with pytest.raises(IllegalTransition, match="in status Updating"):
        asked_size(world.record, "A", 500, world.now)


def test_a_count_in_place_keeps_the_endpoint_in_service_and_takes_the_least_busy_away(world: World) -> None:
    first, second = world.ready()
    world.record = asked_count(world.record, "A", 3, world.now)
    world.record = asked_count(world.record, "A", 4, world.now)  # again, before they are there
    assert world.record.status == "InService"
    world.settle()
    assert (world.record.status, len(world.ready())) == ("InService", 4)
    assert told(world) == [("count asked", "A: 2 to 3"), ("count asked", "A: 3 to 4")]
    for busy in (second, *world.ready()[2:]):
        world.views[busy] = replace(world.views[busy], in_flight=3)
    world.routes.clear()
    world.log.clear()
    world.record = asked_count(world.record, "A", 3, world.now)
    world.turn()
    assert [r.id for v in world.routes[0].variants for r in v.replicas if r.draining] == [first]
    assert world.of(StopReplica) == []  # the front gives it nothing new before it is stopped
    world.settle()
    assert [stop.id for stop in world.of(StopReplica)] == [first]


def test_a_count_in_place_whose_starts_fail_is_tried_again_beside_what_serves(world: World) -> None:
    old = world.ready()
    world.broken["A"] = "refused"
    world.record = asked_count(world.record, "A", 3, world.now)
    for _ in range(20):
        world.turn()
        world.now += 1
    assert (world.record.status, world.ready()) == ("InService", old)
    world.broken.clear()
    for _ in range(70):
        world.turn()
        world.now += 1
    assert len(world.ready()) == 3


def test_a_count_is_not_asked_of_an_endpoint_that_changes(world: World) -> None:
    with pytest.raises(IllegalTransition, match="in status Updating"):
        asked_count(replace(world.record, status="Updating"), "A", 3, world.now)
    with pytest.raises(Invalid, match="cannot have -1 replicas"):
        asked_count(world.record, "A", -1, world.now)


def test_an_update_keeps_as_many_replicas_as_the_objective_needed(world: World) -> None:
    world.record = asked_count(asked_boost(world.record, "A", BOOST), "A", 4, world.now)
    world.settle()
    world.record = asked_update(world.record, fleet("f2", count=1), {}, world.now)
    assert world.plant.incoming is not None
    assert world.plant.incoming.counts == {"A": 4}
