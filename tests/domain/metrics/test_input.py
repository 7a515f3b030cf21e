"""PutMetricData: what it makes of what it is given, and what it refuses in CloudWatch's codes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from clary.domain.metrics.datapoints import Datapoint, Series, Summary, single, weighed
from clary.domain.metrics.input import COMBINATION, INVALID, MISSING, OLDEST, InputRefused, datapoints

NOW = 1_800_000_000.0


def put(*rows: dict[str, Any], namespace: str = "N") -> list[Datapoint]:
    return datapoints({"Namespace": namespace, "MetricData": [{"MetricName": "m", **row} for row in rows]}, NOW)


def test_the_three_forms() -> None:
    one, some, known, equal = put(
        {"Value": 2.5, "Unit": "Seconds", "Dimensions": [{"Name": "b", "Value": "2"}, {"Name": "a", "Value": "1"}]},
        {
            "Values": [1.0, 2.0],
            "Counts": [3, 1],
            "StorageResolution": 1,
            "Timestamp": datetime.fromtimestamp(NOW - 60, UTC),
        },
        {"StatisticValues": {"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 4}},
        {"StatisticValues": {"SampleCount": 4, "Sum": 8, "Minimum": 2, "Maximum": 2}},
    )
    assert one == Datapoint(Series("N", "m", (("a", "1"), ("b", "2")), "Seconds"), NOW, single(2.5), fine=False)
    assert (some.at, some.summary, some.fine) == (NOW - 60, weighed([(1.0, 3), (2.0, 1)]), True)
    assert known.summary == Summary(4, 10, 1, 4, None)
    assert equal.summary.percentile(0.5) == 2.0


def test_metrics_of_entities_are_metrics() -> None:
    params = {"Namespace": "N", "EntityMetricData": [{"MetricData": [{"MetricName": "m", "Value": 1.0}]}]}
    assert [point.series.metric for point in datapoints(params, NOW)] == ["m"]


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ({}, MISSING, "MetricData.member.1.Value"),
        ({"Value": float("nan")}, INVALID, "The value nan for parameter MetricData.member.1.Value is invalid"),
        ({"Value": 2.0**361}, INVALID, "2.360"),
        ({"Value": 1.0, "Values": [1.0]}, COMBINATION, "mutually exclusive"),
        ({"Values": []}, INVALID, "1 to 150"),
        ({"Values": [1.0] * 151}, INVALID, "1 to 150"),
        ({"Values": [1.0], "Counts": [1.0, 2.0]}, INVALID, "same size"),
        ({"Values": [1.0], "Counts": [0.0]}, INVALID, "greater than 0"),
        ({"StatisticValues": {"SampleCount": 0, "Sum": 0, "Minimum": 0, "Maximum": 0}}, INVALID, "SampleCount"),
        ({"StatisticValues": {"SampleCount": 1, "Sum": 0, "Minimum": 2, "Maximum": 1}}, COMBINATION, "Maximum"),
        ({"Value": 1.0, "StorageResolution": 5}, INVALID, "it is 1 or 60"),
        ({"Value": 1.0, "Timestamp": datetime.fromtimestamp(NOW - OLDEST - 1, UTC)}, INVALID, "two weeks"),
        ({"Value": 1.0, "Timestamp": datetime.fromtimestamp(NOW + 7201, UTC)}, INVALID, "two hours"),
        (
            {"Value": 1.0, "Dimensions": [{"Name": "a", "Value": "1"}, {"Name": "a", "Value": "2"}]},
            INVALID,
            "two of one name",
        ),
    ],
)
def test_what_is_refused(row: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(InputRefused, match=words) as caught:
        put(row)
    assert caught.value.code == code


def test_names_of_aws_and_too_many_are_refused() -> None:
    with pytest.raises(InputRefused, match="reserved"):
        put({"Value": 1.0}, namespace="AWS/SageMaker")
    with pytest.raises(InputRefused, match="size greater than 1000"):
        put(*[{"Value": 1.0}] * 1001)
    with pytest.raises(InputRefused, match="MetricData is required"):
        datapoints({"Namespace": "N"}, NOW)
