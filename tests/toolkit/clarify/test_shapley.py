"""KernelSHAP against Shapley values by their definition, and its baselines."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from clary.toolkit.clarify import shapley
from clary.toolkit.clarify.columns import column


def model(rows: list[list[Any]]) -> Any:
    x = np.array(rows, dtype=float)
    score = x[:, 0] * x[:, 1] + np.sin(x[:, 2]) - 2 * x[:, 3] * (x[:, 0] > 0)
    return np.stack([score, -score / 2], axis=1)


def exact(row: list[float], baseline: list[list[float]]) -> Any:
    """Shapley values by their definition: the mean of a feature's gain over all coalitions of the others."""
    count = len(row)
    everyone = set(range(count))

    def value(coalition: set[int]) -> Any:
        return model([[row[at] if at in coalition else base[at] for at in range(count)] for base in baseline]).mean(
            axis=0
        )

    found = np.zeros((count, 2))
    for at in everyone:
        for size in range(count):
            for others in itertools.combinations(everyone - {at}, size):
                weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                found[at] += weight * (value({*others, at}) - value(set(others)))
    return found


def test_all_coalitions_give_the_shapley_values() -> None:
    baseline = [[0.5, 1.0, 0.0, 2.0], [-1.0, 0.3, 1.0, 1.0]]
    row = [2.0, -1.0, 0.7, 1.5]
    explainer = shapley.Explainer(model, baseline, [(at,) for at in range(4)], 0, 0, logit=False)
    assert np.allclose(explainer.expected, model(baseline).mean(axis=0))
    assert np.abs(explainer.explain(row) - exact(row, baseline)).max() < 1e-12


@pytest.mark.parametrize("samples", [3, 20, 100])
def test_sampled_attributions_add_up_and_repeat(samples: int) -> None:
    random = np.random.default_rng(1)
    weights = random.normal(size=20)

    def linear(rows: list[list[Any]]) -> Any:
        return (np.array(rows) @ weights)[:, None]

    row, baseline = random.normal(size=20).tolist(), [random.normal(size=20).tolist()]

    def attributions(seed: int) -> Any:
        return shapley.Explainer(linear, baseline, [(at,) for at in range(20)], samples, seed, logit=False).explain(row)

    found = attributions(5)
    assert found.sum() == pytest.approx(float((linear([row]) - linear(baseline))[0, 0]), abs=1e-9)
    assert (found == attributions(5)).all()
    if samples == 100:  # more equations than features: a linear model is found exactly
        assert np.abs(found[:, 0] - weights * (np.array(row) - baseline[0])).max() < 1e-9
        assert not (found == attributions(6)).all()


def test_no_more_coalitions_than_asked_for() -> None:
    for features, samples in ((12, 500), (30, 100), (200, 64)):
        chosen = shapley.coalitions(features, samples, 0)
        assert len(chosen.masks) <= samples
        assert not chosen.masks.all(axis=1).any()
        assert chosen.masks.any(axis=1).all()
        assert len({each.tobytes() for each in chosen.masks}) == len(chosen.masks)


def test_a_feature_that_the_baseline_has_too_gets_nothing() -> None:
    explainer = shapley.Explainer(model, [[1.0, 2.0, 3.0, 0.0]], [(at,) for at in range(4)], 0, 0, logit=False)
    found = explainer.explain([1.0, 5.0, 3.0, 0.0])
    assert (found[[0, 2, 3]] == 0).all()
    assert found[1, 0] == pytest.approx(3.0)


def test_players_of_several_columns() -> None:
    explainer = shapley.Explainer(model, [[0.0, 0.0, 0.0, 0.0]], [(0,), (1, 2, 3)], 0, 0, logit=False)
    row = [2.0, -1.0, 0.7, 1.5]
    assert explainer.explain(row).sum(axis=0) == pytest.approx((model([row]) - model([[0.0] * 4]))[0])


def test_log_odds() -> None:
    def chance(rows: list[list[Any]]) -> Any:
        return 1 / (1 + np.exp(-np.array(rows).sum(axis=1, keepdims=True)))

    found = shapley.Explainer(chance, [[0.0, 0.0]], [(0,), (1,)], 0, 0, logit=True).explain([1.5, -0.5])
    assert found[:, 0] == pytest.approx([1.5, -0.5])


def test_aggregations() -> None:
    values = np.array([[[1.0], [-2.0]], [[3.0], [2.0]], [[-8.0], [2.0]]])
    assert shapley.aggregate(values, "mean_abs")[:, 0].tolist() == [4.0, 2.0]
    assert shapley.aggregate(values, "median")[:, 0].tolist() == [3.0, 2.0]
    assert shapley.aggregate(values, "mean_sq")[:, 0] == pytest.approx([74 / 3, 4.0])


def test_one_cluster_is_means_and_most_frequent_values() -> None:
    columns = [
        column("amount", [1.5, 2.5, 5.0, None]),
        column("kind", ["a", "b", "b", "b"]),
        column("flag", ["1", "0", "1", "1"] * 1),
    ]
    assert shapley.clustered(columns, 1, 0) == [[3.0, "b", 1]]


def test_clusters_are_found_and_repeat() -> None:
    random = np.random.default_rng(0)
    amounts = np.concatenate([random.normal(0.5, 0.1, 50), random.normal(90.5, 0.1, 50)])
    columns = [column("amount", amounts.tolist()), column("kind", ["a"] * 50 + ["b"] * 50)]
    found = shapley.clustered(columns, 2, 3)
    assert sorted(round(each[0]) for each in found) in ([0, 90], [1, 90], [0, 91], [1, 91])
    assert sorted(each[1] for each in found) == ["a", "b"]
    assert found == shapley.clustered(columns, 2, 3)
