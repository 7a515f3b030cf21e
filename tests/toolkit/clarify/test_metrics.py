"""What CloudWatch is told of an analysis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clary.toolkit.clarify import metrics

SCHEDULE = {"sagemaker_monitoring_schedule_name": "hourly", "sagemaker_endpoint_name": "live"}
FOUND: dict[str, Any] = {
    "post_training_bias_metrics": {
        "label": "approved",
        "label_value_or_threshold": "1",
        "facets": {
            "sex": [
                {
                    "value_or_threshold": "0",
                    "metrics": [
                        {"name": "DI", "value": "Infinity"},
                        {"name": "AD", "value": -0.25},
                        {"name": "FT", "value": None, "error": "no rows"},
                    ],
                }
            ]
        },
    },
    "explanations": {"kernel_shap": {"label0": {"global_shap_values": {"age": 0.5}, "expected_value": 0.1}}},
}


def told(variables: dict[str, str]) -> list[tuple[str, float, dict[str, str]]]:
    return [
        (line["MetricName"], line["Value"], {each["Name"]: each["Value"] for each in line["Dimensions"]})
        for line in metrics.lines(FOUND, variables)
    ]


def test_each_metric_has_its_dimensions_and_infinity_a_number() -> None:
    here = {"Endpoint": "live", "MonitoringSchedule": "hourly"}
    bias = {
        **here,
        "BiasStage": "Post-Training",
        "Label": "approved",
        "LabelValue": "1",
        "Facet": "sex",
        "FacetValue": "0",
    }
    shap = {**here, "ExplainabilityMethod": "KernelShap", "Label": "label0"}
    assert told(SCHEDULE) == [
        ("bias_metric_DI", metrics.INFINITY, bias),
        ("bias_metric_AD", -0.25, bias),
        ("feature_age", 0.5, {**shap, "ValueType": "GlobalShapValues"}),
        ("ExpectedValue", 0.1, {**shap, "ValueType": "ExpectedValue"}),
    ]


def test_without_an_endpoint_and_without_a_schedule() -> None:
    (first, *_) = told({"sagemaker_monitoring_schedule_name": "hourly"})
    assert "Endpoint" not in first[2]
    assert told({}) == []
    assert told({**SCHEDULE, "publish_cloudwatch_metrics": "Disabled"}) == []


def test_a_line_each(tmp_path: Path) -> None:
    metrics.publish([], str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    metrics.publish(metrics.lines(FOUND, SCHEDULE), str(tmp_path / "some"))
    lines = (tmp_path / "some" / metrics.FILE).read_text().splitlines()
    assert json.loads(lines[0])["MetricName"] == "bias_metric_DI"
