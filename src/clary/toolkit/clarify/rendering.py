"""A report's blocks as a page of HTML, as a notebook and as PDF."""

from __future__ import annotations

import json
from html import escape
from typing import Any, Dict, List, Sequence, Tuple

from clary.toolkit.clarify.report import Bars, Block, Curves, Heading, Table, TextBlock, number

COLOURS = ("#1f6feb", "#d29922", "#238636", "#8957e5", "#cf222e", "#57606a")
_WIDE, _HIGH, _LEFT, _STEP = 640, 240, 190, 20
_STYLE = (
    "body{font:14px system-ui,'DejaVu Sans',sans-serif;color:#1d2733;max-width:960px;margin:24px auto;padding:0 16px}"
    "table{border-collapse:collapse;margin:12px 0}td,th{border:1px solid #d0d7de;padding:4px 10px;text-align:left;vertical-align:top}"
    "th{background:#f6f8fa}svg text{font:12px system-ui,'DejaVu Sans',sans-serif;fill:#39434d}svg{max-width:100%;height:auto}"
)


def page(blocks: Sequence[Block]) -> str:
    """A whole page, without anything from elsewhere."""
    title = next((each.text for each in blocks if isinstance(each, Heading)), "")
    body = "\n".join(_html(each) for each in blocks)
    head = '<meta charset="utf-8"><title>{}</title><style>{}</style>'.format(escape(title), _STYLE)
    return '<!doctype html>\n<html lang="en"><head>{}</head>\n<body>\n{}\n</body></html>\n'.format(head, body)


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return "<h{0}>{1}</h{0}>".format(block.level, escape(block.text))
    if isinstance(block, TextBlock):
        return "<p>{}</p>".format(escape(block.text))
    if isinstance(block, Table):
        head = "".join("<th>{}</th>".format(escape(each)) for each in block.header)
        rows = ("".join("<td>{}</td>".format(escape(each)) for each in row) for row in block.rows)
        return "<table><tr>{}</tr>{}</table>".format(head, "".join("<tr>{}</tr>".format(row) for row in rows))
    return _bars(block) if isinstance(block, Bars) else _curves(block)


def _bars(block: Bars) -> str:
    parts = []
    zero, scale = _scale([value for _, value in block.bars], _WIDE - _LEFT - 80)
    for at, (name, value) in enumerate(block.bars):
        top = at * _STEP
        left, wide = _LEFT + zero + min(0.0, value) * scale, abs(value) * scale
        parts.append(
            '<text x="{}" y="{}" text-anchor="end">{}</text>'.format(_LEFT - 8, top + 14, escape(_short(name)))
        )
        parts.append(
            '<rect x="{:.1f}" y="{}" width="{:.1f}" height="14" fill="{}"/>'.format(left, top + 3, wide, COLOURS[0])
        )
        parts.append('<text x="{:.1f}" y="{}">{}</text>'.format(left + wide + 4, top + 14, number(value)))
    return _svg(block.title, parts, max(1, len(block.bars)) * _STEP + 4)


def _scale(values: Sequence[float], room: float) -> Tuple[float, float]:
    """Where 0 lies in the room, and how long 1 is."""
    low, high = min([0.0, *values]), max([0.0, *values])
    scale = room / (high - low) if high > low else 0.0
    return -low * scale, scale


