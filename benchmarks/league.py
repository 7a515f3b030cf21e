"""scripts/bench league [--traces FOLDER] [--out FOLDER] [--json] [--no-peers]: Clary's scaling policy against every known autoscaler, on
replayed traffic, in the simulator (rules: scaling reference 3). Writes league.csv and pictures; prints the table, the steps and the
goals. Each trace's runs are a process's own; two run at once.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from benchmarks import common, league_goals, league_plots, league_runs, league_steps
from benchmarks.league_runs import CLARY, NO_BOOST, Job, Row
from clary.sim import traces

BURSTY = 1.3  # variance of arrivals over a Poisson stream's, from one bin to the next, above which a trace is bursty
PROCESSES = 2


def kind(path: Path) -> str:
    """smooth, bursty or sparse, from the counts alone."""
    trace = traces.read(path)
    if not trace.dense:
        return "sparse"
    if trace.width > 3.0:
        return "smooth"
    differences = trace.counts[1:] - trace.counts[:-1]
    shape = float((differences**2).sum() / (2 * trace.counts.sum()))
    return "bursty" if shape > BURSTY else "smooth"


def play_all(jobs: Sequence[Job]) -> list[Row]:
    return [league_runs.play(job) for job in jobs]


def play_step(key: tuple[str, float, float]) -> tuple[float, float]:
    return league_steps.step(*key)


def spread(pool: ProcessPoolExecutor, function: Callable[[Any], Any], work: Iterable[Any], what: str) -> list[Any]:
    """Results in order, with progress."""
    found, began = [], time.monotonic()
    for result in pool.map(function, work):
        found.append(result)
        common.say(f"{what}: {len(found)} done, {time.monotonic() - began:.0f} s")
    return found


def write(rows: Sequence[Row], folder: Path) -> None:
    with open(folder / "league.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([field.name for field in fields(Row)])
        out.writerows(row.cells() for row in rows)


def table(rows: Sequence[Row]) -> str:
    """Markdown: cost/C* / late % (and for Clary reversals an hour) of each policy's best setting."""
    chosen = league_runs.best(rows)
    policies = [name for name in league_runs.GRIDS if any(row.policy == name for row in rows)]
    lines = ["| trace | " + " | ".join(policies) + " |", "|" + "---|" * (len(policies) + 1)]
    for trace in dict.fromkeys(row.trace for row in rows):
        cells = [f"{chosen[trace, name].cost_over_cstar:.2f} / {chosen[trace, name].late_pct:.3f}" for name in policies]
        lines.append(f"| {trace} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    def extra(parser: Any) -> None:
        parser.add_argument("--traces", type=Path, required=True, help="a folder of NAME.csv.gz (t_seconds,requests)")
        parser.add_argument("--out", type=Path, default=Path("build/league"), help="where league.csv and pictures go")

    args = common.arguments("league", extra)
    paths = sorted(args.traces.glob("*.csv.gz"))
    if not paths:
        common.say(f"{args.traces} has no *.csv.gz")
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    kinds = {path.name.removesuffix(".csv.gz"): kind(path) for path in paths}
    bursty = [path for path in paths if kinds[path.name.removesuffix(".csv.gz")] == "bursty"]
    keys = [(n, times, s) for n in league_steps.contestants() for times in (3.0, 10.0) for s in league_steps.STARTS]
    with ProcessPoolExecutor(PROCESSES) as pool:
        step_results = dict(zip(keys, spread(pool, play_step, keys, "steps"), strict=True))
        work = [[Job(str(path), CLARY, (), patience=2.5, hours=3.0)] for path in bursty]
        tight = [row for rows in spread(pool, play_all, work, "tight objective") for row in rows]
        settings = [(name, tuple(league_runs.GRIDS[name][0].items())) for name in (CLARY, NO_BOOST)]
        work = [[Job(str(path), name, setting, start=8.0) for name, setting in settings] for path in bursty]
        slow = [row for rows in spread(pool, play_all, work, "start 8 s") for row in rows]
        work = [league_runs.jobs(path, not args.no_peers) for path in paths]
        rows = [row for rows in spread(pool, play_all, work, "traces") for row in rows]
    write(rows, args.out)
    league_plots.write(rows, args.out)
    goals = league_goals.costs(
        rows, {n for n, k in kinds.items() if k == "bursty"}, {n for n, k in kinds.items() if k == "sparse"}
    )
    goals += (league_goals.tight(tight) if tight else []) + league_goals.steps(step_results) + league_goals.ahead(rows)
    goals += (league_goals.boost(slow) if slow else []) + league_goals.decisions()
    goals.sort(key=lambda row: int(row.what[:2]))
    notes = [table(rows), *(league_steps.table(step_results, times) for times in (3.0, 10.0)), f"kinds: {kinds}"]
    if args.json:
        body = {"rows": [asdict(row) for row in rows], "goals": [asdict(row) for row in goals], "notes": notes}
        print(json.dumps(body))
        return 1 if any(row.ok is False for row in goals) else 0
    print("\n\n".join(notes) + "\n")
    return common.finish(goals, False, [f"{args.out / 'league.csv'}: {len(rows)} runs"])


if __name__ == "__main__":
    sys.exit(main())
