"""Inference recommendations jobs through unmodified clients: measured on this machine, and everything that they made is gone at the end."""

from __future__ import annotations

from typing import Any

import pytest
from tests.sdk.acts import PYTHON, ROLE, User, targz, unique, until
from tests.sdk.conftest import Server
from tests.sdk.test_serving import refused

pytestmark = [pytest.mark.live, pytest.mark.slow]
SLEEPS = """
import os, time
def model_fn(d): return float(os.environ.get("PAUSE", "0.02"))
def transform_fn(model, body, content_type, accept):
    assert content_type == "text/csv", content_type
    time.sleep(model)
    return body, "text/csv"
"""
OVER = ("COMPLETED", "FAILED", "STOPPED")


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def model(user: User) -> str:
    return user.scripted({"code/inference.py": SLEEPS}, {}, PYTHON)


@pytest.fixture(scope="module")
def payload(user: User) -> str:
    return user.put("payload.tar.gz", targz({"a.csv": "1,2", "more/b.csv": "3,4", ".hidden": "x"}))


def create(user: User, payload: str, kind: str = "Advanced", stop: Any = None, **config: Any) -> str:
    name = unique("right")
    container = {"PayloadConfig": {"SamplePayloadUrl": payload, "SupportedContentTypes": ["text/csv"]}}
    user.sm.create_inference_recommendations_job(
        JobName=name,
        JobType=kind,
        RoleArn=ROLE,
        InputConfig={"ContainerConfig": container, **config},
        **({"StoppingConditions": stop} if stop else {}),
    )
    return name


def phases(*seconds: int) -> dict[str, Any]:
    return {
        "TrafficType": "PHASES",
        "Phases": [{"InitialNumberOfUsers": 2, "SpawnRate": 0, "DurationInSeconds": each} for each in seconds],
    }


def over(user: User, name: str, seconds: float = 120) -> dict[str, Any]:
    told: dict[str, Any] = until(
        lambda: user.sm.describe_inference_recommendations_job(JobName=name), lambda d: d["Status"] in OVER, seconds
    )
    return told


def left(user: User, name: str) -> list[str]:
    """What is there of all that a job made."""
    sm = user.sm
    return [
        *(each["EndpointName"] for each in sm.list_endpoints(NameContains=name)["Endpoints"]),
        *(each["EndpointConfigName"] for each in sm.list_endpoint_configs(NameContains=name)["EndpointConfigs"]),
        *(each["ModelName"] for each in sm.list_models(NameContains=name)["Models"]),
        *(each["ProcessingJobName"] for each in sm.list_processing_jobs(NameContains=name)["ProcessingJobSummaries"]),
    ]


def test_each_size_and_environment_is_measured(user: User, model: str, payload: str) -> None:
    values = {"CategoricalParameterRanges": [{"Name": "PAUSE", "Value": ["0.02", "0.1"]}]}
    tried = [{"InstanceType": "ml.m5.large", "EnvironmentParameterRanges": values}]
    name = create(user, payload, ModelName=model, EndpointConfigurations=tried, TrafficPattern=phases(5))
    done = over(user, name)
    assert done["Status"] == "COMPLETED", done
    quick, slow = done["InferenceRecommendations"]
    told = [
        {each["Key"]: each["Value"] for each in row["ModelConfiguration"]["EnvironmentParameters"]}
        for row in (quick, slow)
    ]
    assert told == [{"PAUSE": "0.02"}, {"PAUSE": "0.1"}]
    assert quick["RecommendationId"].startswith(f"{name}/")
    assert quick["EndpointConfiguration"]["InstanceType"] == "ml.m5.large"
    for row, pause in ((quick, 0.02), (slow, 0.1)):
        metrics = row["Metrics"]
        assert 1000 * pause <= metrics["ModelLatency"] < 1000 * pause + 400
        assert 0 < metrics["MaxInvocations"] <= 2 * 60 / pause  # two users, and no answer before its pause
        assert metrics["MemoryUtilization"] > 0
        assert metrics["CpuUtilization"] >= 0
        assert row["InvocationStartTime"] < row["InvocationEndTime"]
    steps = user.sm.list_inference_recommendations_job_steps(JobName=name)["Steps"]
    assert [step["Status"] for step in steps] == ["COMPLETED", "COMPLETED"]
    assert left(user, name) == []
    listed = user.sm.list_inference_recommendations_jobs(ModelNameEquals=model, NameContains=name)
    assert [each["JobName"] for each in listed["InferenceRecommendationsJobs"]] == [name]
    events = user.logs.get_log_events(
        logGroupName="/aws/sagemaker/InferenceRecommendationsJobs", logStreamName=f"{name}/execution"
    )["events"]
    assert any("invocations a minute" in event["message"] for event in events)


