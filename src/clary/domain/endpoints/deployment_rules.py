"""Checks of a DeploymentConfig beyond the ranges of botocore's model (reference/sagemaker.md 4). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.domain.endpoints import deployment
from clary.domain.errors import Invalid

_SHIFT = "DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration"
_ROLLING = "DeploymentConfig.RollingUpdatePolicy"
_SIZES = {deployment.CANARY: "CanarySize", deployment.LINEAR: "LinearStepSize"}
_TIMEOUT = "MaximumExecutionTimeoutInSeconds"


def check(config: Mapping[str, Any] | None, old: Mapping[str, int], new: Mapping[str, int]) -> None:
    """Invalid for what AWS refuses. `old` and `new`: replicas by variant name, before and after."""
    config = config or {}
    policy, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    if policy and rolling:
        raise Invalid(
            "Only one update policy should be used in the deployment configuration: please provide either "
            "DeploymentConfig.BlueGreenUpdatePolicy or DeploymentConfig.RollingUpdatePolicy, not both."
        )
    if policy:
        _check_shift(policy["TrafficRoutingConfiguration"], new)
    if rolling:
        _check_size(f"{_ROLLING}.MaximumBatchSize", rolling["MaximumBatchSize"], new, 5, 50)
        if rolling.get("RollbackMaximumBatchSize"):
            _check_size(f"{_ROLLING}.RollbackMaximumBatchSize", rolling["RollbackMaximumBatchSize"], old or new, 0, 100)
    _check_time(config, old, new)


def _check_shift(shift: Mapping[str, Any], new: Mapping[str, int]) -> None:
    wanted = _SIZES.get(shift["Type"])
    for kind, member in _SIZES.items():
        if shift.get(member) and member != wanted:
            raise Invalid(f"{_SHIFT}.{member} is for Type {kind}; the given Type is {shift['Type']}.")
    if wanted is None:
        return
    if not shift.get(wanted):
        raise Invalid(f"{_SHIFT}.{wanted} is required when Type is {shift['Type']}.")
    low = 10 if wanted == "LinearStepSize" else 0
    _check_size(f"{_SHIFT}.{wanted}", shift[wanted], new, low, 50)


def _check_size(where: str, size: Mapping[str, Any], counts: Mapping[str, int], low: int, high: int) -> None:
    """`low` and `high` are percents of each variant's total instance count."""
    value = size["Value"]
    limits = f"less than or equal to {high}%" if not low else f"between {low}% and {high}%"
    if size["Type"] == "CAPACITY_PERCENT":
        if not low <= value <= high:
            raise Invalid(
                f"{where}.Value {value} is invalid: it must be {limits} of the variant's total instance count."
            )
        return
    for name, count in counts.items():
        if not low * count <= 100 * value <= high * count:
            raise Invalid(
                f"{where}.Value {value} is invalid for variant '{name}' with an instance count of {count}: it must be {limits} of "
                "the variant's total instance count."
            )


def _check_time(config: Mapping[str, Any], old: Mapping[str, int], new: Mapping[str, int]) -> None:
    rollout = deployment.plan(config, old, new, 0.0)
    waits = deployment.seconds_of(rollout)
    if rollout.limit and rollout.limit <= waits:
        raise Invalid(
            f"{_TIMEOUT} ({rollout.limit:g}) must be larger than the total waiting time of the deployment: "
            f"{len(rollout.steps)} step(s) of WaitIntervalInSeconds {rollout.wait:g} and TerminationWaitInSeconds {rollout.keep:g} "
            f"make {waits:g} s."
        )
