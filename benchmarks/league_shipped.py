"""The second league, "as shipped": each product with the settings that it has when nobody sets any, and its own time to start a replica.

Where a product has no default target, 70 % is taken. Starts are orders of magnitude for a small model whose files are there: a virtual
machine that must come first takes minutes, a container on a node that runs some seconds, a process that is forked a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.league_runs import CLARY, Job, Row

SHIPPED = "as shipped"
MACHINE, CONTAINER, FORK = 240.0, 8.0, 1.2  # seconds


class Product(NamedTuple):
    """A policy's setting as shipped, what a start takes, and where the setting is written."""

    setting: dict[str, Any]
    start: float
    source: str


PRODUCTS = {
    CLARY: Product({}, FORK, "docs/scaling.md; a start as under equal rules"),
    "aws target tracking 60 s": Product(
        {"period": 60, "util": 0.7, "cooldown": 300.0}, MACHINE, "SageMaker, InvocationsPerInstance"
    ),
    "aws target tracking 10 s": Product(
        {"period": 10, "util": 0.7, "cooldown": 300.0}, MACHINE, "SageMaker, ConcurrentRequestsPerModel"
    ),
    "aws step": Product({"high": 70.0, "low": 30.0, "cooldown": 300.0}, MACHINE, "CPUUtilization, 70 % and 30 %"),
    "kubernetes hpa": Product({"util": 0.8, "calm": 300.0}, CONTAINER, "autoscaling/v2: 80 % CPU, 300 s"),
    "keda": Product({"util": 0.7, "calm": 300.0}, CONTAINER, "keda.sh: an HPA's 300 s"),
    "knative kpa": Product({"util": 0.7, "window": 60}, CONTAINER, "config-autoscaler: 70 %, 60 s"),
    "ray serve": Product(
        {"util": 1.0, "up": 30.0, "down": 600.0}, CONTAINER, "AutoscalingConfig: 2 ongoing, 30 s, 600 s"
    ),
    "dstack": Product({"util": 0.7, "up": 300.0, "down": 600.0}, MACHINE, "scaling: 300 s, 600 s"),
    "kubernetes vpa": Product(
        {"share": 0.9, "half_life": 86_400.0, "margin": 1.15}, CONTAINER, "recommender: p90, 24 h, 15 %"
    ),
}


def jobs(path: Path, peers: bool) -> list[Job]:
    """One run of each product."""
    return [
        Job(str(path), name, tuple(product.setting.items()), product.start, rules=SHIPPED)
        for name, product in PRODUCTS.items()
        if peers or name == CLARY
    ]


def cell(name: str) -> str:
    """A trace's name, which may be any, in a table of Markdown."""
    return name.replace("|", "\\|")


def table(rows: Sequence[Row]) -> str:
    """Markdown: cost/C* / late % of each product."""
    cells = {(row.trace, row.policy): f"{row.cost_over_cstar:.2f} / {row.late_pct:.3f}" for row in rows}
    names = [name for name in PRODUCTS if any(policy == name for _, policy in cells)]
    head = [f"{name} ({PRODUCTS[name].start:g} s)" for name in names]
    lines = ["| as shipped (start) | " + " | ".join(head) + " |", "|" + "---|" * (len(names) + 1)]
    for trace in dict.fromkeys(row.trace for row in rows):
        lines.append(f"| {cell(trace)} | " + " | ".join(cells[trace, name] for name in names) + " |")
    return "\n".join(lines)
