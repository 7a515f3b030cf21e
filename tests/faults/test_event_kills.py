"""kill -9 of the control plane around queues, functions, rules and schedules: what was answered is not lost, no time fires twice."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.faults.scene import Scene, until
from tests.live import ROLE
from tests.sdk.test_functions import zipped

pytestmark = [pytest.mark.live, pytest.mark.slow]

KILLS = 5
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def patient(scene: Scene, service: str) -> Any:
    return scene.server.client(service, retries={"mode": "standard", "total_max_attempts": 10}, read_timeout=60)


def queue(sqs: Any, name: str) -> tuple[str, str]:
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def bodies(sqs: Any, url: str) -> list[str]:
    """What can be received now."""
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
    for message in found:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [message["Body"] for message in found]


def test_a_change_that_is_followed_by_a_kill_is_told_all_the_same(scene: Scene) -> None:
    sqs, events, sm = patient(scene, "sqs"), patient(scene, "events"), scene.patient
    url, arn = queue(sqs, "killed-changes")
    pattern = {"detail-type": ["SageMaker Model Package State Change"], "detail": {"ModelPackageGroupName": ["killed"]}}
    events.put_rule(Name="killed", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="killed", Targets=[{"Id": "q", "Arn": arn, "InputPath": "$.detail.ModelPackageArn"}])
    sm.create_model_package_group(ModelPackageGroupName="killed")
    made: set[str] = set()
    for _ in range(KILLS):
        made.add(
            sm.create_model_package(ModelPackageGroupName="killed", ModelApprovalStatus="Approved")["ModelPackageArn"]
        )
        scene.back("control", scene.kill("control"))
    told: set[str] = set()

    def all_of_them() -> bool:
        told.update(json.loads(body) for body in bodies(sqs, url))
        return told >= made

    until(all_of_them, 60, "every package was told")


def test_sent_messages_and_events_of_functions_outlive_kills(scene: Scene) -> None:
    sqs, lam = patient(scene, "sqs"), patient(scene, "lambda")
    url, _ = queue(sqs, "killed-messages")
    results, _ = queue(sqs, "killed-results")
    code = """
import boto3

def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl=event["to"], MessageBody=str(event["n"]))
"""
    lam.create_function(
        FunctionName="killed", Runtime=RUNTIME, Role=ROLE, Handler="index.handler", Code={"ZipFile": zipped(code)}, Timeout=60,
        MemorySize=256,
    )  # fmt: skip
    for number in range(KILLS):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
        payload = json.dumps({"to": results, "n": number}).encode()
        assert lam.invoke(FunctionName="killed", InvocationType="Event", Payload=payload)["StatusCode"] == 202
        scene.back("control", scene.kill("control"))
    wanted = {str(number) for number in range(KILLS)}
    for where in (url, results):
        got: list[str] = []
        until(lambda got=got, where=where: got.extend(bodies(sqs, where)) or set(got) >= wanted, 120, where)
        if where == url:
            assert sorted(got) == sorted(wanted)  # each once


def test_a_time_that_passes_in_a_kill_fires_once(scene: Scene) -> None:
    sqs, scheduler = patient(scene, "sqs"), patient(scene, "scheduler")
    url, arn = queue(sqs, "killed-times")
    at = datetime.now(UTC) + timedelta(seconds=4)
    for number in range(KILLS):
        scheduler.create_schedule(
            Name=f"killed-{number}",
            ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": arn, "RoleArn": ROLE, "Input": str(number)},
        )
    while datetime.now(UTC) < at + timedelta(seconds=3):
        scene.back("control", scene.kill("control"))
        time.sleep(0.3)
    got: list[str] = []
    until(lambda: got.extend(bodies(sqs, url)) or len(got) >= KILLS, 30, "every schedule fired")
    got += bodies(sqs, url)
    assert sorted(got) == [str(number) for number in range(KILLS)]
