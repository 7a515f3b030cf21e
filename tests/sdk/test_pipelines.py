"""Models of several containers through unmodified boto3: serial pipelines and direct invocation."""

from __future__ import annotations

import concurrent.futures
import json
import threading
from typing import Any

import pytest
from tests.sdk.acts import PYTHON, SKLEARN, User, targz, unique, until
from tests.sdk.conftest import ROLE, Server
from tests.sdk.test_serving import refused

pytestmark = [pytest.mark.live, pytest.mark.slow]

# Each container adds a step: its name, what it was given, what it was asked for.
STEP = """
import json, os

def model_fn(model_dir):
    return open(os.path.join(model_dir, "name")).read()

def transform_fn(name, body, content_type, accept):
    body = body.decode() if isinstance(body, (bytes, bytearray)) else body
    if os.environ.get("FAILS") and os.environ["FAILS"] in body:
        raise ValueError("this step cannot bear it")
    steps = json.loads(body) if body.startswith("[") else []
    print("step of", name)
    step = {"name": name, "given": content_type, "accept": accept, "pid": os.getpid(), "colour": os.environ.get("COLOUR", "")}
    return json.dumps([*steps, step]), f"application/x-{name}"
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def containers(user: User, *names: str, **environments: dict[str, str]) -> list[dict[str, Any]]:
    """One of each name; every second one with scikit-learn around it."""
    made = []
    for place, name in enumerate(names):
        data = user.put(f"{unique('models')}/model.tar.gz", targz({"code/inference.py": STEP, "name": name}))
        image = SKLEARN if place % 2 else PYTHON
        environment = environments.get(name, {})
        made.append({"Image": image, "ModelDataUrl": data, "ContainerHostname": name, "Environment": environment})
    return made


def model(user: User, given: list[dict[str, Any]], mode: str | None = None) -> str:
    name = unique("several")
    execution = {"InferenceExecutionConfig": {"Mode": mode}} if mode else {}
    user.sm.create_model(ModelName=name, ExecutionRoleArn=ROLE, Containers=given, **execution)
    return name


@pytest.fixture(scope="module")
def pipeline(user: User) -> str:
    given = containers(user, "wash", "iron", "fold", wash={"COLOUR": "red"}, iron={"FAILS": "burn"})
    return user.endpoint({"ModelName": model(user, given)})


def test_a_request_passes_all_containers(user: User, pipeline: str) -> None:
    answer = user.runtime.invoke_endpoint(EndpointName=pipeline, Body=b"raw", ContentType="text/plain", Accept="a/b")
    assert answer["ContentType"] == "application/x-fold"
    steps = json.load(answer["Body"])
    assert [(s["name"], s["given"], s["accept"], s["colour"]) for s in steps] == [
        ("wash", "text/plain", "application/json", "red"),
        ("iron", "application/x-wash", "application/json", ""),
        ("fold", "application/x-iron", "a/b", ""),
    ]


def test_the_endpoint_is_one_variant_of_three_images(user: User, pipeline: str) -> None:
    [variant] = user.sm.describe_endpoint(EndpointName=pipeline)["ProductionVariants"]
    assert [image["SpecifiedImage"] for image in variant["DeployedImages"]] == [PYTHON, SKLEARN, PYTHON]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)


def test_every_container_has_a_log_stream(user: User, pipeline: str) -> None:
    user.ask(pipeline, "x")
    group = f"/aws/sagemaker/Endpoints/{pipeline}"
    streams = [s["logStreamName"] for s in user.logs.describe_log_streams(logGroupName=group)["logStreams"]]
    assert {stream.rpartition("/")[2] for stream in streams} == {"wash", "iron", "fold"}, "and nothing else"
    for name in ("wash", "iron", "fold"):
        [stream] = [s for s in streams if s.endswith(f"/{name}")]
        assert stream.startswith("v1/i-")

        def said(stream: str = stream, name: str = name) -> bool:
            events = user.logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
            return any(f"step of {name}" in event["message"] for event in events)

        until(said, seconds=20)


def test_the_container_that_fails_is_named(user: User, pipeline: str) -> None:
    wrong = refused(user.runtime.invoke_endpoint, EndpointName=pipeline, Body=b'[{"burn": 1}]')
    assert (wrong["Error"]["Code"], wrong["OriginalStatusCode"]) == ("ModelError", 500)
    assert wrong["Error"]["Message"].startswith('Received server error (500) from iron with message "')
    assert "this step cannot bear it" in wrong["OriginalMessage"]


def test_no_request_fails_while_a_pipeline_is_replaced(user: User, pipeline: str) -> None:
    changed = user.config({"ModelName": model(user, containers(user, "wash", "fold"))})
    before = user.sm.describe_endpoint(EndpointName=pipeline)["EndpointConfigName"]
    over = threading.Event()

    def client() -> list[list[str]]:
        seen = []
        while not over.is_set():
            seen.append([step["name"] for step in json.loads(user.ask(pipeline, "x"))])
        return seen

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client) for _ in range(8)]
        try:
            for config in (changed, before):
                user.sm.update_endpoint(EndpointName=pipeline, EndpointConfigName=config)
                user.settled(pipeline, "InService")
        finally:
            over.set()
        seen = [names for each in clients for names in each.result()]
    old, new = ["wash", "iron", "fold"], ["wash", "fold"]
    assert all(names in (old, new) for names in seen), "no request passes containers of two fleets"
    assert old in seen
    assert new in seen


def test_direct_invocation(user: User) -> None:
    endpoint = user.endpoint({"ModelName": model(user, containers(user, "left", "right"), "Direct")})
    for name in ("left", "right"):
        [step] = json.loads(user.ask(endpoint, "x", TargetContainerHostname=name, Accept="a/b"))
        assert (step["name"], step["accept"]) == (name, "a/b")
    without = refused(user.runtime.invoke_endpoint, EndpointName=endpoint, Body=b"x")
    assert without["Error"]["Code"] == "ValidationError"
    assert "TargetContainerHostname is required" in without["Error"]["Message"]


def test_a_broken_container_fails_the_endpoint_by_its_name(user: User) -> None:
    given = containers(user, "good", "bad")
    given[1]["ModelDataUrl"] = user.put("nowhere.tar.gz", "soon gone")
    made = model(user, given)
    user.s3.delete_object(Bucket=user.bucket, Key="nowhere.tar.gz")
    endpoint = user.endpoint({"ModelName": made}, wait=False)
    seen = user.settled(endpoint, "Failed")
    assert 'Failed to download model data for container "bad" from URL' in seen["FailureReason"]