def _short(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "\u2026"


def _curves(block: Curves) -> str:
    places, (low, high) = _places(block)
    parts = []
    for at, (name, values) in enumerate(block.lines):
        colour = COLOURS[at % len(COLOURS)]
        points = [(_LEFT / 3 + x * 480, 200 - y * 180) for x, y in zip(places, _levels(values, low, high))]
        line = " ".join("{:.1f},{:.1f}".format(*each) for each in points)
        parts.append('<polyline points="{}" fill="none" stroke="{}" stroke-width="2"/>'.format(line, colour))
        parts += ['<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>'.format(x, y, colour) for x, y in points]
        parts.append(
            '<text x="{}" y="{}" style="fill:{}">{}</text>'.format(560, 20 + 16 * at, colour, escape(_short(name)))
        )
    for y, value in ((200, low), (20, high)):
        parts.append('<text x="{:.0f}" y="{}" text-anchor="end">{}</text>'.format(_LEFT / 3 - 6, y + 4, number(value)))
    for x, shown in _ends(block.points):
        anchor = "start" if x == 0 else "end"
        parts.append(
            '<text x="{:.1f}" y="222" text-anchor="{}">{}</text>'.format(
                _LEFT / 3 + x * 480, anchor, escape(_short(shown))
            )
        )
    return _svg(block.title, parts, _HIGH)


def _places(block: Curves) -> Tuple[List[float], Tuple[float, float]]:
    """Where the points lie from 0 to 1, and the lowest and highest value."""
    count = len(block.points)
    numbers = [float(each) for each in block.points] if not isinstance(block.points[0], str) else list(range(count))
    span = (max(numbers) - min(numbers)) or 1
    values = [each for _, line in block.lines for each in line]
    return [(each - min(numbers)) / span for each in numbers], (min(values), max(values))


def _levels(values: Sequence[float], low: float, high: float) -> List[float]:
    return [(each - low) / ((high - low) or 1) for each in values]


def _ends(points: Sequence[Any]) -> List[Tuple[int, str]]:
    shown = [each if isinstance(each, str) else number(each) for each in (points[0], points[-1])]
    return list(enumerate(shown)) if len(points) > 1 else [(0, shown[0])]


def _svg(title: str, parts: Sequence[str], high: int) -> str:
    label = escape(title, quote=True)
    whole = '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}">{}</svg>'
    return whole.format(label, _WIDE, high, _WIDE, "".join(parts))


def notebook(blocks: Sequence[Block]) -> str:
    """A notebook (nbformat 4) that shows the report, and reads analysis.json beside it for further work."""
    cells: List[Dict[str, Any]] = []
    for each in blocks:
        text = "{} {}".format("#" * each.level, each.text) if isinstance(each, Heading) else _html(each)
        cells.append({"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)})
    code = 'import json\n\nwith open("analysis.json") as file:\n    analysis = json.load(file)\nanalysis\n'
    cells.append(
        {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": code.splitlines(keepends=True),
        }
    )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps(
        {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}, indent=1
    )


def pdf(blocks: Sequence[Block]) -> bytes:
    """A document of A4 pages. Characters that the standard fonts do not have are written as their code, such as \\u4e2d."""
    from fpdf import FPDF

    document = FPDF(format="A4")
    document.set_auto_page_break(True, margin=18)
    document.add_page()
    for each in blocks:
        _draw(document, each)
    return bytes(document.output())


def _draw(document: Any, block: Block) -> None:
    if isinstance(block, Heading):
        document.set_font("Helvetica", "B", (0, 18, 14, 11)[block.level])
        document.ln(3)
        document.multi_cell(0, 8, _latin(block.text), new_x="LMARGIN", new_y="NEXT")
        return
    document.set_font("Helvetica", "", 9)
    document.set_fill_color(255, 255, 255)
    if isinstance(block, TextBlock):
        document.multi_cell(0, 5, _latin(block.text), new_x="LMARGIN", new_y="NEXT")
    elif isinstance(block, Table):
        document.ln(1)
        with document.table(line_height=5, text_align="LEFT") as table:
            for row in (block.header, *block.rows):
                drawn = table.row()
                for cell in row:
                    drawn.cell(_latin(cell))
    elif isinstance(block, Bars):
        _draw_bars(document, block)
    else:
        _draw_curves(document, block)


def _latin(text: str) -> str:
    return text.encode("latin-1", "backslashreplace").decode("latin-1")


def _draw_bars(document: Any, block: Bars) -> None:
    zero, scale = _scale([value for _, value in block.bars], 100)
    document.set_fill_color(31, 111, 235)
    document.ln(2)
    for name, value in block.bars:
        if document.will_page_break(5):
            document.add_page()
        top = document.get_y()
        document.set_x(10)
        document.cell(50, 5, _latin(_short(name)), align="R")
        left = 62 + zero + min(0.0, value) * scale
        document.rect(left, top + 1, max(0.1, abs(value) * scale), 3, style="F")
        document.set_xy(left + abs(value) * scale + 1, top)
        document.cell(20, 5, number(value), new_x="LMARGIN", new_y="NEXT")


def _draw_curves(document: Any, block: Curves) -> None:
    if document.will_page_break(62):
        document.add_page()
    top = document.get_y() + 3
    places, (low, high) = _places(block)
    for at, (name, values) in enumerate(block.lines):
        colour = COLOURS[at % len(COLOURS)]
        colours = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        document.set_draw_color(*colours)
        points = [(30 + x * 120, top + 50 - y * 48) for x, y in zip(places, _levels(values, low, high))]
        document.polyline(points)
        document.set_fill_color(*colours)
        for x, y in points:
            document.ellipse(x - 0.6, y - 0.6, 1.2, 1.2, style="F")
        document.set_text_color(*colours)
        document.text(155, top + 4 + 5 * at, _latin(_short(name)))
    document.set_text_color(0, 0, 0)
    document.text(10, top + 50, number(low))
    document.text(10, top + 3, number(high))
    for x, shown in _ends(block.points):
        document.text(30 + x * 110, top + 55, _latin(_short(shown)))
    document.set_draw_color(0, 0, 0)
    document.set_y(top + 58)