def test_a_latency_that_is_not_kept_is_no_recommendation(user: User, model: str, payload: str) -> None:
    stop = {"ModelLatencyThresholds": [{"Percentile": "P95", "ValueInMilliseconds": 3}]}
    sizes = [{"InstanceType": "ml.c5.large"}]
    name = create(user, payload, stop=stop, ModelName=model, EndpointConfigurations=sizes, TrafficPattern=phases(5))
    done = over(user, name)
    assert done["Status"] == "FAILED"
    assert "the threshold is 3 ms" in done["FailureReason"]
    assert "InferenceRecommendations" not in done
    (step,) = user.sm.list_inference_recommendations_job_steps(JobName=name)["Steps"]
    assert step["InferenceBenchmark"]["FailureReason"] == done["FailureReason"]
    assert left(user, name) == []


def test_an_endpoint_that_is_there_is_asked_and_stays(user: User, model: str, payload: str) -> None:
    endpoint = user.endpoint({"ModelName": model})
    name = create(user, payload, Endpoints=[{"EndpointName": endpoint}], TrafficPattern=phases(5))
    done = over(user, name)
    (told,) = done["EndpointPerformances"]
    assert told["EndpointInfo"] == {"EndpointName": endpoint}
    assert told["Metrics"]["ModelLatency"] >= 20
    assert left(user, name) == []
    assert user.status(endpoint) == "InService"
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_a_serverless_size_of_a_package_that_waits_for_approval(user: User, model: str, payload: str) -> None:
    group, container = unique("sized"), user.sm.describe_model(ModelName=model)["PrimaryContainer"]
    user.sm.create_model_package_group(ModelPackageGroupName=group)
    package = user.sm.create_model_package(
        ModelPackageGroupName=group,
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={"Containers": [{name: container[name] for name in ("Image", "ModelDataUrl")}]},
    )["ModelPackageArn"]
    size = {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
    config = {"EndpointConfigurations": [{"ServerlessConfig": size}], "TrafficPattern": phases(5)}
    done = over(user, name := create(user, payload, ModelPackageVersionArn=package, **config))
    assert done["Status"] == "COMPLETED", done
    (told,) = done["InferenceRecommendations"]
    assert told["EndpointConfiguration"]["ServerlessConfig"] == size
    assert told["Metrics"]["MaxInvocations"] > 0
    assert "CpuUtilization" not in told["Metrics"]
    assert left(user, name) == []


def test_a_stopped_job_leaves_nothing(user: User, model: str, payload: str) -> None:
    sizes = [{"InstanceType": "ml.m5.large"}, {"InstanceType": "ml.m5.xlarge"}]
    name = create(user, payload, ModelName=model, EndpointConfigurations=sizes, TrafficPattern=phases(600))
    until(lambda: user.sm.list_processing_jobs(NameContains=name)["ProcessingJobSummaries"])
    user.sm.stop_inference_recommendations_job(JobName=name)
    done = over(user, name)
    assert done["Status"] == "STOPPED"
    steps = user.sm.list_inference_recommendations_job_steps(JobName=name, Status="STOPPED")["Steps"]
    assert len(steps) == 2
    assert left(user, name) == []
    error = refused(user.sm.stop_inference_recommendations_job, JobName=name)["Error"]
    assert error["Code"] == "ValidationException"


def test_bad_requests(user: User, model: str, payload: str) -> None:
    def code(**changes: Any) -> tuple[str, str]:
        config = {"ModelName": model, **changes}
        at, kind = config.pop("payload", payload), config.pop("kind", "Advanced")
        error = refused(lambda: create(user, at, kind, **config))["Error"]
        return error["Code"], error["Message"]

    invalid = "ValidationException"
    assert code(ModelName="none-such")[0] == invalid
    assert code(payload="s3://none-such-bucket/payload.tar.gz")[0] == invalid
    assert "put a .tar.gz" in code(payload=f"s3://{user.bucket}/none.tar.gz")[1]
    assert "type Default" in code(kind="Default", TrafficPattern=phases(5))[1]
    assert "either" in code(EndpointConfigurations=[{}])[1]
    missing = refused(user.sm.describe_inference_recommendations_job, JobName="none-such")["Error"]
    assert missing["Code"] == "ResourceNotFound"
    broken = user.put("broken.tar.gz", b"no archive")
    done = over(user, create(user, broken, ModelName=model, EndpointConfigurations=[{"InstanceType": "ml.m5.large"}]))
    assert done["Status"] == "FAILED"
    assert "cannot be read" in done["FailureReason"]
