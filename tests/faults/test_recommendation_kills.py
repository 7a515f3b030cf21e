"""kill -9 of the control plane while an inference recommendations job runs: nothing is made twice, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.faults.scene import PYTHON_IMAGE, Scene, tarball, until
from tests.live import ROLE

pytestmark = [pytest.mark.live, pytest.mark.slow]
CODE = """
def model_fn(d): return 1
def transform_fn(model, body, content_type, accept): return body, "text/csv"
"""


def test_nothing_is_made_twice_and_nothing_is_left(scene: Scene) -> None:
    sm = scene.patient
    data = scene.put("right/model.tar.gz", tarball({"code/inference.py": CODE}))
    sm.create_model(
        ModelName="right", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": PYTHON_IMAGE, "ModelDataUrl": data}
    )
    payload = scene.put("right/payload.tar.gz", tarball({"a.csv": "1,2"}))
    values = {"CategoricalParameterRanges": [{"Name": "A", "Value": ["1", "2"]}]}
    sm.create_inference_recommendations_job(
        JobName="killed",
        JobType="Advanced",
        RoleArn=ROLE,
        InputConfig={
            "ModelName": "right",
            "ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": payload, "SupportedContentTypes": ["text/csv"]}},
            "EndpointConfigurations": [{"InstanceType": "ml.m5.large", "EnvironmentParameterRanges": values}],
            "TrafficPattern": {
                "TrafficType": "STAIRS",
                "Stairs": {"DurationInSeconds": 5, "NumberOfSteps": 1, "UsersPerStep": 1},
            },
        },
    )
    looks: tuple[Callable[[], Any], ...] = (
        lambda: sm.list_endpoints(NameContains="killed-01")["Endpoints"],
        lambda: sm.list_processing_jobs(NameContains="killed-01")["ProcessingJobSummaries"],
        lambda: _steps(sm)[0]["Status"] == "COMPLETED",
        lambda: sm.list_endpoints(NameContains="killed-02", StatusEquals="InService")["Endpoints"],
    )
    seen: set[str] = set()
    for number, look in enumerate(looks):
        until(look, 120, f"point {number} is reached")
        seen |= set(_made(sm))
        scene.back("control", scene.kill("control"))
    told = until(lambda: (found := _told(sm))["Status"] in ("COMPLETED", "FAILED") and found, 180, "it is over")
    assert told["Status"] == "COMPLETED", told
    assert {step["Status"] for step in _steps(sm)} == {"COMPLETED"}
    assert len(told["InferenceRecommendations"]) == 2
    assert len(seen) <= 2, seen
    assert _made(sm) == []


def _told(sm: Any) -> dict[str, Any]:
    return dict(sm.describe_inference_recommendations_job(JobName="killed"))


def _steps(sm: Any) -> list[dict[str, Any]]:
    return list(sm.list_inference_recommendations_job_steps(JobName="killed")["Steps"])


def _made(sm: Any) -> list[str]:
    """Names of all that the job made and that is there."""
    return [
        *(each["EndpointName"] for each in sm.list_endpoints(NameContains="killed-")["Endpoints"]),
        *(each["EndpointConfigName"] for each in sm.list_endpoint_configs(NameContains="killed-")["EndpointConfigs"]),
        *(each["ModelName"] for each in sm.list_models(NameContains="killed-")["Models"]),
        *(
            each["ProcessingJobName"]
            for each in sm.list_processing_jobs(NameContains="killed-")["ProcessingJobSummaries"]
        ),
    ]
