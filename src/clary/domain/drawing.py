"""A graph as a picture: boxes at given places, arrows between them with a word on each. Pure.

Places are given, not found: who draws knows which box belongs beside which. `overlaps` says where a word lies on a box or on another
word, so that a test can hold every picture to having none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations

_WORD, _LINE, _HEIGHT = 6.3, 16, 13  # pixels: one letter's width, from one line of a box to the next, a word's height
_TITLE = 10.0  # pixels of a letter of a title
_NOT_XML = {
    code: "\ufffd" for code in (*range(0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF) if code not in (0x09, 0x0A, 0x0D)
}
_STEPS = 200  # points of a curve that are looked at
_STYLE = (
    "text{font:13px system-ui,'DejaVu Sans',sans-serif;fill:#1d2733}.t{font-weight:600;font-size:15px}.n{font-weight:600}"
    ".s{font-size:11px;fill:#5b6875}.w{font-size:11px;fill:#39434d;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    ".b{fill:#f6f8fa;stroke:#8795a1}.d{fill:#fff;stroke-dasharray:4 3}path{stroke:#5b6875;stroke-width:1.3;fill:none;marker-end:url(#a)}"
)

Point = tuple[float, float]
Area = tuple[float, float, float, float]  # left, top, right, bottom


def text(value: str) -> str:
    """As a picture has it: no markup, and a sign in place of what no XML document may hold, with which it would not open."""
    return escape(value.translate(_NOT_XML))


@dataclass(frozen=True, slots=True)
class Box:
    """`at`: its middle, in pixels. `lines` stand below the name, smaller; `dashed` is for what is not ours."""

    name: str
    at: Point
    lines: tuple[str, ...] = ()
    width: float = 150
    dashed: bool = False

    @property
    def area(self) -> Area:
        high = 34 + _LINE * len(self.lines)
        return self.at[0] - self.width / 2, self.at[1] - high / 2, self.at[0] + self.width / 2, self.at[1] + high / 2


@dataclass(frozen=True, slots=True)
class Arrow:
    """From box to box. `bend` pushes its middle to the left of its way, in pixels; the word stands at `word_at` of it, 0 to 1."""

    start: str
    end: str
    word: str
    bend: float = 0
    word_at: float = 0.5


@dataclass(frozen=True, slots=True)
class Graph:
    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    @property
    def size(self) -> Point:
        """Pixels that boxes, words and arrows take, from (0, 0)."""
        areas = [*(box.area for box in self.boxes), *(area for _, area in self._words())]
        areas += [(x, y, x, y) for arrow in self.arrows for x, y in self._route(arrow)]
        return max(area[2] for area in areas), max(area[3] for area in areas)

    def overlaps(self) -> list[str]:
        """What lies on something else: `word "ready" on box Stopped`."""
        boxes = [(f"box {box.name}", box.area) for box in self.boxes]
        words = [(f'word "{word}"', area) for word, area in self._words()]
        pairs = [*combinations(words, 2), *((word, box) for word in words for box in boxes), *combinations(boxes, 2)]
        return [f"{one} on {other}" for (one, area), (other, under) in pairs if _meet(area, under)]

    def _words(self) -> Iterator[tuple[str, Area]]:
        for arrow in self.arrows:
            x, y = self._route(arrow)[round(arrow.word_at * _STEPS)]
            half = len(arrow.word) * _WORD / 2
            yield arrow.word, (x - half, y - _HEIGHT / 2, x + half, y + _HEIGHT / 2)

    def _route(self, arrow: Arrow) -> list[Point]:
        """A quadratic curve from middle to middle, cut where it leaves the one box and enters the other: `_STEPS` + 1 points."""
        boxes = {box.name: box for box in self.boxes}
        (x1, y1), (x2, y2) = boxes[arrow.start].at, boxes[arrow.end].at
        length = math.hypot(x2 - x1, y2 - y1)
        over = (
            (x1 + x2) / 2 + 2 * arrow.bend * (y2 - y1) / length,
            (y1 + y2) / 2 - 2 * arrow.bend * (x2 - x1) / length,
        )

        def at(t: float) -> Point:
            a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
            return a * x1 + b * over[0] + c * x2, a * y1 + b * over[1] + c * y2

        inside = [t / _STEPS for t in range(_STEPS + 1)]
        leaves = max(t for t in inside if _holds(boxes[arrow.start].area, at(t)))
        enters = min(t for t in inside if t > leaves and _holds(boxes[arrow.end].area, at(t)))
        return [at(leaves + (enters - leaves) * step / _STEPS) for step in range(_STEPS + 1)]

    def elements(self) -> list[str]:
        parts = [_box(box) for box in self.boxes]
        for arrow in self.arrows:
            points = self._route(arrow)[:: _STEPS // 20]
            way = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            parts.append(f'<path d="M{way}"/>')
        for word, (left, _, right, bottom) in self._words():
            x, y = (left + right) / 2, bottom - 3
            parts.append(f'<text class="w" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{text(word)}</text>')
        return parts


def _box(box: Box) -> str:
    left, top, right, bottom = box.area
    kind = "b d" if box.dashed else "b"
    middle = f'x="{box.at[0]:.0f}" text-anchor="middle"'
    parts = [
        f'<rect class="{kind}" x="{left:.0f}" y="{top:.0f}" width="{right - left:.0f}" height="{bottom - top:.0f}" rx="6"/>',
        f'<text class="n" {middle} y="{top + 22:.0f}">{text(box.name)}</text>',
    ]
    for number, line in enumerate(box.lines, 1):
        parts.append(f'<text class="s" {middle} y="{top + 22 + number * _LINE:.0f}">{text(line)}</text>')
    return "".join(parts)


def _holds(area: Area, point: Point) -> bool:
    return area[0] <= point[0] <= area[2] and area[1] <= point[1] <= area[3]


def _meet(one: Area, other: Area) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def draw(graphs: Sequence[Graph], about: str) -> str:
    """One SVG, graph below graph, each under its title (none where it is empty). `about` is what a screen reader says."""
    margin, below = 24, 36
    parts: list[str] = []
    top, width = float(margin), 0.0
    for graph in graphs:
        if graph.title:
            parts.append(f'<text class="t" x="{margin}" y="{top + 14:.0f}">{text(graph.title)}</text>')
            top += 30
            width = max(width, _TITLE * len(graph.title))
        parts += [f'<g transform="translate({margin} {top:.0f})">', *graph.elements(), "</g>"]
        wide, high = graph.size
        width, top = max(width, wide), top + high + below
    wide, high = width + 2 * margin, top - below + margin
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" height="{high:.0f}" role="img">'
        f"<title>{text(about)}</title><style>{_STYLE}</style>"
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" style="fill:#5b6875;stroke:none;marker-end:none"/></marker></defs>'
    )
    return "\n".join([head, f'<rect width="{wide:.0f}" height="{high:.0f}" fill="#fff"/>', *parts, "</svg>\n"])
