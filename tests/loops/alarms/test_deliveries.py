"""Delivers messages of topics: the loop that carries and tries again, and the courier that reaches files, buckets and HTTP."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clary.domain.endpoints import topics
from clary.domain.endpoints.topics import Allowed, Delivery
from clary.domain.errors import ClaryError, Invalid, NotFound, Unavailable
from clary.domain.metrics.datapoints import Series
from clary.domain.resources import Record, Scope
from clary.loops.alarms.courier import Courier
from clary.loops.alarms.deliveries import DeliverySubject
from clary.loops.core.loop import Loop
from clary.loops.core.samples import Samples
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "us-east-1")
ID = "0193e0a0-0000-7000-8000-000000000001"
TOPIC = "arn:aws:sns:us-east-1:000000000000:news"


def record(protocol: str = "s3", endpoint: str = "s3://b/told", message: str = "hello") -> Record:
    topic = Record(topics.TOPIC, SCOPE, "news", TOPIC, "", 1.0, 1.0, {})
    document = {"protocol": protocol, "endpoint": endpoint, "attributes": {}}
    subscription = Record(topics.SUBSCRIPTION, SCOPE, "one", f"{TOPIC}:one", "", 1.0, 1.0, document)
    [made] = topics.deliveries(topic, [subscription], message, FakeClock().now(), ID)
    return made


# -- the loop -----------------------------------------------------------------------------------------------------------------------


class Road:
    """A loop whose carrier fails `bad` times."""

    def __init__(self, bad: int) -> None:
        self.bad = bad
        self.carried: list[Delivery] = []
        self.clock, self.store, self.datapoints = FakeClock(), MemoryStore(), MemoryDatapoints()
        self.samples = Samples(self.datapoints)
        subject = DeliverySubject(self.carry, self.clock, self.samples)
        self.loop = Loop(subject, self.store, self.clock, "owner")

    async def carry(self, delivery: Delivery) -> None:
        self.carried.append(delivery)
        if len(self.carried) <= self.bad:
            raise Unavailable("nobody there")

    async def counted(self, metric: str) -> int:
        await self.samples.flush()
        series = Series.of("AWS/SNS", metric, {"TopicName": "news"}, "Count")
        return int(sum(summary.count for _, summary in self.datapoints.get(SCOPE, series, 0, 4e9, 60)))


async def test_a_delivery_that_is_taken_is_gone() -> None:
    road = Road(0)
    made = await road.store.add(record())
    for _ in range(2):
        await road.loop.turn(made.arn)
    assert len(road.carried) == 1
    assert await road.store.get(made.kind, SCOPE, made.name) is None
    assert await road.counted("NumberOfNotificationsDelivered") == 1


async def test_one_that_is_not_taken_is_tried_again_later_and_later() -> None:
    road = Road(3)
    made = await road.store.add(record())
    waits = []
    while await road.store.get(made.kind, SCOPE, made.name) is not None:
        decision = await road.loop.turn(made.arn)
        assert decision is not None
        if decision.again:
            waits.append(decision.again)
            road.clock.advance(decision.again)
    assert waits == [1.0, 2.0, 4.0]
    assert len(road.carried) == 4
    assert (
        await road.counted("NumberOfNotificationsFailed"),
        await road.counted("NumberOfNotificationsDelivered"),
    ) == (3, 1)


async def test_one_that_nobody_takes_is_given_up() -> None:
    road = Road(1000)
    made = await road.store.add(record())
    while await road.store.get(made.kind, SCOPE, made.name) is not None:
        decision = await road.loop.turn(made.arn)
        road.clock.advance(decision.again or 0.0 if decision is not None else 0.0)
    assert len(road.carried) == topics.TRIES


# -- the courier --------------------------------------------------------------------------------------------------------------------


class Hook(http.server.ThreadingHTTPServer):
    """A subscriber: keeps what it is told and answers `status`."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], str]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.told.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def courier(tmp_path: Path, *allowed: str, artifacts: MemoryArtifacts | None = None) -> Courier:
    folder = str(tmp_path / "on-their-way")
    return Courier(artifacts or MemoryArtifacts({"b": {}}), Allowed(allowed), folder, MemoryStore(), FakeClock())


