"""Intervals and paired tests: what they cover, and how often they are wrong. scikit-learn is asked in `test_main.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clary.toolkit.evaluation import resampling
from clary.toolkit.evaluation.resampling import Plan, PredictedRows

PLAN = Plan(400, seed=7)


def classifier(scores: Any) -> PredictedRows:
    return PredictedRows("binary", labels=(scores >= 0.5).astype(int), scores=scores, probabilities=True)


def drawn(rows: int, seed: int) -> tuple[Any, Any]:
    """A target, and probabilities that are right about it."""
    generator = np.random.default_rng(seed)
    scores = generator.beta(1, 1, rows)
    return (generator.random(rows) < scores).astype(int), scores


def test_the_interval_of_a_share_is_the_textbook_one() -> None:
    truth, scores = drawn(4000, 1)
    metric = resampling.weighted("binary", truth, classifier(scores), 2, ["accuracy"])
    value = float(metric["accuracy"](np.ones((1, 4000)))[0])
    found = resampling.interval(value, resampling.replicated(metric, 4000, None, Plan(2000))["accuracy"], Plan(2000))
    expected = np.sqrt(value * (1 - value) / 4000)
    assert found.deviation == pytest.approx(expected, rel=0.08)
    assert found.upper - found.lower == pytest.approx(2 * 1.96 * expected, rel=0.1)


def test_rows_of_one_group_are_drawn_together() -> None:
    truth, scores = drawn(200, 2)
    groups = np.repeat(np.arange(200), 10)  # each row ten times: no more is known than from 200 rows
    many = classifier(np.repeat(scores, 10))
    metric = resampling.weighted("binary", np.repeat(truth, 10), many, 2, ["brier"])
    alone = resampling.weighted("binary", truth, classifier(scores), 2, ["brier"])
    together = resampling.replicated(metric, 2000, groups, PLAN)["brier"].std()
    assert together == pytest.approx(resampling.replicated(alone, 200, None, PLAN)["brier"].std(), rel=0.2)
    assert resampling.replicated(metric, 2000, None, PLAN)["brier"].std() < 0.5 * together


def test_the_same_seed_draws_the_same() -> None:
    truth, scores = drawn(100, 3)
    metric = resampling.weighted("binary", truth, classifier(scores), 2, ["roc_auc"])
    one, same, other = (resampling.replicated(metric, 100, None, Plan(20, seed=n))["roc_auc"] for n in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_a_better_model_is_better_and_the_other_worse() -> None:
    truth, scores = drawn(600, 4)
    noisy = np.clip(scores + np.random.default_rng(5).normal(0, 0.4, 600), 0, 1)
    good, bad = classifier(scores), classifier(noisy)
    for name in ("roc_auc", "log_loss", "accuracy", "f1"):
        found = resampling.compared(name, truth, good, bad, 2, None, PLAN)
        assert found.verdict == "better", (name, found)
        assert found.p_value < 0.05
        assert resampling.compared(name, truth, bad, good, 2, None, PLAN).verdict == "worse"


def test_the_same_predictions_are_not_shown_to_differ() -> None:
    truth, scores = drawn(300, 6)
    found = resampling.compared("accuracy", truth, classifier(scores), classifier(scores), 2, None, PLAN)
    assert (found.verdict, found.p_value, found.difference.value) == ("not shown", 1.0, 0.0)


def test_five_better_rows_of_a_thousand_are_not_enough() -> None:
    """The exact test of five rows that all speak for one side is 2/32; a bootstrap's interval alone would be sure."""
    truth = np.zeros(1000, dtype=int)
    truth[:500] = 1
    theirs = truth.copy()
    theirs[:5] = 0
    ours, other = PredictedRows("binary", labels=truth), PredictedRows("binary", labels=theirs)
    found = resampling.compared("accuracy", truth, ours, other, 2, None, Plan(2000))
    assert found.difference.lower > 0
    assert found.p_value == pytest.approx(2 / 32, abs=0.02)
    assert found.verdict == "not shown"


@pytest.mark.parametrize("name", ["roc_auc", "log_loss", "accuracy"])
def test_models_that_are_equally_good_are_seldom_told_apart(name: str) -> None:
    """Two noisy readings of the same probability: at most 1 of 20 is an error by design; 100 tries, binomial bound of 1 in 1,000."""
    wrong = 0
    for seed in range(100):
        truth, scores = drawn(150, 100 + seed)
        generator = np.random.default_rng(seed)
        pair = [classifier(np.clip(scores + generator.normal(0, 0.2, 150), 0.01, 0.99)) for _ in range(2)]
        wrong += resampling.compared(name, truth, *pair, 2, None, Plan(200, seed=seed)).verdict != "not shown"
    assert wrong <= 13


def test_what_is_not_defined_has_no_interval() -> None:
    truth = np.array([0] * 50 + [1])
    predicted = classifier(np.linspace(0, 1, 51))
    metric = resampling.weighted("binary", truth, predicted, 2, ["roc_auc"])
    found = resampling.interval(1.0, resampling.replicated(metric, 51, None, PLAN)["roc_auc"], PLAN)
    assert np.isnan([found.lower, found.upper, found.deviation]).all()


def test_large_data_get_fewer_replicates() -> None:
    assert Plan(1000).of(1000) == 1000
    assert Plan(1000).of(1_000_000) == 400
    assert Plan(1000).of(100_000_000) == resampling.LEAST
    assert Plan(50).of(100_000_000) == 50
