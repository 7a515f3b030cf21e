"""The events `SageMaker Endpoint State Change` and `SageMaker Endpoint Deployment State Change`: the words of the first, the detail of the
second. Pure.

A deployment is a change of what serves: its states are the moments at which VariantStatus says something new (the next step's replicas
start, its traffic is moved, it bakes, the old fleet is kept). Source: SageMaker's guide, "Events that Amazon SageMaker AI sends to Amazon
EventBridge".
"""

from __future__ import annotations

from typing import Any

from clary.domain.endpoints import rollout_status
from clary.domain.endpoints.fleets import Fleet, Plant
from clary.domain.endpoints.turn import config_of, plant_of
from clary.domain.lifecycle import EndpointStatus
from clary.domain.resources import Record

DEPLOYMENT = "SageMaker Endpoint Deployment State Change"
_CHANGING = (EndpointStatus.UPDATING, EndpointStatus.ROLLING_BACK)


def shouted(status: str) -> str:
    """A status as these events write it: IN_SERVICE for InService."""
    return "".join(f"_{c}" if c.isupper() and at else c for at, c in enumerate(status)).upper()


def deployment_state(endpoint: Record) -> str:
    """Names the moment of a change of what serves; "" while nothing changes, and while the endpoint is made or deleted."""
    plant = endpoint.document.get("plant") or {}
    if endpoint.status not in _CHANGING or not plant.get("serving"):
        return ""
    rollout, incoming = plant.get("rollout"), plant.get("incoming")
    if not rollout or not incoming:  # what came in serves, and the old fleet goes; or weights or counts change
        return f"in place since {plant['changed']}" if plant.get("before") else ""
    back = " back" if rollout["back"] else ""
    return f"{incoming['id']}: step {rollout['step']} {rollout['phase']}{back}"


def deployment_detail(endpoint: Record) -> dict[str, Any]:
    """The detail at that moment, times in milliseconds."""
    plant = plant_of(endpoint)
    assert plant.serving is not None, endpoint.arn
    detail = {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": config_of(endpoint, plant),
        "ProductionVariants": _rows(endpoint, plant, plant.serving),
        "EndpointStatus": shouted(endpoint.status),
        "CreationTime": _milliseconds(endpoint.created),
        "LastModifiedTime": _milliseconds(endpoint.modified),
        "Tags": {tag["Key"]: tag["Value"] for tag in endpoint.document.get("tags", ())},
    }
    if plant.incoming is not None:
        detail["PendingDeploymentSummary"] = {
            "EndpointConfigName": plant.incoming.config,
            "StartTime": _milliseconds(plant.incoming.created),
            "ProductionVariants": _rows(endpoint, plant, plant.incoming),
        }
    return detail


def _rows(endpoint: Record, plant: Plant, fleet: Fleet) -> list[dict[str, Any]]:
    rows = []
    for group in fleet.groups:
        status = rollout_status.status_of(endpoint, plant, fleet, group)
        timed = {**status, "StartTime": _milliseconds(status["StartTime"])}
        rows.append({**rollout_status.size_of(group), "VariantStatus": [timed]})
    return rows


def _milliseconds(seconds: Any) -> int:
    return int(float(seconds) * 1000)
