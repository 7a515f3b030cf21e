"""The loop of latency objectives over fakes: from what fronts count to a count of replicas and a written decision, over a death of the
control plane, and the records that come and go with who asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest
from tests.loops.scaling.test_targets import NAME, RESOURCE, SCOPE, until
from tests.loops.scaling.test_targets import House as Scaled

from clary.domain.autoscaling.latency import METRIC
from clary.domain.autoscaling.record import ACTIVE, POLICY, TARGET, new_target
from clary.domain.endpoints.life import plant_of, with_plant
from clary.domain.endpoints.routes import Ceiling
from clary.domain.machine.capacity import Book, Claim, Fit, Machine, Owner, Part, Waiting
from clary.domain.machine.instances import GIB
from clary.domain.machine.usage import Used
from clary.domain.metrics.counts import Count, Signals, VariantCounts
from clary.domain.metrics.datapoints import Datapoint, Series, single
from clary.domain.objectives.commands import Command, SeenObjective
from clary.domain.objectives.record import KIND
from clary.domain.resources import Query, Record
from clary.domain.scaling.decisions import Event, parse
from clary.loops.core.loop import Loop
from clary.loops.scaling import objectives, targets
from clary.loops.scaling.objectives import Finder, ObjectivePorts, ObjectiveSubject
from clary.loops.scaling.sharing import Sharing, SharingPorts
from clary.testing.clock import FakeClock
from clary.testing.fronts import MemoryFronts
from clary.testing.logs import MemoryLogs
from clary.testing.observing import observing, ports_of
from clary.testing.store import MemoryStore


class House(Scaled):
    """The scaling loop, and the objectives' beside it, on one clock."""

    def __init__(
        self, store: MemoryStore | None = None, logs: MemoryLogs | None = None, clock: FakeClock | None = None
    ) -> None:
        super().__init__(store, clock=clock, logs=logs)
        ports = ObjectivePorts(self.store, self.logs, self.clock, lambda: 8, datapoints=self.datapoints)
        self.objective = observing(ObjectiveSubject(ports), *ports_of(ports))
        self.objectives: Loop[Command, SeenObjective] = self.looped()
        self.finder = Finder(self.store, self.clock, "owner")
        self.arrivals = 0

    def looped(self) -> Loop[Command, SeenObjective]:
        return Loop(self.objective, self.store, self.clock, "owner", sweep_seconds=0.05)

    def share(self, sharing: Sharing) -> None:
        """Its machine is shared by these rules."""
        self.objective = ObjectiveSubject(ObjectivePorts(self.store, self.logs, self.clock, lambda: 8, sharing=sharing))
        self.objectives = self.looped()

    async def put_target(self) -> None:
        document = new_target(RESOURCE, "sagemaker:variant:DesiredInstanceCount", "r") | {"min": 1, "max": 4}
        await self.store.add(Record(TARGET, SCOPE, NAME, "arn:t", ACTIVE, 0.0, 0.0, document))

    async def put_policy(self) -> None:
        config = {"TargetValue": 500.0, "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC}}
        request = {"PolicyName": "p99", "PolicyType": "TargetTrackingScaling"}
        request["TargetTrackingScalingPolicyConfiguration"] = config  # type: ignore[assignment]
        policy = {
            "target": NAME,
            "resource": RESOURCE,
            "dimension": "sagemaker:variant:DesiredInstanceCount",
            "request": request,
            "alarms": [],
        }
        await self.store.add(Record(POLICY, SCOPE, f"{NAME}|p99", "arn:p", "", 0.0, 0.0, policy))

    async def second(self, arrivals: int) -> None:
        """The front counted so many requests in another second, and that is heard and decided by."""
        self.clock.advance(1.0)
        self.arrivals += arrivals
        signals = Signals(service=0.1, working=2, ceiling=8)
        row = VariantCounts(
            SCOPE.account,
            SCOPE.region,
            "e",
            "v",
            "v",
            born="b",
            serving=1,
            arrivals=self.arrivals,
            completed=self.arrivals,
            signals=signals,
        )
        now = self.clock.now()
        for arn in self.objective.hear(Count((row,)), now):
            self.objectives.wake(arn)
            await until(partial(self.heard, arn), now)

    async def heard(self, arn: str) -> float:
        return self.objective.live(arn).heard

    async def objective_of(self) -> Record | None:
        return await self.store.get(KIND, SCOPE, "e/v")

    async def boosted(self) -> bool:
        plant = plant_of(await self.endpoint())
        assert plant.serving is not None
        return plant.serving.variants[0].boost is not None

    async def told(self) -> list[Event]:
        page = self.logs.page(SCOPE, "/clary/Scaling/e", "v", limit=1000)
        return [event for line in page.events if (event := parse(line.message)) is not None]


async def run(house: House) -> AsyncIterator[House]:
    leave = (
        targets.attach(house.subject, house.loop, house.store),
        objectives.attach(house.objective, house.objectives, house.finder, house.store),
    )
    tasks = [asyncio.create_task(each) for each in (house.loop.run(), house.objectives.run(), house.finder.run())]
    yield house
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for each in leave:
        each()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    await made.add_endpoint()
    async for each in run(made):
        yield each


async def heavy(house: House) -> None:
    """Seconds of load until the endpoint is asked for more."""
    for _ in range(5):
        await house.second(46)


async def test_a_policy_scales_the_endpoint_through_its_target(house: House) -> None:
    await house.put_target()
    await house.put_policy()
    await until(house.boosted, True)
    await heavy(house)
    await until(house.asked, ("InService", 3))
    await until(house.activities, [("Setting desired instance count to 3.", "InProgress")])
    await house.settle()
    await heavy(house)
    await until(house.activities, [("Setting desired instance count to 3.", "Successful")])
    events = await house.told()
    assert [event.won for event in events][:2] == ["stale", "load"]
    assert (events[1].before.count, events[1].after.count, events[1].policy) == (1, 3, "p99")
    assert house.logs.group(SCOPE, "/clary/Scaling/e").retention == 14


async def test_without_room_nothing_is_asked_and_what_comes_free_is_kept_from_jobs() -> None:
    made, wishes = House(), dict[str, Waiting]()
    job = Claim("arn:job", (Fit(2.0, 8 * GIB, 0),), 0.0, 0, Owner("training job", "nightly", SCOPE.account))
    full = Book(Machine(2, 64 * GIB, 64 * GIB), "strict", made.clock.now(), (job,))

    def wish(key: str, waiting: Waiting | None) -> None:
        if waiting is not None:
            wishes[key] = waiting

    made.objective = ObjectiveSubject(
        ObjectivePorts(made.store, made.logs, made.clock, lambda: 8, lambda: full, wish=wish)
    )
    made.objectives = Loop(made.objective, made.store, made.clock, "owner", sweep_seconds=0.05)
    await made.add_endpoint()
    async for house in run(made):
        endpoint = await house.endpoint()
        plant = plant_of(endpoint)
        assert plant.serving is not None
        changed = with_plant(endpoint, replace(plant, serving=replace(plant.serving, objective=0.5)))
        await house.store.save(changed)
        await until(house.boosted, True)
        await heavy(house)
        await heavy(house)
        assert await house.asked() == ("InService", 1)
        [waiting] = wishes.values()
        assert waiting.why == "2 vCPU are needed, 2 of 2 are reserved, held by training job nightly (2 vCPU)"
        assert (waiting.owner.name, [fit.cpu for fit in waiting.fits]) == ("e", [2.0])
        refused = [event.refused for event in await house.told() if event.refused]
        assert any("held by training job nightly" in why for why in refused)


async def test_a_control_plane_that_dies_in_the_middle_of_a_scale_out_is_followed_by_one_that_goes_on() -> None:
    first = House()
    await first.add_endpoint()
    await first.put_target()
    await first.put_policy()
    async for house in run(first):
        await until(house.boosted, True)
        await heavy(house)
        await until(house.asked, ("InService", 3))
    record = await first.objective_of()
    assert record is not None
    assert record.document["memory"][4] != []
    second = House(first.store, first.logs, first.clock)
    second.arrivals = first.arrivals
    async for house in run(second):
        await house.second(0)
        for _ in range(3):
            await house.second(1)
        await house.settle()
        await house.second(1)
        await until(house.activities, [("Setting desired instance count to 3.", "Successful")])
        assert await house.asked() == ("InService", 3)  # what was needed a moment ago is not forgotten


async def test_another_policy_on_the_same_variant_writes_its_decisions_beside() -> None:
    made = House()
    await made.fill()
    async for house in run(made):
        await house.alarm(25.0)
        await until(house.asked, ("Updating", 3))
        [event] = await house.told()
        assert (event.policy, event.before.count, event.after.count) == ("p", 1, 3)


async def test_an_objective_goes_with_its_policy_and_comes_back(house: House) -> None:
    await house.put_target()
    await house.put_policy()
    await until(house.boosted, True)
    policy = await house.store.get(POLICY, SCOPE, f"{NAME}|p99")
    assert policy is not None
    await house.store.remove(policy)
    await until(house.boosted, False)
    await until(house.objective_of, None)
    await house.put_policy()
    await until(house.boosted, True)


async def test_a_full_machine_is_shared_out_by_what_was_decided_and_the_decision_says_so() -> None:
    made, fronts, cut = House(), MemoryFronts(), list[tuple[Part, ...]]()
    sharing = Sharing(SharingPorts(fronts, made.clock, lambda: 2, lambda: 0.0, lambda: None, cut.append))
    made.share(sharing)
    await made.add_endpoint()
    await made.put_target()
    await made.put_policy()
    where = (SCOPE.account, SCOPE.region, "e", "v")
    async for house in run(made):
        await until(house.boosted, True)
        await house.second(20)
        await sharing.share()
        assert fronts.bounds == []  # nobody knows yet what a worker costs
        sharing.use({})
        for _ in range(5):
            await house.second(46)
        sharing.use({where: Used(5.0, 10.0, 13.0)})  # 4.6 workers at once, on two CPUs
        await house.second(46)
        await sharing.share()
        assert fronts.bounds == [(Ceiling(*where, 2),)]
        assert [(part.owner.name, part.workers) for part in cut[-1]] == [("e", 2)]
        await house.second(46)
        event = (await house.told())[-1]
        assert "All CPUs of the machine are wanted: no more than 2 workers" in event.why


async def test_a_record_that_another_control_plane_looks_after_is_forgotten(house: House) -> None:
    await house.put_target()
    await house.put_policy()
    await until(house.boosted, True)
    record = await house.objective_of()
    assert record is not None
    other = ObjectiveSubject(ObjectivePorts(house.store, house.logs, house.clock, lambda: 8))
    await other.observe(record)
    assert other.live(record.arn).decided == 0.0, "it is known, and not decided for yet"
    for _ in range(60):
        house.clock.advance(1.0)
        other.hear(Count(), house.clock.now())
    assert other.live(record.arn).decided == 0.0, "it is known, and not decided for yet"
    house.clock.advance(1.0)
    other.hear(Count(), house.clock.now())
    with pytest.raises(KeyError):
        other.live(record.arn)
    await other.observe(record)  # it is back: its record tells what is known
    assert other.live(record.arn).memory.peaks == ()


async def test_an_endpoint_that_says_so_scales_without_a_target(house: House) -> None:
    endpoint = await house.endpoint()
    plant = plant_of(endpoint)
    assert plant.serving is not None
    changed = with_plant(endpoint, replace(plant, serving=replace(plant.serving, objective=0.5)))
    await house.store.save(changed)
    await until(house.boosted, True)
    await heavy(house)
    await until(house.asked, ("InService", 3))
    assert await house.store.count(Query("scaling-activity", SCOPE)) == 0
    await house.store.remove(await house.endpoint())
    await until(house.objective_of, None)


async def test_what_this_time_of_day_usually_needs_is_there_before_it_comes() -> None:
    made = House()
    series = Series.of("AWS/SageMaker", "Invocations", {"EndpointName": "e", "VariantName": "v"})
    noon = made.clock.now() // 60 * 60
    recorded = [noon - day * 86_400 + minute * 60 for day in range(1, 5) for minute in range(12)]
    made.datapoints.put(SCOPE, [Datapoint(series, at, single(1.0, 2400)) for at in recorded])
    await made.add_endpoint()
    await made.put_target()
    await made.put_policy()
    async for house in run(made):
        await until(house.boosted, True)
        for _ in range(3):
            await house.second(1)
        await until(house.asked, ("InService", 3))
        assert (await house.told())[-1].won == "forecast"


async def test_those_that_are_there_at_the_start_are_found() -> None:
    made = House()
    await made.add_endpoint()
    await made.put_target()
    await made.put_policy()
    async for house in run(made):
        await until(house.boosted, True)
