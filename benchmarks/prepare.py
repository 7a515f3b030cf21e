"""scripts/bench prepare: preparation of a million rows against pandas with scikit-learn, and against the same steps by hand in DuckDB.

`--full` prepares ten million rows of thirty columns too, under 1 GiB of memory. Every side is a process of its own in the environment of
the image clary-prepare, on the same file; its imports count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import clary.toolkit
from benchmarks.common import Row, arguments, finish, say
from clary.backends.images import runtimes
from clary.backends.runtimes import create

SIDES = Path(__file__).parent / "prepare_sides.py"


def interpreter(folder: Path) -> str:
    runtime = next(each for each in runtimes() if each.name == "prepare")
    made = create(str(folder), None, environment=dict(os.environ))  # type: ignore[arg-type]
    return made.place(asyncio.run(made.ensure(runtime))).python


def run(python: str, side: str, rows: int, folder: Path) -> tuple[float, float]:
    """Seconds, and MiB at the peak; CPU seconds are said, for who measures on a busy machine."""
    say(f"{side}, {rows:,} rows ...")
    library = str(Path(next(iter(clary.toolkit.__path__))).parent.parent)
    command = [python, str(SIDES), side, str(rows), str(folder)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": library}, stdout=subprocess.PIPE, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    say(f"  {told['seconds']:.1f} s, {told['cpu']:.1f} s of CPU, {told['peak'] / 1024:,.0f} MiB")
    return told["seconds"], told["peak"] / 1024


def measured(python: str, rows: int, folder: Path, peers: bool) -> list[Row]:
    run(python, "make", rows, folder)
    seconds, peak = run(python, "clary", rows, folder)
    what = f"{rows / 1e6:g} M rows x 30"
    made = [
        Row(f"{what}: time", seconds, "s"),
        Row(f"{what}: memory", peak, "MiB", must="< 1024", ok=peak < 1024),
    ]
    if peers:
        theirs, most = run(python, "sklearn", rows, folder)
        ratio = theirs / seconds
        made.append(Row(f"{what}: pandas, scikit-learn", theirs, "s", f"{most:,.0f} MiB", ratio, ">= 4", ratio >= 4))
        by_hand, most = run(python, "hand", rows, folder)
        ratio = seconds / by_hand
        made.append(Row(f"{what}: DuckDB by hand", by_hand, "s", f"{most:,.0f} MiB", ratio, "<= 1.5", ratio <= 1.5))
    shutil.rmtree(folder)
    return made


def main() -> int:
    def extra(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rows", type=int, default=1_000_000)
        parser.add_argument("--full", action="store_true", help="ten million rows too")

    options = arguments("prepare", extra)
    with tempfile.TemporaryDirectory(prefix="clary-bench-") as top:
        python = interpreter(Path(top, "environments"))
        rows = measured(python, options.rows, Path(top, "one"), not options.no_peers)
        if options.full:
            rows += measured(python, 10_000_000, Path(top, "ten"), peers=False)
    return finish(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
