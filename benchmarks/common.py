"""What the benchmarks share: rows with a must, their table and JSON, best of N, percentiles, memory of a process tree."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `against` names the peer or bound, `ratio` is value over it (or it over value, where smaller is better: the
    text of `must` says which), `ok` is None when there is no must or it was not measured."""

    what: str
    value: float | None
    unit: str
    against: str = ""
    ratio: float | None = None
    must: str = ""
    ok: bool | None = None


def arguments(name: str, extra: Callable[[argparse.ArgumentParser], None] = lambda parser: None) -> argparse.Namespace:
    """--json, --no-peers and what the benchmark adds."""
    parser = argparse.ArgumentParser(prog=f"scripts/bench {name}")
    parser.add_argument("--json", action="store_true", help="print rows as JSON on standard output")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    extra(parser)
    return parser.parse_args()


def finish(rows: Sequence[Row], as_json: bool, notes: Sequence[str] = ()) -> int:
    """Print them; 1 when a must is missed."""
    if as_json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "notes": list(notes)}))
    else:
        print(table(rows))
        for note in notes:
            print(note)
    return 1 if any(row.ok is False for row in rows) else 0


def table(rows: Sequence[Row]) -> str:
    """Aligned text."""
    cells = [("what", "value", "unit", "against", "ratio", "must", "")]
    for row in rows:
        value = "-" if row.value is None else f"{row.value:,.3g}" if abs(row.value) < 1000 else f"{row.value:,.0f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        mark = {True: "ok", False: "MISSED", None: ""}[row.ok]
        cells.append((row.what, value, row.unit, row.against, ratio, row.must, mark))
    widths = [max(len(line[i]) for line in cells) for i in range(7)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; share from 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def pss(pids: Sequence[int]) -> int:
    """Proportional set size of these processes together, in bytes; ended ones count nothing."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(entry))
    found, queue = [], [pid]
    while queue:
        current = queue.pop()
        found.append(current)
        queue += children.get(current, [])
    return found
