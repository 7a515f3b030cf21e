"""Bias metrics against AWS's own library: smclarify.json holds what smclarify 0.5 answered for seeded rows (`bias_report`)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clary.toolkit.clarify import bias, config, facets
from clary.toolkit.clarify.dataset import Dataset

ORACLE = json.loads((Path(__file__).parent / "smclarify.json").read_text())
SECTIONS = {"pre": "pre_training_bias_metrics", "post": "post_training_bias_metrics"}
ALL = {"pre_training_bias": {"methods": "all"}, "post_training_bias": {"methods": "all"}}


def sections(columns: dict[str, list[Any]], **more: Any) -> dict[str, Any]:
    names = tuple(columns)
    data = Dataset(names, list(columns.values()), names.index("label"), names.index("predicted"), ())
    asked = config.analysis({"label": "label", "predicted_label": "predicted", "methods": ALL, **more})
    return facets.sections(asked, data, data.column(names.index("predicted")))


@pytest.mark.parametrize("case", ORACLE["cases"], ids=lambda case: case["name"])
def test_all_metrics_are_those_of_smclarify(case: dict[str, Any]) -> None:
    group = {"group_variable": "group"} if case["group"] else {}
    facet = {"name_or_index": case["facet"], "value_or_threshold": case["values"]}
    found = sections(
        ORACLE["tables"][case["table"]], facet=[facet], label_values_or_threshold=case["positive"], **group
    )
    for stage, section in SECTIONS.items():
        ours = found[section]["facets"][case["facet"]]
        assert [each["value_or_threshold"] for each in ours] == [
            each["value_or_threshold"] for each in case["expected"][stage]
        ]
        for mine, theirs in zip(ours, case["expected"][stage], strict=True):
            values = {each["name"]: each["value"] for each in mine["metrics"]}
            assert list(values) == list(theirs["metrics"])
            assert all("error" in each for each in mine["metrics"] if each["value"] is None)
            for name, value in values.items():
                expected = theirs["metrics"][name]
                same = value == expected or (None not in (value, expected) and abs(value - expected) < 1e-9)
                assert same, (name, mine["value_or_threshold"], value, expected)


def test_the_oracle_covers_every_metric_with_values() -> None:
    seen = {
        name
        for case in ORACLE["cases"]
        for part in case["expected"].values()
        for each in part
        for name, value in each["metrics"].items()
        if isinstance(value, float)
    }
    assert seen == {*bias.PRE_TRAINING, *bias.POST_TRAINING}


def test_divisions_by_nothing() -> None:
    assert bias.divide(0, 0) == 0
    assert bias.divide(1, 0) == math.inf
    assert bias.shown(-math.inf) == "-Infinity"


def test_a_small_table_of_zeros_and_ones_has_categories() -> None:
    """smclarify takes 0 and 1 of fewer than 41 rows for a quantity, and then finds no positive row."""
    columns = {
        "sex": [0, 1] * 5,
        "x": list(range(10)),
        "label": [0, 0, 1, 1, 0, 1, 1, 1, 0, 1],
        "predicted": [1, 0] * 5,
    }
    found = sections(columns, facet=[{"name_or_index": "sex"}], label_values_or_threshold=[1])
    blocks = found["pre_training_bias_metrics"]["facets"]["sex"]
    assert [each["value_or_threshold"] for each in blocks] == ["0", "1"]
    values = {each["name"]: each["value"] for each in blocks[0]["metrics"]}
    assert values["DPL"] == pytest.approx(4 / 5 - 2 / 5)
    assert values["CDDL"] is None


def test_a_model_that_accepts_nobody_has_an_error_for_each_metric() -> None:
    columns = {"sex": [0, 1] * 30, "label": [0, 0, 1] * 20, "predicted": [0] * 60}
    found = sections(
        columns, facet=[{"name_or_index": "sex", "value_or_threshold": [1]}], label_values_or_threshold=[1]
    )
    metrics = found["post_training_bias_metrics"]["facets"]["sex"][0]["metrics"]
    assert len(metrics) == len(bias.POST_TRAINING)
    assert all(each["value"] is None and "No Label values" in each["error"] for each in metrics)


def test_a_label_without_positive_rows_is_said_with_what_it_holds() -> None:
    columns = {"sex": [0, 1] * 30, "label": ["no", "yes"] * 30, "predicted": ["no", "yes"] * 30}
    with pytest.raises(config.CustomerError, match=r"label_values_or_threshold.*none is 1; it holds no, yes"):
        sections(columns, facet=[{"name_or_index": "sex"}], label_values_or_threshold=[1])


def test_a_continuous_facet_needs_one_threshold() -> None:
    columns = {"age": np.linspace(1, 9, 60).tolist(), "label": [0, 1] * 30, "predicted": [0, 1] * 30}
    with pytest.raises(config.CustomerError, match=r"'age' is continuous .* exactly one numeric threshold"):
        sections(columns, facet=[{"name_or_index": "age"}], label_values_or_threshold=[1])


def test_performance_is_that_of_the_confusion_matrix() -> None:
    label = np.array([True, True, False, False, True])
    predicted = np.array([True, False, True, False, True])
    metrics, matrix = bias.performance(label, predicted)
    assert matrix == [0.4, 0.2, 0.2, 0.2]
    values = {each["name"]: each["value"] for each in metrics}
    assert values["Accuracy"] == 0.6
    assert values["F1 Score"] == pytest.approx(2 / 3)
    assert values["True Negative Rate / Specificity"] == 0.5
