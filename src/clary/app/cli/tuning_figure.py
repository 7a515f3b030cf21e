"""What `clary tuning` shows: the objective over trials, how much each hyperparameter matters, and parallel coordinates. Text and SVG.

Pure: `tuning.py` reads what is shown here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.text import Text

from clary.app import plots
from clary.app.cli.charts import Canvas
from clary.app.cli.output import plain
from clary.domain.tuning.ranges import Range

ROWS = 8  # of the terminal's chart
SHOWN = 5  # of the best trials on each axis of the terminal
_LEFT = 12
_WIDTH, _EDGE, _TOP = 800, 62, 44


@dataclass(frozen=True, slots=True)
class Told:
    """One trial. `value` None: it has none, or not yet. `definition` is '' where there is only one."""

    number: int
    name: str
    status: str
    value: float | None
    params: Mapping[str, str]
    definition: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """A tuning job as it stands. `importances` is empty where nobody could tell them; `why` then says the reason."""

    name: str
    status: str
    metric: str
    maximize: bool
    trials: Sequence[Told]
    axes: Sequence[Range]
    importances: Mapping[str, float] = field(default_factory=dict)
    why: str = ""
    warning: str = ""

    @property
    def valued(self) -> list[tuple[int, float]]:
        return [(trial.number, trial.value) for trial in self.trials if trial.value is not None]

    def best(self) -> list[Told]:
        """Trials with a value, the best first."""
        found = [trial for trial in self.trials if trial.value is not None]
        return sorted(found, key=lambda trial: trial.value or 0.0, reverse=self.maximize)

    def so_far(self) -> list[tuple[int, float]]:
        """The best value after each trial."""
        choose, found, at = (max if self.maximize else min), list[tuple[int, float]](), None
        for number, value in self.valued:
            at = value if at is None else choose(at, value)
            found.append((number, at))
        return found


def place(axis: Range, text: str) -> float | None:
    """Where on the axis a value is, from 0 to 1; None: it is not on it."""
    if axis.kind == "categorical":
        if text not in axis.choices:
            return None
        return axis.choices.index(text) / max(1, len(axis.choices) - 1) if len(axis.choices) > 1 else 0.5
    try:
        value, low, high = float(text), axis.low, axis.high
    except ValueError:
        return None
    if axis.scale == "reverse":
        value, low, high = -math.log(1 - value), -math.log(1 - low), -math.log(1 - high)
    elif axis.scale == "log":
        value, low, high = math.log(value), math.log(low), math.log(high)
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5


def ends(axis: Range) -> tuple[str, str]:
    if axis.kind == "categorical":
        return axis.choices[0], axis.choices[-1]
    return f"{axis.low:g}", f"{axis.high:g}"


def title(search: Search) -> str:
    verb = "maximize" if search.maximize else "minimize"
    return f"{search.name}, {search.status}: {verb} {search.metric}, {len(search.trials)} training jobs"


# -- the terminal ---------------------------------------------------------------------------------------------------------------


def lines(search: Search, width: int, *, utf8: bool = True) -> list[Text]:
    """The whole figure in text, no line wider than `width` but its title and sentences."""
    made = [Text(plain(title(search)), "bold")]
    if search.warning:
        made.append(Text(plain(search.warning), "dark_orange"))
    wide = max(20, width - _LEFT - 2)
    made += _chart(search, wide, utf8)
    made += _bars(search, wide, utf8)
    return made + _axes(search, wide, utf8)


def _bounds(search: Search) -> tuple[float, float]:
    values = [value for _, value in search.valued]
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _chart(search: Search, wide: int, utf8: bool) -> list[Text]:
    if not search.valued:
        return [Text("no training job has told a value yet", "dim")]
    low, high = _bounds(search)
    first, last = search.valued[0][0], max(search.trials[-1].number, search.valued[0][0] + 1)
    canvas = Canvas(wide, utf8)

    def column(number: int) -> int:
        return round((number - first) / (last - first) * (wide - 1))

    def row(value: float) -> int:
        return round((high - value) / (high - low) * (ROWS - 1))

    levels = search.so_far()
    for (number, value), (following, _) in zip(levels, [*levels[1:], (last, 0.0)], strict=True):
        for at in range(column(number), column(following) + 1):
            canvas.bounds[at, row(value)] = ("─" if utf8 else "-", "dim")
    for number, value in search.valued:
        canvas.signs[column(number), row(value)] = ("•" if utf8 else "o", "blue")
    head = Text(f"{plain(search.metric)} by training job", "bold").append(
        "   • each   ─ the best so far" if utf8 else "   o each   - best", "not bold dim"
    )
    labels = {0: f"{high:.5g}", ROWS - 1: f"{low:.5g}"}
    edge = "│" if utf8 else "|"
    rows = [Text(f"{labels.get(at, ''):>{_LEFT}} {edge}").append(canvas.row(at)) for at in range(ROWS)]
    foot = Text(f"{'':>{_LEFT}}  {first}{last:>{max(1, wide - len(str(first)))}}", "dim")
    best = search.best()[0]
    told = ", ".join(f"{name} {value}" for name, value in best.params.items())
    return [head, *rows, foot, Text(plain(f"best: {best.value:.6g} by {best.name} ({told})"))]


def _bars(search: Search, wide: int, utf8: bool) -> list[Text]:
    head = Text("how much each hyperparameter matters", "bold")
    if not search.importances:
        return [head.append(f"   {search.why}", "not bold dim")]
    most = max(search.importances.values()) or 1.0
    sign, room = ("█" if utf8 else "#"), wide - 8
    return [
        head,
        *(
            Text(f"{_short(name):>{_LEFT}}  ")
            .append(sign * max(1, round(share / most * room)), "blue")
            .append(f" {share:.0%}")
            for name, share in search.importances.items()
        ),
    ]


def _axes(search: Search, wide: int, utf8: bool) -> list[Text]:
    """Each hyperparameter's range as a line; on it the places of the best trials, by rank."""
    best = search.best()[:SHOWN]
    if not best:
        return []
    made = [Text(f"where the best {len(best)} are", "bold").append("   1 is the best", "not bold dim")]
    for axis in search.axes:
        low, high = ends(axis)
        room = max(10, wide - len(low) - len(high) - 4)
        cells = ["─" if utf8 else "-"] * room
        for rank, trial in reversed(list(enumerate(best, 1))):
            at = place(axis, trial.params.get(axis.name, ""))
            if at is not None:
                cells[round(at * (room - 1))] = str(rank)
        made.append(
            Text(f"{_short(axis.name):>{_LEFT}}  {plain(low)} ")
            .append("".join(cells), "magenta")
            .append(f" {plain(high)}")
        )
    return made


