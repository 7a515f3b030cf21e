"""Two whole Clarys on one PostgreSQL: what is asked of one the other acts on, soon and once, though one control plane is killed again and
again; and no memory or CPU of the machine is given twice.

`scripts/test --chaos long` asks for 200 changes in a minute; the default run for fewer in some seconds.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError
from tests.faults.scene import Scene, until
from tests.faults.test_pipeline_kills import step
from tests.live import ROLE, Server
from tests.stores.postgres import server as postgres

from clary.app import wiring
from clary.app.machine import measure
from clary.domain.machine import instances

__all__ = ["postgres"]
pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.waits]

LONG = bool(os.environ.get("CLARY_LONG"))
ALARMS, CHANGES, PACE, EVERY = (20, 10, 6.0, 5.0) if LONG else (8, 5, 1.5, 3.0)
TYPE = "ml.m5.large"
SLEEPS = "import time; time.sleep(1)"


class Receiver:
    """Gets notifications over HTTP: (reason of the alarm's state, message id, when) of each."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, float]] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reason = json.loads(body["Message"])["NewStateReason"]
                got.append((reason, self.headers["x-amz-sns-message-id"], time.monotonic()))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def when(self, reason: str) -> float | None:
        return next((at for told, _, at in list(self.got) if told == reason), None)

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def planes(start: Callable[..., Server], postgres: str, receiver: Receiver) -> tuple[Scene, Scene]:
    """`clary up` in two folders, with one database and one object store: the first one's, which the second uses as any other S3."""
    both: dict[str, Any] = {"database": postgres, "capacity": "strict", "subscribers": (receiver.url,)}
    one = start(**both)
    key = {"s3_access_key": one.key.access_key_id, "s3_secret_key": one.key.secret}
    return Scene(one), Scene(start(**both, s3_endpoint=one.settings.endpoint, **key))


def rows(url: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(sql, values).fetchall()


class Killer:
    """Kills the control plane of a Clary every so many seconds, until it is ended."""

    def __init__(self, scene: Scene, every: float) -> None:
        self.killed: list[float] = []
        self._scene, self._every, self._end = scene, every, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(self._every):
            old = self._scene.kill("control")
            self.killed.append(time.monotonic())
            self._scene.back("control", old)

    def end(self) -> None:
        self._end.set()
        self._thread.join()


def test_a_key_made_or_revoked_at_one_is_so_at_the_other_within_a_second(planes: tuple[Scene, Scene]) -> None:
    one, two = (scene.server for scene in planes)
    assert one.key == two.key
    iam = one.client("iam")
    made = iam.create_access_key(UserName="clary")["AccessKey"]
    signed = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    other = boto3.client("sts", region_name="us-east-1", endpoint_url=two.settings.endpoint, **signed)

    def known() -> bool:
        try:
            return bool(other.get_caller_identity()["Arn"].endswith(":user/clary"))
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidClientTokenId":
                raise
            return False

    until(known, 1, "the other head knows the key")
    iam.delete_access_key(UserName="clary", AccessKeyId=made["AccessKeyId"])
    until(lambda: not known(), 1, "the other head knows that the key is gone")


def test_each_change_made_through_one_is_acted_on_by_the_other(
    planes: tuple[Scene, Scene], postgres: str, receiver: Receiver
) -> None:
    holder, asker = planes
    patient = {"retries": {"mode": "standard", "total_max_attempts": 20}}
    sns, alarms = (holder.server.client(name) for name in ("sns", "cloudwatch"))
    topic = sns.create_topic(Name="changes")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"{receiver.url}/hook", ReturnSubscriptionArn=True)
    mine = wiring.owner_of(holder.server.settings)
    held = "SELECT name FROM resources WHERE kind = 'alarm' AND claimed_by = %s"
    free = "SELECT name FROM resources WHERE kind = 'alarm' AND claimed_by = ''"
    made = itertools.count()

    def more() -> bool:
        """Whether the first control plane holds as many as are needed: a new one is held by who was first to claim it."""
        name = f"change-{next(made)}"
        alarms.put_metric_alarm(
            AlarmName=name, Namespace="Own", MetricName="m", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
            ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore", AlarmActions=[topic], OKActions=[topic],
        )  # fmt: skip
        until(lambda: not rows(postgres, free), 10, "each alarm is looked after")
        return len(rows(postgres, held, mine)) >= ALARMS

    until(more, 60, "the first control plane holds enough alarms")
    names = [str(row[0]) for row in rows(postgres, held, mine)]

    asked: dict[str, float] = {}

    def ask(name: str) -> None:
        """Change after change, each `PACE` seconds after the one before, or when that was acted on."""
        client = asker.server.client("cloudwatch", **patient)
        for number in range(CHANGES):
            reason, began = f"{name} {number}", time.monotonic()
            client.set_alarm_state(AlarmName=name, StateValue=("ALARM", "OK")[number % 2], StateReason=reason)
            asked[reason] = time.monotonic()
            until(lambda reason=reason: receiver.when(reason), 60, f"{reason} is acted on")
            time.sleep(max(0.0, began + PACE - time.monotonic()))

    killer = Killer(asker, EVERY)
    try:
        with ThreadPoolExecutor(len(names)) as pool:
            for done in [pool.submit(ask, name) for name in names]:
                done.result()
    finally:
        killer.end()
    assert len(killer.killed) >= int(CHANGES * PACE / EVERY) - 1
    assert {str(row[0]) for row in rows(postgres, held, mine)} >= set(names)  # it was the first that acted

    assert len(asked) == len(names) * CHANGES >= ALARMS * CHANGES
    waits = [max(0.0, at - asked[reason]) for reason in asked if (at := receiver.when(reason)) is not None]
    print(
        f"\n{len(waits)} changes, {len(killer.killed)} kills: median {statistics.median(waits):.3f} s, most {max(waits):.3f} s"
    )
    assert statistics.median(waits) <= 0.5
    assert max(waits) <= 2.0
    by_reason: dict[str, list[str]] = {}
    for reason, message, _ in receiver.got:
        by_reason.setdefault(reason, []).append(message)
    assert sorted(by_reason) == sorted(asked)
    # One message of each; only a courier that was killed between the delivery and its record may have delivered it again.
    assert all(len(set(messages)) == 1 for messages in by_reason.values())
    assert sum(len(messages) - 1 for messages in by_reason.values()) <= len(killer.killed)
    history = alarms.get_paginator("describe_alarm_history").paginate(HistoryItemType="Action")
    acted = [item["HistorySummary"] for page in history for item in page["AlarmHistoryItems"]]
    assert len(acted) == len(asked)


def test_what_a_machine_has_is_given_once(planes: tuple[Scene, Scene], postgres: str) -> None:
    """Jobs are created through both at once, more than the machine has room for under `strict`."""
    size, machine = instances.find(TYPE), measure()
    assert size is not None
    at_once = int(min(machine.cpus // size.vcpu, machine.memory // size.memory))
    if not at_once:
        pytest.skip(f"this machine is smaller than one {TYPE}")
    names = [f"job-{n}" for n in range(at_once + 3)]
    most, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            [(cpu,)] = rows(postgres, "SELECT coalesce(sum(cpu), 0) FROM grants")
            most[0] = max(most[0], cpu)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with ThreadPoolExecutor(len(names)) as pool:
            kind = {"InstanceType": TYPE, "InstanceCount": 1, "VolumeSizeInGB": 1}
            made = [pool.submit(planes[n % 2].train, name, SLEEPS, ResourceConfig=kind) for n, name in enumerate(names)]
            for each in made:
                each.result()
        jobs = [planes[0].ended(name, 240) for name in names]
    finally:
        ended.set()
        watching.join()
    assert [job["TrainingJobStatus"] for job in jobs] == ["Completed"] * len(names), jobs
    assert 0 < most[0] <= machine.cpus
    moments: list[tuple[datetime, int]] = []
    for job in jobs:
        moments += [(job["TrainingStartTime"], 1), (job["TrainingEndTime"], -1)]
    running = [sum(step for at, step in moments if at <= moment) for moment, step in moments if step == 1]
    assert max(running) <= at_once
    assert rows(postgres, "SELECT count(*) FROM grants") == [(0,)]


def test_one_execution_of_a_pipeline_runs_each_step_once(planes: tuple[Scene, Scene]) -> None:
    """Both look after it, and both control planes are killed in turn."""
    holder, asker = planes
    steps = [step(number) for number in range(6)]
    definition = json.dumps({"Version": "2020-12-01", "Steps": steps})
    asker.patient.create_pipeline(PipelineName="both", PipelineDefinition=definition, RoleArn=ROLE)
    arn = asker.patient.start_pipeline_execution(PipelineName="both")["PipelineExecutionArn"]

    def status() -> str:
        return str(holder.patient.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"])

    for number in range(4):
        time.sleep(0.5)
        scene = planes[number % 2]
        scene.back("control", scene.kill("control"))
    until(lambda: status() != "Executing", 120)
    assert status() == "Succeeded"
    pages = holder.patient.get_paginator("list_training_jobs").paginate(NameContains=arn.rpartition("/")[2])
    jobs = [each["TrainingJobName"].split("-")[2] for page in pages for each in page["TrainingJobSummaries"]]
    assert sorted(jobs) == [f"S{number}" for number in range(6)]
    assert {each["AttemptCount"] for each in asker.patient.list_pipeline_execution_steps(PipelineExecutionArn=arn)[
        "PipelineExecutionSteps"]} == {1}  # fmt: skip
