"""SageMaker Pipelines on a running Clary. The client is boto3; the SDKs' own pipelines are in `test_flows.py` and below."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User, unique, until
from tests.sdk.conftest import ROLE

pytestmark = [pytest.mark.live, pytest.mark.slow]


def shell(text: str, **more: Any) -> dict[str, Any]:
    """Arguments of a Training step that runs a command."""
    return {
        "AlgorithmSpecification": {
            "TrainingImage": PYTHON,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["sh", "-c", text],
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://BUCKET/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
        **more,
    }


def step(name: str, kind: str, arguments: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": kind, "Arguments": arguments, **more}


class Pipelines:
    """A user of pipelines."""

    def __init__(self, user: User) -> None:
        self.user, self.sm = user, user.sm

    def create(self, *steps: Mapping[str, Any], parameters: Any = (), name: str = "", **more: Any) -> str:
        name = name or unique("pipe")
        text = json.dumps({"Version": "2020-12-01", "Parameters": list(parameters), "Steps": list(steps)})
        text = text.replace("BUCKET", self.user.bucket)
        self.sm.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE, **more)
        return name

    def start(self, name: str, **more: Any) -> str:
        return str(self.sm.start_pipeline_execution(PipelineName=name, **more)["PipelineExecutionArn"])

    def describe(self, arn: str) -> dict[str, Any]:
        return dict(self.sm.describe_pipeline_execution(PipelineExecutionArn=arn))

    def ended(self, arn: str, seconds: float = 60) -> dict[str, Any]:
        until(lambda: self.describe(arn)["PipelineExecutionStatus"] not in ("Executing", "Stopping"), seconds=seconds)
        return self.describe(arn)

    def steps(self, arn: str) -> dict[str, dict[str, Any]]:
        pages = self.sm.get_paginator("list_pipeline_execution_steps").paginate(PipelineExecutionArn=arn)
        return {each["StepName"]: each for page in pages for each in page["PipelineExecutionSteps"]}

    def job(self, state: Mapping[str, Any]) -> dict[str, Any]:
        name = state["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
        return next(
            self.user.describe(each["TrainingJobName"])
            for page in self.sm.get_paginator("list_training_jobs").paginate()
            for each in page["TrainingJobSummaries"]
            if each["TrainingJobName"].lower() == name
        )


@pytest.fixture(scope="module")
def pipes(user: User) -> Pipelines:
    return Pipelines(user)


ROUNDS = {"Name": "Rounds", "Type": "Integer", "DefaultValue": 3}


def test_steps_follow_each_other_with_the_values_of_those_before(pipes: Pipelines) -> None:
    first = step(
        "First",
        "Training",
        shell(
            "echo a > /opt/ml/model/a",
            Environment={"ROUNDS": {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.Rounds"}]}}},
        ),
    )
    artifact = {"Get": "Steps.First.ModelArtifacts.S3ModelArtifacts"}
    second = step(
        "Second",
        "Training",
        shell(
            'test "$FROM" = x-"$(echo "$FROM" | cut -c3-)"',
            Environment={"FROM": {"Std:Join": {"On": "-", "Values": ["x", artifact]}}},
        ),
    )
    gate = step(
        "Gate",
        "Condition",
        {
            "Conditions": [{"Type": "GreaterThan", "LeftValue": {"Get": "Parameters.Rounds"}, "RightValue": 4}],
            "IfSteps": [step("Yes", "Training", shell("true"))],
            "ElseSteps": [
                step(
                    "No",
                    "Fail",
                    {"ErrorMessage": {"Std:Join": {"On": " ", "Values": ["only", {"Get": "Parameters.Rounds"}]}}},
                )
            ],
        },
        DependsOn=["Second"],
    )
    name = pipes.create(gate, second, first, parameters=[ROUNDS])
    good = pipes.start(name, PipelineParameters=[{"Name": "Rounds", "Value": "7"}])
    assert pipes.ended(good)["PipelineExecutionStatus"] == "Succeeded"
    states = pipes.steps(good)
    assert {each: state["StepStatus"] for each, state in states.items()} == dict.fromkeys(
        ("First", "Second", "Gate", "Yes"), "Succeeded"
    )
    assert states["Gate"]["Metadata"]["Condition"]["Outcome"] == "True"
    second_job = pipes.job(states["Second"])
    assert second_job["Environment"]["FROM"] == "x-" + pipes.job(states["First"])["ModelArtifacts"]["S3ModelArtifacts"]
    assert (
        states["First"]["EndTime"]
        <= states["Second"]["StartTime"]
        <= states["Second"]["EndTime"]
        <= states["Gate"]["StartTime"]
    )

    bad = pipes.start(name)
    ended = pipes.ended(bad)
    assert (ended["PipelineExecutionStatus"], ended["FailureReason"]) == (
        "Failed",
        "Step failure: One or multiple steps failed.",
    )
    assert pipes.steps(bad)["No"]["FailureReason"] == "only 3"
    listed = pipes.sm.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
    assert [each["PipelineExecutionStatus"] for each in listed] == ["Failed", "Succeeded"]
    pipes.sm.delete_pipeline(PipelineName=name)
    with pytest.raises(ClientError, match="does not exist"):
        pipes.sm.describe_pipeline(PipelineName=name)
    pipes.create(first, name=name, parameters=[ROUNDS])
    pipes.sm.delete_pipeline(PipelineName=name)