def _short(name: str) -> str:
    return plain(_cut(name, _LEFT))


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}."


# -- SVG ------------------------------------------------------------------------------------------------------------------------

_CHART, _BAR, _PARALLEL, _GAP, _HEAD = 190, 18, 220, 46, 62
_LETTER = 7  # pixels that a letter takes at most, as names of hyperparameters go


def svg(search: Search) -> str:
    """The same as a picture."""
    bars = max(1, len(search.importances))
    tops = (_TOP + 16, _TOP + 16 + _CHART + _GAP, _TOP + 16 + _CHART + _GAP + _BAR * bars + _HEAD)
    parts = [plots.opened(_WIDTH, tops[2] + _PARALLEL + 34), plots.text(12, 20, title(search), size=14, weight="bold")]
    if search.warning:
        parts.append(plots.text(12, 36, search.warning[:120], colour=plots.ORANGE))
    parts += _svg_chart(search, tops[0])
    parts += _svg_bars(search, tops[1])
    parts += _svg_parallel(search, tops[2])
    return "".join(parts) + "</svg>\n"


def _svg_chart(search: Search, top: float) -> list[str]:
    right, base = _WIDTH - 16, top + _CHART
    parts = [
        plots.text(_EDGE, top - 8, f"{search.metric} by training job", weight="bold"),
        plots.text(right, top - 8, "dots: each; line: the best so far", anchor="end", colour=plots.FAINT),
        plots.line(_EDGE, base, right, base),
        plots.line(_EDGE, top, right, top),
    ]
    if not search.valued:
        return [*parts, plots.text(_WIDTH / 2, top + _CHART / 2, "no value yet", anchor="middle", colour=plots.FAINT)]
    low, high = _bounds(search)
    first, last = search.valued[0][0], max(search.trials[-1].number, search.valued[0][0] + 1)

    def at(number: int, value: float) -> tuple[float, float]:
        x = _EDGE + 8 + (right - _EDGE - 16) * (number - first) / (last - first)
        return x, top + _CHART * (high - value) / (high - low)

    parts += [
        plots.text(_EDGE - 6, y, f"{value:.4g}", anchor="end", colour=plots.FAINT)
        for y, value in ((top + 4, high), (base + 4, low))
    ]
    parts += [
        plots.text(at(number, low)[0], base + 16, str(number), anchor="middle", colour=plots.FAINT)
        for number in (first, last)
    ]
    steps, before = [], None
    for number, value in search.so_far():
        x, y = at(number, value)
        steps += [(x, before), (x, y)] if before is not None else [(x, y)]
        before = y
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in steps)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{plots.ORANGE}" stroke-width="1.6"/>')
    for number, value in search.valued:
        x, y = at(number, value)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{plots.BLUE}" fill-opacity="0.7"/>')
    return parts


