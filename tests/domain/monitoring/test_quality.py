"""How right a variant is: figures with intervals, worse only where chance does not explain it, the same over a restart."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.monitoring.quality import (
    CLASSES,
    REGRESSION,
    LabelledRow,
    LabelRule,
    Quality,
    guessed,
    wilson,
    worse_than_before,
)

RULE = LabelRule(reference=500, window=100)


def classes(wrong: float, rows: int, seed: int, at: float = 0.0) -> list[LabelledRow]:
    draw = random.Random(seed)
    return [LabelledRow("a" if draw.random() < wrong else "b", "b", at + place) for place in range(rows)]


def errors(spread: float, rows: int, seed: int) -> list[LabelledRow]:
    draw = random.Random(seed)
    return [LabelledRow(10.0 + draw.gauss(0, spread), 10.25, float(place)) for place in range(rows)]


def test_a_model_that_stays_as_good_is_not_worse() -> None:
    worse = 0
    for seed in range(40):
        quality = Quality(RULE)
        for part in range(20):
            quality.take(classes(0.2, 100, 1000 * seed + part))
            worse += quality.since is not None
    assert worse == 0


def test_one_that_got_worse_is_found_within_three_windows_and_recovers() -> None:
    quality = Quality(RULE)
    quality.take(classes(0.1, 1000, 1))
    assert quality.since is None
    quality.take(classes(0.35, 300, 2, at=5000.0))
    assert quality.since is not None
    assert quality.since >= 4900
    told = quality.told()
    assert told["reference"]["accuracy"] == pytest.approx(0.9, abs=0.04)
    assert told["rolling"]["lower"] < told["rolling"]["accuracy"] < told["rolling"]["upper"]
    quality.take(classes(0.1, 1600, 3, at=6000.0))
    assert quality.since is None


def test_a_better_model_is_not_worse() -> None:
    quality = Quality(RULE)
    quality.take(classes(0.4, 600, 1))
    quality.take(classes(0.05, 1000, 2))
    assert quality.since is None


def test_a_regression_is_judged_by_its_large_errors() -> None:
    quality = Quality(RULE)
    quality.take(errors(1.0, 1100, 1))
    assert (quality.problem, quality.since) == (REGRESSION, None)
    quality.take(errors(3.0, 300, 2))
    assert quality.since is not None
    told = quality.told()
    assert told["rolling"]["mae"] > told["reference"]["mae"]
    assert told["rolling"]["rmse"] >= told["rolling"]["mae"]


def test_a_prediction_that_is_no_number_is_an_error_that_can_be_told() -> None:
    quality = Quality(LabelRule(problem=REGRESSION))
    quality.take([*errors(1.0, 200, 1), LabelledRow(None, 1.0, 3.0)])
    assert json.loads(json.dumps(quality.told(), allow_nan=False))["joined"] == 201


def test_probabilities_are_compared_by_the_threshold() -> None:
    rule = LabelRule(problem=CLASSES, threshold=0.7)
    quality = Quality(rule)
    quality.take([LabelledRow(0.69, 0.0, 1.0), LabelledRow(0.71, 1.0, 1.0), LabelledRow(0.69, 1.0, 1.0)])
    assert quality.told()["reference"]["accuracy"] == pytest.approx(2 / 3)


def test_labels_of_another_number_of_rows_are_counted_apart() -> None:
    quality = Quality(RULE)
    quality.join(["a", "b"], ["a"], 1.0)
    assert (quality.unmatched, quality.joined) == (1, 0)
    assert quality.told()["phase"] == "waits for labels"


def test_a_restart_changes_nothing() -> None:
    rows = [*classes(0.1, 900, 1), *classes(0.5, 450, 2)]
    whole, parts = Quality(RULE), Quality(RULE)
    whole.take(rows)
    for row in rows:
        parts.take([row])
        parts = Quality.read(RULE, json.loads(json.dumps(parts.document())))
    assert parts.told() == whole.told()


def test_the_kind_of_problem_is_what_the_labels_tell() -> None:
    assert guessed(["yes", "no"]) == CLASSES
    assert guessed([0.0, 1.0, 2.0]) == CLASSES
    assert guessed([0.5, 1.0]) == REGRESSION
    assert guessed([float(each) for each in range(20)]) == REGRESSION


def test_the_interval_of_a_share_stays_in_its_range() -> None:
    low, high = wilson(0, 10)
    assert low == pytest.approx(0, abs=1e-12)
    assert 0.2 < high < 0.4
    assert wilson(10, 10)[1] == pytest.approx(1.0)


@pytest.mark.parametrize("text", ["window=1", "problem=x", "folder=here", "colour=red", "window=ten", "window"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="clary:labels"):
        LabelRule.read(text)


def _fleet(share: float, start: float, rows: int = 300, problem: str = "") -> Quality:
    """A config's labelled rows, one a second; that share of them is wrong."""
    found = Quality(LabelRule(problem=problem))
    wrong = [int(place * share) != int((place + 1) * share) for place in range(rows)]
    found.take([LabelledRow("b" if each else "a", "a", start + place) for place, each in enumerate(wrong)])
    return found


@pytest.mark.parametrize(
    ("fleets", "worse"),
    [
        ([(0.1, 0.0)], None),
        ([(0.1, 0.0), (0.5, 10.0)], True),  # a canary that is worse than the fleet beside it
        ([(0.5, 0.0), (0.5, 10.0)], False),  # both got worse: the world changed
        ([(0.5, 0.0), (0.1, 10.0)], False),  # it is better
        ([(0.1, 0.0), (0.12, 10.0)], False),  # not by what matters
        ([(0.1, 0.0), (0.5, 1000.0)], False),  # the one before answers no more: this is drift
        ([(0.1, 0.0), (0.5, -2000.0, 300), (0.1, 10.0)], False),  # what was turned back long ago is not compared
        ([(0.1, 0.0), (0.9, 250.0, 50)], False),  # too few rows
    ],
)
def test_a_canary_is_compared_with_the_fleet_beside_it(fleets: list[Any], worse: bool | None) -> None:
    assert worse_than_before([_fleet(*each) for each in fleets]) is worse


def test_a_canary_of_a_regression_is_compared_by_its_errors() -> None:
    fleets = []
    for error, start in ((0.1, 0.0), (0.3, 10.0)):
        found = Quality(LabelRule(problem="regression"))
        found.take([LabelledRow(1.0 + error * (place % 3), 1.0, start + place) for place in range(300)])
        fleets.append(found)
    assert worse_than_before(fleets) is True
    assert worse_than_before(fleets[:1]) is None
