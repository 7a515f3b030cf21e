"""CloudWatch Logs' operations over the store in memory and over files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest

from clary.api import handlers
from clary.api.call import Call, Params, Ports
from clary.api.errors import translate
from clary.api.registry import find
from clary.domain.errors import ClaryError
from clary.domain.resources import Scope
from clary.ports import Logs
from clary.stores.logs import FileLogs
from clary.testing.logs import MemoryLogs

ACCOUNT, REGION = "000000000000", "us-east-1"
NOW = 1_800_000_000.0
MS = int(NOW * 1000)
JOBS = "/aws/sagemaker/TrainingJobs"
GROUP_ARN = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{JOBS}"


class Client:
    """Calls handlers as the wire does; errors come back as (code, message)."""

    def __init__(self, logs: Logs) -> None:
        handlers.load()
        self.logs = logs
        nothing = cast(Any, None)
        self.ports = Ports(nothing, nothing, nothing, logs, nothing, nothing, nothing, nothing, nothing, nothing)
        self.scope = Scope(ACCOUNT, REGION)

    async def __call__(self, name: str, **params: Any) -> Params:
        operation = find("logs", name)
        assert operation is not None
        return await operation.handler(Call(self.ports, "logs", name, self.scope, "arn", now=NOW), params)

    async def refused(self, name: str, **params: Any) -> tuple[str, str]:
        with pytest.raises(ClaryError) as caught:
            await self(name, **params)
        return translate("logs", name, caught.value)[:2]


@pytest.fixture(params=["memory", "files"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    return Client(MemoryLogs() if request.param == "memory" else FileLogs(tmp_path / "logs"))


def write(client: Client, stream: str, *texts: str, at: int = MS) -> None:
    client.logs.open(client.scope, JOBS, stream, NOW)
    client.logs.append(client.scope, JOBS, stream, [(at + n, text) for n, text in enumerate(texts)])


async def test_groups(client: Client) -> None:
    missing = await client.refused("DeleteLogGroup", logGroupName="g")
    assert missing == ("ResourceNotFoundException", "The specified log group does not exist.")
    await client("CreateLogGroup", logGroupName="g/1", tags={"a": "b"})
    taken = await client.refused("CreateLogGroup", logGroupName="g/1")
    assert taken == ("ResourceAlreadyExistsException", "The specified log group already exists")
    await client("CreateLogGroup", logGroupName="h")
    (group,) = (await client("DescribeLogGroups", logGroupNamePrefix="g"))["logGroups"]
    assert group == {
        "logGroupName": "g/1",
        "creationTime": MS,
        "metricFilterCount": 0,
        "arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g/1:*",
        "logGroupArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g/1",
        "storedBytes": 0,
        "logGroupClass": "STANDARD",
        "deletionProtectionEnabled": False,
    }
    first = await client("DescribeLogGroups", limit=1)
    assert [g["logGroupName"] for g in first["logGroups"]] == ["g/1"]
    second = await client("DescribeLogGroups", limit=1, nextToken=first["nextToken"])
    assert [g["logGroupName"] for g in second["logGroups"]] == ["h"]
    assert "nextToken" not in second
    bad_token = ("InvalidParameterException", "The specified nextToken is invalid.")
    assert await client.refused("DescribeLogGroups", nextToken="x") == bad_token
    await client("DeleteLogGroup", logGroupName="h")
    assert len((await client("DescribeLogGroups"))["logGroups"]) == 1


async def test_retention_and_tags(client: Client) -> None:
    await client("CreateLogGroup", logGroupName=JOBS, tags={"a": "b"})
    assert (await client.refused("PutRetentionPolicy", logGroupName=JOBS, retentionInDays=2))[
        0
    ] == "InvalidParameterException"
    await client("PutRetentionPolicy", logGroupName=JOBS, retentionInDays=7)
    assert (await client("DescribeLogGroups"))["logGroups"][0]["retentionInDays"] == 7
    await client("TagResource", resourceArn=GROUP_ARN, tags={"c": "d"})
    await client("TagLogGroup", logGroupName=JOBS, tags={"e": "f"})
    await client("UntagResource", resourceArn=GROUP_ARN + ":*", tagKeys=["a"])
    assert (await client("ListTagsForResource", resourceArn=GROUP_ARN))["tags"] == {"c": "d", "e": "f"}
    await client("UntagLogGroup", logGroupName=JOBS, tags=["c"])
    assert (await client("ListTagsLogGroup", logGroupName=JOBS))["tags"] == {"e": "f"}
    await client("DeleteRetentionPolicy", logGroupName=JOBS)
    assert "retentionInDays" not in (await client("DescribeLogGroups"))["logGroups"][0]


async def test_another_account_s_group_is_as_if_missing(client: Client) -> None:
    await client("CreateLogGroup", logGroupName=JOBS)
    missing = ("ResourceNotFoundException", "The specified log group does not exist.")
    for arn in (GROUP_ARN.replace(ACCOUNT, "111111111111"), GROUP_ARN.replace(REGION, "eu-west-1"), GROUP_ARN + "x"):
        assert await client.refused("ListTagsForResource", resourceArn=arn) == missing
        assert await client.refused("FilterLogEvents", logGroupIdentifier=arn) == missing
    assert (await client.refused("ListTagsForResource", resourceArn="arn:x"))[0] == "InvalidParameterException"


async def test_streams(client: Client) -> None:
    missing = await client.refused("DescribeLogStreams", logGroupName=JOBS)
    assert missing == ("ResourceNotFoundException", "The specified log group does not exist.")
    await client("CreateLogGroup", logGroupName=JOBS)
    await client("CreateLogStream", logGroupName=JOBS, logStreamName="a/1")
    taken = await client.refused("CreateLogStream", logGroupName=JOBS, logStreamName="a/1")
    assert taken == ("ResourceAlreadyExistsException", "The specified log stream already exists")
    write(client, "b/1", "x", at=MS + 5)
    write(client, "b/2", "x", "y")
    answer = await client("DescribeLogStreams", logGroupIdentifier=GROUP_ARN)
    assert [s["logStreamName"] for s in answer["logStreams"]] == ["a/1", "b/1", "b/2"]
    assert answer["logStreams"][0] == {
        "logStreamName": "a/1",
        "creationTime": MS,
        "arn": f"{GROUP_ARN}:log-stream:a/1",
        "storedBytes": 0,
    }
    last = answer["logStreams"][2]
    assert (last["firstEventTimestamp"], last["lastEventTimestamp"]) == (MS, MS + 1)
    answer = await client("DescribeLogStreams", logGroupName=JOBS, orderBy="LastEventTime", descending=True, limit=2)
    assert [s["logStreamName"] for s in answer["logStreams"]] == ["b/1", "b/2"]
    assert answer["nextToken"]
    answer = await client("DescribeLogStreams", logGroupName=JOBS, logStreamNamePrefix="b/", limit=1)
    assert [s["logStreamName"] for s in answer["logStreams"]] == ["b/1", "b/2"]
    assert "nextToken" not in answer
    bad = {"logGroupName": JOBS, "orderBy": "LastEventTime", "logStreamNamePrefix": "b"}
    assert (await client.refused("DescribeLogStreams", **bad))[0] == "InvalidParameterException"
    await client("DeleteLogStream", logGroupName=JOBS, logStreamName="a/1")
    missing = await client.refused("DeleteLogStream", logGroupName=JOBS, logStreamName="a/1")
    assert missing == ("ResourceNotFoundException", "The specified log stream does not exist.")


async def test_events_of_a_stream_forward(client: Client) -> None:
    """As both SDKs read: from the head, until a page is empty; the token at the end stays what it was."""
    write(client, "j/1", "a", "b", "c")
    names = {"logGroupName": JOBS, "logStreamName": "j/1", "startFromHead": True}
    page = await client("GetLogEvents", **names, limit=2)
    assert page["events"][0] == {"timestamp": MS, "message": "a", "ingestionTime": MS}
    page = await client("GetLogEvents", **names, nextToken=page["nextForwardToken"])
    assert [event["message"] for event in page["events"]] == ["c"]
    token = page["nextForwardToken"]
    for _ in range(2):
        page = await client("GetLogEvents", **names, nextToken=token)
        assert page["events"] == []
        assert page["nextForwardToken"] == token
    write(client, "j/1", "d", at=MS + 9)
    page = await client("GetLogEvents", **names, nextToken=token)
    assert [event["message"] for event in page["events"]] == ["d"]
    back = await client("GetLogEvents", **names, nextToken=page["nextBackwardToken"], limit=1)
    assert [event["message"] for event in back["events"]] == ["c"]


async def test_events_of_a_stream_backward(client: Client) -> None:
    write(client, "j/1", "a", "b", "c")
    names = {"logGroupName": JOBS, "logStreamName": "j/1"}
    page = await client("GetLogEvents", **names, limit=2)
    assert [event["message"] for event in page["events"]] == ["b", "c"]
    page = await client("GetLogEvents", **names, nextToken=page["nextBackwardToken"])
    assert [event["message"] for event in page["events"]] == ["a"]
    token = page["nextBackwardToken"]
    page = await client("GetLogEvents", **names, nextToken=token)
    assert (page["events"], page["nextBackwardToken"]) == ([], token)
    bounded = await client("GetLogEvents", **names, startTime=MS + 1, endTime=MS + 2)
    assert [event["message"] for event in bounded["events"]] == ["b"]


async def test_an_empty_stream_has_tokens(client: Client) -> None:
    write(client, "j/1")
    names = {"logGroupName": JOBS, "logStreamName": "j/1", "startFromHead": True}
    token = (await client("GetLogEvents", **names))["nextForwardToken"]
    write(client, "j/1", "a")
    page = await client("GetLogEvents", **names, nextToken=token)
    assert [event["message"] for event in page["events"]] == ["a"]


async def test_what_a_group_is_made_with_is_shown(client: Client) -> None:
    key = "arn:aws:kms:eu-west-1:000000000000:key/k"
    await client("CreateLogGroup", logGroupName="a", kmsKeyId=key, logGroupClass="INFREQUENT_ACCESS")
    await client("CreateLogGroup", logGroupName="b", logGroupClass="ESSENTIALS", deletionProtectionEnabled=True)
    await client("CreateLogGroup", logGroupName="c")
    first, second, third = (await client("DescribeLogGroups"))["logGroups"]
    assert (first["kmsKeyId"], first["logGroupClass"], first["deletionProtectionEnabled"]) == (
        key,
        "INFREQUENT_ACCESS",
        False,
    )
    assert (second["logGroupClass"], second["deletionProtectionEnabled"]) == ("ESSENTIALS", True)
    assert "kmsKeyId" not in second
    assert third["logGroupClass"] == "STANDARD"
    for wanted, names in (("STANDARD", ["c"]), ("ESSENTIALS", ["a", "b"]), ("DELIVERY", [])):
        shown = (await client("DescribeLogGroups", logGroupClass=wanted))["logGroups"]
        assert [group["logGroupName"] for group in shown] == names
    await client("DisassociateKmsKey", logGroupName="a")
    await client("AssociateKmsKey", resourceIdentifier=GROUP_ARN.replace(JOBS, "c"), kmsKeyId=key)
    await client("PutRetentionPolicy", logGroupName="c", retentionInDays=7)
    assert [group.get("kmsKeyId") for group in (await client("DescribeLogGroups"))["logGroups"]] == [None, None, key]
    assert (await client.refused("CreateLogGroup", logGroupName="aws/x"))[0] == "InvalidParameterException"


async def test_a_protected_group_and_its_streams_are_not_deleted(client: Client) -> None:
    await client("CreateLogGroup", logGroupName="g", deletionProtectionEnabled=True)
    await client("CreateLogStream", logGroupName="g", logStreamName="s")
    code, words = await client.refused("DeleteLogGroup", logGroupName="g")
    assert code == "ValidationException"
    assert "PutLogGroupDeletionProtection" in words
    assert (await client.refused("DeleteLogStream", logGroupName="g", logStreamName="s"))[0] == "ValidationException"
    await client("PutLogGroupDeletionProtection", logGroupIdentifier="g", deletionProtectionEnabled=False)
    await client("DeleteLogStream", logGroupName="g", logStreamName="s")
    await client("DeleteLogGroup", logGroupName="g")
    assert (await client("DescribeLogGroups"))["logGroups"] == []


async def test_bad_questions(client: Client) -> None:
    write(client, "j/1", "a")
    for params in (
        {"logStreamName": "j/1"},
        {"logStreamName": "j/1", "logGroupName": JOBS, "nextToken": "../x"},
    ):
        assert (await client.refused("GetLogEvents", **params))[0] == "InvalidParameterException"
    for operation in ("GetLogEvents", "FilterLogEvents", "DescribeLogStreams"):
        both = {"logGroupName": JOBS, "logGroupIdentifier": JOBS, "logStreamName": "j/1"}
        assert (await client.refused(operation, **both))[0] == "ValidationException"
    for params in (
        {"filterPattern": "{ x"},
        {"logStreamNames": ["j/1"], "logStreamNamePrefix": "j"},
    ):
        assert (await client.refused("FilterLogEvents", logGroupName=JOBS, **params))[0] == "InvalidParameterException"
    bad_token = ("InvalidParameterException", "The specified nextToken is invalid.")
    assert await client.refused("FilterLogEvents", logGroupName=JOBS, nextToken="x") == bad_token
    missing = await client.refused("FilterLogEvents", logGroupName=JOBS, logStreamNames=["x"])
    assert missing == ("ResourceNotFoundException", "The specified log stream does not exist.")


async def test_a_search_through_a_group(client: Client) -> None:
    write(client, "j/1", "ERROR a", "ok", "ERROR b", at=MS)
    write(client, "j/2", "ERROR c", at=MS + 1)
    write(client, "k/1", "ERROR d", at=MS)
    params: dict[str, Any] = {"logGroupName": JOBS, "filterPattern": "ERROR", "logStreamNamePrefix": "j/", "limit": 1}
    events, token = [], None
    while True:
        page = await client("FilterLogEvents", **params, **({"nextToken": token} if token else {}))
        events += page["events"]
        token = page.get("nextToken")
        if token is None:
            break
    assert [(event["logStreamName"], event["message"]) for event in events] == [
        ("j/1", "ERROR a"),
        ("j/2", "ERROR c"),
        ("j/1", "ERROR b"),
    ]
    ids = [event["eventId"] for event in events]
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"\d{56}", one) for one in ids)
    assert len(set(ids)) == 3
    bounded = await client("FilterLogEvents", logGroupName=JOBS, startTime=MS + 1, endTime=MS + 1)
    assert [event["message"] for event in bounded["events"]] == ["ok", "ERROR c"]
    other = await client.refused("FilterLogEvents", logGroupName=JOBS, nextToken=page.get("nextToken") or "AAAA")
    assert other[0] == "InvalidParameterException"


async def test_put_events(client: Client) -> None:
    await client("CreateLogGroup", logGroupName=JOBS)
    names = {"logGroupName": JOBS, "logStreamName": "s"}
    event = {"timestamp": MS, "message": "a\nb"}
    missing = await client.refused("PutLogEvents", **names, logEvents=[event])
    assert missing == ("ResourceNotFoundException", "The specified log stream does not exist.")
    await client("CreateLogStream", **names)
    assert "rejectedLogEventsInfo" not in await client("PutLogEvents", **names, logEvents=[event])
    await client("PutLogEvents", **names, logEvents=[{"timestamp": MS - 1000, "message": "earlier"}])
    page = await client("GetLogEvents", **names)
    assert [e["message"] for e in page["events"]] == ["earlier", "a\nb"]
    day = 86_400_000
    old = await client("PutLogEvents", **names, logEvents=[{"timestamp": MS - 15 * day, "message": "x"}])
    assert old["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    new = await client("PutLogEvents", **names, logEvents=[event, {"timestamp": MS + day // 2, "message": "x"}])
    assert new["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    await client("PutRetentionPolicy", logGroupName=JOBS, retentionInDays=3)
    late = await client("PutLogEvents", **names, logEvents=[{"timestamp": MS - 4 * day, "message": "x"}])
    assert late["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    for bad in (
        [event, {"timestamp": MS - 1, "message": "x"}],
        [{"timestamp": MS - 2 * day, "message": "x"}, event],
        [{"timestamp": MS, "message": "x" * 600_000}] * 2,
    ):
        assert (await client.refused("PutLogEvents", **names, logEvents=bad))[0] == "InvalidParameterException"


@pytest.mark.parametrize(
    ("operation", "asked"),
    [
        ("DescribeLogStreams", {"logStreamNamePrefix": "job/"}),
        ("GetLogEvents", {"logStreamName": "job/algo-1-1"}),
    ],
)
async def test_who_looks_at_a_job_and_reads_its_log_follows_it(
    client: Client, operation: str, asked: dict[str, str]
) -> None:
    arn, other = (f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name}" for name in ("job", "other"))
    followers = client.ports.followers
    for each in (arn, other):
        followers.looks("arn", each, NOW - 10)
    write(client, "job/algo-1-1", "a line")
    await client(operation, logGroupName=JOBS, **asked)
    assert followers.looks("arn", arn, NOW + 1).read == NOW
    assert followers.looks("arn", other, NOW + 1).read is None
