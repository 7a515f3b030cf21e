"""A plant after the clock was set: each of its times moves along, what is no time does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clary.domain.endpoints.deployment import plan
from clary.domain.endpoints.fleets import Plant, Replica, new_fleet
from clary.domain.models.containers import Container


@pytest.mark.parametrize("step", [3600.0, -86400.0])
def test_every_beginning_moves_and_nothing_else(step: float) -> None:
    def plant(by: float) -> Plant:
        row = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}
        fleet = new_fleet("f", "c", [row], {"m": Container("m", "i", "")}, 50.0)
        replicas = (Replica("a", since=100.0 + by), Replica("b", since=101.0 + by, unseen=102.0 + by))
        variant = replace(fleet.variants[0], replicas=replicas, retry=103.0 + by, outgrown=104.0 + by, roomy=105.0 + by)
        fleet = fleet.with_variant(variant)
        rollout = plan({}, {"A": 2}, {"A": 2}, 106.0 + by)
        return Plant("s", fleet, fleet, (fleet,), changed=107.0 + by, rollout=rollout)

    assert plant(0).moved(step) == plant(step)
    assert plant(0).moved(step).moved(-step) == plant(0)
    assert Plant("s").moved(step) == Plant("s")  # 0 is no time
