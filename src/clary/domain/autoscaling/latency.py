"""Scaling policies on a latency objective: target tracking of the predefined metric `ClaryLatencyObjective`. Pure.

Such a policy has no alarms. `objectives` decides each second, from what the fronts count, what its scalable target is to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.domain.autoscaling.record import INSTANCES, MILLICPU, TRACKING
from clary.domain.errors import Invalid
from clary.domain.extensions import LONGEST_OBJECTIVE

METRIC = "ClaryLatencyObjective"


def is_latency(request: Mapping[str, Any]) -> bool:
    """Whether a scaling policy is on a latency objective."""
    specification: Mapping[str, Any] = configuration(request).get("PredefinedMetricSpecification") or {}
    return specification.get("PredefinedMetricType") == METRIC


def configuration(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """A scaling policy's TargetTrackingScalingPolicyConfiguration; empty for one of another type."""
    found: Mapping[str, Any] = request.get(f"{TRACKING}PolicyConfiguration") or {}
    return found


def check_policy(config: Mapping[str, Any], dimension: str) -> None:
    """Invalid for a target tracking configuration on this metric that no variant could follow."""
    if dimension not in (INSTANCES, MILLICPU):
        raise Invalid(f"PredefinedMetricType {METRIC} is for the scalable dimensions {INSTANCES} and {MILLICPU}.")
    value = float(config["TargetValue"])
    if not 0 < value <= LONGEST_OBJECTIVE:
        raise Invalid(
            f"TargetValue of {METRIC} is a p99 in milliseconds, above 0 and at most {LONGEST_OBJECTIVE:.10g}; it is {value:.10g}."
        )
