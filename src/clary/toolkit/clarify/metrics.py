"""The CloudWatch metrics of a bias or attribution monitor: lines of `/opt/ml/output/metrics/cloudwatch/*.jsonl`, which the platform takes
over when the job has ended. Source: "CloudWatch Metrics for bias drift analysis", "... for feature attribution drift" (developer guide).
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

INFINITY = 2.348543e108  # CloudWatch's largest number, which stands for infinity
FILE = "clarify.jsonl"
_STAGES = (("pre_training_bias_metrics", "Pre-training"), ("post_training_bias_metrics", "Post-Training"))
Dimensions = List[Tuple[str, str]]


def lines(found: Mapping[str, Any], variables: Mapping[str, str]) -> List[Dict[str, Any]]:
    """Of an analysis, as a schedule's job says where it belongs; none where no schedule asks, or it wants none."""
    schedule = variables.get("sagemaker_monitoring_schedule_name", "")
    if not schedule or variables.get("publish_cloudwatch_metrics", "Enabled").lower() == "disabled":
        return []
    endpoint = variables.get("sagemaker_endpoint_name", "")
    base: Dimensions = [("Endpoint", endpoint)] if endpoint else []
    base.append(("MonitoringSchedule", schedule))
    told = [*_bias(found, base), *_attribution(found, base)]
    return [
        {
            "MetricName": name[:255],
            "Value": value,
            "Dimensions": [{"Name": key, "Value": said} for key, said in dimensions if said],
        }
        for name, value, dimensions in told
    ]


def _bias(found: Mapping[str, Any], base: Dimensions) -> Iterator[Tuple[str, float, Dimensions]]:
    for section, stage in _STAGES:
        part = found.get(section) or {}
        label = [("Label", str(part.get("label", ""))), ("LabelValue", str(part.get("label_value_or_threshold", "")))]
        for facet, values in (part.get("facets") or {}).items():
            for each in values:
                facing = [("Facet", str(facet)), ("FacetValue", str(each.get("value_or_threshold", "")))]
                for metric in each.get("metrics") or ():
                    value = _number(metric.get("value"))
                    if value is not None:
                        yield (
                            "bias_metric_{}".format(metric["name"]),
                            value,
                            [*base, ("BiasStage", stage), *label, *facing],
                        )


def _attribution(found: Mapping[str, Any], base: Dimensions) -> Iterator[Tuple[str, float, Dimensions]]:
    shap = (found.get("explanations") or {}).get("kernel_shap") or {}
    for label, part in shap.items():
        about = [*base, ("ExplainabilityMethod", "KernelShap"), ("Label", str(label))]
        for feature, given in (part.get("global_shap_values") or {}).items():
            value = _number(given)
            if value is not None:
                yield "feature_{}".format(feature), value, [*about, ("ValueType", "GlobalShapValues")]
        expected = _number(part.get("expected_value"))
        if expected is not None:
            yield "ExpectedValue", expected, [*about, ("ValueType", "ExpectedValue")]


def _number(value: Any) -> Optional[float]:
    """None for a metric that failed. Infinity stands in an analysis as text."""
    if value is None or isinstance(value, bool):
        return None
    number = float(value)
    if number != number:
        return None
    return max(-INFINITY, min(INFINITY, number))


def publish(told: List[Dict[str, Any]], folder: str) -> None:
    """Write the lines where the platform looks for them."""
    if not told:
        return
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, FILE), "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, allow_nan=False) + "\n" for line in told)
