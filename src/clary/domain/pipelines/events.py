"""The events of executions and of their steps: details, with AWS's names. Pure.

Source: SageMaker's guide, "Events that Amazon SageMaker AI sends to Amazon EventBridge".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from clary.domain.ids import arn as make_arn
from clary.domain.pipelines.turn import metadata
from clary.domain.resources import Record

EXECUTION = "SageMaker Model Building Pipeline Execution Status Change"
STEP = "SageMaker Model Building Pipeline Execution Step Status Change"


def pipeline_of(execution: Record) -> str:
    """Its pipeline's ARN."""
    scope = execution.scope
    return make_arn("sagemaker", scope.region, scope.account, f"pipeline/{execution.document['pipeline']}")


def execution_detail(execution: Record, state: str, before: str) -> dict[str, Any]:
    """`before`: the state that was told last ("": none)."""
    request = execution.document["request"]
    return {
        **_both(execution),
        "pipelineExecutionDescription": request.get("PipelineExecutionDescription", ""),
        "pipelineExecutionDisplayName": request.get("PipelineExecutionDisplayName", ""),
        "currentPipelineExecutionStatus": state,
        **({"previousPipelineExecutionStatus": before} if before else {}),
        **_moments("executionStartTime", execution.created, "executionEndTime", execution.document.get("ended")),
    }


def step_detail(execution: Record, name: str, state: str, before: str) -> dict[str, Any]:
    """The same of a step; with why it failed, and the execution whose outputs it took from the cache."""
    step: Mapping[str, Any] = execution.document["steps"][name]
    origin = step.get("origin")
    return {
        **_both(execution),
        "stepName": name,
        "stepType": step.get("type", ""),
        "metadata": _small(metadata(step)) if "type" in step else {},
        "currentStepStatus": state,
        **({"previousStepStatus": before} if before else {}),
        **({"failureReason": step["failure"]} if state == "Failed" and step.get("failure") else {}),
        **({"cacheHitResult": {"sourcePipelineExecutionArn": origin["execution"]}} if origin else {}),
        **_moments("stepStartTime", step.get("started"), "stepEndTime", step.get("ended")),
    }


def _both(execution: Record) -> dict[str, str]:
    return {"pipelineArn": pipeline_of(execution), "pipelineExecutionArn": execution.arn}


def _small(value: Any) -> Any:
    """Names begin with a small letter in these events: {"ProcessingJob": {"Arn": ...}} is {"processingJob": {"arn": ...}}."""
    if isinstance(value, Mapping):
        return {name[:1].lower() + name[1:]: _small(each) for name, each in value.items()}
    return [_small(each) for each in value] if isinstance(value, list) else value


def _moments(first: str, begin: Any, second: str, end: Any) -> dict[str, str]:
    found = {first: begin, second: end}
    form = "%Y-%m-%dT%H:%M:%SZ"
    return {name: datetime.fromtimestamp(float(at), UTC).strftime(form) for name, at in found.items() if at}
