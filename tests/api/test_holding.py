from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from clary.api.call import ApiSettings, Call, Ports
from clary.api.followers import Follower
from clary.api.holding import FIRST_SECONDS, NEWS_SECONDS, followed, patience, settled, waits
from clary.domain.jobs import hosts, training
from clary.domain.jobs.spec import JobSpec
from clary.domain.resources import Record, Scope
from clary.domain.stored import dumped
from clary.testing.logs import MemoryLogs

RECORD = Record("endpoint", Scope("0", "r"), "e", "arn:e", "Creating", 1.0, 1.0, {})


@pytest.mark.parametrize(
    ("agent", "wanted"),
    [
        ("Boto3/1.42 md/Botocore#1.44.5 ua/2.1 m/b,N,g,Z,B,E cfg/retry-mode#standard", True),
        ("Boto3/1.42 md/Botocore#1.44.5 ua/2.1 m/b,N,g,Z,E cfg/retry-mode#standard", False),
        ("aws-cli/1.46 md/awscrt#0.27 m/B", True),
        ("Boto3/1.42 lib/AWS-SageMaker-Python-SDK#2.257.7", True),
        ("Boto3/1.42 lib/AWS-SageMakerCore#2.27.0", True),
        ("Boto3/1.42", False),
        ("m/Bx,aB", False),
        ("", False),
    ],
)
def test_who_waits(agent: str, wanted: bool) -> None:
    assert waits(agent) is wanted


@pytest.mark.parametrize("hold", [0.0, 0.05])
async def test_the_hold_ends(ports: Ports, hold: float) -> None:
    held = replace(ports, settings=ApiSettings(hold_seconds=hold))
    stored = await held.store.add(RECORD)
    call = Call(held, "sagemaker", "DescribeEndpoint", Scope("0", "r"), "p", user_agent="m/B")
    async with asyncio.timeout(2):
        found = await settled(call, stored, ("Creating",))
    assert found == stored
    assert cast("Any", held.store)._listeners == []


async def test_one_transient_status_after_another_is_one_wait(ports: Ports) -> None:
    stored = await ports.store.add(RECORD)
    call = Call(
        replace(ports, settings=ApiSettings(hold_seconds=10)), "sagemaker", "D", RECORD.scope, "p", user_agent="m/B"
    )
    async with asyncio.timeout(60):
        held = asyncio.create_task(settled(call, stored, ("Creating", "Updating")))
        await asyncio.sleep(0)
        stored = await ports.store.save(replace(stored, status="Updating"))
        assert not (await asyncio.wait({held}, timeout=0.05))[0]
        await ports.store.save(replace(stored, status="InService"))
        found = await held
    assert found is not None
    assert found.status == "InService"


# -- training jobs ----------------------------------------------------------------------------------------------------------------

SDK, WAITER = "Boto3/1.42 lib/AWS-SageMaker-Python-SDK#2.257.7", "Boto3/1.42 m/B"
BEGINNING = {"Status": "Starting", "StartTime": 100.0, "StatusMessage": "Starting the training job"}


def job(phase: str = "training", status: str = "InProgress", **changed: Any) -> Record:
    of = tuple(hosts.Host(f"algo-{number}", "ml.m5.large") for number in (1, 2))
    spec = JobSpec("image", "role", training.LOG_GROUP, of, 60)
    document = {
        "phase": phase,
        "request": {},
        "spec": dumped(spec),
        "started": 101.0,
        "transitions": [BEGINNING],
        "metrics": [],
    }
    arn = "arn:aws:sagemaker:r:0:training-job/j"
    return Record(training.KIND, Scope("0", "r"), "j", arn, status, 100.0, 100.0, {**document, **changed})


def new(first: float = 105.0, looked: int = 1) -> Follower:
    return Follower(first, 105.0, looked)


def reader(read: float = 120.0) -> Follower:
    return Follower(105.0, 125.0, 2, read)


STARTING, TRAINING, UPLOADING = job("starting"), job("training"), job("uploading")
METRIC = job(metrics=[{"MetricName": "loss"}])
MESSAGE = job(transitions=[{**BEGINNING, "StatusMessage": "slowed"}])


