"""Deployments: how long creating, changing and waking take, and what clients feel of it. Each part is a module `deploy_*` whose `rows`
starts a Clary of its own; `--only` names some of them.
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

from benchmarks import deploy_changes, deploy_kinds, deploy_multimodel, deploy_overload, deploy_shadow, deploy_wakeup
from benchmarks.common import Row, arguments, finish, say
from clary.backends.own_limits import cpus

PARTS: Mapping[str, Callable[[str], list[Row]]] = {
    "changes": deploy_changes.rows,
    "kinds": deploy_kinds.rows,
    "multimodel": deploy_multimodel.rows,
    "overload": deploy_overload.rows,
    "shadow": deploy_shadow.rows,
    "wakeup": deploy_wakeup.rows,
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", help=f"some of {', '.join(PARTS)}, with commas between them")
    parser.add_argument("--environments", default="", help="folder of Clary's built runtimes; default: a fresh one")


def main() -> int:
    given = arguments("deploy", options)
    chosen = [name for name in given.only.split(",") if name] or list(PARTS)
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        say(f"--only takes {', '.join(PARTS)}, not {', '.join(unknown)}")
        return 2
    if "changes" in chosen and shutil.which("wrk") is None:
        chosen.remove("changes")
        say("wrk is not installed: changes are left out")
    environments = given.environments or tempfile.mkdtemp(prefix="clary-bench-env-")
    began = time.monotonic()
    rows: list[Row] = []
    try:
        _build(environments)
        for name in chosen:
            say(f"{name} ...")
            rows += PARTS[name](environments)
    finally:
        if not given.environments:
            shutil.rmtree(environments, ignore_errors=True)
    notes = [f"{cpus()} cores shared by load and Clary; took {time.monotonic() - began:.0f} s"]
    return finish(rows, given.json, notes)


def _build(environments: str) -> None:
    """The runtime, before any clock starts."""
    clary = str(Path(sys.executable).parent / "clary")
    with tempfile.TemporaryDirectory(prefix="clary-bench-") as folder:
        settings = {**os.environ, "CLARY_ENVIRONMENTS": environments}
        argv = [clary, "runtime", "build", "xgboost", "--dir", folder]
        subprocess.run(argv, check=True, env=settings, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