def delivery(protocol: str, endpoint: str) -> Delivery:
    return topics.delivery_of(record(protocol, endpoint))


async def test_over_http_with_the_headers_of_sns(tmp_path: Path, hook: Hook) -> None:
    await courier(tmp_path, hook.url).deliver(delivery("http", f"{hook.url}/in?x=1"))
    [(headers, body)] = hook.told
    assert json.loads(body)["Message"] == "hello"
    assert headers["x-amz-sns-message-type"] == "Notification"
    assert headers["x-amz-sns-topic-arn"] == TOPIC
    assert headers["x-amz-sns-message-id"] == ID
    assert headers["content-type"] == "text/plain; charset=UTF-8"


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_an_answer_that_is_no_success_is_a_failure_and_no_redirect_is_followed(
    tmp_path: Path, hook: Hook, status: int
) -> None:
    hook.status = status
    with pytest.raises(Unavailable, match=f"answered {status}"):
        await courier(tmp_path, hook.url).deliver(delivery("http", hook.url))
    assert len(hook.told) == 1


async def test_nobody_listens(tmp_path: Path, hook: Hook) -> None:
    url = hook.url
    hook.server_close()
    with pytest.raises(Unavailable):
        await courier(tmp_path, url).deliver(delivery("http", url))


async def test_a_leave_that_was_withdrawn(tmp_path: Path, hook: Hook) -> None:
    with pytest.raises(Invalid, match="setting 'subscribers'"):
        await courier(tmp_path).deliver(delivery("http", hook.url))
    assert hook.told == []


async def test_into_a_file_a_line_each_and_into_a_folder_a_file_each(tmp_path: Path) -> None:
    news = tmp_path / "news"
    (news / "each").mkdir(parents=True)
    carrier = courier(tmp_path, f"file://{news}")
    for _ in range(2):
        await carrier.deliver(delivery("file", f"file://{news}/all.jsonl"))
    assert [json.loads(line)["Message"] for line in (news / "all.jsonl").read_text().splitlines()] == ["hello"] * 2
    await carrier.deliver(delivery("file", f"file://{news}/each"))
    [name] = os.listdir(news / "each")
    assert json.loads((news / "each" / name).read_text())["MessageId"] == ID


async def test_a_link_leads_out_of_no_folder(tmp_path: Path) -> None:
    (tmp_path / "news").mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "news" / "out").symlink_to(tmp_path / "private")
    (tmp_path / "news" / "one").symlink_to(tmp_path / "private" / "one")
    carrier = courier(tmp_path, f"file://{tmp_path / 'news'}")
    for name in ("out/x", "one"):
        with pytest.raises(Invalid, match="setting 'subscribers'"):
            await carrier.deliver(delivery("file", f"file://{tmp_path}/news/{name}"))
    assert os.listdir(tmp_path / "private") == []


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await courier(tmp_path, f"file://{tmp_path}").deliver(delivery("file", f"file://{tmp_path}/no/where"))


async def test_into_the_accounts_own_bucket(tmp_path: Path) -> None:
    artifacts = MemoryArtifacts({"b": {}, "foreign": {}}, SCOPE.account)
    artifacts.owners["foreign"] = "111111111111"
    carrier = courier(tmp_path, artifacts=artifacts)
    await carrier.deliver(delivery("s3", "s3://b/told"))
    assert json.loads(artifacts.buckets["b"][f"told/{ID}.json"])["Message"] == "hello"
    for endpoint in ("s3://foreign/told", "s3://nowhere/told"):
        with pytest.raises((NotFound, ClaryError)):
            await carrier.deliver(delivery("s3", endpoint))
    assert artifacts.buckets["foreign"] == {}
    assert os.listdir(tmp_path / "on-their-way") == []


async def test_a_raw_message_goes_as_it_is(tmp_path: Path, hook: Hook) -> None:
    raw = replace(delivery("http", hook.url), body="just this", raw=True)
    await asyncio.wait_for(courier(tmp_path, hook.url).deliver(raw), 10)
    [(headers, body)] = hook.told
    assert (headers["x-amz-sns-rawdelivery"], body) == ("true", "just this")
