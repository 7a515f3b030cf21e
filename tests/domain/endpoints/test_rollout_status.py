"""VariantStatus at each moment of a change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.domain.endpoints.test_deployment import blue_green, rolling, size
from tests.domain.endpoints.test_life import World, fleet

from clary.domain.endpoints.life import asked_update
from clary.domain.endpoints.rollout_status import status_of, waiting


def states(world: World) -> tuple[str, str]:
    """Status and sentence of the old fleet and of the new one."""
    plant = world.plant
    found = []
    for one in (plant.serving, plant.incoming):
        if one is not None:
            row = status_of(world.record, plant, one, one.groups[0])
            found.append(f"{row['Status']}: {row['StatusMessage']}" if "StatusMessage" in row else str(row["Status"]))
    return found[0], found[1] if len(found) > 1 else ""


@pytest.fixture
def world() -> World:
    world = World(fleet(count=2))
    assert states(world)[0] == "Creating"
    world.settle()
    return world


def test_a_canary(world: World) -> None:
    world.broken["A"] = "silent"
    config = blue_green("CANARY", wait=10, keep=5, CanarySize=size(1))
    world.record = asked_update(world.record, fleet("f2", 2, V="2"), config, world.now)
    world.settle()
    assert states(world) == (
        "Updating: 100 % of the traffic",
        "Creating: CANARY, step 1 of 2: 0 of 2 replica(s) ready; 0 % of the traffic",
    )
    assert world.plant.incoming is not None
    for replica in world.plant.incoming.replicas:
        world.views[replica.id] = replace(next(iter(world.views.values())), id=replica.id)
    world.turn()
    assert states(world)[1] == "ActivatingTraffic: CANARY, step 1 of 2: 50 % of the traffic"
    world.settle()
    assert states(world) == (
        "Baking: CANARY, step 1 of 2: 50 % of the traffic until 00:16:50 UTC",
        "Baking: CANARY, step 1 of 2: 50 % of the traffic until 00:16:50 UTC",
    )
    world.now += 20
    world.settle()
    world.now += 10
    world.settle()
    assert states(world)[1].startswith("Baking: 100 % of the traffic; the old fleet is kept until ")


def test_rolling_and_back(world: World) -> None:
    config = {**rolling(size(1), 10), "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "bad"}]}}
    world.alarms = {"bad": "OK"}
    world.record = asked_update(world.record, fleet("f2", 2, V="2"), config, world.now)
    world.settle()
    world.now += 10
    world.turn()
    assert states(world)[1] == "Updating: ROLLING, step 2 of 2: 1 of 2 replica(s) ready; 50 % of the traffic"
    world.settle()
    world.alarms = {"bad": "ALARM"}
    world.turn()
    assert world.record.status == "RollingBack"
    assert states(world)[0].startswith("Updating: ROLLING, step 1 of 1 back: 0 % of the traffic")
    assert states(world)[1].startswith("Deleting: ROLLING, step 1 of 1 back: 100 % of the traffic")


def test_a_change_in_place_and_an_end(world: World) -> None:
    world.record = asked_update(world.record, fleet("f2", 3), {}, world.now)
    world.broken["A"] = "silent"
    world.settle()
    assert states(world) == ("Updating", "")


def test_a_variant_in_service_says_what_it_waits_for(world: World) -> None:
    def waits() -> str:
        assert world.plant.serving is not None
        row = waiting(world.plant.serving, world.plant.serving.groups[0], world.now)
        return "" if row is None else f"{row['Status']}: {row['StatusMessage']}"

    assert waits() == ""
    world.broken["A"] = "silent"
    world.end(world.ready()[0], exit_code=1)
    world.turn()
    assert waits().startswith("Creating: 1 of 2 replica(s) ready: a replica loads the model (last failure: ")
    world.end(next(r.id for r in world.plant.replicas if r.phase == "started"), exit_code=1)
    world.turn()
    assert waits() == (
        "Creating: 1 of 2 replica(s) ready: its process ended with exit code 1. The next start is at 00:16:40 UTC."
    )
