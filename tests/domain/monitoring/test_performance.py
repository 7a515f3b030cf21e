"""A variant's quality and its estimate go together."""

from __future__ import annotations

import json

import pytest

from clary.domain.monitoring.captured import Row
from clary.domain.monitoring.estimate import OF_A_REQUEST
from clary.domain.monitoring.performance import Performance
from clary.domain.monitoring.quality import LabelRule

REGRESSION = LabelRule(reference=60, window=20, problem="regression")


def rows(*values: float) -> list[Row]:
    return [{"input.0": value} for value in values]


def test_rows_are_kept_of_a_regression_until_it_has_learned() -> None:
    performance = Performance.of(REGRESSION)
    many = rows(*map(float, range(OF_A_REQUEST + 5)))
    assert performance.answer([1.0] * len(many), many, 1.0) == many[:OF_A_REQUEST]
    for value in map(float, range(60)):
        performance.join([value], [value + 1], rows(value), 1.0)
    assert performance.answer([1.0], rows(1.0), 2.0) == []


def test_rows_of_a_classifier_are_not_kept() -> None:
    performance = Performance.of(LabelRule(problem="classification"))
    assert performance.answer([0.7], rows(1.0), 1.0) == []


def test_labels_of_another_length_teach_nothing() -> None:
    performance = Performance.of(REGRESSION)
    performance.join([1.0, 2.0], [1.0], rows(1.0, 2.0), 1.0)
    assert performance.told()["estimate"]["learned"] == 0
    assert performance.told()["unmatched"] == 1


def test_the_problem_is_the_rules_else_what_the_labels_tell() -> None:
    assert Performance.of(REGRESSION).problem == "regression"
    performance = Performance.of(LabelRule())
    assert performance.problem == ""
    for number in range(30):
        performance.join([0.9], [float(number % 2)], [], float(number))
    assert performance.problem == "classification"


def test_it_goes_on_after_a_restart() -> None:
    performance = Performance.of(REGRESSION)
    for value in map(float, range(70)):
        performance.join([value], [value + 1], rows(value), value)
        performance.answer([value], rows(value), value)
    again = Performance.read(REGRESSION, json.loads(json.dumps(performance.document())))
    assert again.told() == performance.told()
    assert again.told()["estimate"]["rolling"]["mae"] == pytest.approx(1.0, abs=0.05)
