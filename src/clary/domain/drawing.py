"""Transition tables as a picture: a line for every status, and for every row of the table an arrow from line to line, in a column
of its own under the fact that causes it. Nothing can overlap, whatever the table says. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_MARGIN, _TITLE, _NAMES, _COLUMN, _LINE, _FACTS = 28, 34, 170, 46, 34, 62
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1d2733}.t{font-weight:600;font-size:15px}"
    ".f{font-size:12px;fill:#39434d;paint-order:stroke;stroke:#fff;stroke-width:3px}.s{font-weight:600;text-anchor:end}"
    "line{stroke:#c5ced6}path{stroke:#30506b;stroke-width:1.6;fill:none;marker-end:url(#a)}circle{fill:#30506b}"
)

Edge = tuple[str, str, str]  # from, fact, to


def draw(tables: Mapping[str, Sequence[Edge]]) -> str:
    """An SVG with one chart per title, statuses in the order in which the table names them."""
    parts: list[str] = []
    top, width = _MARGIN, 0
    for title, edges in tables.items():
        parts.append(f'<text class="t" x="{_MARGIN}" y="{top + 15}">{escape(title)}</text>')
        body, wide, high = _chart(edges, top + _TITLE)
        parts += body
        top, width = top + _TITLE + high + _MARGIN, max(width, wide)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}">'
        f"<style>{_STYLE}</style>"
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0L8 4L0 8z" style="fill:#30506b;stroke:none;marker-end:none"/></marker></defs>'
    )
    return "\n".join([head, f'<rect width="{width}" height="{top}" fill="#fff"/>', *parts, "</svg>\n"])


def _chart(edges: Sequence[Edge], top: int) -> tuple[list[str], int, int]:
    """(elements, width of the picture, height of the chart)"""
    statuses = list(dict.fromkeys(status for start, _, to in edges for status in (start, to)))
    left, right = _MARGIN + _NAMES, _MARGIN + _NAMES + (len(edges) + 1) * _COLUMN
    height = {status: top + _FACTS + row * _LINE for row, status in enumerate(statuses)}
    parts: list[str] = []
    for status, y in height.items():
        parts.append(f'<line x1="{left}" y1="{y}" x2="{right}" y2="{y}"/>')
        parts.append(f'<text class="s" x="{left - 10}" y="{y + 4}">{escape(status)}</text>')
    for column, (start, fact, to) in enumerate(edges):
        x = left + (column + 1) * _COLUMN
        y1, y2 = height[start], height[to]
        head = min(y1, y2) - 8
        parts.append(f'<circle cx="{x}" cy="{y1}" r="3.5"/>')
        parts.append(f'<path d="M{x} {y1}L{x} {y2 + (-3 if y2 > y1 else 3)}"/>')
        parts.append(f'<text class="f" transform="translate({x - 4} {head}) rotate(-35)">{escape(fact)}</text>')
    return parts, right + _MARGIN + _FACTS // 2, _FACTS + len(statuses) * _LINE
