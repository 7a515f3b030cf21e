"""What `clary pipeline` makes of the API's answers."""

from __future__ import annotations

from typing import Any

import orjson

from clary.app.cli import pipeline
from clary.domain.pipelines import definition

ARN = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/e1"
EQUAL = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}


def found(status: str = "Failed") -> dict[str, Any]:
    gate = {
        "Conditions": [EQUAL],
        "IfSteps": [{"Name": "Use", "Type": "Training", "Arguments": {}}],
        "ElseSteps": [{"Name": "Bad", "Type": "Fail", "Arguments": {"ErrorMessage": "<script>"}}],
    }
    text = orjson.dumps(
        {
            "Version": "2020-12-01",
            "Steps": [
                {"Name": "Train", "Type": "Training", "Arguments": {}},
                {"Name": "Gate", "Type": "Condition", "Arguments": gate, "DependsOn": ["Train"]},
            ],
        }
    )
    steps = {
        "Train": {"StepStatus": "Succeeded", "StartTime": 100.0, "EndTime": 103.5, "AttemptCount": 2},
        "Gate": {
            "StepStatus": "Succeeded",
            "StartTime": 103.6,
            "EndTime": 103.6,
            "Metadata": {"Condition": {"Outcome": "False"}},
        },
        "Bad": {"StepStatus": "Failed", "StartTime": 103.6, "EndTime": 103.6, "FailureReason": "<script>\x1b[2J"},
    }
    told = {
        "PipelineArn": ARN.partition("/execution/")[0],
        "PipelineExecutionArn": ARN,
        "PipelineExecutionStatus": status,
        "FailureReason": "r",
    }
    notes = {("Train", "not cached"): "HyperParameters.eta was 0.1, is 0.2", ("Train", "tried again"): "no room"}
    return pipeline.state(told, definition.parse(text, {}), steps, notes, 110.0)


def test_every_step_of_the_definition_has_its_state() -> None:
    steps = {each["step"]: each for each in found()["steps"]}
    assert {name: each["status"] for name, each in steps.items()} == {
        "Train": "Succeeded",
        "Gate": "Succeeded",
        "Use": "not run",
        "Bad": "Failed",
    }
    assert steps["Train"]["seconds"] == 3.5
    assert steps["Train"]["note"] == "not cached: HyperParameters.eta was 0.1, is 0.2; tried again: no room"
    assert steps["Gate"]["note"] == "False"
    assert steps["Use"]["branch"] == {"of": "Gate", "outcome": True}
    assert {each["step"]: each["status"] for each in found("Executing")["steps"]}["Use"] == "waiting"


def test_the_table_holds_nothing_that_a_terminal_obeys() -> None:
    told = pipeline.words(found())
    assert "HyperParameters.eta was 0.1, is 0.2" in told
    assert "Gate=True" in told
    assert "\x1b" not in told


def test_the_picture_has_a_box_a_step_and_an_arrow_a_need() -> None:
    drawn = pipeline.picture(found())
    assert drawn.count("<rect class=") == 4
    assert drawn.count("<path d=") == 3 + 1  # and the head of arrows
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn
    assert "Succeeded 3.5 s" in drawn


def test_an_arrow_that_a_longer_way_tells_is_left_out() -> None:
    row = {"type": "Training", "status": "Succeeded", "seconds": 1.0, "note": "", "branch": None}
    steps = [
        {**row, "step": "A", "needs": []},
        {**row, "step": "B", "needs": ["A"]},
        {**row, "step": "C", "needs": ["A", "B"]},
        {**row, "step": "D", "needs": ["A", "C"], "branch": {"of": "B", "outcome": True}},
    ]
    drawn = pipeline.picture({"pipeline": "p", "status": "Succeeded", "execution": ARN, "steps": steps})
    assert drawn.count('<path d="M') - drawn.count('<path d="M0 0L8 4') == 3