def _svg_bars(search: Search, top: float) -> list[str]:
    parts = [plots.text(_EDGE, top - 8, "how much each hyperparameter matters", weight="bold")]
    if not search.importances:
        return [*parts, plots.text(_EDGE, top + 10, search.why, colour=plots.FAINT)]
    left, most = 190, max(search.importances.values()) or 1.0
    for number, (name, share) in enumerate(search.importances.items()):
        y, length = top + _BAR * number, max(1.0, (_WIDTH - left - 80) * share / most)
        parts.append(plots.text(left - 6, y + 11, _cut(name, (left - 12) // _LETTER), anchor="end"))
        parts.append(f'<rect x="{left}" y="{y:.0f}" width="{length:.0f}" height="{_BAR - 5}" fill="{plots.BLUE}"/>')
        parts.append(plots.text(left + length + 5, y + 11, f"{share:.0%}"))
    return parts


def _svg_parallel(search: Search, top: float) -> list[str]:
    """A line for each trial through all axes, the better the darker; the last axis is the objective."""
    base, right = top + _PARALLEL, _WIDTH - 40
    count = len(search.axes) + 1
    places = [_EDGE + 20 + (right - _EDGE - 40) * number / max(1, count - 1) for number in range(count)]
    most = max(3, min(20, int((right - _EDGE - 40) / max(1, count - 1)) // _LETTER))  # letters between two axes
    parts = [
        plots.text(
            _EDGE, top - 40, "parallel coordinates: a line for each training job, the best in orange", weight="bold"
        )
    ]
    names = [*(axis.name for axis in search.axes), search.metric]
    limits = [*(ends(axis) for axis in search.axes)]
    if search.valued:
        low, high = _bounds(search)
        limits.append((f"{low:.4g}", f"{high:.4g}"))
    for x, name, limit in zip(places, names, limits, strict=False):
        parts += [plots.line(x, top, x, base), plots.text(x, top - 20, _cut(name, most), anchor="middle")]
        parts += [
            plots.text(x, y, _cut(end, most), anchor="middle", colour=plots.FAINT, size=10)
            for y, end in zip((base + 14, top - 6), limit, strict=True)
        ]
    ranked = search.best()
    for rank, trial in reversed(list(enumerate(ranked))):
        heights = [place(axis, trial.params.get(axis.name, "")) for axis in search.axes]
        assert trial.value is not None
        heights.append((trial.value - low) / (high - low))
        points = " ".join(
            f"{x:.1f},{base - _PARALLEL * height:.1f}"
            for x, height in zip(places, heights, strict=True)
            if height is not None
        )
        colour, opacity = (plots.ORANGE, 1.0) if rank == 0 else (plots.BLUE, max(0.12, 0.8 * (1 - rank / len(ranked))))
        stroke = f'stroke="{colour}" stroke-opacity="{opacity:.2f}" stroke-width="{2 if rank == 0 else 1.2}"'
        parts.append(f'<polyline points="{points}" fill="none" {stroke}/>')
    return parts
