"""A figure in the terminal: small charts one below the other, with their axes and units, and what was decided.

The first curve of a chart is drawn in braille dots, the others in signs of their own, so that a pipe without colours tells them apart.
Terminals without UTF-8 get ASCII.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from clary.app import plots
from clary.app.cli.output import plain
from clary.app.plots import Curve, Figure, Panel, instant, instants, number, runs, ticks

ROWS, LEFT, LEAST, MOST = 4, 8, 44, 110
MOST_POINTS = 130  # across a chart; more would be a cloud
PIPE = 100  # columns where nobody says how many there are
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell: row, then column
_SIGNS, _PLAIN = ("", "•", "×"), ("#", "o", "x")
_BOUND, _PLAIN_BOUND = "╌", "-"
_STYLES = ("blue", "dark_orange", "magenta")


@dataclass(slots=True)
class Canvas:
    """Cells of a chart: dots of the first curve, before signs of the others, before those of bounds."""

    width: int
    utf8: bool
    dots: dict[tuple[int, int], int] = field(default_factory=dict)
    signs: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    bounds: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)

    def dot(self, x: int, y: int) -> None:
        """Half a cell wide, a quarter high; from the top left."""
        cell = (x // 2, y // 4)
        self.dots[cell] = self.dots.get(cell, 0) | _DOTS[y % 4][x % 2]

    def row(self, place: int) -> Text:
        line = Text()
        for cell in ((column, place) for column in range(self.width)):
            if cell in self.dots:
                line.append(chr(0x2800 + self.dots[cell]) if self.utf8 else _PLAIN[0], _STYLES[0])
            else:
                line.append(*(self.signs.get(cell) or self.bounds.get(cell) or (" ", "")))
        return line


def show(figures: Sequence[Figure], console: Console | None = None) -> None:
    console = console or Console(highlight=False, soft_wrap=True)
    width = console.width if console.is_terminal else PIPE
    for place, figure in enumerate(figures):
        if place:
            console.print()
        for line in lines(figure, max(LEAST, min(MOST, width)), utf8="utf" in console.encoding.lower()):
            console.print(line)


def lines(figure: Figure, width: int, *, utf8: bool = True) -> list[Text]:
    """The whole figure, no line wider than `width` but the sentences of its marks."""
    wide = width - LEFT - 1
    head = Text(plain(figure.title), "bold")
    made = [head.append(f"  {figure.note}", "not bold dim") if figure.note else head]
    for panel in figure.panels:
        made += _panel(figure, panel, wide, utf8)
    return [*made, *_axis(figure, wide), *_marks(figure, wide, utf8)]


def _panel(figure: Figure, panel: Panel, wide: int, utf8: bool) -> list[Text]:
    line = Text(f"{panel.title}, {panel.unit}", "bold")
    shown = [curve for curve in panel.curves if curve.points]
    if not shown:
        return [line.append(f"  {panel.empty}", "not bold dim")]
    top = ticks(panel.top, 5)[-1]
    canvas = Canvas(wide, utf8)
    for place, curve in enumerate(shown):
        sign, style = _sign(curve, place, utf8), _style(curve, place)
        line.append("   ").append(sign or "⣿", style).append(f" {curve.name} {number(curve.points[-1][1])}", "not bold")
        _draw(canvas, figure, curve, top, sign if place or not utf8 else "", style)
    made = [line]
    edge = "┤" if utf8 else "|"
    for row in range(ROWS):
        label = number(top) if row == 0 else "0" if row == ROWS - 1 else ""
        made.append(Text(f"{label:>{LEFT - 1}} {edge if label else edge.replace('┤', '│')}").append(canvas.row(row)))
    return made


def _sign(curve: Curve, place: int, utf8: bool) -> str:
    if curve.dashed and place:
        return _BOUND if utf8 else _PLAIN_BOUND
    return (_SIGNS if utf8 else _PLAIN)[min(place, 2)]


def _style(curve: Curve, place: int) -> str:
    return "dim" if curve.dashed and place else _STYLES[min(place, 2)]


def _draw(canvas: Canvas, figure: Figure, curve: Curve, top: float, sign: str, style: str) -> None:
    across, down = 2 * canvas.width, 4 * ROWS
    share = (across - 1) / max(1e-9, figure.end - figure.start)
    for run in runs(curve.points, figure.gap):
        places = [
            (round((at - figure.start) * share), (down - 1) - round((down - 1) * min(1.0, max(0.0, value) / top)))
            for at, value in run
        ]
        last = places[0][1]
        for (x, y), (to_x, to_y) in zip(places, [*places[1:], places[-1]], strict=True):
            for at in range(max(0, x), min(across - 1, max(x, to_x - (to_x > x))) + 1):
                level = y if curve.step or to_x == x else round(y + (to_y - y) * (at - x) / (to_x - x))
                if sign:
                    (canvas.bounds if curve.dashed else canvas.signs)[at // 2, level // 4] = (sign, style)
                    continue
                high, low = (level, down - 1) if curve.area else (min(level, last), max(level, last))
                for row in range(high, low + 1):
                    canvas.dot(at, row)
                last = level


def _axis(figure: Figure, wide: int) -> list[Text]:
    """Times, where they do not touch each other."""
    made, free = [" "] * (wide + 8), 0
    for at in instants(figure.start, figure.end, 6):
        label = instant(figure, at)
        begin = round((at - figure.start) / (figure.end - figure.start) * (wide - 1)) - len(label) // 2
        if free <= begin <= wide - len(label):
            made[begin : begin + len(label)] = label
            free = begin + len(label) + 2
    return [Text(" " * (LEFT + 1) + "".join(made).rstrip(), "dim")]


def _marks(figure: Figure, wide: int, utf8: bool) -> list[Text]:
    if not figure.marks:
        return [Text("no decision changed anything", "dim")] if figure.decides else []
    seconds = max(1e-9, figure.end - figure.start)
    columns = [min(1.0, max(0.0, (mark.at - figure.start) / seconds)) * (wide - 1) for mark in figure.marks]
    row = [" "] * (wide + 6)
    for column, label in plots.close(columns, 7):
        row[round(column) : round(column) + len(label)] = label
    made = [Text("decided".rjust(LEFT) + " " + "".join(row).rstrip(), "magenta")]
    for place, mark in enumerate(figure.marks, 1):
        heading, style = f"{place:>{LEFT - 2}}. ", "dark_orange" if mark.refused else "magenta"
        for line in plots.wrapped(f"{plots.instant_of(figure, mark.at)}  {plain(mark.text)}", wide):
            made.append(Text(heading, style).append(line, "default"))
            heading = " " * LEFT
    if figure.more:
        made.append(Text(f"{'':>{LEFT}} {figure.more} more are not shown: --json has all", "dim"))
    return made