@pytest.mark.parametrize(
    ("follower", "now", "current", "line", "wanted"),
    [
        # The first look, 5 s after the job was created: nobody knows whether this client reads the log.
        (new(), 105.0, TRAINING, 104_000, FIRST_SECONDS),
        (new(), 105.0, STARTING, None, FIRST_SECONDS),
        (new(), 105.0, TRAINING, None, None),  # there is nothing to read
        (new(), 105.0, UPLOADING, 104_000, None),  # it ends in a moment
        (new(103.0, 2), 105.0, TRAINING, 104_000, 3.0),  # from its first look on
        (new(99.0, 2), 105.0, TRAINING, 104_000, 0.0),
        # SDK v3 looks when it created the job, and again at once when it waits.
        (new(100.5), 100.5, STARTING, None, 0.0),
        (new(100.4, 2), 100.5, STARTING, None, pytest.approx(4.9)),
        # It read the log.
        (reader(), 125.0, TRAINING, 119_000, NEWS_SECONDS),
        (reader(), 125.0, TRAINING, None, NEWS_SECONDS),
        (reader(), 125.0, TRAINING, 121_000, 0.0),
        (reader(), 125.0, METRIC, 119_000, 0.0),
        (reader(), 125.0, MESSAGE, 119_000, 0.0),
        (reader(), 125.0, UPLOADING, 121_000, None),
    ],
)
def test_how_long_an_sdks_look_at_a_job_is_held(
    follower: Follower, now: float, current: Record, line: int | None, wanted: float | None
) -> None:
    assert patience(follower, now, TRAINING, current, line) == wanted


@dataclass(frozen=True)
class Looking:
    """One client's looks at the job of this ports' store, and the job's log."""

    ports: Ports
    logs: MemoryLogs
    agent: str = SDK

    def look(self, now: float) -> asyncio.Task[Record | None]:
        async def asked() -> Record | None:
            stored = await self.ports.store.get(training.KIND, Scope("0", "r"), "j")
            assert stored is not None
            call = Call(
                self.ports, "sagemaker", "DescribeTrainingJob", stored.scope, "p", user_agent=self.agent, now=now
            )
            return await followed(call, stored)

        return asyncio.create_task(asked())

    def printed(self, host: str, at: float) -> None:
        path = self.logs.open(Scope("0", "r"), training.LOG_GROUP, hosts.stream("j", host, 101.0), 101.0)
        self.logs.write(path, [(int(at * 1000), "a line")])

    async def saved(self, **changed: Any) -> None:
        stored = await self.ports.store.get(training.KIND, Scope("0", "r"), "j")
        assert stored is not None
        await self.ports.store.save(replace(stored, **changed))


@pytest.fixture
async def looking(ports: Ports) -> Looking:
    logs = MemoryLogs()
    held = replace(ports, logs=logs, settings=ApiSettings(hold_seconds=1000))
    await held.store.add(job())
    return Looking(held, logs)


async def test_a_look_of_a_reader_is_answered_at_a_new_line_of_any_host(looking: Looking) -> None:
    looking.ports.followers.looks("p", job().arn, 105.0)
    looking.ports.followers.reads("p", job().arn, 120.0)
    looking.printed("algo-2", 119.0)
    async with asyncio.timeout(60):
        look = looking.look(125.0)
        assert not (await asyncio.wait({look}, timeout=0.05))[0]
        looking.printed("algo-2", 126.0)
        found = await look
    assert found is not None
    assert found.status == "InProgress"


@pytest.mark.parametrize("agent", [SDK, WAITER])
async def test_a_look_of_who_reads_no_log_is_answered_at_the_end(looking: Looking, agent: str) -> None:
    looking = replace(looking, agent=agent)
    looking.printed("algo-1", 110.0)
    for at in (100.0, 105.0):
        looking.ports.followers.looks("p", job().arn, at)
    async with asyncio.timeout(60):
        look = looking.look(125.0)
        assert not (await asyncio.wait({look}, timeout=0.05))[0]
        looking.printed("algo-1", 126.0)
        await looking.saved(document={**job("training").document, "metrics": [{"MetricName": "loss"}]})
        assert not (await asyncio.wait({look}, timeout=0.05))[0]
        await looking.saved(status="Completed")
        found = await look
    assert found is not None
    assert found.status == "Completed"


async def test_a_first_look_at_a_silent_job_is_answered_at_its_end(looking: Looking) -> None:
    async with asyncio.timeout(60):
        look = looking.look(105.0)
        assert not (await asyncio.wait({look}, timeout=0.05))[0]
        await looking.saved(status="Completed")
        found = await look
    assert found is not None
    assert found.status == "Completed"


@pytest.mark.parametrize(("agent", "status"), [("Boto3/1.42", "InProgress"), (SDK, "Completed"), (WAITER, "Failed")])
async def test_looks_that_are_not_held(looking: Looking, agent: str, status: str) -> None:
    """Nothing is noted of them."""
    await looking.saved(status=status)
    async with asyncio.timeout(60):
        found = await replace(looking, agent=agent).look(105.0)
    assert found is not None
    assert found.status == status
    assert looking.ports.followers.looks("p", job().arn, 106.0).first == 106.0
