"""Logs, sts and iam through unmodified boto3."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.sdk.conftest import Server

pytestmark = pytest.mark.live
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def test_who_am_i(server: Server) -> None:
    answer = server.client("sts").get_caller_identity()
    assert answer["Account"] == "000000000000"
    assert answer["Arn"] == "arn:aws:iam::000000000000:user/clary"


def test_an_assumed_role_works_everywhere_until_it_is_tampered_with(server: Server) -> None:
    role = "arn:aws:iam::000000000000:role/Anyone"
    made = server.client("sts").assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]

    def client(service: str, token: str) -> Any:
        keys = made["AccessKeyId"], made["SecretAccessKey"], token
        return boto3.Session(*keys).client(service, "us-east-1", endpoint_url=server.settings.endpoint)

    token = made["SessionToken"]
    assert client("sts", token).get_caller_identity()["Arn"] == "arn:aws:sts::000000000000:assumed-role/Anyone/me"
    assert client("sagemaker", token).list_endpoints(NameContains="no-such")["Endpoints"] == []
    assert "Buckets" in client("s3", token).list_buckets()
    with pytest.raises(ClientError) as caught:
        client("sts", token[:-4] + "AAAA").get_caller_identity()
    assert caught.value.response["Error"]["Code"] == "InvalidClientTokenId"


def test_roles(server: Server) -> None:
    iam = server.client("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="Nobody")
    iam.create_role(RoleName="Trainer", AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName="Trainer", PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
    role = iam.get_role(RoleName="Trainer")["Role"]
    assert role["AssumeRolePolicyDocument"] == json.loads(TRUST)
    assert abs(role["CreateDate"].timestamp() - time.time()) < 60
    names = [
        role["RoleName"] for page in iam.get_paginator("list_roles").paginate(MaxItems=1) for role in page["Roles"]
    ]
    assert names == sorted(names)
    assert {"ClaryDefaultRole", "Trainer"} <= set(names)
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_role(RoleName="Trainer")
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
        iam.create_role(RoleName="Bad", AssumeRolePolicyDocument="{")
    allowed = iam.simulate_principal_policy(PolicySourceArn=role["Arn"], ActionNames=["s3:PutObject"])
    assert [result["EvalDecision"] for result in allowed["EvaluationResults"]] == ["allowed"]


def test_any_role_of_the_account_is_taken_up_when_sdk_v3_asks_what_it_may_do(server: Server) -> None:
    iam = server.client("iam")
    arn = "arn:aws:iam::000000000000:role/team/Unheard"
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="Unheard")
    for _ in range(2):
        allowed = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["s3:GetObject"])
        assert [result["EvalDecision"] for result in allowed["EvaluationResults"]] == ["allowed"]
    role = iam.get_role(RoleName="Unheard")["Role"]
    assert (role["Arn"], role["AssumeRolePolicyDocument"]) == (arn, json.loads(TRUST))
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::999999999999:role/Unheard", ActionNames=["s3:GetObject"]
        )


def test_following_a_group_shows_every_event_once(server: Server) -> None:
    """The loop of `aws logs tail --follow`: pages to the end, then from the last event's time again, known ids passed over."""
    logs, group = server.client("logs"), "/tests/follow"
    logs.create_log_group(logGroupName=group)
    for stream in "ab":
        logs.create_log_stream(logGroupName=group, logStreamName=stream)

    def write() -> None:
        writer = server.client("logs")
        for number in range(40):
            event = {"timestamp": int(time.time() * 1000), "message": str(number)}
            writer.put_log_events(logGroupName=group, logStreamName="ab"[number % 2], logEvents=[event])

    thread = threading.Thread(target=write)
    thread.start()
    asked: dict[str, Any] = {"logGroupName": group, "limit": 3}
    seen: dict[str, str] = {}
    deadline = time.monotonic() + 30
    while len(seen) < 40 and time.monotonic() < deadline:
        page = logs.filter_log_events(**asked)
        for event in page["events"]:
            asked_from = event["timestamp"]
            seen.setdefault(event["eventId"], event["message"])
        if "nextToken" in page:
            asked["nextToken"] = page["nextToken"]
        else:
            asked.pop("nextToken", None)
            if page["events"]:
                asked["startTime"] = asked_from
    thread.join()
    assert sorted(seen.values(), key=int) == [str(number) for number in range(40)]
    pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group, PaginationConfig={"PageSize": 1})
    assert [stream["logStreamName"] for page in pages for stream in page["logStreams"]] == ["a", "b"]


def test_errors_of_logs(server: Server) -> None:
    logs = server.client("logs")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.get_log_events(logGroupName="/none", logStreamName="s")
    logs.create_log_group(logGroupName="/tests/once")
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName="/tests/once")
    with pytest.raises(logs.exceptions.InvalidParameterException):
        logs.filter_log_events(logGroupName="/tests/once", filterPattern="{ nonsense")


def test_env_makes_an_account_the_first_time(server: Server) -> None:
    argv = [sys.executable, "-m", "clary.app.cli", "env", "--dir", server.settings.dir, "--account"]
    first, again = (json.loads(server.run([*argv, "111122223333", "--json"]).stdout) for _ in range(2))
    assert first == again
    sts = boto3.client(
        "sts",
        region_name="us-east-1",
        endpoint_url=first["AWS_ENDPOINT_URL"],
        aws_access_key_id=first["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=first["AWS_SECRET_ACCESS_KEY"],
    )
    assert sts.get_caller_identity()["Account"] == "111122223333"
    with open(first["SAGEMAKER_USER_CONFIG_OVERRIDE"]) as file:
        assert "sagemaker-us-east-1-111122223333" in file.read()
    refused = server.run([*argv, "mine"])
    assert refused.returncode == 2
    assert "an account is 12 digits" in refused.stderr
