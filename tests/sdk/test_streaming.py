"""Answers in pieces through unmodified boto3, over the edge: when they come, how they break, what a client that leaves does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError, ParamValidationError
from tests.sdk.acts import PYTHON, User, until
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

# A model that streams as it is told; its workers share /tmp, so one request can open the gate at which another waits.
STREAMS = """
import json, os, time

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept, context):
    order = json.loads(body)
    if order["do"] == "open":
        open("/tmp/" + order["gate"], "w").close()
        return "opened"
    if order["do"] == "seen":
        return str(os.path.exists("/tmp/" + order["gate"]))
    context.set_response_content_type(0, "text/event-stream")
    context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", "accept=" + accept)
    return words(order)

def words(order):
    if order["do"] == "fail":
        raise ValueError("no words")
    yield "first"
    if order["do"] == "gate":
        while not os.path.exists("/tmp/" + order["gate"]):
            time.sleep(0.01)
    if order["do"] == "break":
        raise ValueError("out of words")
    if order["do"] == "die":
        os._exit(3)
    if order["do"] == "sleep":
        time.sleep(60)
    try:
        while order["do"] == "endless":
            time.sleep(0.01)
            yield "word"
    finally:
        open("/tmp/" + order.get("gate", "ended"), "w").close()
    yield "second"
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def streams(user: User) -> Iterator[str]:
    environment = {"SAGEMAKER_MODEL_SERVER_TIMEOUT": "4", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}
    name = user.endpoint({"ModelName": user.scripted({"code/inference.py": STREAMS}, environment, PYTHON)})
    yield name
    user.sm.delete_endpoint(EndpointName=name)


def ask(user: User, name: str, do: str, **more: Any) -> dict[str, Any]:
    body = json.dumps({"do": do, **({"gate": more.pop("gate")} if "gate" in more else {})})
    answer: dict[str, Any] = user.runtime.invoke_endpoint_with_response_stream(
        EndpointName=name, Body=body, ContentType="application/json", **more
    )
    return answer


def whole(user: User, name: str, do: str, gate: str = "") -> str:
    body: bytes = user.ask(name, json.dumps({"do": do, "gate": gate}))
    return body.decode()


def parts(answer: dict[str, Any]) -> list[bytes]:
    return [event["PayloadPart"]["Bytes"] for event in answer["Body"]]


def test_the_first_piece_comes_before_the_second_is_made(user: User, streams: str) -> None:
    answer = ask(user, streams, "gate", gate="one", Accept="text/x", InferenceId="i-1")
    assert answer["ContentType"] == "text/event-stream"
    assert answer["InvokedProductionVariant"] == "v1"
    assert answer["CustomAttributes"] == "accept=text/x"
    events = iter(answer["Body"])
    assert next(events) == {"PayloadPart": {"Bytes": b"first"}}
    assert whole(user, streams, "open", "one") == "opened"  # by the other worker: the second piece waited for it
    assert list(events) == [{"PayloadPart": {"Bytes": b"second"}}]


def test_who_wants_it_whole_gets_it_whole(user: User, streams: str) -> None:
    assert whole(user, streams, "words", "two") == "firstsecond"
    assert parts(ask(user, streams, "open", gate="three")) == [b"opened"]


def test_a_model_that_fails_before_the_first_piece(user: User, streams: str) -> None:
    with pytest.raises(ClientError) as caught:
        ask(user, streams, "fail")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert caught.value.response["OriginalStatusCode"] == 500
    assert "ValueError: no words" in caught.value.response["OriginalMessage"]


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("break", "ValueError: out of words"),
        ("die", "its process ended"),
        ("sleep", "Your invocation timed out"),
    ],
)
def test_a_model_that_breaks_after_it(user: User, streams: str, do: str, words: str) -> None:
    answer = ask(user, streams, do, gate="broken")
    events = iter(answer["Body"])
    assert next(events)["PayloadPart"]["Bytes"] == b"first"
    with pytest.raises(EventStreamError) as caught:
        list(events)
    assert caught.value.response["Error"]["Code"] == "ModelStreamError"  # its ErrorCode botocore keeps to itself
    assert words in caught.value.response["Error"]["Message"]
    assert parts(ask(user, streams, "words")) == [b"first", b"second"]


def test_a_client_that_closes_the_stream_stops_the_model(user: User, streams: str) -> None:
    """A worker that does not stop within two seconds is killed, and leaves nothing: on a machine that stood still, the next one does."""
    for attempt in range(3):
        answer = ask(user, streams, "endless", gate=f"left{attempt}")
        assert next(iter(answer["Body"]))["PayloadPart"]["Bytes"] == b"first"
        answer["Body"].close()
        with suppress(AssertionError):
            until(lambda: whole(user, streams, "seen", f"left{attempt}"), lambda seen: seen == "True", 20)  # noqa: B023
            return
    pytest.fail("no worker stopped")


def test_a_session_cannot_begin_there(user: User, streams: str) -> None:
    with pytest.raises(ClientError) as caught:
        ask(user, streams, "words", SessionId="NEW_SESSION")
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert "sessionId" in caught.value.response["Error"]["Message"]


def test_an_endpoint_that_is_not_there(user: User) -> None:
    with pytest.raises(ClientError) as caught:
        ask(user, "no-such-endpoint", "words")
    assert caught.value.response["Error"]["Message"] == "Endpoint no-such-endpoint of account 000000000000 not found."
    with pytest.raises(ParamValidationError):
        user.runtime.invoke_endpoint_with_response_stream(Body=b"")
