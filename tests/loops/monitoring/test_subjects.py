"""The loops of monitoring over fakes: processing jobs are made by the real handlers, and ended by the tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.api import monitors
from tests.api.world import ACCOUNT, REGION, World
from tests.loops.bundles import parent_ports

from clary.app.operations import OwnOperations
from clary.domain.events import deliveries
from clary.domain.events.due import Fire
from clary.domain.monitoring.turn import ExecutionCommand, SeenExecution, SeenSchedule
from clary.domain.resources import Query, Record, Scope
from clary.loops.core.loop import Loop
from clary.loops.events.teller import Teller
from clary.loops.monitoring.sources import SourceFinder
from clary.loops.monitoring.subjects import MonitorRunSubject, MonitorSubject, attach

SCOPE = Scope(ACCOUNT, REGION)
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://b/capture",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
}
CONFIG = b'{"methods": {"post_training_bias": {"methods": ["DPPL"]}}}'
NOW = 1_800_000_000.0  # an hour begins
HOURLY = {"ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"}}


class Watch:
    """Control planes with nothing but monitoring, over one store."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._loops: list[Loop[Fire, SeenSchedule]] = []
        self._running: list[tuple[list[asyncio.Task[None]], Callable[[], None]]] = []

    def start(self, owner: str = "owner") -> None:
        ports = self.world.ports
        operations = OwnOperations(ports)
        finder = SourceFinder(ports.store, ports.artifacts, operations)
        given = parent_ports(ports)
        schedules: Loop[Fire, SeenSchedule] = Loop(
            MonitorSubject(given), ports.store, ports.clock, owner, sweep_seconds=0.05
        )
        self._loops.append(schedules)
        subject = MonitorRunSubject(given, finder)
        runs: Loop[ExecutionCommand, SeenExecution] = Loop(subject, ports.store, ports.clock, owner, sweep_seconds=0.05)
        tasks = [asyncio.create_task(schedules.run()), asyncio.create_task(runs.run())]
        self._running.append((tasks, attach(subject, runs, ports.store)))

    async def end(self) -> None:
        for tasks, leave in self._running:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            leave()
        self._running.clear()
        self._loops.clear()

    async def create(self, type_: str = "DataQuality", labels: str = "", config: str = "", **more: Any) -> None:
        given = monitors.definition(type_, "d")
        if labels:
            given[f"{type_}JobInput"]["GroundTruthS3Input"] = {"S3Uri": labels}
        for name in ("StartTimeOffset", "EndTimeOffset"):
            del given[f"{type_}JobInput"]["EndpointInput"][name]
        if config:
            given[f"{type_}AppSpecification"]["ConfigUri"] = config
        given[f"{type_}BaselineConfig"] = {"ConstraintsResource": {"S3Uri": "s3://b/constraints.json"}}
        await self.world("sagemaker", f"Create{type_}JobDefinition", **given)
        request = {"MonitoringJobDefinitionName": "d", "MonitoringType": type_, **more}
        await self.world(
            "sagemaker", "CreateMonitoringSchedule", MonitoringScheduleName="w", MonitoringScheduleConfig=request
        )
        if more == HOURLY:
            await self.until_scheduled()

    def later(self, seconds: float) -> None:
        """What timers would do then."""
        self.world.ports.clock.advance(seconds)
        for loop in self._loops:
            loop.wake(f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:monitoring-schedule/w")

    async def describe(self) -> dict[str, Any]:
        return await self.world("sagemaker", "DescribeMonitoringSchedule", MonitoringScheduleName="w")

    async def until_scheduled(self) -> Record:
        """The schedule, once it knows when it is due."""
        async with asyncio.timeout(10):
            while True:
                found = await self.world.store.get("monitoring-schedule", SCOPE, "w")
                if found is not None and found.status == "Scheduled" and found.document["due"]:
                    return found
                await asyncio.sleep(0.01)

    async def executions(self) -> list[dict[str, Any]]:
        listed = await self.world("sagemaker", "ListMonitoringExecutions", MonitoringScheduleName="w")
        found: list[dict[str, Any]] = listed["MonitoringExecutionSummaries"]
        return found

    async def until(self, status: str, number: int = 1) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while True:
                found = await self.executions()
                if len(found) >= number and found[0]["MonitoringExecutionStatus"] == status:
                    return found
                await asyncio.sleep(0.01)

    async def jobs(self, number: int = 1) -> list[Record]:
        """The processing jobs, once there are so many; the last one first."""
        async with asyncio.timeout(10):
            while len(found := await self.world.store.page(Query("processing-job", SCOPE))) < number:
                await asyncio.sleep(0.01)
        return found

    async def finish(self, message: str, status: str = "Completed") -> None:
        """What the job loop would do with the job that runs."""
        async with asyncio.timeout(10):
            while not (found := await self.world.store.page(Query("processing-job", SCOPE, statuses=("InProgress",)))):
                await asyncio.sleep(0.01)
        job = found[0]
        await self.world.store.save(replace(job, status=status, document={**job.document, "message": message}))


def hour(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y/%m/%d/%H}"


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """An endpoint that captures, with a file of the hour before the next one."""
    captured = {f"capture/e/v/{hour(NOW + 3600 * n)}/00-00-000-x.jsonl": b"{}" for n in (0, 1, 2)}
    world = World(
        {"b": {"m.tar.gz": b"", "constraints.json": b"{}", "constraints.txt": b"[]", "config.json": CONFIG, **captured}}
    )
    await world(
        "sagemaker", "CreateModel", ModelName="m", PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"}
    )
    await world(
        "sagemaker",
        "CreateEndpointConfig",
        EndpointConfigName="c",
        ProductionVariants=[VARIANT],
        DataCaptureConfig=CAPTURE,
    )
    await world("sagemaker", "CreateEndpoint", EndpointName="e", EndpointConfigName="c")
    found = Watch(world)
    found.start()
    yield found
    await found.end()


async def test_each_due_run_makes_one_job_of_the_schedule(watch: Watch) -> None:
    watch.start("another")  # two control planes
    await watch.create(**HOURLY)
    described = await watch.world("sagemaker", "DescribeMonitoringSchedule", MonitoringScheduleName="w")
    assert described["MonitoringScheduleStatus"] in ("Pending", "Scheduled")
    watch.later(3601)
    await watch.jobs()
    await watch.finish("CompletedWithViolations: Job completed successfully with 2 violations.")
    first = (await watch.until("CompletedWithViolations"))[0]
    assert first["ScheduledTime"] == NOW + 3600
    assert first["ProcessingJobArn"].rpartition("/")[2].startswith("model-monitoring-")
    job = await watch.world(
        "sagemaker", "DescribeProcessingJob", ProcessingJobName=first["ProcessingJobArn"].rpartition("/")[2]
    )
    assert job["MonitoringScheduleArn"] == described["MonitoringScheduleArn"]
    assert job["ProcessingInputs"][0]["S3Input"]["S3Uri"] == f"s3://b/capture/e/v/{hour(NOW)}/"
    assert len(await watch.executions()) == len(await watch.jobs()) == 1


async def test_a_violation_is_an_event_that_rules_match(watch: Watch) -> None:
    world = watch.world
    seen = {"LastMonitoringExecutionSummary": {"MonitoringExecutionStatus": ["CompletedWithViolations"]}}
    pattern = {"detail-type": ["SageMaker Monitoring Schedule State Change"], "detail": seen}
    await world("events", "PutRule", Name="violation", EventPattern=json.dumps(pattern))
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
    await world("events", "PutTargets", Rule="violation", Targets=[{"Id": "q", "Arn": queue}])
    teller = asyncio.create_task(Teller(world.store, OwnOperations(world.ports), world.ports.clock, "me").run())
    try:
        await asyncio.sleep(0)
        await watch.create(**HOURLY)
        watch.later(3601)
        await watch.jobs()
        await watch.finish("CompletedWithViolations: Job completed successfully with 2 violations.")
        await watch.until("CompletedWithViolations")
        async with asyncio.timeout(10):
            while not (found := await world.store.page(Query(deliveries.DELIVERY, SCOPE))):
                await asyncio.sleep(0.01)
    finally:
        teller.cancel()
        await asyncio.gather(teller, return_exceptions=True)
    [told] = [json.loads(each.document["input"]) for each in found]
    assert told["resources"] == [(await watch.describe())["MonitoringScheduleArn"]]
    detail = told["detail"]
    assert (detail["MonitoringScheduleName"], detail["MonitoringScheduleStatus"]) == ("w", "Scheduled")
    assert detail["MonitoringScheduleConfig"]["MonitoringJobDefinitionName"] == "d"
    assert detail["LastMonitoringExecutionSummary"]["ScheduledTime"] == (NOW + 3600) * 1000


async def test_missed_runs_are_made_up_once_over_all_of_the_time(watch: Watch) -> None:
    await watch.create(**HOURLY)
    await watch.end()
    watch.later(3 * 3600 + 5)
    watch.start()
    job = (await watch.jobs())[0]
    await watch.finish("Completed: Job completed successfully with no violations.")
    found = await watch.until("Completed")
    assert len(found) == 1
    assert job.document["request"]["Environment"]["start_time"] == "2027-01-15T08:00:00Z"
    assert job.document["request"]["Environment"]["end_time"] == "2027-01-15T11:00:05Z"


async def test_a_clock_set_back_repeats_no_run(watch: Watch) -> None:
    await watch.create(**HOURLY)
    watch.later(3601)
    await watch.finish("Completed: Job completed successfully with no violations.")
    await watch.until("Completed")
    watch.world.ports.clock.jump(-1800)
    watch.later(1801)
    schedule = await watch.world.store.get("monitoring-schedule", SCOPE, "w")
    assert schedule is not None
    assert schedule.document["due"] == NOW + 7200
    assert len(await watch.executions()) == 1


async def test_a_window_without_data_fails_without_a_job(watch: Watch) -> None:
    now = {"ScheduleExpression": "NOW", "DataAnalysisStartTime": "-PT9H", "DataAnalysisEndTime": "-PT8H"}
    await watch.create(ScheduleConfig=now)
    found = (await watch.until("Failed"))[0]
    assert found["FailureReason"].startswith("NO_DATA: nothing of e was captured from 2027-01-14T23:00:00Z")
    assert "captured 0" in found["FailureReason"]
    assert "ProcessingJobArn" not in found


async def test_a_job_without_rows_fails_the_execution_with_its_coverage(watch: Watch) -> None:
    await watch.create(**HOURLY)
    watch.later(3601)
    await watch.finish(
        "Customer Error: NO_DATA: the window holds no rows that can be used (rows: captured 3, used 0, torn 3)",
        "Failed",
    )
    found = (await watch.until("Failed"))[0]
    assert found["FailureReason"].startswith("NO_DATA:")
    assert found["ProcessingJobArn"]


async def test_an_endpoint_that_goes_fails_its_runs(watch: Watch) -> None:
    await watch.create(**HOURLY)
    endpoint = await watch.world.store.get("endpoint", SCOPE, "e")
    assert endpoint is not None
    await watch.world.store.remove(endpoint)
    watch.later(3601)
    found = (await watch.until("Failed"))[0]
    assert found["FailureReason"].startswith("NO_DATA: the endpoint 'e' does not exist")


async def test_a_definition_that_goes_fails_the_schedule(watch: Watch) -> None:
    await watch.create(**HOURLY)
    await watch.world("sagemaker", "DeleteDataQualityJobDefinition", JobDefinitionName="d")
    watch.later(3601)
    async with asyncio.timeout(10):
        while (shown := await watch.describe())["MonitoringScheduleStatus"] != "Failed":
            await asyncio.sleep(0.01)
    assert shown["FailureReason"] == "The job definition 'd' does not exist any more."


async def test_labels_are_merged_before_the_analysis(watch: Watch) -> None:
    await watch.create("ModelQuality", "s3://b/capture", **HOURLY)  # any folder with files
    watch.later(3601)
    first = (await watch.jobs())[0]
    assert first.document["request"]["Environment"]["analysis_type"] == "MERGE"
    await watch.finish("Completed: Job completed successfully with no violations.")
    second = (await watch.jobs(2))[0]
    assert second.document["request"]["Environment"]["analysis_type"] == "MODEL_QUALITY"
    await watch.finish("Completed: Job completed successfully with no violations.")
    assert (await watch.until("Completed"))[0]["ProcessingJobArn"] == second.arn


async def test_a_schedule_without_labels_says_no_data(watch: Watch) -> None:
    await watch.create("ModelQuality", **HOURLY)
    watch.later(3601)
    assert "there are no labels under s3://b/labels" in (await watch.until("Failed"))[0]["FailureReason"]


async def test_alerts_follow_the_last_executions(watch: Watch) -> None:
    await watch.create(**HOURLY)
    await watch.world(
        "sagemaker",
        "UpdateMonitoringAlert",
        MonitoringScheduleName="w",
        MonitoringAlertName="w",
        DatapointsToAlert=2,
        EvaluationPeriod=2,
    )
    for number, status in ((1, "OK"), (2, "InAlert")):
        await watch.until_scheduled()
        watch.later(3600 if number > 1 else 3601)
        await watch.finish("CompletedWithViolations: Job completed successfully with 1 violations.")
        await watch.until("CompletedWithViolations", number)
        alerts = await watch.world("sagemaker", "ListMonitoringAlerts", MonitoringScheduleName="w")
        assert alerts["MonitoringAlertSummaries"][0]["AlertStatus"] == status
    history = await watch.world("sagemaker", "ListMonitoringAlertHistory", MonitoringScheduleName="w")
    assert [row["AlertStatus"] for row in history["MonitoringAlertHistory"]] == ["InAlert"]


async def test_a_schedule_is_not_deleted_under_an_execution(watch: Watch) -> None:
    await watch.create(**HOURLY)
    watch.later(3601)
    await watch.jobs()
    code, words = await watch.world.refused("sagemaker", "DeleteMonitoringSchedule", MonitoringScheduleName="w")
    assert code == "ValidationException"
    assert "in progress" in words
    await watch.finish("", "Stopped")
    await watch.until("Stopped")
    await watch.world("sagemaker", "DeleteMonitoringSchedule", MonitoringScheduleName="w")
    assert len(await watch.executions()) == 1  # their history stays


async def test_a_stopped_schedule_makes_up_nothing(watch: Watch) -> None:
    await watch.create(**HOURLY)
    await watch.world("sagemaker", "StopMonitoringSchedule", MonitoringScheduleName="w")
    watch.later(2 * 3600)
    await watch.world("sagemaker", "StartMonitoringSchedule", MonitoringScheduleName="w")
    schedule = await watch.until_scheduled()
    assert schedule.document["due"] == NOW + 3 * 3600
    assert await watch.executions() == []


async def test_a_bias_job_gets_a_configuration_that_knows_the_data(watch: Watch) -> None:
    await watch.create("ModelBias", "s3://b/capture", **HOURLY)
    watch.later(3601)
    await watch.finish("Completed: Job completed successfully.")  # the merge
    job = (await watch.jobs(2))[0]
    inputs = {each["InputName"]: each["S3Input"] for each in job.document["request"]["ProcessingInputs"]}
    place = inputs["analysis_config"]["S3Uri"].removeprefix("s3://b/")
    config = json.loads(await watch.world.ports.artifacts.read("b", place, 1 << 20))
    assert config["methods"] == {"post_training_bias": {"methods": ["DPPL"]}}
    assert config["dataset_type"] == "application/sagemakercapturejson"
    assert config["predictor"] == {"endpoint_name": "e", "label": 0, "probability": 1}
    assert config["probability_threshold"] == 0.5
    assert job.document["request"]["Environment"]["dataset_source"] == inputs["merged_data"]["LocalPath"]


async def test_a_configuration_that_is_none_fails_the_run(watch: Watch) -> None:
    await watch.create("ModelExplainability", config="s3://b/constraints.txt", **HOURLY)
    watch.later(3601)
    found = (await watch.until("Failed"))[0]
    assert found["FailureReason"] == "The analysis configuration s3://b/constraints.txt is no JSON object."
