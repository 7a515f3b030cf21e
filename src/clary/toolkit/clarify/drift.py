"""Compares an analysis with the baseline's, as bias and attribution monitors do: constraint_violations.json. Pure."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterator, List, Tuple

NDCG = 0.9


def violations(analysis: Dict[str, Any], baseline: Dict[str, Any]) -> List[Dict[str, Any]]:
    """What got worse: bias metrics farther from their ideal than in the baseline, and an order of attributions that is another one."""
    return [*_biases(analysis, baseline), *_attributions(analysis, baseline)]


def _biases(analysis: Dict[str, Any], baseline: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    for section in ("pre_training_bias_metrics", "post_training_bias_metrics"):
        theirs = dict(_metrics(baseline.get(section) or {}))
        for key, value in _metrics(analysis.get(section) or {}):
            before = theirs.get(key)
            ideal = 1.0 if key[2] == "DI" else 0.0  # the only metric that is a ratio
            if before is not None and abs(value - ideal) > abs(before - ideal):
                yield {
                    "facet": key[0],
                    "facet_value": key[1],
                    "metric_name": key[2],
                    "constraint_check_type": "bias_drift_check",
                    "description": "Value {} does not meet the constraint requirement".format(value),
                }


def _metrics(section: Dict[str, Any]) -> Iterator[Tuple[Tuple[str, str, str], float]]:
    """`(facet, its value, metric)` and the metric's value, of those that have one."""
    for facet, values in (section.get("facets") or {}).items():
        for each in values:
            for metric in each.get("metrics") or ():
                if metric.get("value") is not None:
                    yield (facet, str(each.get("value_or_threshold")), metric["name"]), float(metric["value"])


def _attributions(analysis: Dict[str, Any], baseline: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    theirs = (baseline.get("explanations") or {}).get("kernel_shap") or {}
    for label, own in ((analysis.get("explanations") or {}).get("kernel_shap") or {}).items():
        if label in theirs:
            score = ndcg(own["global_shap_values"], theirs[label]["global_shap_values"])
            if score < NDCG:
                yield {
                    "label": label,
                    "metric_name": "shap",
                    "constraint_check_type": "feature_attribution_drift_check",
                    "description": "Feature attribution drift {} exceeds threshold {}".format(score, NDCG),
                }


def ndcg(now: Dict[str, float], before: Dict[str, float]) -> float:
    """How far features come in the baseline's order, 1 for the same. The gain of a feature is the baseline's attribution."""
    order = sorted(before, key=lambda each: -abs(now.get(each, 0.0)))
    best = sorted(before, key=lambda each: -abs(before[each]))
    ideal = _gain(best, before)
    return _gain(order, before) / ideal if ideal else 1.0


def _gain(order: List[str], values: Dict[str, float]) -> float:
    return sum(abs(values[each]) / math.log2(at + 2) for at, each in enumerate(order))
