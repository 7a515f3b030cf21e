"""Universal targets of schedules: any operation of an API, named by an ARN. Pure. Source: EventBridge Scheduler user guide."""

from __future__ import annotations

from clary.domain.events.deliveries import UNIVERSAL

_CALLED = {"eventbridge": "events", "sfn": "stepfunctions"}  # where the SDK's name is another one than botocore's


def parse(arn: str) -> tuple[str, str] | None:
    """(service, operation) of `arn:aws:scheduler:::aws-sdk:sagemaker:startPipelineExecution`; None for other ARNs."""
    if not arn.startswith(UNIVERSAL):
        return None
    service, _, action = arn.removeprefix(UNIVERSAL).partition(":")
    return _CALLED.get(service, service), action[:1].upper() + action[1:]
