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


def test_names_hold_no_markup_and_nothing_that_no_xml_may_hold() -> None:
    """Sources and types of artifacts may hold any character: one that XML forbids would keep the whole picture from opening."""
    hostile = "<script>alert(1)</script>\"'&]]>\x01\x1b[31m\ufffe"
    drawn = draw(
        [Graph(hostile, (Box(hostile, (75, 17), (hostile,)), RIGHT), (Arrow(hostile, "right", hostile),))], hostile
    )
    root = xml.etree.ElementTree.fromstring(drawn)
    assert not [each for each in root.iter() if each.tag.endswith("script")]
    seen = [each.text for each in root.iter() if each.text and "alert(1)" in each.text]
    assert seen == ["<script>alert(1)</script>\"'&]]>\ufffd\ufffd[31m\ufffd"] * 5


def test_a_title_that_is_longer_than_its_graph_is_seen_whole() -> None:
    title = "arn:aws:sagemaker:us-east-1:000000000000:artifact/b79c78d28d033b15905e8149f24bef9a0310397a"
    root = xml.etree.ElementTree.fromstring(draw([Graph(title, (LEFT,), ())], title))
    assert float(root.attrib["width"]) > 8 * len(title)
