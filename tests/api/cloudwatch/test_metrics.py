"""CloudWatch's metrics through their handlers: what is refused, with which code, and bounds of metric math."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.api.world import World


@pytest.fixture
def world() -> World:
    return World()


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


@pytest.mark.parametrize(
    ("seconds", "period", "code"),
    [
        (86_400, 60, ""),
        (86_459, 60, "InvalidParameterCombination"),
        (86_460, 60, "InvalidParameterCombination"),
        (1440, 1, ""),
        (1441, 1, "InvalidParameterCombination"),
    ],
)
async def test_points_are_counted_from_the_start_that_was_asked(
    world: World, seconds: float, period: int, code: str
) -> None:
    asked: dict[str, Any] = {
        "Namespace": "N",
        "MetricName": "m",
        "StartTime": moment(world.now + 17.25 - seconds),
        "EndTime": moment(world.now + 17.25),
        "Period": period,
        "Statistics": ["Sum"],
    }
    if code:
        assert (await world.refused("cloudwatch", "GetMetricStatistics", **asked))[0] == code
    else:
        assert await world("cloudwatch", "GetMetricStatistics", **asked) == {"Label": "m", "Datapoints": []}


@pytest.mark.parametrize(
    ("operation", "params", "code", "words"),
    [
        (
            "PutMetricData",
            {"Namespace": "N", "MetricData": [{"MetricName": "m", "Values": [1.0, 2.0], "Counts": [1.0]}]},
            "InvalidParameterValue",
            "must be of the same size",
        ),
        ("PutDashboard", {"DashboardName": "a b", "DashboardBody": "{}"}, "InvalidParameterValue", "DashboardName"),
        ("PutDashboard", {"DashboardName": "a" * 256, "DashboardBody": "{}"}, "InvalidParameterValue", "DashboardName"),
        ("DeleteDashboards", {"DashboardNames": []}, "InvalidParameterValue", "DashboardNames"),
        (
            "PutMetricAlarm",
            {
                "AlarmName": "a",
                "Namespace": "N",
                "MetricName": "m",
                "ExtendedStatistic": "q99",
                "Period": 60,
                "EvaluationPeriods": 1,
                "Threshold": 1.0,
                "ComparisonOperator": "GreaterThanThreshold",
            },
            "InvalidParameterValue",
            "The value q99 for parameter ExtendedStatistic",
        ),
        (
            "PutMetricAlarm",
            {
                "AlarmName": "a",
                "EvaluationPeriods": 1,
                "Threshold": 1.0,
                "ComparisonOperator": "GreaterThanThreshold",
                "Metrics": [{"Id": f"e{n}", "Expression": "1", "ReturnData": n == 0} for n in range(11)],
            },
            "ValidationError",
            "an alarm may have 10",
        ),
    ],
)
async def test_codes(world: World, operation: str, params: dict[str, Any], code: str, words: str) -> None:
    found, message = await world.refused("cloudwatch", operation, **params)
    assert found == code
    assert words in message


async def test_a_call_that_asks_too_much_of_metric_math_is_refused(world: World) -> None:
    when = {"StartTime": moment(world.now - 3600), "EndTime": moment(world.now)}
    doubling = [{"Id": f"q{n}", "Expression": f"[q{n - 1}, q{n - 1}]"} for n in range(1, 21)]
    queries = [{"Id": "q0", "Expression": "TIME_SERIES(1)"}, *doubling]
    code, message = await world.refused("cloudwatch", "GetMetricData", MetricDataQueries=queries, **when)
    assert (code, message) == ("ValidationError", "Error in expression 'q9': a list has more than 500 series.")
    chain = [{"Id": "e", "Expression": "+".join("1" * 1000)}]
    (result,) = (await world("cloudwatch", "GetMetricData", MetricDataQueries=chain, **when))["MetricDataResults"]
    assert set(result["Values"]) == {1000.0}
