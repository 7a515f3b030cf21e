"""A graph as a picture: arrows end at boxes, words stand where nothing else does, and overlaps are seen."""

from __future__ import annotations

import re
import xml.etree.ElementTree

import pytest

from clary.domain import lifecycle
from clary.domain.drawing import Arrow, Box, Graph, draw

LEFT, RIGHT = Box("left", (75, 17)), Box("right", (475, 17))


def test_an_arrow_goes_from_border_to_border() -> None:
    (path,) = re.findall(
        r'<path d="M([^"]*)"', "".join(Graph("", (LEFT, RIGHT), (Arrow("left", "right", "goes"),)).elements())
    )
    xs = [float(point.split()[0]) for point in path.split("L")]
    assert xs == sorted(xs)
    assert (xs[0], xs[-1]) == (pytest.approx(150, abs=3), pytest.approx(400, abs=3))


@pytest.mark.parametrize(("bend", "side"), [(40, -1), (-40, 1)])
def test_a_bend_is_to_the_left_of_the_way(bend: float, side: int) -> None:
    (path,) = re.findall(
        r'<path d="M([^"]*)"', "".join(Graph("", (LEFT, RIGHT), (Arrow("left", "right", "", bend),)).elements())
    )
    middle = [float(point.split()[1]) for point in path.split("L")][10]
    assert middle == pytest.approx(17 + side * 40, abs=2)


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        (Graph("", (LEFT, RIGHT), (Arrow("left", "right", "goes"),)), []),
        (
            Graph("", (LEFT, RIGHT), (Arrow("left", "right", "a word that is much too long for " * 2),)),
            ["left", "right"],
        ),
        (Graph("", (LEFT, Box("upon", (100, 30))), ()), ["upon"]),
        (Graph("", (LEFT, RIGHT), (Arrow("left", "right", "goes"), Arrow("right", "left", "comes"))), ["comes"]),
    ],
)
def test_what_lies_on_something_is_named(graph: Graph, found: list[str]) -> None:
    overlaps = graph.overlaps()
    assert len(overlaps) == len(found)
    for name, overlap in zip(found, overlaps, strict=True):
        assert name in overlap


@pytest.mark.parametrize("graph", lifecycle.graphs(), ids=lambda graph: graph.title)
def test_no_word_of_the_lifecycles_lies_on_anything(graph: Graph) -> None:
    assert graph.overlaps() == []


def test_every_row_of_a_table_is_in_its_picture() -> None:
    drawn = {
        (graph.title, arrow.start, arrow.end, word)
        for graph in lifecycle.graphs()
        for arrow in graph.arrows
        for word in arrow.word.split(", ")
    }
    for title, table in (("Rollout of an update", lifecycle.ROLLOUT), ("Training job", lifecycle.JOB)):
        assert {(title, start.value, to.value, fact.value) for (start, fact), to in table.items()} <= drawn


def test_names_are_escaped() -> None:
    svg = draw([Graph("<t>", (Box("<b>", (75, 17)),), ())], "<about>")
    texts = [
        element.text
        for element in xml.etree.ElementTree.fromstring(svg).iter()
        if element.text and element.text.strip()
    ]
    assert {"<t>", "<b>", "<about>"} <= set(texts)
