"""Pictures as plain SVG: charts over time, one below the other, and bars. What `clary scaling`, the league and the documentation draw with.

A picture says what it shows without colour too: curves differ in dashes, every axis has its unit, and a panel without data says so. Its
ground is its own, so that it reads the same on a dark page. Does not know where data come from.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from clary.domain import drawing

# Okabe and Ito's colours: told apart by colour-blind people too.
BLUE, ORANGE, GREEN, PINK, SKY, GREY = "#0072b2", "#d55e00", "#00805e", "#aa4499", "#56b4e9", "#8a93a0"
INK, FAINT, LINES = "#24292f", "#59636e", "#d8dee4"
FONT = "DejaVu Sans, Verdana, Liberation Sans, Noto Sans, Arial, Helvetica, sans-serif"
_DASHES = ("", "6 3", "2 2", "8 3 2 3")
_WIDTH, _LEFT, _RIGHT, _TOP = 800, 62, 16, 44
_GAP = 38
_CHARACTER = 6.5  # width of one at 11 px, on the safe side

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """Points by time. `area`: filled down to zero; `step`: a level that holds until it changes; `dashed`: a bound, not what happened."""

    name: str
    points: Sequence[Point]
    colour: str = BLUE
    area: bool = False
    step: bool = False
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves of one unit over the same time. `empty`: what a reader is told where there is no point at all."""

    title: str
    unit: str
    curves: Sequence[Curve]
    empty: str = "no datapoints in this time"
    height: int = 82

    @property
    def top(self) -> float:
        return max((value for curve in self.curves for _, value in curve.points), default=0.0)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a moment: a number in the picture, a sentence below it."""

    at: float
    text: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels over one time, which is in epoch seconds, or in seconds around a moment where `zero` names that."""

    title: str
    start: float
    end: float
    panels: Sequence[Panel]
    marks: Sequence[Mark] = ()
    note: str = ""
    zero: str = ""
    gap: float = math.inf  # seconds without a point, over which no line is drawn
    more: int = 0  # marks that are left out
    decides: bool = True  # whether it is a picture of decisions: where there is none, it says so


def ticks(top: float, most: int = 4) -> list[float]:
    """Round values from 0 to at least `top`, `most` steps at most."""
    if top <= 0 or not math.isfinite(top):
        return [0.0, 1.0]
    rough = top / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * times for times in (1, 2, 2.5, 5, 10) if size * times * most >= top * (1 - 1e-9))
    return [step * n for n in range(math.ceil(top / step - 1e-9) + 1)]


def number(value: float) -> str:
    """Short: 0.25, 12, 1.5k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * (10 if letter == "k" else 1):
            return f"{value / size:g}{letter}"
    return f"{round(value, 3):g}"


def instants(start: float, end: float, most: int = 8) -> list[float]:
    """Round moments between, `most` at most."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800)
    step = next((s for s in steps if (end - start) / s <= most), 7 * 86_400)
    # whole hours and days as the reader's clock has them
    shift = time.localtime(start).tm_gmtoff if start > 86_400 else 0
    first = math.ceil((start + shift) / step) * step - shift
    return [first + step * n for n in range(int((end - first) / step) + 1)] if first <= end else []


def instant(figure: Figure, at: float) -> str:
    if figure.zero:
        return f"{at / 60:g} min" if figure.end - figure.start > 900 else f"{at:g} s"
    whole = "%H:%M" if figure.end - figure.start < 2 * 86_400 else "%b %d %H:%M"
    return time.strftime(whole if figure.end - figure.start > 600 else "%H:%M:%S", time.localtime(at))


def runs(points: Sequence[Point], gap: float) -> list[list[Point]]:
    """Points in pieces, cut where nothing is known for longer than `gap`."""
    pieces: list[list[Point]] = []
    for at, value in points:
        if pieces and at - pieces[-1][-1][0] <= gap:
            pieces[-1].append((at, value))
        else:
            pieces.append([(at, value)])
    return pieces


def changes(run: list[Point]) -> list[Point]:
    """Of a level, the points at which it is another, and the last one."""
    return [
        point for place, point in enumerate(run) if not place or place == len(run) - 1 or point[1] != run[place - 1][1]
    ]


# -- SVG --------------------------------------------------------------------------------------------------------------------------


