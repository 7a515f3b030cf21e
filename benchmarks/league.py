"""scripts/bench league [--traces FOLDER] [--out FOLDER] [--json] [--no-peers]: Clary's scaling policy against every known autoscaler, on
replayed traffic, in the simulator (rules: scaling reference 3). Without --traces it makes traces of different characters itself. Writes
league.csv, league.md and pictures; prints the tables, the steps, twelve endpoints on one machine, and the goals. Each trace's runs are a
process's own; two run at once.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from benchmarks import (
    common,
    league_day,
    league_goals,
    league_machine,
    league_made,
    league_plots,
    league_runs,
    league_shipped,
    league_sources,
    league_steps,
)
from benchmarks.league_runs import CLARY, NO_BOOST, Job, Row

PROCESSES = 2


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


def rows_of(pool: ProcessPoolExecutor, work: Iterable[Sequence[Job]], what: str) -> list[Row]:
    return [row for rows in spread(pool, play_all, work, what) for row in rows]


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
        lines.append(f"| {league_shipped.cell(trace)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sources(folder: Path | None, out: Path) -> tuple[list[Path], list[str]]:
    """The traces, and what is to be said of them."""
    if folder is None:
        paths = league_made.write(out / "traces")
        return paths, [f"no --traces: {len(paths)} traces are made by this program (benchmarks/league_made.py, seed 1)"]
    paths = league_sources.find(folder)
    shares = {path.name: league_sources.share(path) for path in paths}
    return paths, [f"{name} is thinned: one request in {1 / s:.1f} is kept" for name, s in shares.items() if s < 1.0]


def contest(paths: Sequence[Path], peers: bool, out: Path) -> tuple[list[Row], list[common.Row], list[str]]:
    """Everything that is run: rows, goals, tables."""
    kinds = {league_sources.stem(path): league_sources.kind(path) for path in paths}
    bursty = [path for path in paths if kinds[league_sources.stem(path)] == "bursty"]
    keys = [(n, times, s) for n in league_steps.contestants() for times in (3.0, 10.0) for s in league_steps.STARTS]
    with ProcessPoolExecutor(PROCESSES) as pool:
        step_results = dict(zip(keys, spread(pool, play_step, keys, "steps"), strict=True))
        machine = league_machine.results(spread(pool, league_machine.play, league_machine.jobs(peers), "one machine"))
        tight = rows_of(
            pool, [[Job(str(path), CLARY, (), patience=2.5, hours=3.0)] for path in bursty], "tight objective"
        )
        settings = [(name, tuple(league_runs.GRIDS[name][0].items())) for name in (CLARY, NO_BOOST)]
        work = [[Job(str(path), name, setting, start=8.0) for name, setting in settings] for path in bursty]
        slow = rows_of(pool, work, "start 8 s")
        names = list(league_runs.GRIDS) if peers else [CLARY]
        days = dict(zip(names, spread(pool, league_day.play, names, "a day"), strict=True))
        both = [[*league_runs.jobs(path, peers), *league_shipped.jobs(path, peers)] for path in paths]
        played = rows_of(pool, both, "traces")
    rows = [row for row in played if row.rules == league_runs.EQUAL]
    shipped = [row for row in played if row.rules == league_shipped.SHIPPED]
    write(played, out)
    league_plots.write(rows, shipped, out)
    goals = league_goals.costs(rows, kinds)
    goals += league_goals.tight(tight) + league_goals.steps(step_results) + league_goals.ahead(rows)
    goals += league_goals.boost(slow) + league_goals.decisions() + league_machine.goals(machine)
    goals.sort(key=lambda row: int(row.what[:2]))
    goals.append(league_goals.day(days))
    tables = [table(rows), league_shipped.table(shipped)]
    tables += [league_steps.table(step_results, times) for times in (3.0, 10.0)]
    tables += [league_machine.table(machine), kinds_told(kinds)]
    (out / "league.md").write_text("\n\n".join(tables) + "\n")
    return played, goals, tables


def kinds_told(kinds: Mapping[str, str]) -> str:
    """A line: which traces are of which kind."""
    by = {kind: [name for name in kinds if kinds[name] == kind] for kind in dict.fromkeys(kinds.values())}
    return "Kinds, seen in the counts: " + "; ".join(f"{kind}: {', '.join(names)}" for kind, names in by.items()) + "."


def as_json(rows: Sequence[common.Row], played: Sequence[Row], notes: Sequence[str]) -> str:
    """`rows` are the goals, `runs` the lines of league.csv; a figure that is none is null."""

    def plain(row: common.Row | Row) -> dict[str, Any]:
        cells = asdict(row)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in cells.items()}

    return json.dumps({"rows": [plain(row) for row in rows], "runs": [plain(row) for row in played], "notes": notes})


def extra(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--traces", type=Path, help="a folder of NAME.csv.gz or NAME.csv (t_seconds,requests); left out: made ones"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/league"),
        help="where league.csv, league.md and pictures go (build/league)",
    )


def main() -> int:
    args = common.arguments("league", extra)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        paths, said = sources(args.traces, args.out)
    except (ValueError, OSError) as error:
        common.say(str(error))
        return 2
    for line in said:
        common.say(line)
    played, goals, tables = contest(paths, not args.no_peers, args.out)
    notes = [
        *said,
        league_goals.ELSEWHERE,
        f"{args.out / 'league.csv'}: {len(played)} runs; the tables: league.md, pictures: *.svg",
    ]
    if args.json:
        print(as_json(goals, played, [*tables, *notes]))
        return 1 if any(row.ok is False for row in goals) else 0
    print("\n\n".join(tables) + "\n")
    return common.finish(goals, False, notes)


if __name__ == "__main__":
    sys.exit(main())
