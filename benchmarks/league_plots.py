"""The league's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import scaling_pictures
from benchmarks.league_runs import CLARY, Row, best
from clary.app import plots

MOST = 4.0  # where a bar ends


def bars(title: str, pairs: Sequence[tuple[str, float]]) -> str:
    """A bar for each policy."""
    return plots.bars(title, pairs, MOST, CLARY)


def overview(rows: Sequence[Row]) -> str:
    """Mean J of each policy over all traces."""
    chosen = best(rows)
    policies = {policy for _, policy in chosen}
    means = []
    for policy in policies:
        scores = [row.J for (_, name), row in chosen.items() if name == policy]
        means.append((policy, sum(scores) / len(scores)))
    return bars(
        "Cost over C* + 200 x share late, mean of all traces, each at its best setting (less is better; cut at 4)",
        means,
    )


def write(rows: Sequence[Row], folder: Path) -> None:
    """The step, the overview, and one picture a trace: J of each policy at its best setting; bars end at 4."""
    (folder / "step.svg").write_text(scaling_pictures.step())
    (folder / "overview.svg").write_text(overview(rows))
    chosen = best(rows)
    for trace in {row.trace for row in rows}:
        pairs = [(policy, row.J) for (of, policy), row in chosen.items() if of == trace]
        (folder / f"{trace}.svg").write_text(bars(f"{trace}: cost over C* + 200 x share late (less is better)", pairs))
