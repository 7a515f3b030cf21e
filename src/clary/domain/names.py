"""The names of endpoints and inference components in fronts and logs. Pure.

A front knows a component as ENDPOINT/COMPONENT, and the replicas of a transform job as JOB/:transform; a name of AWS's has no "/" and
no ":".
"""

from __future__ import annotations

from clary.domain.resources import Record

COMPONENT = "inference-component"  # the kind of record
TRANSFORM_FLEET = "transform-fleet"  # the kind of record that has the replicas of a transform job
TRANSFORM_LOGS = "/aws/sagemaker/TransformJobs"
RETRAINING_STREAM = "retraining"  # beside the stream of an endpoint's history
_TRANSFORM = ":transform"


def route_name(record: Record) -> str:
    """By which name the home front knows it."""
    if record.kind == TRANSFORM_FLEET:
        return f"{record.name}/{_TRANSFORM}"
    return f"{record.document['endpoint']}/{record.name}" if record.kind == COMPONENT else record.name


def resource_of(route: str) -> tuple[str, str]:
    """Kind and name of the record behind a front's name."""
    endpoint, _, component = route.partition("/")
    if component == _TRANSFORM:
        return TRANSFORM_FLEET, endpoint
    return (COMPONENT, component) if component else ("endpoint", endpoint)


def log_group(route: str) -> str:
    """Where its replicas' logs are."""
    kind, name = resource_of(route)
    if kind == TRANSFORM_FLEET:
        return TRANSFORM_LOGS
    return f"/aws/sagemaker/{'InferenceComponents' if kind == COMPONENT else 'Endpoints'}/{name}"


def history_group(route: str) -> str:
    """Where its history is: not among its replicas' logs, whose streams clients list and read as the model's."""
    return log_group(route).replace("/aws/sagemaker/", "/clary/", 1)
