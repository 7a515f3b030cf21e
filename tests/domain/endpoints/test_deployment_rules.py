"""What a DeploymentConfig may say: one case on each side of every limit."""

from __future__ import annotations

from typing import Any

import pytest
from tests.domain.endpoints.test_deployment import blue_green, rolling, size

from clary.domain.endpoints.deployment_rules import check
from clary.domain.errors import Invalid

PERCENT = "CAPACITY_PERCENT"
GOOD: list[tuple[Any, int]] = [
    (None, 1),
    ({}, 1),
    (blue_green("ALL_AT_ONCE", wait=3600, keep=3600, limit=28800), 1),
    (blue_green("CANARY", CanarySize=size(50, PERCENT)), 1),
    (blue_green("CANARY", CanarySize=size(1)), 2),
    (blue_green("LINEAR", LinearStepSize=size(10, PERCENT)), 1),
    (blue_green("LINEAR", LinearStepSize=size(1)), 10),
    (blue_green("LINEAR", LinearStepSize=size(5)), 10),
    (blue_green("LINEAR", wait=60, limit=601, LinearStepSize=size(10, PERCENT)), 1),
    (rolling(size(5, PERCENT)), 1),
    (rolling(size(1)), 2),
    (rolling(size(50, PERCENT), RollbackMaximumBatchSize=size(100, PERCENT)), 2),
    (rolling(size(1), RollbackMaximumBatchSize=size(2)), 2),
]
BAD: list[tuple[Any, int, str]] = [
    (
        {**blue_green("ALL_AT_ONCE"), **rolling(size(50, PERCENT))},
        1,
        "Only one update policy should be used in the deployment configuration",
    ),
    (blue_green("CANARY"), 2, "CanarySize is required when Type is CANARY"),
    (blue_green("LINEAR"), 2, "LinearStepSize is required when Type is LINEAR"),
    (blue_green("ALL_AT_ONCE", CanarySize=size(1)), 2, "CanarySize is for Type CANARY; the given Type is ALL_AT_ONCE"),
    (blue_green("CANARY", CanarySize=size(1), LinearStepSize=size(1)), 2, "LinearStepSize is for Type LINEAR"),
    (blue_green("LINEAR", CanarySize=size(1), LinearStepSize=size(1)), 2, "CanarySize is for Type CANARY"),
    (blue_green("CANARY", CanarySize=size(51, PERCENT)), 2, "51 is invalid: it must be less than or equal to 50%"),
    (blue_green("CANARY", CanarySize=size(1)), 1, "1 is invalid for variant 'A' with an instance count of 1"),
    (blue_green("CANARY", CanarySize=size(2)), 3, "less than or equal to 50% of the variant's total instance count"),
    (blue_green("LINEAR", LinearStepSize=size(9, PERCENT)), 2, "between 10% and 50%"),
    (blue_green("LINEAR", LinearStepSize=size(51, PERCENT)), 2, "between 10% and 50%"),
    (blue_green("LINEAR", LinearStepSize=size(1)), 11, "between 10% and 50%"),
    (rolling(size(4, PERCENT)), 2, "MaximumBatchSize.Value 4 is invalid: it must be between 5% and 50%"),
    (rolling(size(2)), 3, "MaximumBatchSize.Value 2 is invalid for variant 'A'"),
    (rolling(size(1), RollbackMaximumBatchSize=size(101, PERCENT)), 2, "RollbackMaximumBatchSize.Value 101"),
    (rolling(size(1), RollbackMaximumBatchSize=size(3)), 2, "RollbackMaximumBatchSize.Value 3 is invalid for variant"),
    (
        blue_green("LINEAR", wait=60, limit=600, LinearStepSize=size(10, PERCENT)),
        1,
        r"MaximumExecutionTimeoutInSeconds \(600\) must be larger than the total waiting time",
    ),
    (blue_green("ALL_AT_ONCE", wait=300, keep=300, limit=600), 1, "must be larger than the total waiting time"),
    (rolling(size(1), 300, MaximumExecutionTimeoutInSeconds=600), 2, "must be larger than the total waiting time"),
]


@pytest.mark.parametrize(("config", "count"), GOOD)
def test_what_aws_takes(config: Any, count: int) -> None:
    check(config, {"A": count}, {"A": count})


@pytest.mark.parametrize(("config", "count", "words"), BAD)
def test_what_aws_refuses(config: Any, count: int, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        check(config, {"A": count}, {"A": count})


def test_every_variant_is_held_to_the_limits() -> None:
    with pytest.raises(Invalid, match="variant 'B' with an instance count of 1"):
        check(blue_green("CANARY", CanarySize=size(1)), {}, {"A": 4, "B": 1})
