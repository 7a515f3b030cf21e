from __future__ import annotations

import pytest

from clary.domain.errors import Invalid
from clary.domain.jobs.log_metrics import Sample, built_in_definitions, compile_definitions, latest

LINE = "[2]#011train-auc:0.9#011validation-auc:0.8"


def test_each_line_is_searched_and_group_one_is_the_number() -> None:
    definitions = compile_definitions([{"Name": "loss", "Regex": "loss=([-0-9.e]+)"}])
    lines = [(1000, "epoch 1 loss=0.5"), (2000, "nothing"), (3000, "loss=1e-3 loss=7"), (4000, "loss=...")]
    assert list(definitions.samples(lines)) == [Sample("loss", 0.5, 1.0), Sample("loss", 0.001, 3.0)]


def test_the_built_in_xgboost_reports_by_itself() -> None:
    samples = list(compile_definitions([], "xgboost").samples([(1000, LINE), (2000, "no [3] here")]))
    assert samples == [Sample("train:auc", 0.9, 1.0), Sample("validation:auc", 0.8, 1.0)]
    assert list(compile_definitions([]).samples([(1000, LINE)])) == []


def test_the_definitions_shown_of_the_built_in_match_its_lines() -> None:
    shown = built_in_definitions("xgboost")
    assert {"train:rmse", "validation:auc"} <= {entry["Name"] for entry in shown}
    samples = list(compile_definitions(shown).samples([(1000, LINE)]))
    assert samples == [Sample("train:auc", 0.9, 1.0), Sample("validation:auc", 0.8, 1.0)]
    assert built_in_definitions("") == []


def test_what_is_not_a_finite_number_is_passed_over() -> None:
    definitions = compile_definitions([{"Name": "x", "Regex": "x=(\\S+)"}])
    assert list(definitions.samples([(1, "x=nan"), (2, "x=inf"), (3, "x=abc")])) == []


@pytest.mark.parametrize("regex", ["(", "(?<=a)(b)", "(a)\\1", "no group"])
def test_expressions_that_cannot_be_read_are_named(regex: str) -> None:
    with pytest.raises(Invalid) as caught:
        compile_definitions([{"Name": "acc", "Regex": regex}])
    assert "'acc'" in caught.value.message


def test_an_expression_that_would_take_for_ever_elsewhere_does_not() -> None:
    definitions = compile_definitions([{"Name": "x", "Regex": "(a+)+$"}])
    assert list(definitions.samples([(1, "a" * 50_000 + "!")])) == []


def test_the_last_value_of_each_metric_is_final() -> None:
    first = latest([], [Sample("a", 1.0, 1.0), Sample("b", 2.0, 2.0)])
    assert latest(first, [Sample("a", 3.0, 3.0)]) == [
        {"MetricName": "a", "Value": 3.0, "Timestamp": 3.0},
        {"MetricName": "b", "Value": 2.0, "Timestamp": 2.0},
    ]
    assert len(latest([], [Sample(f"m{n}", 1.0, 1.0) for n in range(60)])) == 40
