"""The loop of tuning jobs over fakes: its training jobs are made by the real handlers, and ended by the tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.api.house import TUNING
from tests.api.world import ACCOUNT, REGION, World
from tests.loops.bundles import parent_ports

from clary.domain.resources import Record, Scope
from clary.domain.tuning.record import LOG_GROUP, Command, SeenTuning
from clary.loops.core.loop import Loop
from clary.loops.tuning.subject import TuningSubject, attach
from clary.testing.samplers import MemorySampler

SCOPE = Scope(ACCOUNT, REGION)


class TuningHouse:
    """A control plane with nothing but tuning jobs. `crash` makes another one over the same records."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sampler = MemorySampler()
        self._leave: list[Callable[[], None]] = []
        self.start()

    def start(self) -> None:
        ports = self.world.ports
        self.subject = TuningSubject(parent_ports(ports), self.sampler)
        self.loop: Loop[Command, SeenTuning] = Loop(self.subject, ports.store, ports.clock, "owner", sweep_seconds=0.05)
        self._leave.append(attach(self.subject, self.loop, ports.store))
        self.task = asyncio.create_task(self.loop.run())

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self._leave.pop()()
        await self.subject.tasks.close()

    async def crash(self) -> None:
        await self.end()
        self.start()

    async def create(self, **config: Any) -> str:
        how = {**TUNING["HyperParameterTuningJobConfig"], **config}
        await self.world(
            "sagemaker",
            "CreateHyperParameterTuningJob",
            **{**TUNING, "HyperParameterTuningJobConfig": how, "HyperParameterTuningJobName": "t"},
        )
        return "t"

    async def describe(self) -> dict[str, Any]:
        return await self.world("sagemaker", "DescribeHyperParameterTuningJob", HyperParameterTuningJobName="t")

    async def trials(self) -> list[dict[str, Any]]:
        listed = await self.world(
            "sagemaker", "ListTrainingJobsForHyperParameterTuningJob", HyperParameterTuningJobName="t", MaxResults=100
        )
        found: list[dict[str, Any]] = listed["TrainingJobSummaries"]
        return found

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while not wanted(seen := await self.describe()):
                await asyncio.sleep(0.01)
        return seen

    async def open(self, number: int) -> list[Record]:
        """Its training jobs that run, once there are so many."""
        async with asyncio.timeout(20):
            while True:
                names = [
                    entry["TrainingJobName"] for entry in await self.trials() if entry["ObjectiveStatus"] == "Pending"
                ]
                found = [await self.world.store.get("training-job", SCOPE, name) for name in names]
                running = [record for record in found if record is not None and record.status == "InProgress"]
                if len(running) == number:
                    return running
                await asyncio.sleep(0.01)

    async def finish(self, record: Record, value: float | None, status: str = "Completed") -> None:
        """Its training job ends so."""
        metrics = [] if value is None else [{"MetricName": "validation:rmse", "Value": value, "Timestamp": 1.0}]
        document = {**record.document, "metrics": metrics, "started": 1.0, "ended": 3.0}
        await self.world.store.save(replace(record, status=status, document=document))


async def drawn(seed: int, number: int) -> float:
    """What the fake sampler suggests as trial `number` of that seed."""
    space = [{"name": "eta", "kind": "float", "low": 0.1, "high": 0.5}]
    found = await MemorySampler().suggest({"seed": seed, "events": [["ask", {}]] * number, "space": space})
    return float(found["eta"])


@pytest.fixture
async def house() -> AsyncIterator[TuningHouse]:
    made = TuningHouse(World({"b": {"data/a": b"1"}}))
    yield made
    await made.end()


async def test_a_tuning_job_from_create_to_its_best(house: TuningHouse) -> None:
    await house.create()
    for value in (2.0, 1.0):
        await house.finish((await house.open(1))[0], value)
    done = await house.until(lambda seen: seen["HyperParameterTuningJobStatus"] == "Completed")
    assert done["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 1.0
    assert done["ConsumedResources"] == {"RuntimeInSeconds": 4}
    lines = house.world.ports.logs.tail(SCOPE, LOG_GROUP, "t", 10)
    assert [line.split(": ")[1] for line in lines[:2]] == [
        "Completed, validation:rmse 2",
        "Completed, validation:rmse 1",
    ]
    assert house.subject.busy is False


async def test_a_child_is_this_jobs_own(house: TuningHouse) -> None:
    await house.create()
    child = (await house.open(1))[0]
    described = await house.world("sagemaker", "DescribeTrainingJob", TrainingJobName=child.name)
    assert described["TuningJobArn"] == (await house.describe())["HyperParameterTuningJobArn"]
    assert described["HyperParameters"]["_tuning_objective_metric"] == "validation:rmse"
    assert float(described["HyperParameters"]["eta"]) == await drawn(house.sampler.asked[0]["seed"], 0)


async def test_crashes_change_no_trial_and_make_no_job_twice(house: TuningHouse) -> None:
    limits = {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 1}
    await house.create(ResourceLimits=limits, RandomSeed=3)
    for number in range(6):
        await house.crash()
        child = (await house.open(1))[0]
        await house.crash()
        await house.finish(child, float(number))
    await house.until(lambda seen: seen["HyperParameterTuningJobStatus"] == "Completed")
    found = [float(entry["TunedHyperParameters"]["eta"]) for entry in await house.trials()]
    assert found == [await drawn(3, number) for number in range(6)]
    jobs = await house.world("sagemaker", "ListTrainingJobs")
    assert len(jobs["TrainingJobSummaries"]) == 6


async def test_stop_reaches_the_children(house: TuningHouse) -> None:
    await house.create(ResourceLimits={"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 2})
    children = await house.open(2)
    await house.world("sagemaker", "StopHyperParameterTuningJob", HyperParameterTuningJobName="t")
    for child in children:
        async with asyncio.timeout(20):
            while (now := await house.world.store.get("training-job", SCOPE, child.name)) and now.status != "Stopping":
                await asyncio.sleep(0.01)
        assert now is not None
        await house.finish(now, None, "Stopped")
    await house.until(lambda seen: seen["HyperParameterTuningJobStatus"] == "Stopped")


async def test_a_job_that_cannot_be_created_is_a_failed_trial(house: TuningHouse) -> None:
    await house.create(ResourceLimits={"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 1})
    first = (await house.open(1))[0]
    house.world.ports.artifacts.buckets.pop("b")  # type: ignore[attr-defined]
    await house.finish(first, 1.0)
    await house.until(lambda seen: seen["TrainingJobStatusCounters"]["NonRetryableError"] > 0)
    failed = next(entry for entry in await house.trials() if entry["TrainingJobStatus"] == "Failed")
    assert "does not exist" in failed["FailureReason"]


async def test_a_sampler_that_fails_ends_the_job(house: TuningHouse) -> None:
    house.sampler.broken = "no index can be reached"
    await house.create()
    done = await house.until(lambda seen: seen["HyperParameterTuningJobStatus"] == "Failed")
    assert done["FailureReason"].endswith("no index can be reached")
