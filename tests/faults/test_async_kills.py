"""kill -9 while an asynchronous endpoint works off its queue: nothing is lost, no answer is written twice, the model runs once where its
front lives on."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.faults.scene import BUCKET, Scene, until
from tests.live import Server

from clary.app import up

pytestmark = [pytest.mark.live, pytest.mark.slow]

CALLS = 200
AT_ONCE = 4
SLOW = """
import json, os, time
def model_fn(model_dir):
    return None
def transform_fn(model, body, content_type, accept):
    number = json.loads(body)["number"]
    os.write(1, b"begin %d\\n" % number)  # a line whole: two workers share the pipe
    time.sleep(0.05)
    os.write(1, b"end %d\\n" % number)
    return json.dumps({"number": number})
"""


class Queue:
    """An asynchronous endpoint and what is known of its invocations, from outside."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.scene, self.name = scene, name
        scene.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self.topic = scene.server.client("sns").create_topic(Name=name)["TopicArn"]
        told = f"s3://{BUCKET}/{name}/told"
        scene.server.client("sns").subscribe(TopicArn=self.topic, Protocol="s3", Endpoint=told)
        scene.model(name, SLOW, Environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "2"})
        output = {
            "S3OutputPath": f"s3://{BUCKET}/{name}/out",
            "S3FailurePath": f"s3://{BUCKET}/{name}/failed",
            "NotificationConfig": {"SuccessTopic": self.topic, "ErrorTopic": self.topic},
        }
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InitialInstanceCount": 1,
            "InstanceType": "ml.m5.large",
        }
        scene.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[variant],
            AsyncInferenceConfig={
                "OutputConfig": output,
                "ClientConfig": {"MaxConcurrentInvocationsPerInstance": AT_ONCE},
            },
        )
        scene.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        scene.in_service(name)

    def fill(self, count: int = CALLS) -> None:
        """As an application would: every call is tried again while the answer is 503."""
        clients = [
            self.scene.server.client("sagemaker-runtime", retries={"mode": "standard", "total_max_attempts": 40})
            for _ in range(4)
        ]

        def call(number: int) -> None:
            body = b'{"number": %d}' % number
            client = clients[number % len(clients)]
            client.invoke_endpoint_async(EndpointName=self.name, Body=body, ContentType="application/json")

        with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
            list(pool.map(call, range(count)))

    def versions(self, folder: str) -> Counter[str]:
        """Key -> how often it was written."""
        pages = self.scene.s3.get_paginator("list_object_versions").paginate(
            Bucket=BUCKET, Prefix=f"{self.name}/{folder}/"
        )
        return Counter(row["Key"] for page in pages for row in page.get("Versions", []))

    def answered(self) -> int:
        return len(self.versions("out")) + len(self.versions("failed"))

    def numbers(self) -> Counter[int]:
        """What the answers say."""
        found: Counter[int] = Counter()
        for key in self.versions("out"):
            body = self.scene.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            found[int(body.rpartition(b":")[2].strip(b" }"))] += 1
        return found

    def ran(self, word: str) -> Counter[int]:
        """Number -> how often the model began, or ended, with it."""
        group = f"/aws/sagemaker/Endpoints/{self.name}"
        pages = self.scene.logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        lines = [event["message"].split() for page in pages for event in page["events"]]
        return Counter(int(line[1]) for line in lines if len(line) == 2 and line[0] == word)

    def check(self, count: int = CALLS) -> None:
        """Every call has one answer, written once, and told of once."""
        everything = range(count)
        assert self.versions("failed") == {}
        assert set(self.versions("out").values()) == {1}, "an answer was written twice"
        assert self.numbers() == Counter(everything)
        until(lambda: len(self.versions("told")) == count, 30, "every answer is told of")


_number = itertools.count()


@pytest.fixture
def queue(scene: Scene) -> Iterator[Queue]:
    """Gone with its test: others count the replicas of the Clary that all share."""
    made = Queue(scene, f"queue-{next(_number)}")
    yield made
    scene.delete(made.name)


def test_a_killed_control_plane_loses_no_call_and_predicts_none_twice(scene: Scene, queue: Queue) -> None:
    """Killed while calls come in, and while they are worked off."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        filling = pool.submit(queue.fill)
        for part in (10, 50, 120):
            until(lambda part=part: queue.answered() >= part, 60, f"{part} answers")
            scene.back("control", scene.kill("control"))
        filling.result(90)
    until(lambda: queue.answered() >= CALLS, 90, "all are answered")
    queue.check()
    assert queue.ran("begin") == queue.ran("end") == Counter(range(CALLS)), "the model ran once for each"


def test_a_killed_front_loses_no_call(scene: Scene, queue: Queue) -> None:
    queue.fill()
    until(lambda: queue.answered() >= 20, 60)
    scene.back("front-0", scene.kill("front-0"))
    until(lambda: queue.answered() >= CALLS, 90, "all are answered")
    queue.check()
    begun, ended = queue.ran("begin"), queue.ran("end")
    assert set(begun) == set(range(CALLS))
    again = [number for number, times in begun.items() if times > 1]
    assert len(again) <= AT_ONCE, "only what was in the front's hands ran again"
    assert sum(ended.values()) <= CALLS + len(again)


def test_calls_outlive_clary_up_itself(start: Callable[..., Server]) -> None:
    scene = Scene(start())
    queue = Queue(scene, "queue-up")
    queue.fill()
    until(lambda: queue.answered() >= 20, 60)
    os.kill(scene.supervisor(), signal.SIGKILL)
    own = ("clary.app.", "nginx")
    until(
        lambda: not [p for p in scene.everyone().values() if any(o in p.command for o in own)], 10, "all went with it"
    )
    settings: Any = scene.server.settings
    up.detached(settings)
    until(lambda: queue.answered() >= CALLS, 90, "all are answered")
    queue.check()
    begun = queue.ran("begin")
    assert set(begun) == set(range(CALLS))
    assert sum(times - 1 for times in begun.values()) <= AT_ONCE
