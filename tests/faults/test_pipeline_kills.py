"""kill -9 again and again while a pipeline runs: it ends as it would have, and no step runs twice."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections import Counter
from typing import Any

import pytest
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Scene, until
from tests.live import ROLE

pytestmark = [pytest.mark.live, pytest.mark.slow]

STEPS = 8
OTHERS = ("objects", "front-0", "nginx", "features")  # who is killed besides the control plane, whose kills hurt most


def step(number: int) -> dict[str, Any]:
    """Each needs the results of the two before it, and leaves a line of its own in its log."""
    before = [f"Steps.S{n}.ModelArtifacts.S3ModelArtifacts" for n in (number - 2, number - 1) if n >= 0]
    arguments = {
        "AlgorithmSpecification": {
            "TrainingImage": PYTHON_IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["sh", "-c", f"echo this is S{number}; echo {number} > /opt/ml/model/n"],
        },
        "HyperParameters": {f"p{n}": {"Get": path} for n, path in enumerate(before)},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/pipelines"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
    }
    return {"Name": f"S{number}", "Type": "Training", "Arguments": arguments}


def test_a_pipeline_ends_as_it_would_have_however_often_processes_are_killed(
    scene: Scene, pytestconfig: pytest.Config
) -> None:
    sm, randomness = scene.patient, random.Random(7)
    kills = pytestconfig.getoption("--kills")
    count = max(STEPS, 4 * kills)  # so that it still runs at most of them
    definition = {"Version": "2020-12-01", "Steps": [step(number) for number in range(count)]}
    sm.create_pipeline(PipelineName="killed", PipelineDefinition=json.dumps(definition), RoleArn=ROLE)
    started = [
        sm.start_pipeline_execution(PipelineName="killed", ClientRequestToken=f"{number:032d}")["PipelineExecutionArn"]
        for number in (0, 1, 0)  # the last one is the first again
    ]
    arns = sorted(set(started))
    assert len(arns) == 2

    def status(arn: str) -> str:
        return str(sm.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"])

    running = 0
    for number in range(kills):
        time.sleep(randomness.uniform(0.05, 0.8))  # at any moment
        name = "control" if number % 2 == 0 else randomness.choice(OTHERS)
        scene.back(name, scene.kill(name))
        running += any(status(arn) == "Executing" for arn in arns)
    assert running >= kills // 3, f"only {running} kills met a running execution"
    until(lambda: all(status(arn) != "Executing" for arn in arns), 120 + 2 * count)
    assert [status(arn) for arn in arns] == ["Succeeded"] * 2
    for arn in arns:
        pages = sm.get_paginator("list_pipeline_execution_steps").paginate(PipelineExecutionArn=arn)
        steps = [each for page in pages for each in page["PipelineExecutionSteps"]]
        assert {each["StepName"]: each["StepStatus"] for each in steps} == {f"S{n}": "Succeeded" for n in range(count)}
        assert {each["AttemptCount"] for each in steps} == {1}
        own = arn.rpartition("/")[2]
        pages = sm.get_paginator("list_training_jobs").paginate(NameContains=own)
        jobs = [each["TrainingJobName"] for page in pages for each in page["TrainingJobSummaries"]]
        assert Counter(name.split("-")[2] for name in jobs) == {f"S{n}": 1 for n in range(count)}
        for name in jobs:
            events = scene.server.client("logs").filter_log_events(
                logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{name}/", filterPattern='"this is"'
            )["events"]
            assert [event["message"] for event in events] == [f"this is {name.split('-')[2]}"]
    ends = [each["EndTime"] for each in sorted(steps, key=lambda each: int(each["StepName"][1:]))]
    assert all(one <= other for one, other in itertools.pairwise(ends))
    sm.delete_pipeline(PipelineName="killed")
