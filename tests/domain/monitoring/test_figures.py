"""Metrics that monitoring jobs leave behind."""

from __future__ import annotations

from clary.domain.monitoring.figures import datapoints, namespaces

NOW = 1_800_000_000.0
LINES = """
{"MetricName": "a", "Value": 1.5, "Dimensions": [{"Name": "Endpoint", "Value": "e"}], "Timestamp": 1799999000.0}
{"MetricName": "b", "StatisticValues": {"SampleCount": 2, "Sum": 3, "Minimum": 1, "Maximum": 2}, "Timestamp": 1799999000000}
{"MetricName": "far", "Value": 1e309}
{"MetricName": "nan", "Value": NaN}
{"MetricName": "set", "StatisticValues": {"SampleCount": 0, "Sum": 3, "Minimum": 1, "Maximum": 2}}
[]
{torn
"""


def test_lines_become_datapoints_of_both_namespaces() -> None:
    found, wrong = datapoints(LINES, "DataQuality", "e", NOW)
    assert wrong == 4
    one, other = namespaces("DataQuality", "e")
    assert (one, other) == ("aws/sagemaker/Endpoints/data-metrics", "/aws/sagemaker/Endpoints/data-metrics")
    assert {each.series.namespace for each in found} == {one, other}
    by_name = {each.series.metric: each for each in found}
    assert set(by_name) == {"a", "b", "far"}
    assert by_name["a"].series.dimensions == (("Endpoint", "e"),)
    assert by_name["b"].at == 1_799_999_000
    assert (by_name["b"].summary.count, by_name["b"].summary.high) == (2, 2)
    assert by_name["far"].summary.high == 2.0**360  # 2.348543e108, as AWS has infinity


def test_batch_monitors_have_namespaces_of_their_own() -> None:
    assert namespaces("ModelBias", "")[0] == "aws/sagemaker/ModelMonitoring/bias-metrics"
