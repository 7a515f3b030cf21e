"""SageMaker Pipelines on a running Clary. The client is boto3; the SDKs' own pipelines are in `test_flows.py` and below."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User, targz, unique, until
from tests.sdk.conftest import ROLE, Server

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


def clary(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    return server.run([sys.executable, "-m", "clary.app.cli", "pipeline", *words, "--dir", server.settings.dir])


def test_the_cache_a_retry_and_what_the_command_shows(server: Server, pipes: Pipelines, tmp_path: Path) -> None:
    """The second step fails until its file is there; the first is cached then."""
    flag = f"s3://{pipes.user.bucket}/flag/"
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": flag, "S3DataDistributionType": "FullyReplicated"}}
    cached = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"}}
    rounds = {"ROUNDS": {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.Rounds"}]}}}
    first = step("First", "Training", shell("echo first; true", Environment=rounds), **cached)
    data = [{"ChannelName": "data", "DataSource": source}]
    second = step("Second", "Training", shell("echo second; true", InputDataConfig=data), DependsOn=["First"])
    name = pipes.create(first, second, parameters=[ROUNDS])
    one = pipes.start(name)
    assert pipes.ended(one)["PipelineExecutionStatus"] == "Failed"
    pipes.user.put("flag/there", "1")
    done = clary(server, name, "--retry")
    assert done.returncode == 0, done.stderr
    assert pipes.ended(one)["PipelineExecutionStatus"] == "Succeeded"
    assert pipes.steps(one)["Second"]["AttemptCount"] == 2
    two = pipes.start(name, PipelineParameters=[{"Name": "Rounds", "Value": "4"}])
    assert "First" in clary(server, name, two).stdout
    shown = json.loads(clary(server, name, "--json").stdout)
    assert (shown["execution"], shown["status"]) == (two, "Succeeded")
    assert shown["steps"][0]["note"] == "not cached: Environment.ROUNDS was 3, is 4"
    three = pipes.start(name)
    assert pipes.ended(three)["PipelineExecutionStatus"] == "Succeeded"
    table = clary(server, name, "--once").stdout
    assert f"cached from {one.rpartition('/')[2]}" in table
    picture = tmp_path / "graph.svg"
    assert clary(server, name, three.rpartition("/")[2], "--out", str(picture)).returncode == 0
    assert picture.read_text().count("<rect class=") == 2
    assert "second" in clary(server, name, "--step", "Second", "-f").stdout
    wrong = clary(server, "nothing")
    assert (wrong.returncode, wrong.stderr) == (4, "clary: there is no pipeline 'nothing'\n")


def test_a_pipeline_packs_a_model_on_an_endpoint_and_changes_it_in_the_next_run(pipes: Pipelines) -> None:
    """EndpointConfig, Endpoint and InferenceComponent: made by the first execution, the component updated by the second."""
    user, name = pipes.user, unique("packed")
    code = "import os\ndef model_fn(d): return os.environ['SAYS']\ndef transform_fn(says, *rest): return says\n"
    artifact = user.put(f"{name}/model.tar.gz", targz({"code/inference.py": code}))
    row = {"VariantName": "all", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    config = {"EndpointConfigName": name, "ProductionVariants": [row], "ExecutionRoleArn": ROLE}
    wanted = {"EndpointName": name, "EndpointConfigName": name}
    container = {"Image": PYTHON, "ArtifactUrl": artifact, "Environment": {"SAYS": {"Get": "Parameters.Says"}}}
    needs = {"NumberOfCpuCoresRequired": 1, "MinMemoryRequiredInMb": 512}
    component = {
        "InferenceComponentName": name,
        "EndpointName": {"Get": "Steps.Host.EndpointName"},
        "VariantName": "all",
        "Specification": {"Container": container, "ComputeResourceRequirements": needs},
        "RuntimeConfig": {"CopyCount": 1},
    }
    pipeline = pipes.create(
        step("Config", "EndpointConfig", config),
        step("Host", "Endpoint", wanted, DependsOn=["Config"]),
        step("Pack", "InferenceComponent", component),
        parameters=[{"Name": "Says", "Type": "String", "DefaultValue": "one"}],
    )
    for says in ("one", "two"):
        arn = pipes.start(pipeline, PipelineParameters=[{"Name": "Says", "Value": says}])
        assert pipes.ended(arn)["PipelineExecutionStatus"] == "Succeeded", pipes.steps(arn)
        assert user.ask(name, "", InferenceComponentName=name).decode() == says
        told = pipes.steps(arn)["Pack"]["Metadata"]["InferenceComponent"]["Arn"]
        assert told == user.sm.describe_inference_component(InferenceComponentName=name)["InferenceComponentArn"]
    user.sm.delete_inference_component(InferenceComponentName=name)
    until(lambda: not user.sm.list_inference_components(NameContains=name)["InferenceComponents"])
    user.sm.delete_endpoint(EndpointName=name)


def test_a_step_begins_soon_after_the_one_before_it(pipes: Pipelines) -> None:
    """Measured by the records' own times; `scripts/bench pipelines` tells the figures."""
    chain = [step(f"S{n}", "Training", shell("true"), DependsOn=[f"S{n - 1}"] if n else []) for n in range(4)]
    arn = pipes.start(pipes.create(*chain))
    assert pipes.ended(arn)["PipelineExecutionStatus"] == "Succeeded"
    states = pipes.steps(arn)
    ends = [pipes.job(states[f"S{n}"])["TrainingEndTime"] for n in range(3)]
    begins = [pipes.job(states[f"S{n}"])["CreationTime"] for n in range(1, 4)]
    gaps = sorted((begin - end).total_seconds() for end, begin in zip(ends, begins, strict=True))
    assert gaps[1] < 1.0, gaps  # 0.1 s and less on an idle machine
