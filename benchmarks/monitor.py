"""scripts/bench monitor: the analyzer of Model Monitor against Evidently's data drift preset, and its memory on ten million rows.

Both read a reference and as many current rows of 30 columns (20 floats, 5 integers, 5 categories) from CSV files and compare them by the
same statistics: the largest difference of two distribution functions (Kolmogorov-Smirnov), chi-squared of categories. Times are of whole
processes. Clary's baseline is a run of its own, which a schedule makes once; it is counted here all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from benchmarks.common import Row, arguments, finish, say
from benchmarks.peers.launch import HERE, environment
from clary.backends import runtimes
from clary.backends.images import runtimes as known_runtimes

SOONER, MEMORY = 10.0, 1 << 30
CHUNK = 100_000
LIBRARY = str(Path(__file__).resolve().parent.parent / "src")
PEER = """
import sys
import pandas
from evidently import Report
from evidently.presets import DataDriftPreset
reference, current = (pandas.read_csv(path) for path in sys.argv[1:])
report = Report([DataDriftPreset(num_method="ks", cat_method="chisquare")]).run(current, reference)
print(len(report.dict()["metrics"]))
"""


def make(path: Path, rows: int, seed: int) -> None:
    """A CSV file with a header."""
    random = np.random.default_rng(seed)
    writer = None
    for begin in range(0, rows, CHUNK):
        count = min(CHUNK, rows - begin)
        columns = {f"float_{n}": np.round(random.normal(n, 1 + n, count), 6) for n in range(20)}
        columns |= {f"integer_{n}": random.integers(0, 10 ** (n + 1), count) for n in range(5)}
        columns |= {
            f"text_{n}": np.array([f"v{k}" for k in range(4**n + 1)])[random.integers(0, 4**n + 1, count)]
            for n in range(5)
        }
        table = pa.table(columns)
        writer = writer or csv.CSVWriter(path, table.schema)
        writer.write(table)
    assert writer is not None
    writer.close()


def timed(command: list[str], **more: str) -> tuple[float, int]:
    """Seconds, and the most memory in bytes, of a process. RuntimeError with its last words when it fails."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env={**os.environ, **more}, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{command[0]} failed: {log.read()[-2000:].decode(errors='replace')}")
    return took, usage.ru_maxrss * 1024


def analyze(python: str, folder: Path, source: Path, baseline: str = "") -> tuple[float, int]:
    """A run of the analyzer over a folder; `baseline` is the folder of the reports of one before."""
    variables = {
        "PYTHONPATH": LIBRARY,
        "CLARY_ML": str(folder / "ml"),
        "CLARY_CPUS": str(os.cpu_count() or 1),
        "dataset_source": str(source),
        "dataset_format": json.dumps({"csv": {"header": True}}),
        "output_path": str(folder / "reports" / source.name),
        "categorical_drift_method": "ChiSquared",
    }
    if baseline:
        variables |= {f"baseline_{name}": f"{baseline}/{name}.json" for name in ("statistics", "constraints")}
    return timed([python, "-m", "clary.toolkit.monitor"], **variables)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of reference and of current data")
    parser.add_argument(
        "--large", type=int, default=10_000_000, help="rows of the run whose memory is measured; 0: none"
    )
    parser.add_argument("--environments", default="", help="where runtimes are kept")
    parser.add_argument("--peers-dir", default="/tmp/clary-peers", help="where peers are kept")


def main() -> int:
    given = arguments("monitor", options)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="clary-bench-monitor-") as name:
        folder = Path(name)
        for part in ("reference", "current", "large"):
            (folder / part).mkdir()
        say("building the analyzer's runtime and making the data ...")
        runtime = next(each for each in known_runtimes() if each.name == "monitor")
        found = runtimes.create(given.environments or str(folder / "environments"), None, environment=dict(os.environ))  # type: ignore[arg-type]
        python = found.place(asyncio.run(found.ensure(runtime))).python
        make(folder / "reference/data.csv", given.rows, 1)
        make(folder / "current/data.csv", given.rows, 2)
        first, _ = analyze(python, folder, folder / "reference")
        second, memory = analyze(python, folder, folder / "current", f"{folder}/reports/reference")
        what = f"{given.rows:,} x 30"
        rows.append(Row(f"baseline, {what}", first, "s"))
        rows.append(Row(f"analysis, {what}", second, "s"))
        rows.append(Row(f"memory, {what}", memory / 2**20, "MiB", "", None, "< 1024", memory < MEMORY))
        if not given.no_peers:
            say("Evidently ...")
            packages = ("--require-hashes", "-r", str(HERE / "requirements" / "evidently.txt"))
            peer = environment(given.peers_dir, "evidently", packages)
            took, used = timed([peer, "-c", PEER, f"{folder}/reference/data.csv", f"{folder}/current/data.csv"])
            ratio = took / (first + second)
            rows.append(Row(f"Evidently, {what}", took, "s", "baseline + analysis", ratio, ">= 10", ratio >= SOONER))
            rows.append(Row(f"Evidently's memory, {what}", used / 2**20, "MiB"))
        if given.large:
            say("the large file ...")
            make(folder / "large/data.csv", given.large, 3)
            took, memory = analyze(python, folder, folder / "large", f"{folder}/reports/reference")
            rows.append(Row(f"analysis, {given.large:,} x 30", took, "s"))
            rows.append(
                Row(f"memory, {given.large:,} x 30", memory / 2**20, "MiB", "", None, "< 1024", memory < MEMORY)
            )
    return finish(rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
