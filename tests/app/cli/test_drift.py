"""`clary drift`: what it says and draws of a watch."""

from __future__ import annotations

import random
from typing import Any
from xml.etree import ElementTree

from clary.app.cli import drift
from clary.app.cli.drift_figure import MOST, order, svg
from clary.app.drift_process import _window
from clary.domain.monitoring.drift import DriftRule
from clary.domain.monitoring.performance import Performance
from clary.domain.monitoring.quality import LabelledRow, LabelRule, Quality
from clary.domain.monitoring.watch import Watch


def shown(rows: int, shift: float = 0.0, columns: int = 3) -> dict[str, Any]:
    """A watch as `GET /drift` tells it: `rows` after the reference, with column 1 shifted."""
    draw, watch, windows = random.Random(3), Watch(DriftRule(reference=400, window=100)), []
    for at in range(0, 1000 + 400 + rows, 50):
        moved = shift if at >= 1400 else 0.0
        part = [{f"input.<{n}>": draw.gauss(moved if n == 1 else 0, 1) for n in range(columns)} for _ in range(50)]
        windows += [_window(each) for each in watch.take(part, 1000.0 + at)]
    told = {"endpoint": "shop", "variant": "main", "unread": 0, "why": "", "config": "c", "windows": windows}
    return {**watch.told(), **told}


def test_before_there_is_a_reference() -> None:
    told = shown(-500)
    assert drift.headline(told) == "shop, main: waits for its first rows: 900 so far"
    assert "COLUMN" not in drift.text(told, 3000.0)
    ElementTree.fromstring(svg(told))


def test_a_column_that_drifts_comes_first_and_says_since_when() -> None:
    told = shown(600, 1.0)
    lines = drift.text(told, 3000.0).splitlines()
    assert lines[0] == "shop, main: 1 of 3 columns drift: input.<1>"
    assert "at most 1 false alarm in 100,000 rows" in lines[1]
    assert order(told)[0]["name"] == "input.<1>"
    row = next(line for line in lines if line.startswith("input.<1>"))
    assert "since" in row
    assert " 0.0% " in row
    picture = svg(told)
    ElementTree.fromstring(picture)
    assert "drifts since" in picture
    assert picture.count("no drift") == 2


def test_without_drift() -> None:
    assert drift.headline(shown(600)) == "shop, main: no drift in 3 columns"


def test_records_that_are_not_watched_are_told_of() -> None:
    told = {**shown(600), "unread": 7, "why": "content of type image/png has no columns\x1b[2J", "unwatched": 4}
    text = drift.text(told, 3000.0)
    assert "7 captured records are not watched; the last one: content of type image/png" in text
    assert "\x1b" not in text
    assert "4 columns more are not watched" in text


def test_a_picture_has_a_bound() -> None:
    assert svg(shown(200, columns=MOST + 5)).count("distance 0.") <= MOST


def test_bars() -> None:
    assert drift.bars([0.0, 0.01, 0.5, 1.0]) == " ▁▄█"
    assert drift.bars([]) == ""


def test_how_right_a_model_is_by_its_labels() -> None:
    quality = Quality(LabelRule())
    quality.take([LabelledRow("a", "a" if place < 950 else "b", float(place)) for place in range(1100)])
    told = {**shown(600), "labels": quality.told()}
    text = drift.text(told, 3000.0)
    assert drift.headline(told).startswith("shop, main: worse by its labels since ")
    assert "labels, reference: accuracy 1 (0.992 to 1) of 500 rows" in text
    assert "labels, rolling: accuracy 0.7 (" in text
    assert "1,100 labelled rows, 0 labels contradict an earlier one" in text


def test_a_regression_shows_its_errors() -> None:
    quality = Quality(LabelRule())
    quality.take([LabelledRow(1.0, 1.0 + place / 1000, float(place)) for place in range(300)])
    assert any("mean absolute error" in line for line in drift.labels(quality.told(), 3000.0))
    assert any("takes its reference: 200 of 500 labelled rows" in line for line in drift.labels(quality.told(), 3000.0))


def test_an_estimate_is_shown_as_an_estimate_with_what_it_is_made_of() -> None:
    performance = Performance.of(LabelRule())
    performance.answer([0.9, 0.1], [{}, {}], 10.0)
    [line] = drift.labels(performance.told(), 3000.0)
    assert line.startswith("estimate without labels: accuracy 0.9 (")
    assert line.endswith("(CBPE: the model's own probabilities, as they are)")


def test_an_estimate_of_errors_tells_how_many_rows_taught_it() -> None:
    performance = Performance.of(LabelRule(reference=50, window=20, problem="regression"))
    for place in range(50):
        rows = [{"input.0": float(place)}]
        performance.join([float(place)], [float(place + 2)], performance.answer([float(place)], rows, 1.0), 1.0)
    performance.answer([7.0], [{"input.0": 7.0}], 2.0)
    line = drift.labels(performance.told(), 3000.0)[0]
    assert line.startswith("estimate without labels: mean absolute error 2 (")
    assert line.endswith("(DLE: a model of the errors of 50 labelled rows)")
