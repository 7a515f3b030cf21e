"""The simulator drives production's whole turn of a variant (`objective_turn.decide`: records, ranges, what a front is told) as it drives
the policy alone: what lies between the policy and an endpoint costs next to nothing, and makes nobody late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from clary.domain.endpoints.fleets import PLANNED, READY, Plant, Replica, new_fleet
from clary.domain.endpoints.sizes import asked_boost
from clary.domain.endpoints.turn import plant_of, with_plant
from clary.domain.models.containers import Container
from clary.domain.objectives import record
from clary.domain.objectives import turn as objective_turn
from clary.domain.objectives.commands import Ask, Live, SeenObjective, Staff
from clary.domain.objectives.record import Asked, Range
from clary.domain.resources import Record, Scope
from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.samples import Recent
from clary.domain.scaling.signals import Current, Desired, Memory, Reason, Sample
from clary.sim.run import World, run
from clary.sim.traces import stepped

EPOCH = 1_800_000_000.0
SCOPE = Scope("000000000000", "us-east-1")
MOST, READY_WORKERS = 12, 2  # replicas at most; vCPUs of an ml.m5.large


class Production:
    """A policy that is a variant's turn, each second, on a machine of many CPUs."""

    def __init__(self, objective: float) -> None:
        row = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        plant = Plant(seed="s", serving=new_fleet("f", "c", [row], {"m": [Container("m", "image")]}, 0.0))
        document = {"request": {}, "tags": [], "plant": plant.to_json()}
        self.endpoint = Record("endpoint", SCOPE, "e", "arn:e", "InService", 0.0, 0.0, document)
        self.record = record.new(SCOPE, "e", "v", EPOCH)
        self.asked = Asked("p", objective, Range(1, MOST))
        self.live, self.turns = Live(Memory()), 0

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        count = current.count + current.starting
        self._there(count, current.count)
        base = self._boost().base if self._boost() else 1
        recent = Recent(working=base + current.boosting, at=EPOCH + now)
        recent.samples.extend(sample._replace(time=EPOCH + sample.time) for sample in samples[-60:])
        seen = SeenObjective(self.endpoint, self.asked, self.live, recent, 64)
        step = objective_turn.decide(self.record, seen, EPOCH + now)
        self.record, self.live, self.turns = step.decision.record, step.live, self.turns + 1
        for command in step.decision.commands:
            match command:
                case Staff(boost, allowance):
                    self.endpoint = asked_boost(self.endpoint, "v", boost, allowance)
                case Ask(wanted=wanted):
                    count = wanted
        told = self._boost()
        return Desired(count, 8, max(1, told.base), told.rate, Reason("turn"), told.hold, told.delta)

    def _there(self, count: int, ready: int) -> None:
        plant = plant_of(self.endpoint)
        variant = plant.serving.variants[0]
        replicas = tuple(Replica(f"r{n}", READY if n < ready else PLANNED, size=variant.size) for n in range(count))
        serving = plant.serving.with_variant(replace(variant, count=count, replicas=replicas))
        self.endpoint = with_plant(self.endpoint, replace(plant, serving=serving))

    def _boost(self):  # type: ignore[no-untyped-def]
        return plant_of(self.endpoint).serving.variants[0].boost


@pytest.mark.parametrize("peak", [60.0, 200.0])
def test_production_decides_in_the_simulator_as_its_policy_does(peak: float) -> None:
    requests = stepped([(200.0, 20.0), (200.0, peak), (300.0, 10.0)], 0.1, 0.3, seed=12)
    world = World(allowance=8, ready=READY_WORKERS, first=1)
    turn = Production(requests.objective)
    whole = run(turn, requests, world)
    alone = run(ClaryPolicy(requests.objective, most=MOST, ready=READY_WORKERS), requests, world)
    assert turn.turns >= 700
    assert whole.late <= alone.late + 1e-4  # of a tenfold step: until replicas have come
    assert whole.cost == pytest.approx(alone.cost, rel=0.05)
    assert max(count for _, count in whole.decided) == max(count for _, count in alone.decided) > 1
