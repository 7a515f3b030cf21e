"""Endpoints with a shadow variant, as `endpoints.decide` has them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.domain.endpoints.test_life import World

from clary.domain.endpoints.fleets import Fleet, check_shadows, new_fleet
from clary.domain.endpoints.life import asked_capacity
from clary.domain.endpoints.routing import SHADOW_REQUESTS
from clary.domain.errors import Invalid
from clary.domain.models.containers import Container

ONE = (Container("m", "xgboost:1"),)


def several(*names: str, direct: bool = False) -> tuple[Container, ...]:
    return tuple(
        Container("m", "xgboost:1", hostname=name, of=len(names), stage=0 if direct else stage, direct=direct)
        for stage, name in enumerate(names)
    )


def shadowed(own: tuple[Container, ...] = ONE, shadow: tuple[Container, ...] = ONE, weight: float = 0.5) -> Fleet:
    row = {"VariantName": "A", "ModelName": "own", "InstanceType": "ml.m5.large", "InitialVariantWeight": 2.0}
    other = {**row, "VariantName": "S", "ModelName": "shadow", "InitialVariantWeight": weight}
    return new_fleet("f", "c", [row], {"own": own, "shadow": shadow}, 1000.0, [other])


def test_the_shadow_gets_the_part_that_its_weight_is_of_the_others() -> None:
    world = World(shadowed())
    world.settle()
    assert world.route is not None
    own, shadow = world.route.variants
    assert (own.shadow_of, own.sample) == ("", 0.0)
    assert (shadow.shadow_of, shadow.sample) == (own.key, 0.25)
    assert shadow.queue_requests == SHADOW_REQUESTS
    world.record = asked_capacity(world.record, [{"VariantName": "S", "DesiredWeight": 5.0}], world.now)
    world.settle()
    assert world.route.variants[1].sample == 1.0, "never more than everything"


def test_a_shadow_that_dies_does_not_take_the_endpoint_with_it() -> None:
    world = World(shadowed())
    world.settle()
    world.broken["S"] = "exit"
    assert world.plant.serving is not None
    [shadow] = [v for v in world.plant.serving.variants if v.shadow]
    world.end(shadow.replicas[0].id, exit_code=1)
    for _ in range(30):
        world.now += 5
        world.turn()
    assert world.record.status == "InService"


def test_an_endpoint_whose_shadow_does_not_come_up_fails() -> None:
    world = World(shadowed())
    world.broken["S"] = "traceback"
    world.settle()
    assert world.record.status == "Failed"
    assert "production variant S" in world.plant.failure


def test_of_pipelines_the_first_containers_correspond() -> None:
    world = World(shadowed(several("a", "b"), several("c", "d")))
    world.settle()
    assert world.route is not None
    sources = {v.key: v.shadow_of for v in world.route.variants}
    assert sources == {"A/a@f": "", "A/b@f": "", "S/c@f": "A/a@f", "S/d@f": ""}
    assert [v.entry for v in world.route.variants] == [True, False, True, False]


def test_of_containers_that_clients_name_those_of_one_name_correspond() -> None:
    fleet = shadowed(several("a", "b", direct=True), several("b", "a", direct=True))
    check_shadows(fleet)
    world = World(fleet)
    world.settle()
    assert world.route is not None
    assert {v.key: v.shadow_of for v in world.route.variants if v.shadow_of} == {"S/b@f": "A/b@f", "S/a@f": "A/a@f"}


@pytest.mark.parametrize(
    ("own", "shadow"),
    [
        (ONE, several("a", "b", direct=True)),
        (several("a", "b", direct=True), ONE),
        (several("a", "b", direct=True), several("a", "c", direct=True)),
    ],
)
def test_a_shadow_that_could_not_follow_is_refused(own: tuple[Container, ...], shadow: tuple[Container, ...]) -> None:
    with pytest.raises(Invalid, match="Shadow variant 'S' cannot follow"):
        check_shadows(shadowed(own, shadow))


def test_without_a_weight_nothing_is_copied() -> None:
    fleet = shadowed()
    world = World(fleet.with_variant(replace(fleet.variants[0], weight=0.0)))
    world.settle()
    assert world.route is not None
    assert world.route.variants[1].sample == 0.0