def svg(figure: Figure) -> str:
    """The figure: panels, the numbered marks above them, and the marks' sentences below."""
    sentences = _sentences(figure)
    tops = [_TOP + 12]
    for panel in figure.panels:
        tops.append(tops[-1] + panel.height + _GAP)
    bottom = tops[-1] - 12
    height = bottom + 24 + 16 * len(sentences)
    parts = [_open(_WIDTH, height), _text(12, 20, figure.title, size=14, weight="bold")]
    if figure.note:
        parts.append(_text(_WIDTH - _RIGHT, 20, figure.note, anchor="end", colour=FAINT))
    for top, panel in zip(tops, figure.panels, strict=False):
        parts += _panel(figure, panel, top)
    parts += _marks(figure, _TOP + 12, bottom - _GAP + 12)
    where = _local(figure) if not figure.zero else figure.zero
    parts.append(_text(_WIDTH - _RIGHT, bottom + 6, where, anchor="end", colour=FAINT))
    for place, (label, text, colour) in enumerate(sentences):
        y = bottom + 24 + 16 * place
        parts += [_text(_LEFT - 8, y, label, anchor="end", weight="bold", colour=colour), _text(_LEFT, y, text)]
    return "".join(parts) + "</svg>\n"


def _local(figure: Figure) -> str:
    return time.strftime("%Y-%m-%d, time in %Z", time.localtime(figure.end))


def _x(figure: Figure, at: float) -> float:
    share = (at - figure.start) / max(1e-9, figure.end - figure.start)
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(1.0, max(0.0, share))


