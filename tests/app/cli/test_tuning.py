"""`clary tuning`: what it makes of a tuning job's trials, in text and as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from clary.app.cli import tuning
from clary.app.cli.tuning_figure import Search, Told, ends, lines, place, svg
from clary.domain.tuning.ranges import Range
from clary.domain.tuning.request import Definition

AXES = (
    Range("lr", "float", 0.001, 1.0, "log"),
    Range("depth", "int", 1, 9),
    Range("kind", "categorical", choices=("a", "b", "c")),
)


def told(number: int, value: float | None, **params: str) -> Told:
    return Told(number, f"t-{number:03d}-x", "Completed", value, {"lr": "0.1", "depth": "5", "kind": "a", **params})


SEARCH = Search(
    "t",
    "Completed",
    "loss",
    False,
    (told(1, 3.0), told(2, None), told(3, 1.0, lr="1.0", kind="c"), told(4, 2.0, depth="9")),
    AXES,
    {"lr": 0.75, "kind": 0.2, "depth": 0.05},
)


def text(search: Search, width: int = 80, **how: Any) -> list[str]:
    return [line.plain for line in lines(search, width, **how)]


@pytest.mark.parametrize(
    ("axis", "value", "at"),
    [
        (AXES[0], "0.001", 0.0),
        (AXES[0], "1.0", 1.0),
        (AXES[0], "0.1", 2 / 3),
        (AXES[1], "5", 0.5),
        (AXES[2], "b", 0.5),
        (AXES[2], "z", None),
        (AXES[1], "", None),
        (Range("x", "float", 0.0, 0.99, "reverse"), "0.9", 0.5),
        (Range("x", "int", 3, 3), "3", 0.5),
    ],
)
def test_where_a_value_is_on_its_axis(axis: Range, value: str, at: float | None) -> None:
    assert place(axis, value) == (None if at is None else pytest.approx(at))


def test_the_ends_of_an_axis() -> None:
    assert [ends(axis) for axis in AXES] == [("0.001", "1"), ("1", "9"), ("a", "c")]


def test_the_best_so_far_never_gets_worse() -> None:
    assert SEARCH.so_far() == [(1, 3.0), (3, 1.0), (4, 1.0)]
    assert replace(SEARCH, maximize=True).so_far() == [(1, 3.0), (3, 3.0), (4, 3.0)]


def test_the_terminal_shows_trials_importances_and_where_the_best_are() -> None:
    shown = text(SEARCH)
    assert shown[0] == "t, Completed: minimize loss, 4 training jobs"
    assert sum(line.count("•") for line in shown) == 3 + 1, "a dot for each value, and one in the legend"
    assert any(line.startswith("best: 1 by t-003-x (lr 1.0, depth 5, kind c)") for line in shown)
    bars = [line for line in shown if "%" in line]
    assert [line.split()[0] for line in bars] == ["lr", "kind", "depth"]
    assert bars[0].count("█") > bars[1].count("█") > bars[2].count("█")
    lr, depth, kind = (next(line for line in shown if line.split()[:2] == [name, low]) for name, low in
                       (("lr", "0.001"), ("depth", "1"), ("kind", "a")))  # fmt: skip
    assert lr.rstrip().endswith("1 1"), "the best trial has the largest value"
    assert depth.index("1", depth.index("─")) < depth.rindex("2")
    assert kind.rstrip().endswith("1 c")


def test_a_terminal_without_utf8_gets_ascii() -> None:
    assert all(line.isascii() for line in text(SEARCH, utf8=False))


def test_no_line_is_wider_than_the_terminal() -> None:
    for width in (60, 110):
        chart = [line for line in text(SEARCH, width)[1:] if not line.startswith("best:")]
        assert max(len(line.rstrip()) for line in chart) <= width


def test_nothing_to_show_yet() -> None:
    shown = text(replace(SEARCH, trials=(told(1, None),), importances={}, why="too few", warning="Warning: no value"))
    assert shown[1] == "Warning: no value"
    assert "no training job has told a value yet" in shown
    assert any("too few" in line for line in shown)


def test_one_trial_and_equal_values_can_be_drawn() -> None:
    for trials in ((told(1, 2.0),), (told(1, 2.0), told(2, 2.0))):
        one = replace(SEARCH, trials=trials)
        assert text(one)
        ET.fromstring(svg(one))


def test_the_picture_has_a_dot_and_a_line_for_each_value() -> None:
    drawn = ET.fromstring(svg(SEARCH))
    names = [element.tag.rpartition("}")[2] for element in drawn.iter()]
    assert names.count("circle") == 3
    assert names.count("polyline") == 1 + 3
    words = [element.text for element in drawn.iter() if element.tag.endswith("text")]
    assert {"lr", "depth", "kind", "loss", "75%"} <= set(words)


def test_names_are_escaped() -> None:
    ET.fromstring(svg(replace(SEARCH, metric="<loss & more>", axes=(replace(AXES[0], name="a<b"),))))


def test_the_study_for_importances_leaves_out_what_has_no_value() -> None:
    of = Definition("", {}, AXES, "loss", False)
    study = tuning.study(of, SEARCH.trials)
    assert [event[0] for event in study["events"]] == ["ask", "tell"] * 3
    assert study["events"][2] == ["ask", {"lr": 1.0, "depth": 5, "kind": "c"}]
    assert study["events"][3] == ["tell", 1, "complete", 1.0, []]


def test_long_names_stay_in_the_picture_and_apart() -> None:
    axes = tuple(replace(AXES[0], name=f"{number}-a-name-much-longer-than-there-is-room-for") for number in range(9))
    drawn = ET.fromstring(svg(replace(SEARCH, axes=axes, importances={axis.name: 0.1 for axis in axes})))
    words = [(float(each.attrib["x"]), each) for each in drawn.iter() if each.tag.endswith("text") and each.text]
    bars = [
        (x, each.text or "") for x, each in words if "-a-" in (each.text or "") and each.get("text-anchor") == "end"
    ]
    assert len(bars) == 9
    assert all(x - 7 * len(name) >= 0 for x, name in bars)
    heads = sorted(
        (x, each.text or "") for x, each in words if "-a-" in (each.text or "") and each.get("text-anchor") == "middle"
    )
    assert len(heads) == 9
    assert all(x + 3.5 * len(name) <= other - 3.5 * len(next_one) for (x, name), (other, next_one) in pairwise(heads))
