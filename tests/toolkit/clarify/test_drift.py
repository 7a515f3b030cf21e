"""What a monitor's run tells of an analysis that is worse than the baseline's."""

from __future__ import annotations

from typing import Any

import pytest

from clary.toolkit.clarify import drift


def bias(**values: Any) -> dict[str, Any]:
    metrics = [{"name": name, "description": "", "value": value} for name, value in values.items()]
    facets = {"sex": [{"value_or_threshold": "0", "metrics": metrics}]}
    return {"version": "1.0", "post_training_bias_metrics": {"label": "y", "facets": facets}}


def shap(**values: float) -> dict[str, Any]:
    return {"explanations": {"kernel_shap": {"label0": {"expected_value": 0.5, "global_shap_values": values}}}}


def test_farther_from_the_ideal_is_a_violation() -> None:
    found = drift.violations(bias(DPPL=-0.2, AD=0.05, DI=1.1, TE="Infinity"), bias(DPPL=0.1, AD=-0.1, DI=0.7, TE=2))
    assert [each["metric_name"] for each in found] == ["DPPL", "TE"]
    assert found[0] == {
        "facet": "sex",
        "facet_value": "0",
        "metric_name": "DPPL",
        "constraint_check_type": "bias_drift_check",
        "description": "Value -0.2 does not meet the constraint requirement",
    }


def test_a_metric_without_a_value_is_compared_with_none() -> None:
    assert drift.violations(bias(DPPL=None), bias(DPPL=0.1)) == []
    assert drift.violations(bias(DPPL=9), bias(DPPL=None)) == []


def test_another_order_of_attributions_is_a_violation() -> None:
    before = shap(a=0.9, b=0.05, c=0.01)
    assert drift.violations(shap(a=0.5, b=0.4, c=0.1), before) == []
    found = drift.violations(shap(a=0.01, b=0.4, c=0.1), before)
    assert [each["constraint_check_type"] for each in found] == ["feature_attribution_drift_check"]
    assert found[0]["label"] == "label0"
    assert found[0]["description"].endswith("exceeds threshold 0.9")


def test_ndcg_by_hand() -> None:
    assert drift.ndcg({"a": 1, "b": 2}, {"a": 3, "b": 1}) == pytest.approx((1 + 3 / 1.5849625) / (3 + 1 / 1.5849625))
    assert drift.ndcg({}, {"a": 0.0}) == 1.0
