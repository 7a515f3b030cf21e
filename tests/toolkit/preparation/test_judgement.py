"""What a brief demands of its data, judged from counted facts."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from clary.domain.registry import card_content
from clary.toolkit import brief as briefs
from clary.toolkit.preparation import judgement

GOOD: dict[str, Any] = {
    "name": "churn",
    "objective": "call in time",
    "target": "left",
    "metric": {"name": "roc_auc", "threshold": 0.8},
    "baseline": {"value": 0.7},
    "origin": "made up",
    "lawful_basis": "no personal data",
}


def facts(**changes: Any) -> dict[str, Any]:
    target = {
        "missing": 0,
        "different": 2,
        "classes": {"no": 9000, "yes": 1000},
        "mean": None,
        "deviation": None,
        "spread": None,
    }
    plain = {"missing": 0.0, "unique": 0.1, "continuous": False, "tells": 0.6, "tells_missing": 0.5}
    return {
        "rows": 10_000,
        "columns": ["left", "use", "region"],
        "target": {**target, **changes.pop("target", {})},
        "features": {"use": {**plain, **changes.pop("use", {})}},
        "slices": {"region": {"north": [5000, 500], "south": [5000, 500]}},
        "duplicates": {"rows": 0, "across": None},
        "association": "ROC AUC",
        "test_share": 0.2,
        **changes,
    }


def levels(brief: dict[str, Any], found: dict[str, Any]) -> dict[str, str]:
    """The worst level by subject, without what is fine."""
    judged = judgement.judge(briefs.of({**GOOD, **brief}), found)
    return {each.about: each.level for each in reversed(judged) if each.level != judgement.FINE}


def test_good_data_is_fine() -> None:
    assert levels({"slices": ["region"]}, facts()) == {}


@pytest.mark.parametrize(
    ("brief", "change", "wanted"),
    [
        ({"slices": ["land"]}, {}, {"columns": "error"}),
        ({"forbidden": ["sex"]}, {}, {}),
        ({}, {"rows": 0}, {"rows": "error"}),
        ({}, {"target": {"missing": 10_000, "classes": {}, "different": 0}}, {"target": "error"}),
        ({}, {"target": {"classes": {"no": 10_000}, "different": 1}}, {"target": "error"}),
        ({}, {"target": {"classes": {}, "different": 9_000}}, {"target": "error"}),
        ({"positive": True}, {}, {"positive": "error"}),
        ({}, {"target": {"missing": 10, "classes": {"no": 8990, "yes": 1000}}}, {"target": "warning"}),
        (
            {"problem": "binary"},
            {"target": {"classes": {"a": 1, "b": 2, "c": 9997}, "different": 3}},
            {"target": "error"},
        ),
        ({}, {"duplicates": {"rows": 4, "across": None}}, {"duplicates": "warning"}),
        ({}, {"duplicates": {"rows": 4, "across": 0}}, {}),
        ({}, {"duplicates": {"rows": 4, "across": 1}}, {"duplicates": "error"}),
        ({}, {"use": {"tells": 0.99}}, {"use": "error"}),
        ({}, {"use": {"tells_missing": 0.99}}, {"use": "error"}),
        ({}, {"use": {"tells": 0.92}}, {"use": "warning"}),
        ({"known_after": ["use"]}, {"use": {"tells": 0.99}}, {}),
        ({}, {"use": {"unique": 1.0}}, {"use": "warning"}),
        ({}, {"use": {"unique": 1.0, "continuous": True}}, {}),
        (
            {"slices": ["region"]},
            {"slices": {"region": {"north": [9900, 990], "south": [100, 10]}}},
            {"region": "warning"},
        ),
        ({"metric": {"name": "accuracy", "threshold": 0.9}, "baseline": {"value": 0.91}}, {}, {"threshold": "error"}),
        ({"baseline": {"value": 0.4}}, {}, {"baseline": "warning"}),
        ({"baseline": {"value": 0.85}}, {}, {"threshold": "warning"}),
        ({"baseline": {"value": 0.795}}, {}, {"rows": "error"}),
    ],
)
def test_tells_what_must_be_settled(brief: dict[str, Any], change: dict[str, Any], wanted: dict[str, str]) -> None:
    assert levels(brief, facts(**change)) == wanted


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("accuracy", 0.9),
        ("balanced_accuracy", 0.5),
        ("precision", 0.1),
        ("recall", 1.0),
        ("f1", 0.2 / 1.1),
        ("roc_auc", 0.5),
        ("pr_auc", 0.1),
        ("brier", 0.09),
        ("log_loss", -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))),
    ],
)
def test_what_a_metric_is_without_a_model(metric: str, value: float) -> None:
    brief = briefs.of({**GOOD, "metric": {"name": metric}, "positive": "yes"})
    assert judgement.trivial(brief, facts()["target"]) == pytest.approx(value)


def test_what_a_metric_of_a_number_is_without_a_model() -> None:
    target = {"missing": 0, "different": 90, "classes": {}, "mean": 5.0, "deviation": 2.0, "spread": 1.5}
    wanted = {"mse": 4.0, "rmse": 2.0, "mae": 1.5, "r2": 0.0}
    assert {name: judgement.trivial(briefs.of({**GOOD, "metric": {"name": name}}), target) for name in wanted} == wanted


def test_rows_that_show_an_objective() -> None:
    """0.9 against 0.85 of a proportion: (1.645 + 0.842)^2 x 0.9 x 0.1 / 0.05^2 = 222.6 rows."""
    brief = briefs.of({**GOOD, "metric": {"name": "accuracy", "threshold": 0.9}, "baseline": {"value": 0.85}})
    assert judgement.rows_needed(brief, facts()["target"]) == (pytest.approx(0.05), 223)
    assert judgement.rows_needed(briefs.of({**GOOD, "metric": {"name": "accuracy"}}), facts()["target"]) is None


def test_a_card_keeps_brief_and_findings() -> None:
    plain = {**GOOD, "hypothesis": "x" * 3000}
    brief, found = briefs.of(plain), facts(use={"tells": 0.99})
    content = judgement.card(brief, plain, judgement.judge(brief, found), found)
    card_content.parsed(json.dumps(content))  # SageMaker's own schema
    custom = content["additional_information"]["custom_details"]
    assert json.loads(custom["brief.metric"]) == {"name": "roc_auc", "threshold": 0.8}
    assert "brief.hypothesis" not in custom  # too long for the schema; purpose_of_model has its beginning
    assert "error: use: alone it tells the target" in content["evaluation_details"][0]["evaluation_observation"]
