"""Pictures: what is drawn is there, whole, in its unit, and no label lies on another."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from clary.app.plots import (
    Curve,
    Figure,
    Mark,
    Panel,
    bars,
    changes,
    close,
    instants,
    number,
    runs,
    svg,
    ticks,
    wrapped,
)

SVG = "{http://www.w3.org/2000/svg}"
WIDE = 0.58  # of a character, over its size: what DejaVu Sans has on average, and more


@pytest.mark.parametrize(
    ("top", "last", "count"),
    [
        (0.0, 1.0, 2),
        (3.0, 3.0, 4),
        (177.0, 200.0, 3),
        (0.0123, 0.015, 4),
        (1e6, 1e6, 3),
        (7.0, 7.5, 4),
        (math.inf, 1.0, 2),
    ],
)
def test_an_axis_ends_at_a_round_value_above_all(top: float, last: float, count: int) -> None:
    found = ticks(top, 3)
    assert (found[0], found[-1], len(found)) == (0.0, pytest.approx(last), count)


def test_numbers_are_short() -> None:
    assert [number(value) for value in (0, 0.25, 12.0, 1500.0, 15_000.0, 2.5e6)] == [
        "0",
        "0.25",
        "12",
        "1500",
        "15k",
        "2.5M",
    ]


def test_instants_are_round_and_inside() -> None:
    found = instants(1_800_000_003.0, 1_800_003_603.0)
    assert len(found) == 6
    assert all(at % 600 == 0 and 1_800_000_003 <= at <= 1_800_003_603 for at in found)
    assert instants(-30.0, 120.0) == [-30.0, 0.0, 30.0, 60.0, 90.0, 120.0]


def test_a_curve_is_cut_where_nothing_is_known() -> None:
    assert runs([(0, 1), (1, 1), (5, 2), (6, 3)], 2) == [[(0, 1), (1, 1)], [(5, 2), (6, 3)]]
    assert runs([], 2) == []


def test_of_a_level_only_its_changes_are_drawn() -> None:
    assert changes([(0, 1), (1, 1), (2, 2), (3, 2), (4, 2), (5, 1)]) == [(0, 1), (2, 2), (5, 1)]
    assert changes([(0, 1), (1, 1)]) == [(0, 1), (1, 1)]


def test_what_stands_close_shares_a_label() -> None:
    assert close([10, 15, 40, 100, 110, 119], 20) == [(12.5, "1-2"), (40, "3"), (109.5, "4-6")]


def test_long_sentences_are_wrapped_between_words() -> None:
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("incomprehensibilities", 5) == ["incomprehensibilities"]


def figure(marks: int = 30, top: float = 123_456.0) -> Figure:
    curve = Curve("arrivals", [(t, top * (1 + math.sin(t / 300)) / 2) for t in range(0, 3600, 10)], area=True)
    bound = Curve("allowed, a long name", [(0, top), (3000, top)], step=True, dashed=True)
    panels = [Panel("Load", "requests/s", [curve, bound]), Panel("Latency p99", "ms", [Curve("p99", [])], "no answers")]
    said = [
        Mark(40.0 * n * n % 3600, f"decision {n} <&> " + "because of something " * n, n % 3 == 0) for n in range(marks)
    ]
    return Figure(
        "Scaling of e, variant v",
        0.0,
        3600.0,
        panels,
        sorted(said, key=lambda mark: mark.at),
        "points of 10 s",
        gap=30,
        more=2,
    )


def boxes(drawn: str) -> list[tuple[float, float, float, float, str]]:
    found = []
    for text in ET.fromstring(drawn).iter(f"{SVG}text"):
        size = float(text.get("font-size", "11"))
        wide = WIDE * size * len(text.text or "")
        left = (
            float(text.get("x", "0"))
            - {"start": 0.0, "middle": wide / 2, "end": wide}[text.get("text-anchor", "start")]
        )
        bottom = float(text.get("y", "0"))
        found.append((left, bottom - 0.75 * size, left + wide, bottom, text.text or ""))
    return found


@pytest.mark.parametrize(("marks", "top"), [(0, 1.0), (30, 123_456.0), (3, 0.001)])
def test_no_label_lies_on_another_or_outside(marks: int, top: float) -> None:
    drawn = svg(figure(marks, top))
    root = ET.fromstring(drawn)
    width, height = (float(root.get(side, "0")) for side in ("width", "height"))
    all_ = boxes(drawn)
    for place, (left, above, right, below, text) in enumerate(all_):
        assert (left >= -1, right <= width + 1, above >= 0, below <= height) == (True,) * 4, text
        for other in all_[place + 1 :]:
            apart = right <= other[0] or other[2] <= left or below <= other[1] or other[3] <= above
            assert apart, (text, other[4])


def test_everything_is_said() -> None:
    drawn = svg(figure())
    texts = [text for *_, text in boxes(drawn)]
    assert {"Load, requests/s", "arrivals", "allowed, a long name", "Latency p99, ms", "no answers"} <= set(texts)
    assert sum("decision" in text and "<&>" in text for text in texts) == 30
    assert any(text == "2 more are not shown" for text in texts)
    lines = list(ET.fromstring(drawn).iter(f"{SVG}polyline"))
    assert [line.get("stroke-dasharray") for line in lines] == [None, "5 4", "5 4"]  # the bound has a hole


def test_a_single_point_is_seen() -> None:
    drawn = svg(Figure("t", 0, 10, [Panel("p", "u", [Curve("c", [(5, 3)])])]))
    (line,) = ET.fromstring(drawn).iter(f"{SVG}polyline")
    (first, _), (last, _) = (place.split(",") for place in str(line.get("points")).split())
    assert float(last) - float(first) == pytest.approx(1.5)


def test_bars_are_in_order_and_cut() -> None:
    drawn = bars("J <less is better>", [("a", 3.0), ("clary", 1.25), ("b", 9.0)], 4.0, "clary")
    texts = [text for *_, text in boxes(drawn)]
    assert texts == ["J <less is better>", "clary", "1.25", "a", "3.00", "b", "9.00 (cut)"]
    widths = [float(rect.get("width", "0")) for rect in ET.fromstring(drawn).iter(f"{SVG}rect")][1:]
    assert widths[1] / widths[2] == pytest.approx(3 / 4, abs=0.01)
