"""Which processes Clary is made of and who talks to whom: one table, drawn as `docs/processes.svg`.

A test holds it against what the supervisor really starts.
"""

from __future__ import annotations

from dataclasses import dataclass

from clary.domain.drawing import Arrow, Box, Graph, draw


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
        (("front", "unix socket"), ("control", "unix socket"), ("objects", "unix socket"), ("features", "unix socket")),
    ),
    Process("front", "data plane: auth, queue, batching, deadlines", 2, ()),
    Process(
        "control",
        "API over records; loops that make them true",
        2,
        (("front", "ctl, http sockets"), ("objects", "unix socket"), ("shim", "spawns, adopts")),
    ),
    Process("objects", "S3: SQL index, immutable blobs", 2, ()),
    Process("features", "records of feature groups", 2, ()),
    Process("worker", "the user's model, in a sandbox", 3, (("front", "frames"),), supervised=False),
    Process("shim", "one per replica or job; outlives clary up", 3, (("worker", "bwrap"),), supervised=False),
)

_COLUMN, _ROW, _WIDTH = 420, 150, 286


def graph() -> Graph:
    """Rows from top to bottom, each in the middle of the widest."""
    rows: dict[int, list[Process]] = {}
    for process in PROCESSES:
        rows.setdefault(process.row, []).append(process)
    widest = max(len(row) for row in rows.values())
    boxes = tuple(
        Box(
            process.name,
            (_WIDTH / 2 + _COLUMN * (column + (widest - len(row)) / 2), 25 + process.row * _ROW),
            (process.does,),
            _WIDTH,
            not process.supervised,
        )
        for row in rows.values()
        for column, process in enumerate(row)
    )
    arrows = (Arrow(process.name, other, label) for process in PROCESSES for other, label in process.talks_to)
    return Graph("", boxes, tuple(arrows))


def render_svg() -> str:
    """The picture, as SVG text."""
    return draw([graph()], "The processes of Clary")
