"""Two endpoints that both want more than there is room for, and jobs beside them: on a fake clock nothing goes up and down."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.alarms import evaluation
from clary.domain.alarms.turn import Act
from clary.domain.autoscaling import alarms as autoscaling_alarms
from clary.domain.autoscaling.activity import Command
from clary.domain.autoscaling.activity import SeenTarget as ScalingSeen
from clary.domain.autoscaling.record import ACTIVE, ACTIVITY, POLICY, TARGET, new_target
from clary.domain.endpoints.commands import SeenEndpoint
from clary.domain.endpoints.fleets import READY, Plant, Replica, new_fleet
from clary.domain.endpoints.turn import places, plant_of, with_plant
from clary.domain.errors import LimitExceeded
from clary.domain.machine import admission
from clary.domain.machine.capacity import Fit, Machine
from clary.domain.machine.grants import of_hosts
from clary.domain.machine.instances import GIB
from clary.domain.metrics.datapoints import Datapoint, Series, single
from clary.domain.models.containers import Container
from clary.domain.resources import Query, Record, Scope
from clary.loops.alarms.subject import AlarmPorts, AlarmSubject
from clary.loops.core.ledger import Ledger, Places
from clary.loops.core.loop import Loop
from clary.loops.endpoints.replica_rooms import ReplicaRooms
from clary.loops.scaling.targets import ScalingPorts, ScalingSubject
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "us-east-1")
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
JOB = Fit(2.0, 8 * GIB, 0)


class Town:
    """A machine of 8 vCPU under `strict`, scaling by the real loop's turns; what an endpoint loop would do is played here."""

    def __init__(self, cpus: int = 8) -> None:
        self.clock = FakeClock(1_800_000_000.0)
        self.store = MemoryStore()
        self.datapoints = MemoryDatapoints()
        self.ledger = Ledger(self.store)
        self.places = Places(self.ledger, lambda: Machine(cpus, 64 * GIB, 64 * GIB), self.clock, "strict")
        self.rooms = ReplicaRooms(self.ledger, self.places.measure, self.clock, "strict")
        reader = AlarmSubject(AlarmPorts(self.store, self.datapoints, self.clock))
        ports = ScalingPorts(self.store, self.clock, reader, "fast", book=self.places.book, wish=self.places.wish)
        self.subject = ScalingSubject(ports)
        self.loop: Loop[Command, ScalingSeen] = Loop(self.subject, self.store, self.clock, "owner")
        self.names: list[str] = []
        self.counts: dict[str, list[int]] = {}

    async def add(self, name: str, most: int = 4) -> None:
        row = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        fleet = new_fleet(name, "c", [row], {"m": [Container("m", "image")]}, 0.0)
        document: dict[str, Any] = {"request": {}, "tags": [], "plant": Plant(seed="s", serving=fleet).to_json()}
        await self.store.add(Record("endpoint", SCOPE, name, f"arn:{name}", "Updating", 0.0, 0.0, document))
        resource = f"endpoint/{name}/variant/v"
        target = new_target(resource, DIMENSION, "r") | {"min": 1, "max": most}
        key = f"{resource}|{DIMENSION}"
        await self.store.add(Record(TARGET, SCOPE, key, f"arn:t:{name}", ACTIVE, 0.0, 0.0, target))
        metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        config = {"TargetValue": 60.0, "PredefinedMetricSpecification": metric}
        request = {"PolicyName": "p", "PolicyType": "TargetTrackingScaling"}
        request["TargetTrackingScalingPolicyConfiguration"] = config  # type: ignore[assignment]
        arn = (
            f"arn:aws:autoscaling:us-east-1:{SCOPE.account}:scalingPolicy:1:resource/sagemaker/{resource}:policyName/p"
        )
        made = autoscaling_alarms.requests(request, arn, name, "fast", resource, DIMENSION)
        high = next(each for each in made if "AlarmHigh" in each["AlarmName"])
        policy = {"target": key, "request": request, "alarms": [high["AlarmName"]]}
        await self.store.add(Record(POLICY, SCOPE, f"{key}|p", arn, "", 0.0, 0.0, policy))
        state = evaluation.document(high, [], 0.0)
        alarm = Record("alarm", SCOPE, high["AlarmName"], f"arn:alarm:{name}", "ALARM", 0.0, 0.0, state)
        await self.store.add(alarm)
        await self.subject.tell(alarm, Act(f"{arn}:createdBy/1", "id", "", ""))
        self.names.append(name)
        self.counts[name] = []
        await self.play(name)

    async def play(self, name: str) -> None:
        """The endpoint loop's part: places for what is missing, and replicas, or the change is taken back."""
        record = await self.store.get("endpoint", SCOPE, name)
        assert record is not None
        plant = plant_of(record)
        assert plant.serving is not None
        command = self.rooms.unsettled(record, plant, dict.fromkeys(self.rooms.strays(record, plant)))
        if command is not None:
            await self.rooms.settle(command, record.arn)
        wanted = places(plant.serving, SeenEndpoint())
        if record.status != "Updating":
            return
        [variant] = plant.serving.variants
        try:
            for place in wanted:
                await self.rooms.take(record, place, wanted)
            replicas = (*variant.replicas, *(Replica(p.id, READY, since=self.clock.now()) for p in wanted))
            variant = replace(variant, replicas=replicas[: variant.count], made=len(replicas))
        except LimitExceeded as error:
            variant = replace(variant, count=len(variant.replicas))
            plant = replace(plant, failure=error.message)
        serving = plant.serving.with_variant(variant)
        await self.store.save(replace(with_plant(record, replace(plant, serving=serving)), status="InService"))

    async def hour(self, seconds: int = 3600) -> None:
        """Everybody's load stays high."""
        for _ in range(seconds // 10):
            for name in self.names:
                for back in (25, 15, 5):
                    series = Series.of(
                        "AWS/SageMaker", "InvocationsPerInstance", {"EndpointName": name, "VariantName": "v"}
                    )
                    self.datapoints.put(SCOPE, [Datapoint(series, self.clock.now() - back, single(40.0), True)])
                for _ in range(3):
                    await self.loop.turn(f"arn:t:{name}")
                    await self.play(name)
                record = await self.store.get("endpoint", SCOPE, name)
                assert record is not None
                serving = plant_of(record).serving
                assert serving is not None
                self.counts[name].append(serving.variants[0].count)
            self.clock.advance(10)

    def changes(self, name: str) -> list[int]:
        """The counts that it had, without repetitions."""
        seen = self.counts[name]
        return [seen[0], *(after for before, after in itertools.pairwise(seen) if after != before)]

    async def told(self, name: str) -> list[dict[str, Any]]:
        found = await self.store.page(Query(ACTIVITY, SCOPE, limit=1000))
        return [dict(each.document) for each in found if f"endpoint/{name}/" in each.document["ResourceId"]]


@pytest.fixture
async def town() -> Town:
    town = Town()
    await town.add("one")
    await town.add("other")
    return town


async def test_two_that_want_more_than_there_is_go_up_once_and_stay(town: Town) -> None:
    await town.hour()
    assert town.changes("one") in ([1, 3], [3])  # one took what there was at its first step
    assert town.changes("other") == [1]
    assert sum(claim.fits[0].cpu for claim in town.ledger.held()) == 8


async def test_who_finds_no_room_says_once_what_is_missing_and_who_has_it(town: Town) -> None:
    await town.hour()
    [told] = [each for each in await town.told("other") if each.get("NotScaledReasons")]
    assert told["NotScaledReasons"] == [{"Code": "TargetServicePutResourceAsUnscalable"}]
    assert "2 vCPU are needed, 8 of 8 are reserved, held by endpoint one (6 vCPU)" in told["Details"]
    record = await town.store.get("endpoint", SCOPE, "other")
    assert record is not None
    noted = [note for note in plant_of(record).notes if note.what == "not scaled"]
    assert [note.why for note in noted] == [f"v: {told['Details']}"]


async def test_what_comes_free_goes_to_the_endpoint_and_not_to_a_new_job(town: Town) -> None:
    """A job holds what the endpoint wants. It is left alone; when it ends the endpoint scales, and the next job waits."""
    town = Town(cpus=4)
    job = Record("training-job", SCOPE, "first", "arn:job", "InProgress", 0.0, 0.0, {})
    await town.ledger.change(of_hosts("", job, [("algo-1", JOB)], town.clock.now()))
    await town.add("one", most=2)
    await town.hour(600)
    assert town.counts["one"][-1] == 1
    assert "held by endpoint one (2 vCPU), training job first (2 vCPU)" in (await town.told("one"))[0]["Details"]
    assert [claim.key for claim in town.ledger.held() if "job" in claim.key] == ["arn:job"]  # it goes on
    await town.ledger.change(release=["arn:job#algo-1"])
    waits = admission.admit([JOB], town.places.book(), 0, account=SCOPE.account)
    assert not waits.granted
    assert "reserved for endpoint one: endpoints have priority over jobs" in waits.reason
    await town.hour(600)
    assert town.changes("one") == [1, 2]
    waits = admission.admit([JOB], town.places.book(), 0, account=SCOPE.account)
    assert "held by endpoint one (4 vCPU)" in waits.reason


async def test_a_minimum_that_has_no_room_is_not_asked_for_and_says_so_ever_less_often(town: Town) -> None:
    """The other endpoint has what it needs: nothing is started, and an hour later it has been said a few times."""
    town.names.remove("other")
    await town.hour(600)
    record = await town.store.get(TARGET, SCOPE, f"endpoint/other/variant/v|{DIMENSION}")
    assert record is not None
    await town.store.save(replace(record, document={**record.document, "min": 3, "triggers": {}}))
    town.names = ["other"]
    await town.hour()
    assert [waiting.owner.name for waiting in town.places.book().waiting] == ["other"]
    assert town.changes("other") == [1]
    told = await town.told("other")
    assert {each["StatusCode"] for each in told} == {"Unfulfilled"}
    assert (
        "Reason: there is room for 1: 2 vCPU are needed, 8 of 8 are reserved, held by endpoint one"
        in told[0]["StatusMessage"]
    )
    assert len(told) < 15
    record = await town.store.get("endpoint", SCOPE, "other")
    assert record is not None
    assert record.status == "InService"
