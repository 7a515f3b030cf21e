"""The loop of asynchronous inference over a world in memory: what reaches the model, S3 and the topics, and what a crash leaves."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.domain.endpoints.test_life import fleet

from clary.domain.endpoints import async_inference, life
from clary.domain.endpoints.fleets import Plant, Replica
from clary.domain.metrics.datapoints import Series
from clary.domain.resources import Query, Record, Scope
from clary.loops.asynchronous.backlog import PAGE, AsyncInference
from clary.loops.asynchronous.invocations import UNITS, AsyncPorts, save_file
from clary.loops.core.samples import Samples
from clary.prediction_ports import Asked
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.logs import MemoryLogs
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.predictor import MemoryPredictor, PredictorConformance
from clary.testing.store import MemoryStore
from clary.testing.topics import MemoryTopics

SCOPE = Scope("000000000000", "us-east-1")
GOOD, BAD = (f"arn:aws:sns:us-east-1:000000000000:{name}" for name in ("good", "bad"))
NOTIFY = {"SuccessTopic": GOOD, "ErrorTopic": BAD}
CONFIG = {
    "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2},
    "OutputConfig": {"S3OutputPath": "s3://b/out", "S3FailurePath": "s3://b/failed", "NotificationConfig": NOTIFY},
}


class TestMemoryPredictor(PredictorConformance):
    @pytest.fixture
    def predictor(self) -> MemoryPredictor:
        self.fake = MemoryPredictor()
        return self.fake

    def runs(self) -> int:
        return len(self.fake.seen)


class House:
    """A dispatcher and its world. `hold` keeps predictions from ending while it is clear."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock, self.store = FakeClock(), MemoryStore()
        self.artifacts = MemoryArtifacts({"b": {"in.csv": b"from s3"}})
        self.artifacts.types["b", "in.csv"] = "text/x-mine"
        self.topics, self.datapoints, self.logs = MemoryTopics({GOOD: 1, BAD: 1}), MemoryDatapoints(), MemoryLogs()
        self.samples = Samples(self.datapoints)
        self.hold = asyncio.Event()
        self.hold.set()
        self.status = 200
        self.predictor = MemoryPredictor(self.model, ("e",))
        self.lacks = 0  # the errno of a disk that takes no more than `room` bytes at once
        self.room = 0
        self.refused = 0  # how often it did not
        self.made = 0
        self.tasks: list[asyncio.Task[None]] = []

    async def model(self, asked: Asked, body: bytes) -> tuple[int, str, bytes]:
        await self.hold.wait()
        return self.status, "text/csv", b"answer to " + body

    def save(self, path: str, content: bytes) -> None:
        if self.lacks and len(content) > self.room:
            self.refused += 1
            raise OSError(self.lacks, os.strerror(self.lacks), path)
        save_file(path, content)

    async def ended_in_time(self, record: Record) -> Record:
        """However long the pauses are that its queue makes."""
        async with asyncio.timeout(60):
            while (found := await self.store.get(record.kind, record.scope, record.name)) is not None:
                if found.status != async_inference.QUEUED:
                    return found
                self.clock.advance(5.0)
                await asyncio.sleep(0.005)
        raise AssertionError(record.name)

    async def full(self, times: int) -> None:
        """Until the disk has refused so many writes more, however long the pauses between them are."""
        wanted = self.refused + times
        async with asyncio.timeout(60):
            while self.refused < wanted:
                self.clock.advance(5.0)
                await asyncio.sleep(0.005)

    @property
    def objects(self) -> dict[str, bytes]:
        return self.artifacts.buckets["b"]

    def open(self) -> None:
        ports = AsyncPorts(
            self.store, self.artifacts, self.predictor, self.topics, self.samples, self.logs, self.clock, self.save
        )
        self.loop = AsyncInference(ports, str(self.folder / "work"), "owner", lambda: 2, look=0.02)
        self.tasks.append(asyncio.create_task(self.loop.run()))

    async def close(self) -> None:
        """As a killed process: what is in flight is broken off."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    async def endpoint(self, replicas: int = 1, config: Any = CONFIG, name: str = "e") -> None:
        made = fleet()
        ready = tuple(Replica(f"i-{n}", "ready") for n in range(replicas))
        serving = made.with_variant(replace(made.variants[0], replicas=ready))
        plant = Plant(seed="s", serving=replace(serving, asynchronous=config))
        known = await self.store.get("endpoint", SCOPE, name)
        if known is not None:
            await self.store.save(life.with_plant(known, plant))
            return
        now = self.clock.now()
        document = {"plant": plant.to_json()}
        await self.store.add(Record("endpoint", SCOPE, name, f"arn:{name}", "InService", now, now, document))

    async def invoke(self, body: bytes | None = b"1", name: str = "e", config: Any = CONFIG, **more: Any) -> Record:
        self.made += 1
        id_ = f"0193e0a0-0000-7000-8000-{self.made:012}"
        params = {"EndpointName": name, **({"Body": body} if body is not None else {}), **more}
        document = async_inference.document(params, config, SCOPE, id_)
        now = self.clock.now()
        return await self.store.add(
            Record(async_inference.KIND, SCOPE, id_, f"arn:{id_}", async_inference.QUEUED, now, now, document)
        )

    async def ended(self, record: Record) -> Record:
        async with asyncio.timeout(60):
            while True:
                found = await self.store.get(record.kind, record.scope, record.name)
                assert found is not None
                if found.status != async_inference.QUEUED:
                    return found
                await asyncio.sleep(0.002)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.002)

    async def looked(self) -> None:
        """The loop has looked at everything since."""
        wanted = self.loop.looks + 3
        await self.until(lambda: self.loop.looks >= wanted)

    def counted(self, metric: str, variant: str = "AllTraffic") -> list[float]:
        dimensions = {"EndpointName": "e", **({"VariantName": variant} if variant else {})}
        unit = UNITS.get(metric, "None")
        series = Series.of("AWS/SageMaker", metric, dimensions, unit)
        for scope, held in self.samples._held.items():
            self.datapoints.put(scope, held)
        self.samples._held.clear()
        return [summary.total for _, summary in self.datapoints.get(SCOPE, series, 0, 4e9, 1)]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    yield made
    made.hold.set()
    await made.close()


def failed(record: Record) -> str:
    return f"failed/{record.name}-error.out"


def out(record: Record) -> str:
    return f"out/{record.name}.out"


async def test_an_inline_body_is_predicted_and_its_answer_stored(house: House) -> None:
    house.open()
    await house.endpoint()
    record = await house.invoke(b"hello", ContentType="text/plain", Accept="a/b", InferenceId="mine")
    done = await house.ended(record)
    assert (done.status, done.document["body"]) == ("Completed", "")
    assert house.objects[out(record)] == b"answer to hello"
    assert house.artifacts.types["b", out(record)] == "text/csv"
    [(asked, _)] = house.predictor.seen
    assert asked == Asked(
        SCOPE.account, SCOPE.region, "e", record.name, 900.0, "text/plain", "a/b", attributes="", inference="mine"
    )
    told = json.loads(house.topics.told[GOOD][record.name][0])
    assert (told["invocationStatus"], told["inferenceId"]) == ("Completed", "mine")
    await house.until(lambda: not list((house.folder / "work").iterdir()))


async def test_an_object_is_predicted_with_its_own_content_type_unless_the_call_names_one(house: House) -> None:
    await house.endpoint()
    house.open()
    first = await house.invoke(None, InputLocation="s3://b/in.csv")
    second = await house.invoke(None, InputLocation="s3://b/in.csv", ContentType="text/csv")
    for record in (first, second):
        await house.ended(record)
    assert {(asked.id, asked.content_type, body) for asked, body in house.predictor.seen} == {
        (first.name, "text/x-mine", b"from s3"),
        (second.name, "text/csv", b"from s3"),
    }


async def test_a_models_error_is_the_failure_object_and_is_told(house: House) -> None:
    house.status = 400
    await house.endpoint()
    house.open()
    record = await house.invoke(b"x")
    assert (await house.ended(record)).status == "Failed"
    assert house.objects[failed(record)] == b"answer to x"
    assert out(record) not in house.objects
    told = json.loads(house.topics.told[BAD][record.name][0])
    assert told["failureReason"] == "ClientError: Received 400: answer to x"
    await house.until(lambda: house.counted("InvocationFailures", "A") == [1.0])
    lines = house.logs.tail(SCOPE, "/aws/sagemaker/Endpoints/e", "A/data-log", 10)
    assert len(lines) == 1
    assert "ClientError: Received 400" in lines[0]


@pytest.mark.parametrize("location", ["s3://b/nothing", "s3://no-such-bucket/x", "s3://foreign/x"])
async def test_an_input_that_cannot_be_had_fails(house: House, location: str) -> None:
    house.artifacts.buckets["foreign"] = {"x": b"secret"}
    house.artifacts.owners["foreign"] = "111111111111"
    await house.endpoint()
    house.open()
    record = await house.invoke(None, InputLocation=location)
    await house.ended(record)
    assert house.predictor.seen == []
    assert b"could not be downloaded" in house.objects[failed(record)]
    await house.until(lambda: house.counted("RequestDownloadFailures", "A") == [1.0])


async def test_without_an_output_path_the_default_bucket_is_made(house: House) -> None:
    config: dict[str, Any] = {"OutputConfig": {}}
    await house.endpoint(config=config)
    house.open()
    done = await house.ended(await house.invoke(config=config))
    assert done.status == async_inference.COMPLETED
    assert house.artifacts.buckets["sagemaker-us-east-1-000000000000"] == {
        f"async-endpoint-outputs/e/{done.name}.out": b"answer to 1"
    }


async def test_an_output_that_cannot_be_stored_fails(house: House) -> None:
    config = {"OutputConfig": {"S3OutputPath": "s3://gone/out", "S3FailurePath": "s3://b/failed"}}
    await house.endpoint(config=config)
    house.open()
    record = await house.invoke(config=config)
    assert (await house.ended(record)).status == "Failed"
    assert b"could not be uploaded to s3://gone/out" in house.objects[failed(record)]
    await house.until(lambda: house.counted("ResponseUploadFailures") == [1.0])


async def test_a_topic_that_is_gone_costs_the_notification_only(house: House) -> None:
    house.topics.subscriptions.clear()
    await house.endpoint()
    house.open()
    record = await house.invoke()
    assert (await house.ended(record)).status == "Completed"
    await house.until(lambda: house.counted("NotificationFailures") == [1.0])


async def test_no_more_run_at_once_than_the_config_allows_on_the_replicas_that_are_ready(house: House) -> None:
    house.hold.clear()
    await house.endpoint(replicas=1)
    house.open()
    records = [await house.invoke() for _ in range(7)]
    await house.until(lambda: len(house.predictor.seen) == 2)
    await house.endpoint(replicas=2)
    await house.until(lambda: len(house.predictor.seen) == 4)
    await house.looked()
    assert len(house.predictor.seen) == 4
    house.hold.set()
    for record in records:
        await house.ended(record)
    assert len(house.predictor.seen) == 7


async def test_without_a_replica_the_backlog_waits(house: House) -> None:
    await house.endpoint(replicas=0)
    house.open()
    record = await house.invoke()
    await house.until(lambda: house.counted("HasBacklogWithoutCapacity", ""))
    house.clock.advance(20.0)
    await house.until(lambda: len(house.counted("HasBacklogWithoutCapacity", "")) > 1)
    assert house.counted("HasBacklogWithoutCapacity", "")[-1] == 1.0
    assert house.counted("ApproximateBacklogSize", "")[-1] == 1.0
    assert house.counted("ApproximateAgeOfOldestRequest", "")[-1] == pytest.approx(20.0)
    assert house.predictor.seen == []
    await house.endpoint(replicas=1)
    assert (await house.ended(record)).status == "Completed"


async def test_one_that_waits_too_long_expires_without_a_prediction(house: House) -> None:
    await house.endpoint(replicas=0)
    house.open()
    record = await house.invoke(RequestTTLSeconds=60)
    other = await house.invoke()
    house.clock.advance(61.0)
    assert (await house.ended(record)).status == "Failed"
    assert b"RequestTTLSeconds" in house.objects[failed(record)]
    await house.until(lambda: house.counted("ExpiredRequests", "A") == [1.0])
    await house.endpoint(replicas=1)
    await house.ended(other)
    assert [asked.id for asked, _ in house.predictor.seen] == [other.name]


async def test_a_front_that_is_away_loses_nothing(house: House) -> None:
    house.predictor.away = True
    await house.endpoint()
    house.open()
    records = [await house.invoke(b"%d" % n) for n in range(5)]
    await house.looked()
    house.predictor.away = False
    house.clock.advance(1.0)  # the pause is over
    for record in records:
        assert (await house.ended(record)).status == "Completed"
        house.clock.advance(1.0)
    assert len(house.predictor.seen) == 5


async def test_a_successor_joins_what_runs_and_goes_on_with_what_waits(house: House) -> None:
    house.hold.clear()
    await house.endpoint()
    house.open()
    records = [await house.invoke(b"%d" % n) for n in range(5)]
    await house.until(lambda: len(house.predictor.seen) == 2)
    await house.close()
    house.clock.advance(5.0)
    house.open()
    house.hold.set()
    for record in records:
        assert (await house.ended(record)).status == "Completed"
    assert len(house.predictor.seen) == 5, "each was predicted once"


async def test_an_answer_that_a_predecessor_stored_is_not_predicted_again(house: House) -> None:
    await house.endpoint()
    record = await house.invoke()
    house.objects[out(record)] = b"stored before the crash"
    house.clock.advance(1.0)
    house.open()
    assert (await house.ended(record)).status == "Completed"
    assert house.predictor.seen == []
    assert house.objects[out(record)] == b"stored before the crash"


async def test_a_key_that_the_caller_chose_may_hold_an_older_answer(house: House) -> None:
    await house.endpoint()
    record = await house.invoke(Filename="same.out")
    house.objects["out/same.out"] = b"another's"
    house.clock.advance(1.0)
    house.open()
    await house.ended(record)
    assert house.objects["out/same.out"] == b"answer to 1"


async def test_an_endpoint_that_is_deleted_fails_what_waits(house: House) -> None:
    await house.endpoint(replicas=0)
    house.open()
    record = await house.invoke()
    await house.looked()
    found = await house.store.get("endpoint", SCOPE, "e")
    assert found is not None
    await house.store.remove(found)
    house.clock.advance(6.0)
    assert (await house.ended(record)).status == "Failed"
    assert b"was deleted" in house.objects[failed(record)]


async def test_one_whose_endpoint_went_while_nobody_ran_fails_at_the_next_start(house: House) -> None:
    record = await house.invoke()
    house.clock.advance(1.0)
    house.open()
    assert (await house.ended(record)).status == "Failed"


async def test_a_whole_backlog_of_them_is_failed_too(house: House) -> None:
    """More than one page, and of several scopes."""
    for _ in range(PAGE + 20):
        record = await house.invoke()
    elsewhere = replace(record, scope=Scope("111111111111", "eu-west-1"), name="elsewhere", arn="arn:elsewhere")
    await house.store.add(elsewhere)
    house.clock.advance(1.0)
    house.open()
    await house.until(lambda: len([key for key in house.objects if key.startswith("failed/")]) == PAGE + 20)
    assert (await house.ended(elsewhere)).status == "Failed"


async def test_answered_invocations_are_forgotten_after_a_while(house: House) -> None:
    await house.endpoint()
    house.open()
    record = await house.invoke()
    await house.ended(record)
    house.clock.advance(async_inference.KEPT + 10)
    async with asyncio.timeout(60):
        while await house.store.get(record.kind, SCOPE, record.name) is not None:
            await asyncio.sleep(0.01)


async def test_another_control_planes_endpoint_is_left_to_it(house: House) -> None:
    await house.endpoint()
    [lease] = await house.store.claim("endpoint", "another", house.clock.now(), 30.0, ("InService",), 10)
    house.open()
    record = await house.invoke()
    await house.looked()
    assert house.predictor.seen == []
    await house.store.release(lease)
    house.clock.advance(6.0)
    assert (await house.ended(record)).status == "Completed"


async def test_a_mistake_of_ours_costs_one_invocation_not_the_loop(house: House) -> None:
    await house.endpoint()
    house.open()
    broken = await house.invoke(b"broken")
    found = await house.store.get(broken.kind, SCOPE, broken.name)
    assert found is not None

    async def model(asked: Asked, body: bytes) -> tuple[int, str, bytes]:
        if body == b"broken":
            raise RuntimeError("boom")
        return 200, "text/csv", body

    await house.ended(broken)
    house.predictor.model = model
    record = await house.invoke(b"broken")
    good = await house.invoke(b"good")
    await house.ended_in_time(record)
    assert b"internal error" in house.objects[failed(record)]
    assert (await house.ended(good)).status == "Completed"


@pytest.mark.parametrize("lack", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE])
async def test_what_has_no_room_on_the_disk_waits_until_there_is_some(house: House, lack: int) -> None:
    await house.endpoint()
    house.open()
    house.lacks, house.room = lack, 500  # of what an invocation writes, its input is the largest
    records = [await house.invoke(b"%d" % n * 1000) for n in range(3)]
    await house.full(20)
    assert house.predictor.seen == []
    assert [record.status for record in await house.store.page(Query(async_inference.KIND, SCOPE))] == ["Queued"] * 3
    house.lacks = 0
    for record in records:
        assert (await house.ended_in_time(record)).status == "Completed"
        assert house.objects[out(record)] == b"answer to " + b64decode(record.document["body"])


async def test_what_has_no_room_on_the_disk_waits_no_longer_than_it_may(house: House) -> None:
    """And while it cannot be told that it failed, there being no room for that either, it is not predicted."""
    await house.endpoint()
    house.open()
    house.lacks = errno.ENOSPC
    record = await house.invoke(RequestTTLSeconds=60)
    await house.full(60)
    found = await house.store.get(record.kind, SCOPE, record.name)
    assert found is not None
    assert found.status == "Queued"
    house.lacks = 0
    assert (await house.ended(record)).status == "Failed"
    assert b"RequestTTLSeconds" in house.objects[failed(record)]
    assert house.predictor.seen == []
    await house.until(lambda: house.counted("ExpiredRequests", "A") == [1.0])


async def test_a_failure_that_has_no_room_is_told_when_there_is_some(house: House) -> None:
    """The endpoint is gone, so nobody takes what waits out of its queue again."""
    record = await house.invoke()
    house.clock.advance(1.0)
    house.lacks = errno.ENOSPC
    house.open()
    await house.full(5)
    house.lacks = 0
    assert (await house.ended(record)).status == "Failed"
    assert b"was deleted" in house.objects[failed(record)]


async def test_a_start_on_a_full_disk_finds_its_folder(house: House) -> None:
    """A folder of that name takes a block, which a full disk does not have; what a predecessor left in it goes."""
    (house.folder / "work" / "half" / "in").mkdir(parents=True)
    (house.folder / "work" / "half.failure").write_bytes(b"x")
    kept = (house.folder / "work").stat().st_ino
    await house.endpoint()
    house.open()
    assert (await house.ended(await house.invoke())).status == "Completed"
    await house.until(lambda: not list((house.folder / "work").iterdir()))
    assert (house.folder / "work").stat().st_ino == kept


async def test_all_invocations_are_counted(house: House) -> None:
    await house.endpoint()
    house.open()
    await house.ended(await house.invoke(b"x"))
    for metric in (
        "InvocationsProcessed",
        "TotalProcessingTime",
        "TimeInBacklog",
        "RequestDownloadLatency",
        "ResponseUploadLatency",
    ):
        await house.until(lambda metric=metric: len(house.counted(metric)) == 1)
    assert await house.store.count(Query(async_inference.KIND, SCOPE, statuses=("Completed",))) == 1
