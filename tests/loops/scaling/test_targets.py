"""The scaling loop over fakes: an alarm drives a policy, the endpoint is asked, the activity is kept, and what is gone is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.alarms import evaluation
from clary.domain.alarms.turn import Act
from clary.domain.autoscaling import alarms as autoscaling_alarms
from clary.domain.autoscaling.activity import Command, SeenTarget
from clary.domain.autoscaling.record import ACTION, ACTIVE, ACTIVITY, KEEP_ACTIVITIES, POLICY, TARGET, new_target
from clary.domain.endpoints.fleets import READY, Plant, Replica, new_fleet
from clary.domain.endpoints.life import plant_of, with_plant
from clary.domain.errors import NotFound
from clary.domain.machine.capacity import Machine
from clary.domain.metrics.datapoints import Datapoint, Series, single
from clary.domain.models.containers import Container
from clary.domain.resources import Query, Record, Scope
from clary.domain.scaling.decisions import parse
from clary.loops.alarms.subject import AlarmPorts, AlarmSubject
from clary.loops.core.loop import Loop
from clary.loops.scaling.targets import ScalingPorts, ScalingSubject, attach, keep
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.logs import MemoryLogs
from clary.testing.observing import observing, ports_of
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "us-east-1")
RESOURCE, DIMENSION = "endpoint/e/variant/v", "sagemaker:variant:DesiredInstanceCount"
NAME = f"{RESOURCE}|{DIMENSION}"
ARN = "arn:aws:autoscaling:us-east-1:000000000000:scalingPolicy:1:resource/sagemaker/endpoint/e/variant/v:policyName/p"
HIGH = f"TargetTracking-{RESOURCE}-AlarmHigh-1"


class House:
    def __init__(
        self,
        store: MemoryStore | None = None,
        machine: Machine | None = None,
        clock: FakeClock | None = None,
        logs: MemoryLogs | None = None,
    ) -> None:
        self.logs = logs or MemoryLogs()
        self.clock = clock or FakeClock(1_800_000_000.0)
        self.store = store or MemoryStore()
        self.datapoints = MemoryDatapoints()
        reader = AlarmSubject(AlarmPorts(self.store, self.datapoints, self.clock))
        ports = ScalingPorts(self.store, self.clock, reader, "fast", lambda: machine, logs=self.logs)
        self.subject = observing(ScalingSubject(ports), self.datapoints, *ports_of(ports))
        self.loop: Loop[Command, SeenTarget] = Loop(self.subject, self.store, self.clock, "owner", sweep_seconds=0.05)

    async def add_endpoint(self, count: int = 1) -> None:
        row = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": count, "InstanceType": "ml.m5.large"}
        fleet = new_fleet("f", "c", [row], {"m": [Container("m", "image")]}, 0.0)
        document: dict[str, Any] = {"request": {}, "tags": [], "plant": Plant(seed="s", serving=fleet).to_json()}
        endpoint = Record("endpoint", SCOPE, "e", "arn:e", "InService", 0.0, 0.0, document)
        await self.store.add(self.ready(endpoint))

    async def fill(self) -> None:
        """An endpoint of one replica, a target of 1 to 4, a target tracking policy."""
        await self.add_endpoint()
        document = new_target(RESOURCE, DIMENSION, "r") | {"min": 1, "max": 4}
        await self.store.add(Record(TARGET, SCOPE, NAME, "arn:t", ACTIVE, 0.0, 0.0, document))
        config = {
            "TargetValue": 60.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        }
        request = {
            "PolicyName": "p",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": config,
        }
        made = autoscaling_alarms.requests(request, ARN, "1", "fast", RESOURCE, DIMENSION)
        policy = {"target": NAME, "request": request, "alarms": [each["AlarmName"] for each in made]}
        await self.store.add(Record(POLICY, SCOPE, f"{NAME}|p", ARN, "", 0.0, 0.0, policy))
        action = {"target": NAME, "name": "s", "at": self.clock.now()}
        action["request"] = {"Schedule": "rate(1 day)", "ScalableTargetAction": {"MinCapacity": 2}}
        await self.store.add(Record(ACTION, SCOPE, f"{NAME}|s", "arn:s", "", 0.0, 0.0, action))
        for each in made:
            name = each["AlarmName"]
            state = evaluation.document(each, [], 0.0)
            await self.store.add(Record("alarm", SCOPE, name, f"arn:alarm:{name}", "OK", 0.0, 0.0, state))

    @staticmethod
    def ready(endpoint: Record) -> Record:
        """As the endpoint loop would leave it: in service, with as many replicas as are asked."""
        plant = plant_of(endpoint)
        assert plant.serving is not None
        [variant] = plant.serving.variants
        replicas = tuple(Replica(id=f"r{n}", phase=READY) for n in range(variant.count))
        serving = plant.serving.with_variant(replace(variant, replicas=replicas))
        return replace(with_plant(endpoint, replace(plant, serving=serving)), status="InService")

    async def settle(self) -> None:
        endpoint = await self.endpoint()
        await self.store.save(self.ready(endpoint))

    async def endpoint(self) -> Record:
        record = await self.store.get("endpoint", SCOPE, "e")
        assert record is not None
        return record

    async def asked(self) -> tuple[str, int]:
        record = await self.endpoint()
        plant = plant_of(record)
        assert plant.serving is not None
        return record.status, plant.serving.variants[0].count

    async def alarm(self, value: float) -> None:
        """Three points of ten seconds, and the alarm says so."""
        where = {"EndpointName": "e", "VariantName": "v"}
        for back in (25, 15, 5):
            series = Series.of("AWS/SageMaker", "InvocationsPerInstance", where)
            self.datapoints.put(SCOPE, [Datapoint(series, self.clock.now() - back, single(value), True)])
        record = await self.store.get("alarm", SCOPE, HIGH)
        assert record is not None
        record = await self.store.save(replace(record, status="ALARM"))
        await self.subject.tell(record, Act(f"{ARN}:createdBy/1", "id", "", ""))

    async def activities(self) -> list[tuple[str, str]]:
        found = await self.store.page(Query(ACTIVITY, SCOPE, limit=100))
        return [(each.document["Description"], each.document["StatusCode"]) for each in found]

    async def left(self) -> int:
        kinds = (TARGET, POLICY, ACTION, "alarm")
        return sum([await self.store.count(Query(kind, SCOPE)) for kind in kinds])


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    await made.fill()
    async for each in running(made):
        yield each


async def running(made: House) -> AsyncIterator[House]:
    leave = attach(made.subject, made.loop, made.store)
    task = asyncio.create_task(made.loop.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    leave()


async def until(probe: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    try:
        async with asyncio.timeout(60):
            while (seen := await probe()) != wanted:
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"still {seen!r}")


DESCRIPTION = "Setting desired instance count to 3."


async def test_an_alarm_scales_the_endpoint(house: House) -> None:
    await house.alarm(25.0)  # ten are the target of ten seconds
    await until(house.asked, ("Updating", 3))
    await until(house.activities, [(DESCRIPTION, "InProgress")])
    await house.settle()
    await until(house.activities, [(DESCRIPTION, "Successful")])
    assert await house.asked() == ("InService", 3)


async def test_a_successor_goes_on_where_the_one_before_died() -> None:
    first = House()
    await first.fill()
    await first.alarm(25.0)
    await first.loop.turn("arn:t")
    assert await first.activities() == [(DESCRIPTION, "Pending")]
    second = House(first.store)
    second.datapoints = first.datapoints
    async for house in running(second):
        await until(house.asked, ("Updating", 3))
        await house.settle()
        await until(house.activities, [(DESCRIPTION, "Successful")])


async def test_an_endpoint_that_goes_takes_everything_with_it(house: House) -> None:
    await until(lambda: asyncio.sleep(0, bool(house.subject.followers)), True)
    await house.store.remove(await house.endpoint())
    await until(house.left, 0)


async def test_what_could_never_be_reserved_is_not_asked() -> None:
    made = House(machine=Machine(cpus=2, memory=4 << 30, available=4 << 30))
    await made.fill()
    async for house in running(made):
        await house.alarm(25.0)
        await until(house.activities, [(DESCRIPTION, "Unfulfilled")])
        assert await house.asked() == ("InService", 1)


async def test_a_deleted_alarm_of_a_policy_is_told_at_once(house: House) -> None:
    low = HIGH.replace("AlarmHigh", "AlarmLow")

    async def looked() -> bool:
        return ("alarm", SCOPE, low) in house.subject.followers

    await until(looked, True)
    record = await house.store.get("alarm", SCOPE, low)
    assert record is not None
    await house.store.remove(record)

    async def told() -> list[str]:
        found = await house.store.page(Query(ACTIVITY, SCOPE, limit=100))
        return [each.document["Cause"] for each in found]

    await until(told, [f"monitor alarm {low} was deleted"])
    page = house.logs.page(SCOPE, "/clary/Scaling/e", "v", limit=1000)
    lines = [parse(event.message) for event in page.events]
    assert [line.policy for line in lines if line is not None] == ["p"]


async def test_a_policy_that_was_just_put_may_lack_its_alarms() -> None:
    house = House()
    await house.fill()
    policy = await house.store.get(POLICY, SCOPE, f"{NAME}|p")
    alarm = await house.store.get("alarm", SCOPE, HIGH)
    target = await house.store.get(TARGET, SCOPE, NAME)
    assert policy
    assert alarm
    assert target
    await house.store.remove(alarm)
    now = house.clock.now()
    await house.store.save(replace(policy, modified=now - 4.9))
    assert (await house.subject.observe(target)).missing == {}
    again = await house.store.get(POLICY, SCOPE, f"{NAME}|p")
    assert again
    await house.store.save(replace(again, modified=now - 5.0))
    assert (await house.subject.observe(target)).missing == {HIGH: ARN}


class Vanishing(MemoryStore):
    """Somebody deletes the policy, and the alarms that it made, while its target is looked at."""

    async def get(self, kind: str, scope: Scope, name: str) -> Record | None:
        policy = await super().get(POLICY, scope, f"{NAME}|p")
        if kind == "alarm" and policy is not None:
            await MemoryStore.remove(self, policy)  # as somebody else does
            for made in policy.document["alarms"]:
                alarm = await super().get("alarm", scope, made)
                assert alarm is not None
                await MemoryStore.remove(self, alarm)
        return await super().get(kind, scope, name)


async def test_a_policy_that_is_deleted_meanwhile_has_lost_nothing() -> None:
    house = House(Vanishing())
    await house.fill()
    target = await house.store.get(TARGET, SCOPE, NAME)
    assert target
    assert (await house.subject.observe(target)).missing == {}
    assert await house.store.get(POLICY, SCOPE, f"{NAME}|p") is None


async def test_an_alarm_of_nobodys_policy_is_told_so(house: House) -> None:
    record = await house.store.get("alarm", SCOPE, HIGH)
    assert record is not None
    with pytest.raises(NotFound):
        await house.subject.tell(record, Act(ARN + "x", "id", "", ""))


async def test_activities_are_kept_for_six_weeks() -> None:
    store = MemoryStore()
    for at in (0.0, KEEP_ACTIVITIES + 1):
        await keep(store, SCOPE, f"id-{at}", {"StartTime": at, "StatusCode": "Pending"})
        await keep(store, SCOPE, f"id-{at}", {"StartTime": at, "StatusCode": "Successful"})
    found = await store.page(Query(ACTIVITY, SCOPE, limit=10))
    assert [(each.created, each.document["StatusCode"]) for each in found] == [(KEEP_ACTIVITIES + 1, "Successful")]