def _panel(figure: Figure, panel: Panel, top: float) -> list[str]:
    base, right = top + panel.height, _WIDTH - _RIGHT
    scale = ticks(panel.top, max(3, panel.height // 40))
    parts = [_text(_LEFT, top - 6, f"{panel.title}, {panel.unit}", weight="bold")]
    for value in scale:
        y = base - panel.height * value / scale[-1]
        parts.append(_line(_LEFT, y, right, y))
        parts.append(_text(_LEFT - 6, y + 4, number(value), anchor="end", colour=FAINT))
    for at in instants(figure.start, figure.end):
        x = _x(figure, at)
        parts.append(_line(x, base, x, base + 4))
        if _LEFT + 10 < x < right - 20:
            parts.append(_text(x, base + 15, instant(figure, at), anchor="middle", colour=FAINT, size=10))
    if not any(curve.points for curve in panel.curves):
        return [*parts, _text((_LEFT + right) / 2, top + panel.height / 2, panel.empty, anchor="middle", colour=FAINT)]
    shown = [curve for curve in panel.curves if curve.points]
    for place, curve in enumerate(shown):
        parts += _curve(figure, curve, _DASHES[place % 4] if place else "", base, panel.height / scale[-1])
    return parts + _legend(shown, top - 6, _LEFT + (len(panel.title) + len(panel.unit) + 2) * (_CHARACTER + 0.6) + 24)


def _legend(curves: Sequence[Curve], y: float, least: float) -> list[str]:
    """At the right end of the panel's title."""
    wide = sum(34 + _CHARACTER * len(curve.name) for curve in curves)
    x = max(least, _WIDTH - _RIGHT - wide)
    parts = []
    for place, curve in enumerate(curves):
        dash = _dash(curve, _DASHES[place % 4] if place else "")
        thick = 7 if curve.area else 2
        parts.append(
            f'<line x1="{x:.0f}" y1="{y - 4:.0f}" x2="{x + 20:.0f}" y2="{y - 4:.0f}" stroke="{curve.colour}" '
            f'stroke-width="{thick}" stroke-opacity="{0.45 if curve.area else 1}"{dash}/>'
        )
        parts.append(_text(x + 25, y, curve.name))
        x += 34 + _CHARACTER * len(curve.name)
    return parts


def _dash(curve: Curve, dash: str) -> str:
    chosen = "5 4" if curve.dashed else "" if curve.area else dash
    return f' stroke-dasharray="{chosen}"' if chosen else ""


def _curve(figure: Figure, curve: Curve, dash: str, base: float, scale: float) -> list[str]:
    parts = []
    for run in runs(curve.points, figure.gap):
        run = changes(run) if curve.step else run
        places = [(_x(figure, at), base - max(0.0, value) * scale) for at, value in run]
        if curve.step:
            places = [
                place
                for (x, y), (_, before) in zip(places, [places[0], *places], strict=False)
                for place in ((x, before), (x, y))
            ]
        if len(run) == 1:
            places.append((places[-1][0] + 1.5, places[-1][1]))
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        if curve.area:
            closed = f"{places[0][0]:.1f},{base:.0f} {line} {places[-1][0]:.1f},{base:.0f}"
            parts.append(f'<polygon points="{closed}" fill="{curve.colour}" fill-opacity="0.3"/>')
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{curve.colour}" stroke-width="1.6" '
            f'stroke-linejoin="round"{_dash(curve, dash)}/>'
        )
    return parts


def _marks(figure: Figure, top: float, base: float) -> list[str]:
    """A line through all panels for each; one number, or a range of them, for those that stand close."""
    parts = []
    for mark in figure.marks:
        x, colour = _x(figure, mark.at), ORANGE if mark.refused else PINK
        parts.append(
            f'<line x1="{x:.1f}" y1="{top:.0f}" x2="{x:.1f}" y2="{base:.0f}" stroke="{colour}" stroke-dasharray="2 3" '
            f'stroke-opacity="0.8"><title>{drawing.text(mark.text)}</title></line>'
        )
    for x, label in close([_x(figure, mark.at) for mark in figure.marks], 24):
        parts.append(_text(x, top - 20, label, anchor="middle", weight="bold", colour=PINK, size=10))
    return parts


def close(places: Sequence[float], room: float) -> list[tuple[float, str]]:
    """(place, label) of what is numbered from 1 on: what stands closer than `room` to the first of a group shares its label."""
    groups: list[list[int]] = []
    for number, place in enumerate(places):
        if groups and place - places[groups[-1][0]] < room:
            groups[-1].append(number)
        else:
            groups.append([number])
    return [
        ((places[g[0]] + places[g[-1]]) / 2, f"{g[0] + 1}" if len(g) == 1 else f"{g[0] + 1}-{g[-1] + 1}")
        for g in groups
    ]


def _sentences(figure: Figure) -> list[tuple[str, str, str]]:
    """(number, line, colour): a mark's sentence is wrapped where it is long."""
    found: list[tuple[str, str, str]] = []
    if figure.more:
        found.append(("", f"{figure.more} more are not shown", FAINT))
    most = int((_WIDTH - _LEFT - _RIGHT) / _CHARACTER)
    for place, mark in enumerate(figure.marks, 1):
        lines = wrapped(f"{instant_of(figure, mark.at)}  {mark.text}", most)
        colour = ORANGE if mark.refused else PINK
        found += [(str(place) if not n else "", line, colour) for n, line in enumerate(lines)]
    return found


def instant_of(figure: Figure, at: float) -> str:
    """With seconds: what a mark's sentence begins with."""
    if figure.zero:
        return f"{at / 60:.1f} min" if figure.end - figure.start > 900 else f"{at:g} s"
    return time.strftime("%H:%M:%S" if figure.end - figure.start < 86_400 else "%b %d %H:%M:%S", time.localtime(at))


def wrapped(text: str, most: int) -> list[str]:
    """Lines of at most so many characters, broken between words."""
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > most:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def bars(title: str, pairs: Sequence[tuple[str, float]], most: float, ours: str, unit: str = "") -> str:
    """A bar for each name, shortest first, with its figure; cut at `most`. `ours` stands out."""
    width, left, bar = 720, 190, 16
    ordered = sorted(pairs, key=lambda pair: pair[1])
    top = max(min(value, most) for _, value in ordered)
    height = 36 + bar * len(ordered)
    parts = [_open(width, height), _text(8, 18, title, size=13)]
    for place, (name, value) in enumerate(ordered):
        y, length = 28 + bar * place, (width - left - 90) * min(value, most) / top
        colour, weight = (BLUE, "bold") if name == ours else ("#b8c0cc", "normal")
        parts.append(_text(left - 6, y + 11, name, anchor="end", weight=weight))
        parts.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="{bar - 4}" fill="{colour}"/>')
        parts.append(_text(left + length + 5, y + 11, f"{value:.2f}{unit}{' (cut)' if value > most else ''}"))
    return "".join(parts) + "</svg>\n"


def _open(width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'font-family="{FONT}" font-size="11"><rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal", colour: str = INK, size: int = 11
) -> str:
    extra = f' text-anchor="{anchor}"' if anchor != "start" else ""
    extra += f' font-weight="{weight}"' if weight != "normal" else ""
    extra += f' font-size="{size}"' if size != 11 else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}"{extra}>{drawing.text(text)}</text>'


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{LINES}"/>'


# The pieces of a picture, for pictures of other forms.
opened, text, line = _open, _text, _line
