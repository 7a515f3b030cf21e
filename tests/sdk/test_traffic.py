"""Shares of traffic and sessions through unmodified boto3: weights exactly, changes of them at once and under load."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

COUNTS = """
import json, os

seen = {}

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept, context):
    session = context.get_request_header(0, "X-Amzn-SageMaker-Session-Id") or ""
    text = body if isinstance(body, str) else body.decode()
    if session == "NEW_SESSION":
        session = text
        context.set_response_header(0, "X-Amzn-SageMaker-New-Session-Id", session + "; Expires=2090-01-01T00:00:00Z")
    if text == "close":
        context.set_response_header(0, "X-Amzn-SageMaker-Closed-Session-Id", session)
    if text == "die":
        os._exit(3)
    seen[session] = seen.get(session, 0) + 1
    return json.dumps([os.getpid(), seen[session]])
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def model(user: User) -> str:
    return user.scripted({"code/inference.py": COUNTS}, {"SAGEMAKER_MODEL_SERVER_WORKERS": "2"}, PYTHON)


@pytest.fixture
def pair(user: User, model: str) -> Iterator[str]:
    name = user.endpoint(
        {"ModelName": model, "VariantName": "a", "InitialVariantWeight": 7},
        {"ModelName": model, "VariantName": "b", "InitialVariantWeight": 3},
    )
    yield name
    user.sm.delete_endpoint(EndpointName=name)


def test_new_weights_hold_within_a_second_and_no_request_is_lost(user: User, pair: str) -> None:
    stop, failures = threading.Event(), []
    seen: list[tuple[float, str]] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                answer = user.runtime.invoke_endpoint(EndpointName=pair, Body=b"x", ContentType="text/plain")
            except ClientError as error:
                failures.append(error)
            else:
                seen.append((time.monotonic(), answer["InvokedProductionVariant"]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        while len(seen) < 400:
            time.sleep(0.05)
        shares = Counter(name for _, name in list(seen)[:400])
        assert abs(shares["a"] - 280) <= 4, shares  # answers of four clients are noted a little out of turn
        changed = time.monotonic()
        wanted = [{"VariantName": "a", "DesiredWeight": 0}, {"VariantName": "b", "DesiredWeight": 1}]
        user.sm.update_endpoint_weights_and_capacities(EndpointName=pair, DesiredWeightsAndCapacities=wanted)
        user.settled(pair, "InService")
        count = len(seen)
        while len(seen) < count + 200:
            time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    last = max(when for when, name in seen if name == "a")
    assert last - changed < 1.0
    assert {name for when, name in seen if when > last} == {"b"}


def test_a_session_stays_at_the_worker_that_began_it(user: User, model: str) -> None:
    name = user.endpoint({"ModelName": model, "InitialInstanceCount": 2})

    def visit(session: str, body: str = "x") -> dict[str, object]:
        answer: dict[str, object] = user.runtime.invoke_endpoint(
            EndpointName=name, Body=body, ContentType="text/plain", SessionId=session
        )
        answer["said"] = json.loads(answer["Body"].read())  # type: ignore[attr-defined]
        return answer

    def refused(session: str) -> str:
        with pytest.raises(ClientError) as caught:
            visit(session)
        assert caught.value.response["Error"]["Code"] == "ValidationError"
        return str(caught.value.response["Error"]["Message"])

    ids = [f"s-{number}" for number in range(8)]
    for session in ids:
        assert visit("NEW_SESSION", session)["NewSessionId"] == f"{session}; Expires=2090-01-01T00:00:00Z"
    for turn in range(2, 6):
        for session in ids:
            assert visit(session)["said"][1] == turn  # type: ignore[index]
    assert visit("s-0", "close")["ClosedSessionId"] == "s-0"
    assert refused("s-0").startswith(f"Session s-0 of endpoint {name} not found: it was closed or has expired")
    with pytest.raises(ClientError) as caught:
        visit("s-1", "die")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert "s-1" in refused("s-1")
    assert sum(not _gone(visit, session) for session in ids[2:]) >= 4, "sessions of the other workers live on"
    user.sm.delete_endpoint(EndpointName=name)


def _gone(visit: object, session: str) -> bool:
    try:
        visit(session)  # type: ignore[operator]
    except ClientError as error:
        return bool(error.response["Error"]["Code"] == "ValidationError")
    return False
