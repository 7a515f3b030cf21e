"""Inference components through unmodified boto3: several models packed on one endpoint, each with copies of its own."""

from __future__ import annotations

import concurrent.futures
import json
import threading
from typing import Any

import pytest
from tests.sdk.acts import PYTHON, User, targz, unique, until
from tests.sdk.conftest import ROLE, Server
from tests.sdk.test_serving import refused

pytestmark = [pytest.mark.live, pytest.mark.slow]

TELLS = """
import json, os

def model_fn(model_dir):
    return os.environ["NAME"]

def transform_fn(name, body, content_type, accept):
    print("told by", name)
    return json.dumps({"name": name, "pid": os.getpid(), "cpus": os.environ["CLARY_CPUS"]})
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def artifact(user: User) -> str:
    return user.put(f"{unique('models')}/model.tar.gz", targz({"code/inference.py": TELLS}))


def host(user: User, count: int = 1, **row: Any) -> str:
    """An endpoint for components, of ml.m5.large: 2 vCPU and 8 GiB an instance."""
    name = unique("host")
    given = {"VariantName": "all", "InstanceType": "ml.m5.large", "InitialInstanceCount": count, **row}
    user.sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[given], ExecutionRoleArn=ROLE)
    user.sm.create_endpoint(EndpointName=name, EndpointConfigName=name)
    user.settled(name, "InService")
    return name


def place(
    user: User, endpoint: str, artifact: str, cores: float = 0.5, copies: int = 1, wait: str = "InService"
) -> str:
    name = unique("component")
    user.sm.create_inference_component(
        InferenceComponentName=name,
        EndpointName=endpoint,
        VariantName="all",
        Specification={
            "Container": {"Image": PYTHON, "ArtifactUrl": artifact, "Environment": {"NAME": name}},
            "ComputeResourceRequirements": {"NumberOfCpuCoresRequired": cores, "MinMemoryRequiredInMb": 512},
        },
        RuntimeConfig={"CopyCount": copies},
    )
    if wait:
        settled(user, name, wait)
    return name


def settled(user: User, name: str, wanted: str) -> dict[str, Any]:
    moving = ("Creating", "Updating", "Deleting")

    def look() -> dict[str, Any]:
        return dict(user.sm.describe_inference_component(InferenceComponentName=name))

    seen: dict[str, Any] = until(look, lambda d: d["InferenceComponentStatus"] not in moving)
    assert seen["InferenceComponentStatus"] == wanted, seen.get("FailureReason")
    return seen


def told(user: User, endpoint: str, component: str) -> dict[str, Any]:
    return dict(json.loads(user.ask(endpoint, "x", InferenceComponentName=component)))


def gone(user: User, *names: str) -> None:
    for name in names:
        user.sm.delete_inference_component(InferenceComponentName=name)
    for name in names:
        until(lambda n=name: name_is_gone(user, n))


def name_is_gone(user: User, name: str) -> bool:
    found = user.sm.list_inference_components(NameContains=name)["InferenceComponents"]
    return not found


def test_several_models_on_one_endpoint(user: User, artifact: str) -> None:
    endpoint = host(user)
    one, two = place(user, endpoint, artifact), place(user, endpoint, artifact, cores=1)
    for name in (one, two, one):
        assert told(user, endpoint, name)["name"] == name
    listed = user.sm.list_inference_components(EndpointNameEquals=endpoint, SortBy="Name", SortOrder="Ascending")
    assert [c["InferenceComponentName"] for c in listed["InferenceComponents"]] == sorted([one, two])
    group = f"/aws/sagemaker/InferenceComponents/{one}"

    def said() -> bool:
        events = user.logs.filter_log_events(logGroupName=group)["events"]
        return any(f"told by {one}" in event["message"] for event in events)

    until(said, seconds=20)
    cloudwatch = user.server.client("cloudwatch")
    by_name = [{"Name": "InferenceComponentName", "Value": one}]

    def measured() -> bool:
        wanted = {"Namespace": "AWS/SageMaker", "MetricName": "InvocationsPerCopy", "Dimensions": by_name}
        return bool(cloudwatch.list_metrics(**wanted)["Metrics"])

    until(measured, seconds=30)
    without = refused(user.runtime.invoke_endpoint, EndpointName=endpoint, Body=b"x")
    assert without["Error"]["Code"] == "ValidationError"
    assert "Inference Component Name header is required" in without["Error"]["Message"]
    early = refused(user.sm.delete_endpoint, EndpointName=endpoint)
    assert early["Error"]["Code"] == "ValidationException"
    assert "Delete them first" in early["Error"]["Message"]
    full = refused(place, user=user, endpoint=endpoint, artifact=artifact, cores=1)
    assert full["Error"]["Code"] == "ResourceLimitExceeded"
    assert "Insufficient capacity: variant 'all' has 1 instance(s) of ml.m5.large" in full["Error"]["Message"]
    gone(user, one)
    away = refused(user.runtime.invoke_endpoint, EndpointName=endpoint, Body=b"x", InferenceComponentName=one)
    assert away["Error"]["Code"] == "ValidationError"
    assert f"Inference Component {one} of endpoint {endpoint}" in away["Error"]["Message"]
    assert told(user, endpoint, two)["name"] == two
    gone(user, two)
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_copies_come_and_go_to_none_and_back(user: User, artifact: str) -> None:
    endpoint = host(user, ManagedInstanceScaling={"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": 2})
    name = place(user, endpoint, artifact, cores=2)
    [variant] = user.sm.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 1
    for copies in (2, 0, 1):
        user.sm.update_inference_component_runtime_config(
            InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": copies}
        )
        seen = settled(user, name, "InService")
        assert seen["RuntimeConfig"] == {"DesiredCopyCount": copies, "CurrentCopyCount": copies}
        [variant] = user.sm.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
        assert variant["CurrentInstanceCount"] == copies
        if copies:
            assert told(user, endpoint, name)["name"] == name
            continue
        none = refused(user.runtime.invoke_endpoint, EndpointName=endpoint, Body=b"x", InferenceComponentName=name)
        assert none["Error"]["Code"] == "ValidationError"
        assert none["Error"]["Message"].startswith("Inference Component has no capacity to process this request.")


def test_no_request_fails_while_a_component_is_replaced(user: User, artifact: str) -> None:
    endpoint = host(user, 2)
    name = place(user, endpoint, artifact, copies=2)
    over = threading.Event()

    def client() -> set[str]:
        seen = set()
        while not over.is_set():
            seen.add(told(user, endpoint, name)["name"])
        return seen

    rolling = {
        "RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1}, "WaitIntervalInSeconds": 0}
    }
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client) for _ in range(4)]
        try:
            for new, more in (("second", {}), ("third", {"DeploymentConfig": rolling})):
                user.sm.update_inference_component(
                    InferenceComponentName=name,
                    Specification={"Container": {"Environment": {"NAME": new}}},
                    **more,
                )
                settled(user, name, "InService")
        finally:
            over.set()
        assert set().union(*(each.result() for each in clients)) == {name, "second", "third"}
    assert told(user, endpoint, name)["name"] == "third"


def test_a_component_that_cannot_load_says_why(user: User, artifact: str) -> None:
    endpoint = host(user)
    name = place(user, endpoint, f"s3://{user.bucket}/nowhere.tar.gz", wait="Failed")
    seen = user.sm.describe_inference_component(InferenceComponentName=name)
    assert "Failed to download model data" in seen["FailureReason"]
    gone(user, name)


def test_an_update_that_fails_leaves_what_serves_as_it_was(user: User, artifact: str) -> None:
    endpoint = host(user)
    name = place(user, endpoint, artifact)
    before = user.sm.describe_inference_component(InferenceComponentName=name)
    user.sm.update_inference_component(
        InferenceComponentName=name,
        Specification={
            "Container": {"ArtifactUrl": f"s3://{user.bucket}/nowhere.tar.gz"},
            "ComputeResourceRequirements": {"NumberOfCpuCoresRequired": 1.5, "MinMemoryRequiredInMb": 1024},
        },
    )
    after = settled(user, name, "InService")
    assert "Failed to download model data" in after["FailureReason"]
    assert after["Specification"] == before["Specification"]
    assert after["RuntimeConfig"] == before["RuntimeConfig"]
    assert told(user, endpoint, name)["name"] == name
    other = place(user, endpoint, artifact, cores=1.5)  # beside 0.5, not beside the 1.5 that failed
    gone(user, name, other)
    user.sm.delete_endpoint(EndpointName=endpoint)
