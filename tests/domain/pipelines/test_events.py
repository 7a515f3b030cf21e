"""What rules are told of an execution and its steps, as AWS documents it."""

from __future__ import annotations

from typing import Any

from clary.domain.pipelines import events
from clary.domain.resources import Record, Scope

SCOPE = Scope("000000000000", "eu-west-1")
PIPELINE = "arn:aws:sagemaker:eu-west-1:000000000000:pipeline/p"
ARN = f"{PIPELINE}/execution/e"


def execution(**steps: Any) -> Record:
    document = {
        "pipeline": "p",
        "request": {"PipelineExecutionDisplayName": "d"},
        "steps": steps,
        "ended": 61.0,
    }
    return Record("pipeline-execution", SCOPE, "p/e", ARN, "Executing", 1.0, 2.0, document)


def test_an_execution() -> None:
    assert events.execution_detail(execution(), "Succeeded", "Executing") == {
        "pipelineArn": PIPELINE,
        "pipelineExecutionArn": ARN,
        "pipelineExecutionDescription": "",
        "pipelineExecutionDisplayName": "d",
        "currentPipelineExecutionStatus": "Succeeded",
        "previousPipelineExecutionStatus": "Executing",
        "executionStartTime": "1970-01-01T00:00:01Z",
        "executionEndTime": "1970-01-01T00:01:01Z",
    }


def test_a_step_that_failed() -> None:
    job = f"{PIPELINE.rsplit(':', 1)[0]}:processing-job/j"
    told = events.step_detail(
        execution(
            Clean={"type": "Processing", "status": "Failed", "started": 3.0, "ended": 4.0, "arn": job, "failure": "no"}
        ),
        "Clean",
        "Failed",
        "",
    )
    assert told == {
        "pipelineArn": PIPELINE,
        "pipelineExecutionArn": ARN,
        "stepName": "Clean",
        "stepType": "Processing",
        "metadata": {"processingJob": {"arn": job}},
        "currentStepStatus": "Failed",
        "failureReason": "no",
        "stepStartTime": "1970-01-01T00:00:03Z",
        "stepEndTime": "1970-01-01T00:00:04Z",
    }


def test_a_step_from_the_cache_says_whose_outputs_it_took() -> None:
    origin = {"execution": f"{PIPELINE}/execution/earlier"}
    told = events.step_detail(
        execution(Train={"type": "Training", "status": "Succeeded", "started": 3.0, "origin": origin}),
        "Train",
        "Succeeded",
        "Starting",
    )
    assert told["cacheHitResult"] == {"sourcePipelineExecutionArn": origin["execution"]}
    assert told["previousStepStatus"] == "Starting"
    assert "failureReason" not in told
