"""The pictures of docs/scaling.md."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from benchmarks.scaling_pictures import _points, rate


def test_means_of_some_seconds() -> None:
    assert _points([1, 3, 5, 7, 9], 2, first=-4) == [(-4, 2.0), (-2, 6.0)]


def test_a_picture_is_drawn_by_the_policy() -> None:
    root = ET.fromstring(rate())
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"came", "believed", "Requests a second, count"} <= set(texts)
    came, believed = (line.get("points", "").split() for line in root.iter("{http://www.w3.org/2000/svg}polyline"))
    heights = [float(point.split(",")[1]) for point in believed]
    assert min(heights) < max(heights) - 20  # growth is believed
    assert len(came) > 700
