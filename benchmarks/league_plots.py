"""The league's pictures, as plain SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks import league_steps
from benchmarks.league_runs import CLARY, Row, best
from clary.app.plots import FONT

WIDTH, LEFT, BAR = 720, 190, 16
AXIS = "cost, as a multiple of the cheapest possible, + 2 for each % of requests that are late (bars end at 4)"


def _head(title: str, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="{FONT}" font-size="11"><rect width="{WIDTH}" height="{height}" fill="#fff"/>'
        f'<text x="8" y="18" font-size="13">{escape(title)}</text>'
    )


def bars(title: str, pairs: Sequence[tuple[str, float]]) -> str:
    """A bar for each name, shortest first, with its figure."""
    ordered = sorted(pairs, key=lambda pair: pair[1])
    top = max(min(value, 4.0) for _, value in ordered)
    height = 54 + BAR * len(ordered)
    parts = [_head(title, height), f'<text x="8" y="{height - 8}" fill="#5b6875">{AXIS}</text>']
    for place, (name, value) in enumerate(ordered):
        y, length = 28 + BAR * place, (WIDTH - LEFT - 70) * min(value, 4.0) / top
        colour = "#1f6feb" if name == CLARY else "#b8c0cc"
        parts.append(f'<text x="{LEFT - 6}" y="{y + 11}" text-anchor="end">{name}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR - 4}" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + length + 5:.0f}" y="{y + 11}">{value:.2f}</text>')
    return "".join(parts) + "</svg>\n"


COLOURS = ("#1f6feb", "#d97706", "#7c3aed", "#b91c1c")


def lines(title: str, load: Sequence[float], curves: Sequence[tuple[str, Sequence[float]]], zero: int) -> str:
    """Reserved workers over time as lines above the load as an area; `zero` is where the step is."""
    height, base, top = 260, 222, max(max(load), *(max(curve) for _, curve in curves))
    scale = (WIDTH - 60) / (len(load) - 1)

    def points(values: Sequence[float]) -> str:
        return " ".join(f"{40 + i * scale:.0f},{base - 180 * value / top:.0f}" for i, value in enumerate(values))

    parts = [
        _head(title, height),
        f'<polygon points="40,{base} {points(load)} {WIDTH - 20},{base}" fill="#e5e7eb"/>',
    ]
    for place, (name, curve) in enumerate(curves):
        colour = COLOURS[place]
        parts.append(f'<polyline points="{points(curve)}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{52 + 120 * place}" y="36" fill="{colour}">{name}</text>')
    for second in range(0, len(load), 30):
        x = 40 + second * scale
        parts.append(f'<text x="{x:.0f}" y="{base + 14}" text-anchor="middle">{second - zero} s</text>')
    for value in (top / 2, top):
        parts.append(f'<text x="36" y="{base - 180 * value / top + 4:.0f}" text-anchor="end">{value:.0f}</text>')
    parts.append(f'<text x="40" y="{height - 6}">workers reserved, and the load in grey</text>')
    return "".join(parts) + "</svg>\n"


def step_picture() -> str:
    """A tenfold step where a replica takes 8 s to start."""
    before, names = 30, ("boost 1-8", "no boost", "KPA .6", "AWS 10 s")
    found = [(name, league_steps.curve(name, 10.0, 8.0, before, 120)) for name in names]
    title = "Ten times the load at once; a replica takes 8 s to start"
    return lines(title, found[0][1][0], [(name, curve) for name, (_, curve) in found], before)


def overview(rows: Sequence[Row], how: str) -> str:
    """Mean J of each policy over all traces."""
    chosen = best(rows)
    policies = {policy for _, policy in chosen}
    means = []
    for policy in policies:
        scores = [row.J for (_, name), row in chosen.items() if name == policy]
        means.append((policy, sum(scores) / len(scores)))
    return bars(f"What a scaling policy costs, mean of all traces, {how}: shorter is better", means)


def write(rows: Sequence[Row], shipped: Sequence[Row], folder: Path) -> None:
    """The step, the overviews of both leagues, and one picture a trace (`trace-NAME.svg`, so that no name is another picture's): J of
    each policy at its best setting; bars end at 4."""
    (folder / "step.svg").write_text(step_picture())
    (folder / "overview.svg").write_text(overview(rows, "each at its best setting"))
    (folder / "shipped.svg").write_text(overview(shipped, "as shipped"))
    chosen = best(rows)
    for trace in {row.trace for row in rows}:
        pairs = [(policy, row.J) for (of, policy), row in chosen.items() if of == trace]
        (folder / f"trace-{trace}.svg").write_text(
            bars(f"What a scaling policy costs on {trace}: shorter is better", pairs)
        )
