"""Which processes Clary is made of and who talks to whom: one table, drawn as `docs/processes.svg`.

A test holds it against what the supervisor really starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape


@dataclass(frozen=True, slots=True)
class Process:
    """A box of the picture. `row` counts from the top; `talks_to` are (name, over what)."""

    name: str
    does: str
    row: int
    talks_to: tuple[tuple[str, str], ...] = ()
    supervised: bool = True


PROCESSES = (
    Process("clients", "boto3, aws, sagemaker SDK, curl", 0, (("nginx", "TCP 4600"),), supervised=False),
    Process(
        "nginx",
        "edge: TLS, limits, routing, access log",
        1,
        (("front", "unix socket"), ("control", "unix socket"), ("objects", "unix socket")),
    ),
    Process("front", "data plane: auth, queue, batching, deadlines", 2, ()),
    Process(
        "control",
        "API over records; loops that make them true",
        2,
        (("front", "ctl, http sockets"), ("objects", "unix socket"), ("shim", "spawns, adopts")),
    ),
    Process("objects", "S3: SQL index, immutable blobs", 2, ()),
    Process("worker", "the user's model, in a sandbox", 3, (("front", "frames"),), supervised=False),
    Process("shim", "one per replica or job; outlives clary up", 3, (("worker", "bwrap"),), supervised=False),
)

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 286, 56, 70, 84, 30
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1d2733}.n{font-weight:600}.s{font-size:11px;fill:#5b6875}"
    ".e{paint-order:stroke;stroke:#fff;stroke-width:4px}rect{fill:#f6f8fa;stroke:#8795a1;rx:6}"
    "rect.u{fill:#fff;stroke-dasharray:4 3}path{stroke:#5b6875;fill:none;marker-end:url(#a)}"
)


def _places() -> dict[str, tuple[float, float]]:
    rows: dict[int, list[str]] = {}
    for process in PROCESSES:
        rows.setdefault(process.row, []).append(process.name)
    widest = max(len(names) for names in rows.values())
    full = widest * _WIDTH + (widest - 1) * _GAP_X
    places: dict[str, tuple[float, float]] = {}
    for row, names in rows.items():
        taken = len(names) * _WIDTH + (len(names) - 1) * _GAP_X
        for column, name in enumerate(names):
            left = _MARGIN + (full - taken) / 2 + column * (_WIDTH + _GAP_X)
            places[name] = (left, _MARGIN + row * (_HEIGHT + _GAP_Y))
    return places


def _edge(start: tuple[float, float], end: tuple[float, float], label: str) -> str:
    """A line between two boxes, from the side that faces the other, with its label in the middle."""
    (x1, y1), (x2, y2) = start, end
    if y1 == y2:
        left, right = (x1 + _WIDTH, x2) if x2 > x1 else (x1, x2 + _WIDTH)
        points = (left, y1 + _HEIGHT / 2, right, y2 + _HEIGHT / 2)
    else:
        down = y2 > y1
        points = (x1 + _WIDTH / 2, y1 + (_HEIGHT if down else 0), x2 + _WIDTH / 2, y2 + (0 if down else _HEIGHT))
    a, b, c, d = points
    middle = ((a + c) / 2, (b + d) / 2)
    return (
        f'<path d="M{a:.0f} {b:.0f} L{c:.0f} {d:.0f}"/>'
        f'<text class="s e" x="{middle[0]:.0f}" y="{middle[1] - 4:.0f}" text-anchor="middle">{escape(label)}</text>'
    )


def render_svg() -> str:
    """The picture, as SVG text."""
    places = _places()
    width = max(x for x, _ in places.values()) + _WIDTH + _MARGIN
    height = max(y for _, y in places.values()) + _HEIGHT + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        "<title>The processes of Clary</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" style="fill:#5b6875;stroke:none;marker-end:none"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" style="fill:#fff;stroke:none"/>',
    ]
    for process in PROCESSES:
        x, y = places[process.name]
        kind = "" if process.supervised else ' class="u"'
        parts.append(f'<rect{kind} x="{x:.0f}" y="{y:.0f}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>')
        parts.append(f'<text class="n" x="{x + 12:.0f}" y="{y + 23:.0f}">{escape(process.name)}</text>')
        parts.append(f'<text class="s" x="{x + 12:.0f}" y="{y + 42:.0f}">{escape(process.does)}</text>')
    for process in PROCESSES:
        parts += [_edge(places[process.name], places[other], label) for other, label in process.talks_to]
    return "\n".join([*parts, "</svg>"]) + "\n"
