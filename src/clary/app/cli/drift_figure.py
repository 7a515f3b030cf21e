"""What `clary drift --out` draws: for each column both distributions side by side, and the distance over time. SVG.

Pure: `drift.py` reads what is shown here.
"""

from __future__ import annotations

import time
from typing import Any

from clary.app import plots

MOST = 30  # columns of one picture, those that drift first
_WIDTH, _LEFT, _MIDDLE, _ROW, _TOP = 900, 190, 560, 92, 74
_HIGH = 56  # of a chart


def order(shown: dict[str, Any]) -> list[dict[str, Any]]:
    """Columns that drift, the first to do so first, then the others by distance."""
    return sorted(
        shown["columns"], key=lambda each: (each["since"] is None, each["since"] or 0.0, -each.get("distance", 0.0))
    )


def svg(shown: dict[str, Any]) -> str:
    columns = order(shown)[:MOST]
    parts = [plots.opened(_WIDTH, _TOP + _ROW * max(1, len(columns)) + 16)]
    parts.append(plots.text(12, 20, f"{shown['endpoint']}, {shown['variant']}: drift", size=14, weight="bold"))
    parts.append(plots.text(12, 38, f"{shown['rule']}: {shown['expected']}", colour=plots.FAINT))
    if shown["phase"] or not shown["current"]:
        return "".join([*parts, plots.text(12, _TOP + 20, shown["phase"] or "no rows yet")]) + "</svg>\n"
    told = f"reference (grey): {shown['reference']['rows']:,} rows; now (blue): {shown['current']['rows']:,} rows"
    parts.append(plots.text(_LEFT, 58, told))
    parts.append(plots.text(_MIDDLE, 58, "distance over windows (0 to 1); vermilion: drift"))
    for place, column in enumerate(columns):
        top = _TOP + _ROW * place
        parts += _words(column, top)
        parts += _distributions(column, top)
        parts += _over_time(shown, column, top)
    return "".join(parts) + "</svg>\n"


def _words(column: dict[str, Any], top: float) -> list[str]:
    since = column["since"]
    name = column["name"] if len(column["name"]) <= 26 else column["name"][:25] + "…"
    told = "no drift" if since is None else f"drifts since {time.strftime('%m-%d %H:%M:%S', time.localtime(since))}"
    lines = [told, f"distance {column['distance']:.3f}, {column['n']:,} rows"]
    lines.append(f"missing {column['missing']:.1%}, out of range {column['outside']:.1%}")
    return [
        plots.text(12, top + 12, name, weight="bold", colour=plots.INK if since is None else plots.ORANGE),
        *(plots.text(12, top + 28 + 14 * at, line, size=10, colour=plots.FAINT) for at, line in enumerate(lines)),
    ]


def _distributions(column: dict[str, Any], top: float) -> list[str]:
    base, wide = top + _HIGH, _MIDDLE - _LEFT - 30
    both = [shares(column[name]) for name in ("reference", "current")]
    most = max(max(each, default=0.0) for each in both) or 1.0
    step = wide / max(1, len(both[0]))
    parts = [plots.line(_LEFT, base, _LEFT + wide, base)]
    for at, (ours, theirs) in enumerate(zip(*both, strict=True)):
        for share, colour, shift in ((ours, plots.GREY, 0.06), (theirs, plots.BLUE, 0.5)):
            high = share / most * _HIGH
            parts.append(
                f'<rect x="{_LEFT + step * (at + shift):.1f}" y="{base - high:.1f}" width="{step * 0.42:.1f}" '
                f'height="{high:.1f}" fill="{colour}"/>'
            )
    labels = column["labels"]
    parts.append(plots.text(_LEFT, base + 13, labels[0][:24], size=9, colour=plots.FAINT))
    parts.append(plots.text(_LEFT + wide, base + 13, labels[-1][:24], anchor="end", size=9, colour=plots.FAINT))
    return parts


def _over_time(shown: dict[str, Any], column: dict[str, Any], top: float) -> list[str]:
    base, wide, name = top + _HIGH, _WIDTH - _MIDDLE - 16, column["name"]
    windows = [each for each in shown["windows"] if not each["size"] and name in each["columns"]]
    parts = [plots.line(_MIDDLE, base, _MIDDLE + wide, base), plots.line(_MIDDLE, top, _MIDDLE + wide, top)]
    places = [
        (_MIDDLE + wide * (at + 0.5) / len(windows), base - _HIGH * min(1.0, each["columns"][name][0]))
        for at, each in enumerate(windows)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{plots.BLUE}" stroke-width="1.4"/>')
    for (x, y), each in zip(places, windows, strict=True):
        colour = plots.ORANGE if name in each["drifting"] else plots.BLUE
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>')
    if windows:
        for at, anchor, x in ((windows[0]["end"], "start", _MIDDLE), (windows[-1]["end"], "end", _MIDDLE + wide)):
            told = time.strftime("%m-%d %H:%M:%S", time.localtime(at))
            parts.append(plots.text(x, base + 13, told, anchor=anchor, size=9, colour=plots.FAINT))
    return parts


def shares(counts: list[int]) -> list[float]:
    """Of the bins, without missing and out of range."""
    total = sum(counts[:-2]) or 1
    return [count / total for count in counts[:-2]]
