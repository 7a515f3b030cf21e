"""scripts/bench scaling-live [--json] [--only PART] [--traces FOLDER]: Clary's scaling on a real endpoint, in both directions. Each part
is a module `live_*` with a Clary of its own; numbers before rows are those of the goals in the scaling reference, section 4.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from botocore.exceptions import ClientError

from benchmarks import live_costs, live_failures, live_hops, live_policy, live_replay
from benchmarks.common import Row, arguments, finish, say
from clary.backends.own_limits import cpus

PARTS: Mapping[str, Callable[[str, argparse.Namespace], tuple[list[Row], list[str]]]] = {
    "replay": live_replay.rows,
    "failures": live_failures.rows,
    "hops": live_hops.rows,
    "costs": live_costs.rows,
    "policy": live_policy.rows,
}
LOADS: Mapping[str, Callable[[Path], object]] = {
    "replay": lambda folder: [live_replay.load(case, folder) for case in live_replay.CASES],
    "policy": live_policy.load,
}
RUNTIMES = ("xgboost", "sklearn", "python")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", help=f"some of {', '.join(PARTS)}, with commas between them")
    parser.add_argument(
        "--traces", type=Path, help="a folder of NAME.csv.gz or NAME.csv (t_seconds,requests); default: generated load"
    )
    parser.add_argument("--anyway", action="store_true", help="replay on a busy machine too, without a verdict")
    parser.add_argument("--environments", default="", help="folder of Clary's built runtimes; default: a fresh one")


def main() -> int:
    given = arguments("scaling-live", options)
    chosen = [name for name in given.only.split(",") if name] or list(PARTS)
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        say(f"--only takes {', '.join(PARTS)}, not {', '.join(unknown)}")
        return 2
    if given.traces is not None:
        try:  # before anything is built
            for name in set(chosen) & set(LOADS):
                LOADS[name](given.traces)
        except (ValueError, OSError) as error:
            say(str(error))
            return 2
    environments = given.environments or tempfile.mkdtemp(prefix="clary-bench-env-")
    rows: list[Row] = []
    notes: list[str] = []
    try:
        _build(environments)
        began = time.monotonic()
        for name in chosen:
            say(f"{name} ...")
            try:
                more, said = PARTS[name](environments, given)
            except (RuntimeError, OSError, ClientError) as error:  # the other parts are worth having
                more, said = [Row(name, None, "", "failed", ok=False)], [f"FAILED: {name}: {error}"]
            rows += more
            notes += said
    finally:
        if not given.environments:
            shutil.rmtree(environments, ignore_errors=True)
    notes.append("goals 2, 3, 5, 6, 10, 12 and 14, and 1, 4, 11 and 16 in the simulator: scripts/bench league")
    notes.append(f"{cpus()} cores shared by load and Clary; took {time.monotonic() - began:.0f} s")
    return finish(rows, given.json, notes)


def _build(environments: str) -> None:
    """The runtimes, before any clock starts."""
    clary = str(Path(sys.executable).parent / "clary")
    with tempfile.TemporaryDirectory(prefix="clary-bench-") as folder:
        settings = {**os.environ, "CLARY_ENVIRONMENTS": environments}
        argv = [clary, "runtime", "build", *RUNTIMES, "--dir", folder]
        subprocess.run(argv, check=True, env=settings, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
