"""Each moment of a change of what serves is one state of the event, and its detail says what DescribeEndpoint said then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.domain.endpoints.test_deployment import blue_green, size
from tests.domain.endpoints.test_life import World, fleet

from clary.domain.endpoints.events import deployment_detail, deployment_state, shouted
from clary.domain.endpoints.life import asked_update
from clary.domain.endpoints.turn import with_plant


@pytest.fixture
def world() -> World:
    world = World(fleet(count=2))
    assert deployment_state(world.record) == ""  # it is being made: that is no change of what serves
    world.settle()
    return world


def test_the_words_of_the_status() -> None:
    assert [shouted(each) for each in ("InService", "Failed")] == ["IN_SERVICE", "FAILED"]


def test_the_moments_of_a_canary(world: World) -> None:
    assert deployment_state(world.record) == ""
    config = blue_green("CANARY", wait=10, keep=5, CanarySize=size(1))
    world.record = asked_update(world.record, fleet("f2", 2, V="2"), config, world.now)
    seen: dict[str, dict[str, Any]] = {}
    for _ in range(60):
        if state := deployment_state(world.record):
            seen.setdefault(state, deployment_detail(world.record))
        world.turn()
        world.now += 1
    assert list(seen) == [
        "f2: step -1 starting",
        "f2: step 0 shifting",
        "f2: step 0 baking",
        "f2: step 1 shifting",
        "f2: step 1 baking",
        "f2: step 1 keeping",
    ]
    rows = [detail["PendingDeploymentSummary"]["ProductionVariants"][0] for detail in seen.values()]
    statuses = [row["VariantStatus"][0] for row in rows]
    assert [each["Status"] for each in statuses] == [
        "Creating",
        "ActivatingTraffic",
        "Baking",
        "ActivatingTraffic",
        "Baking",
        "Baking",
    ]
    assert all(isinstance(each["StartTime"], int) for each in statuses)
    baking = seen["f2: step 0 baking"]
    assert (baking["EndpointName"], baking["EndpointStatus"], baking["Tags"]) == (world.record.name, "UPDATING", {})
    assert rows[2].items() >= {"VariantName": "A", "DesiredInstanceCount": 2}.items()
    assert deployment_state(world.record) == ""


def test_a_change_in_place_is_one_moment_without_a_summary_of_what_comes(world: World) -> None:
    plant = replace(world.plant, before={"config": "c"})
    changing = replace(with_plant(world.record, plant), status="Updating")
    assert deployment_state(changing).startswith("in place since ")
    detail = deployment_detail(changing)
    assert "PendingDeploymentSummary" not in detail
    assert [row["VariantStatus"][0]["Status"] for row in detail["ProductionVariants"]] == ["Updating"]
