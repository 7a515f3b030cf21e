from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from clary.domain.endpoints import async_inference
from clary.domain.errors import Invalid
from clary.domain.resources import Record, Scope

SCOPE = Scope("000000000000", "eu-west-1")
ID = "0193e0a0-0000-7000-8000-000000000001"
CONFIG = {"OutputConfig": {"S3OutputPath": "s3://b/out/", "S3FailurePath": "s3://b/failed"}}
TOPICS = {
    "SuccessTopic": "arn:ok",
    "ErrorTopic": "arn:bad",
    "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"],
}


def document(config: dict[str, Any] = CONFIG, **params: Any) -> dict[str, Any]:
    return async_inference.document({"EndpointName": "e", **params}, config, SCOPE, ID)


def record(**more: Any) -> Record:
    made = {**document(InputLocation="s3://b/in", ContentType="text/csv", InferenceId="mine"), **more}
    return Record(async_inference.KIND, SCOPE, ID, "arn", "Queued", 1000.25, 1000.25, made)


def test_an_answer_and_a_failure_are_named_by_the_invocation() -> None:
    made = document(Body=b"1,2")
    assert made["output"] == f"s3://b/out/{ID}.out"
    assert made["failure"] == f"s3://b/failed/{ID}-error.out"
    assert (made["inference"], made["ttl"], made["timeout"]) == (ID, 21600, 900)
    assert base64.b64decode(made["body"]) == b"1,2"


def test_a_caller_may_name_the_answer() -> None:
    made = document(Body=b"1", S3OutputPathExtension="day/1/", Filename="a.json", RequestTTLSeconds=60)
    assert made["output"] == "s3://b/out/day/1/a.json"
    assert made["failure"] == f"s3://b/failed/{ID}-error.out"
    assert (made["named"], made["ttl"]) == (True, 60)


def test_without_paths_answers_go_to_the_default_bucket_and_failures_nowhere() -> None:
    made = document({"OutputConfig": {}}, Body=b"1")
    assert made["output"] == f"s3://sagemaker-eu-west-1-000000000000/async-endpoint-outputs/e/{ID}.out"
    assert made["failure"] == ""


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "either InputLocation"),
        ({"Body": b""}, "either InputLocation"),
        ({"Body": b"1", "InputLocation": "s3://b/k"}, "mutually exclusive"),
        ({"Body": b"x" * 128_001}, "128001 bytes; at most 128000"),
        ({"InputLocation": "s3://b"}, "names no object"),
        ({"InputLocation": "https://example.com/k"}, "not an S3 URI"),
    ],
)
def test_an_input_that_is_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        document(**params)


def test_a_retry_has_the_name_of_the_first_attempt_and_nothing_else_has() -> None:
    def name(token: str = "t", endpoint: str = "arn:e", **params: Any) -> str:
        return async_inference.retry_name(endpoint, token, {"EndpointName": "e", "Body": b"1", **params})

    assert name() == name()
    assert len({name(), name(token="u"), name(endpoint="arn:f"), name(Body=b"2"), name(Accept="a/b")}) == 5


def test_a_notification_of_success() -> None:
    told = json.loads(async_inference.notification(record(), 1002.5, content_type="a/b", response=b"0.5"))
    assert told == {
        "awsRegion": "eu-west-1",
        "eventTime": "1970-01-01T00:16:42.500Z",
        "receivedTime": "1970-01-01T00:16:40.250Z",
        "invocationStatus": "Completed",
        "requestParameters": {"contentType": "text/csv", "endpointName": "e", "inputLocation": "s3://b/in"},
        "responseParameters": {"contentType": "a/b", "outputLocation": f"s3://b/out/{ID}.out"},
        "responseBody": {"content": "0.5", "encoding": "UTF-8"},
        "inferenceId": "mine",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def test_a_notification_of_failure_and_responses_that_are_bytes_or_too_large() -> None:
    told = json.loads(async_inference.notification(record(), 1002.5, failure="ClientError: no"))
    assert (told["invocationStatus"], told["failureReason"]) == ("Failed", "ClientError: no")
    assert told["responseParameters"] == {"outputLocation": f"s3://b/failed/{ID}-error.out"}
    told = json.loads(async_inference.notification(record(), 1.0, response=b"\xff"))
    assert told["responseBody"] == {"content": "/w==", "encoding": "BASE64"}
    assert "responseBody" not in json.loads(async_inference.notification(record(), 1.0, response=b"x" * 131_073))


def test_who_is_told() -> None:
    made = record(notify=TOPICS).document
    assert [async_inference.topic_of(made, failed) for failed in (False, True)] == ["arn:ok", "arn:bad"]
    assert [async_inference.wants_response(made, failed) for failed in (False, True)] == [True, False]
    assert async_inference.topic_of(record().document, True) == ""


def test_an_answered_invocation_keeps_no_body() -> None:
    done = async_inference.answered(record(body="aGk="), "Completed", 2000.0)
    assert (done.status, done.modified, done.document["body"]) == ("Completed", 2000.0, "")


def test_a_config_that_could_not_be_carried_out() -> None:
    with pytest.raises(Invalid, match="not an S3 URI"):
        async_inference.check_config({"OutputConfig": {"S3OutputPath": "s3:///out"}})
    async_inference.check_config(CONFIG)
