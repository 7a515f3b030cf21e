"""Metrics of what labels and estimates tell."""

from __future__ import annotations

from clary.domain.monitoring.metrics import quality_of
from clary.domain.monitoring.performance import Performance
from clary.domain.monitoring.quality import LabelRule


def test_a_classifiers_estimate_has_metrics_of_its_own() -> None:
    performance = Performance.of(LabelRule())
    assert quality_of(performance.told()) == {}
    performance.answer([0.75, 0.25], [{}, {}], 1.0)
    found = quality_of(performance.told())
    assert set(found) == {"EstimatedAccuracy", "EstimatedAccuracyLower", "EstimatedAccuracyUpper"}
    assert found["EstimatedAccuracy"] == 0.75


def test_a_regressions_has_errors_beside_those_of_its_labels() -> None:
    performance = Performance.of(LabelRule(reference=50, window=20, problem="regression"))
    for value in map(float, range(200)):
        performance.join([value], [value + 2], [{"input.0": value}], value)
    performance.answer([7.0], [{"input.0": 7.0}], 300.0)
    found = quality_of(performance.told())
    assert abs(found["EstimatedMeanAbsoluteError"] - found["RollingMeanAbsoluteError"]) < 0.1
    assert {"EstimatedRootMeanSquaredError", "EstimatedMeanAbsoluteErrorLower", "RowsLabelled"} <= set(found)
