"""Performance without labels: NannyML's definitions computed a second time here, and the truth of drawn worlds."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence

import pytest

from clary.domain.monitoring.captured import Row
from clary.domain.monitoring.estimate import BINS, Counted, Estimate, calibration, isotonic
from clary.domain.monitoring.quality import CLASSES, REGRESSION, LabelRule

RULE = LabelRule(reference=500, window=100)


def scores(draw: random.Random, rows: int, spread: float = 1.0) -> list[float]:
    return [1 / (1 + math.exp(-draw.gauss(0, 2) * spread)) for _ in range(rows)]


def judged(given: Sequence[float], labels: Sequence[float]) -> float:
    return sum((score >= 0.5) == (label == 1.0) for score, label in zip(given, labels, strict=True)) / len(given)


def classes(estimate: Estimate, given: Sequence[float], at: float = 1.0) -> dict[str, float]:
    estimate.take(given, [{}] * len(given), CLASSES, at)
    rolling = estimate.told(CLASSES)["rolling"]
    assert rolling is not None
    return dict(rolling)


# -- classifiers ----------------------------------------------------------------------------------------------------------------------


def test_without_labels_accuracy_is_cbpe_of_the_probabilities_as_they_are() -> None:
    given = scores(random.Random(1), 400)
    told = classes(Estimate(RULE), given)
    positive, negative = [p for p in given if p >= 0.5], [p for p in given if p < 0.5]
    hits = sum(positive) + sum(1 - p for p in negative)  # expected true positives and true negatives
    assert told["accuracy"] == pytest.approx(hits / len(given), abs=1e-12)
    deviation = math.sqrt(sum(p * (1 - p) for p in given)) / len(given)
    assert told["upper"] - told["lower"] == pytest.approx(2 * 1.96 * deviation, abs=1e-12)
    assert told["rows"] == 400


def test_the_interval_has_the_truth_19_times_of_20() -> None:
    draw, inside = random.Random(2), 0
    for _ in range(400):
        given = scores(draw, 100)
        told = classes(Estimate(RULE), given)
        truth = judged(given, [float(draw.random() < p) for p in given])
        inside += told["lower"] <= truth <= told["upper"]
    assert 360 <= inside <= 396


def test_a_model_that_is_too_sure_is_calibrated_by_its_labels() -> None:
    draw, estimate = random.Random(3), Estimate(RULE)
    raw = classes(Estimate(RULE), [p**4 / (p**4 + (1 - p) ** 4) for p in scores(draw, 2000)])["accuracy"]

    def world(rows: int) -> tuple[list[float], list[float]]:
        true = scores(draw, rows)
        return [p**4 / (p**4 + (1 - p) ** 4) for p in true], [float(draw.random() < p) for p in true]

    for _ in range(10):
        given, labels = world(50)
        estimate.learn(given, labels, [], CLASSES)
    assert estimate.told(CLASSES)["calibrated"]
    given, labels = world(2000)
    told, truth = classes(estimate, given), judged(given, labels)
    newest = judged(given[-600:], labels[-600:])  # what the rolling figures may be of
    assert abs(told["accuracy"] - truth) < 0.04 < raw - truth
    assert abs(told["accuracy"] - newest) < 0.06


def test_one_that_is_calibrated_is_left_as_it_is() -> None:
    draw, estimate = random.Random(5), Estimate(RULE)
    given = scores(draw, 500)
    estimate.learn(given, [float(draw.random() < p) for p in given], [], CLASSES)
    assert estimate.learned == 500
    assert not estimate.told(CLASSES)["calibrated"]


def test_inputs_that_make_the_model_unsure_lower_the_estimate_before_a_label_comes() -> None:
    draw, estimate = random.Random(6), Estimate(RULE)
    before = classes(estimate, scores(draw, 600))["accuracy"]
    given = scores(draw, 600, spread=0.3)
    after = classes(estimate, given)["accuracy"]
    truth = judged(given, [float(draw.random() < p) for p in given])
    assert before - after > 0.1
    assert abs(after - truth) < 0.05


def test_a_change_of_what_is_right_is_not_seen() -> None:
    """The estimate is of what the inputs do: as the documents say."""
    draw, estimate = random.Random(7), Estimate(RULE)
    given = scores(draw, 600)
    wrong = [float(draw.random() >= p) for p in given]
    assert classes(estimate, given)["accuracy"] > 0.75 > 0.35 > judged(given, wrong)


def counted(pairs: Sequence[tuple[int, float]]) -> Counted:
    made: Counted = [[0.0, 0.0, 0.0] for _ in range(BINS)]
    for place, label in pairs:
        made[place][0] += 1
        made[place][1] += label
        made[place][2] += (place + 0.5) / BINS
    return made


def test_calibration_is_isotonic_regression() -> None:
    """By its max-min formula, and on the line between bins that have rows."""
    draw = random.Random(8)
    pairs = [(place, float(draw.random() < (place / BINS) ** 2)) for place in draw.choices(range(5, 95), k=300)]
    filled = sorted({place for place, _ in pairs})
    labels = {place: [label for at, label in pairs if at == place] for place in filled}

    def mean(low: int, high: int) -> float:
        part = [label for place in filled if low <= place <= high for label in labels[place]]
        return sum(part) / len(part)

    expected = {
        at: max(min(mean(low, high) for high in filled if high >= at) for low in filled if low <= at) for at in filled
    }
    made = isotonic(counted(pairs))
    for at in filled:
        assert made[at] == pytest.approx(expected[at], abs=1e-12)
    assert made[0] == made[filled[0]]
    assert made[-1] == made[filled[-1]]
    assert made == sorted(made)


def test_no_rows_calibrate_nothing() -> None:
    assert calibration([counted([]), counted([])]) is None
    assert isotonic(counted([]))[50] == pytest.approx(0.505)


@pytest.mark.parametrize("given", [[0.0, 1.0, 1.0], ["yes", "no", "no"], [3.0, 4.0, 1.0], [None, None, None]])
def test_answers_without_probabilities_get_no_estimate_and_a_reason(given: list[float | str | None]) -> None:
    estimate = Estimate(RULE)
    estimate.take(given, [{}] * 3, CLASSES, 1.0)
    told = estimate.told(CLASSES)
    assert told["rolling"] is None
    assert told["phase"] == "needs answers that are probabilities of class 1"


# -- regressions ----------------------------------------------------------------------------------------------------------------------


def homes(draw: random.Random, rows: int, high: float) -> tuple[list[Row], list[float], list[float]]:
    """Rows, predictions, what was right: errors grow with x, which is uniform up to `high`."""
    xs = [draw.uniform(0, high) for _ in range(rows)]
    asked: list[Row] = [{"input.x": x, "input.noise": draw.random(), "output.0": 2 * x} for x in xs]
    return asked, [2 * x for x in xs], [2 * x + draw.gauss(0, 0.2 + x) for x in xs]


def errors(predictions: Sequence[float], labels: Sequence[float]) -> list[float]:
    return [abs(a - b) for a, b in zip(predictions, labels, strict=True)]


def learned(draw: random.Random) -> Estimate:
    estimate = Estimate(RULE)
    for _ in range(10):
        rows, predictions, labels = homes(draw, 50, 10)
        estimate.learn(predictions, labels, rows, REGRESSION)
    return estimate


def test_errors_are_estimated_where_inputs_moved() -> None:
    draw = random.Random(11)
    estimate = learned(draw)
    rows, predictions, labels = homes(draw, 500, 3)
    estimate.take(predictions, rows, REGRESSION, 5.0)
    told = estimate.told(REGRESSION)["rolling"]
    true = errors(predictions, labels)
    mae, rmse = sum(true) / 500, math.sqrt(sum(each * each for each in true) / 500)
    assert told["mae"] == pytest.approx(mae, rel=0.25)
    assert told["rmse"] == pytest.approx(rmse, rel=0.3)
    assert told["mae"] < 2.5 < 4 < estimate.models[0].base  # the reference's own mean says nothing of these rows


def test_the_estimate_is_the_mean_of_the_modelled_losses() -> None:
    draw = random.Random(12)
    estimate = learned(draw)
    rows, predictions, _ = homes(draw, 60, 10)
    estimate.take(predictions, rows, REGRESSION, 5.0)
    absolute, squared = estimate.models
    asked = [
        {"output": p, "input.x": r["input.x"], "input.noise": r["input.noise"]}
        for p, r in zip(predictions, rows, strict=True)
    ]
    told = estimate.told(REGRESSION)["rolling"]
    assert told["mae"] == pytest.approx(sum(map(absolute.loss, asked)) / 60)
    assert told["rmse"] == pytest.approx(math.sqrt(sum(map(squared.loss, asked)) / 60))


def test_nothing_is_estimated_before_it_has_learned() -> None:
    draw, estimate = random.Random(13), Estimate(RULE)
    rows, predictions, labels = homes(draw, 200, 10)
    estimate.take(predictions, rows, "", 1.0)
    assert estimate.wants("")
    estimate.learn(predictions, labels, rows, REGRESSION)
    told = estimate.told(REGRESSION)
    assert (told["rolling"], told["phase"]) == (None, "learns from labelled rows: 200 of 500")
    for _ in range(3):
        estimate.learn(predictions, labels, rows, REGRESSION)
    assert estimate.phase(REGRESSION) == ""
    assert not estimate.wants(REGRESSION)
    assert estimate.lessons == []


def test_what_was_taken_for_a_classifier_does_not_stay() -> None:
    """A regression whose predictions look like probabilities: until labels come, nobody can tell."""
    draw, estimate = random.Random(14), Estimate(LabelRule(reference=50))
    given = [draw.random() for _ in range(300)]
    assert classes(estimate, given)["rows"] == 300
    estimate.learn(given[:50], [draw.gauss(0, 5) for _ in range(50)], [{}] * 50, REGRESSION)
    assert estimate.told(REGRESSION)["rolling"] is None


# -- over a restart -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labelled", [0, 4, 10])
@pytest.mark.parametrize("problem", [CLASSES, REGRESSION])
def test_it_goes_on_after_a_restart(problem: str, labelled: int) -> None:
    draw = random.Random(15)
    estimate = Estimate(RULE)
    for part in range(12):
        if problem == CLASSES:
            predictions = scores(draw, 50)
            rows: list[Row] = [{}] * 50
            labels = [float(draw.random() < p * p) for p in predictions]
        else:
            rows, predictions, labels = homes(draw, 50, 10)
        if part < labelled:
            estimate.learn(predictions, labels, rows, problem)
        estimate.take(predictions, rows, problem, float(part))
        again = Estimate.read(RULE, json.loads(json.dumps(estimate.document())))
        assert again == estimate
        estimate = again
    assert (estimate.told(problem)["rolling"] is not None) == (problem == CLASSES or labelled == 10)


def test_an_older_document_has_none() -> None:
    assert Estimate.read(RULE, {}) == Estimate(RULE)
