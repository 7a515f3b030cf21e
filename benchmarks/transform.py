"""Batch transform against a bare loop and MLflow, on the same cores: CSV rows of 30 columns through the XGBoost model of `serve`.

The bare loop reads the file with pandas in chunks of 1,000 rows, predicts and writes; MLflow's pyfunc loads the whole file. Both run in
MLflow's environment, which the benchmark makes. Clary's time is from CreateTransformJob to Completed, the others' from the start of their
process to its end; memory is the peak of the processes that work on the data (Clary: the job's driver and its replica).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.common import Row, arguments, finish, pss, say, tree
from benchmarks.peers import launch
from benchmarks.peers.frameworks import TABLE
from benchmarks.serve import build
from benchmarks.start import BUCKET, ROLE, XGBOOST, Bench, algorithm_python, archive, name, running

INSTANCE = "ml.m5.large"  # two vCPU
LOOP = """
import sys, pandas, xgboost
model, source, target = sys.argv[1:]
booster = xgboost.Booster()
booster.load_model(model)
with open(target, "w") as out:
    for chunk in pandas.read_csv(source, header=None, chunksize=1000, dtype="float32"):
        out.write("".join(f"{score}\\n" for score in booster.inplace_predict(chunk.to_numpy())))
"""
PYFUNC = """
import sys, pandas, mlflow.pyfunc
model, source, target = sys.argv[1:]
loaded = mlflow.pyfunc.load_model(model)
table = pandas.read_csv(source, header=None, dtype="float32")
table.columns = table.columns.astype(str)
pandas.Series(loaded.predict(table)).to_csv(target, header=False, index=False)
"""
SAVE = """
import sys, mlflow.xgboost, xgboost
booster = xgboost.Booster()
booster.load_model(sys.argv[1])
mlflow.xgboost.save_model(booster, sys.argv[2], pip_requirements=[])
"""


class Peak:
    """The largest memory of some processes while a block runs."""

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids, self._over, self.most = pids, threading.Event(), 0
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.most = max(self.most, pss(self._pids()))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def data(path: Path, rows: int) -> None:
    """Distinct rows, again and again."""
    block = b"".join(body + b"\n" for body in models.bodies())
    lines = block.count(b"\n")
    with path.open("wb") as file:
        for _ in range(rows // lines):
            file.write(block)
        file.write(b"".join(line + b"\n" for line in block.splitlines()[: rows % lines]))


def own_processes(bench: Bench) -> Callable[[], list[int]]:
    """Driver and replica with all that they forked, as long as they run."""

    def found() -> list[int]:
        mark = re.compile(r"clary\.toolkit\.(transform\.driver|zygote)")
        pids: set[int] = set()
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if entry.isdigit() and mark.search(Path(f"/proc/{entry}/cmdline").read_text().replace("\0", " ")):
                    ours = bench.settings.dir in Path(f"/proc/{entry}/mountinfo").read_text()
                    pids |= set(tree(int(entry))) if ours else set()
        return sorted(pids)

    return found


def clary(bench: Bench, booster: Path, source: Path, target: Path) -> tuple[float, int]:
    """Seconds from Create to Completed, and bytes of memory at most."""
    model, job = name("model"), name("job")
    with contextlib.suppress(bench.s3.exceptions.BucketAlreadyOwnedByYou):
        bench.s3.create_bucket(Bucket=BUCKET)
    bench.s3.upload_file(str(source), BUCKET, f"{job}/in.csv")
    bench.s3.put_object(Bucket=BUCKET, Key=f"{model}.tar.gz", Body=archive({"xgboost-model": booster.read_bytes()}))
    container = {"Image": XGBOOST, "ModelDataUrl": f"s3://{BUCKET}/{model}.tar.gz"}
    bench.sagemaker.create_model(ModelName=model, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    given: dict[str, Any] = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{job}/in.csv"}}
    with Peak(own_processes(bench)) as peak:
        began = time.perf_counter()
        bench.sagemaker.create_transform_job(
            TransformJobName=job,
            ModelName=model,
            TransformInput={"DataSource": given, "ContentType": "text/csv", "SplitType": "Line"},
            TransformOutput={"S3OutputPath": f"s3://{BUCKET}/{job}/out", "Accept": "text/csv", "AssembleWith": "Line"},
            TransformResources={"InstanceType": INSTANCE, "InstanceCount": 1},
        )
        while True:
            seen = bench.sagemaker.describe_transform_job(TransformJobName=job)
            if seen["TransformJobStatus"] in ("Completed", "Failed", "Stopped"):
                break
            time.sleep(0.02)
        took = time.perf_counter() - began
    if seen["TransformJobStatus"] != "Completed":
        raise SystemExit(seen.get("FailureReason", seen["TransformJobStatus"]))
    bench.s3.download_file(BUCKET, f"{job}/out/in.csv.out", str(target))
    return took, peak.most


def program(python: str, code: str, *given: Path) -> tuple[float, int]:
    """Seconds and bytes of memory at most of a Python program."""
    began = time.perf_counter()
    with subprocess.Popen([python, "-c", code, *map(str, given)]) as process:
        with Peak(lambda: tree(process.pid)) as peak:
            process.wait()
        took = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"a peer ended with exit code {process.returncode}")
    return took, peak.most


def alike(one: Path, other: Path) -> bool:
    """Whether two outputs have the same scores, but for their last digits."""
    with one.open() as first, other.open() as second:
        pairs: Iterator[tuple[str | None, str | None]] = itertools.zip_longest(first, second)
        return all(a is not None and b is not None and abs(float(a) - float(b)) < 1e-5 for a, b in pairs)


def rows_of(count: int, results: dict[str, tuple[float, int]]) -> list[Row]:
    took, memory = results["clary"]
    table = [
        Row("transform", count / took, "rows/s", f"{count:,} rows, starts included"),
        Row("transform, memory", memory / 2**20, "MiB"),
    ]
    if "loop" in results:
        seconds, most = results["loop"]
        ratio = seconds / took
        table.append(Row("bare loop", count / seconds, "rows/s", "clary over it", ratio, ">= 0.8", ratio >= 0.8))
        table.append(Row("bare loop, memory", most / 2**20, "MiB"))
    if "mlflow" in results:
        seconds, most = results["mlflow"]
        ratio, share = seconds / took, memory / most
        table.append(Row("MLflow pyfunc", count / seconds, "rows/s", "clary over it", ratio, ">= 1.0", ratio >= 1.0))
        table.append(
            Row("MLflow pyfunc, memory", most / 2**20, "MiB", "clary's part of it", share, "<= 0.1", share <= 0.1)
        )
    return table


def main() -> int:
    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rows", type=int, default=1_000_000)
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        parser.add_argument("--environments", default=str(cache / "clary" / "environments"))
        parser.add_argument("--peers-dir", default=str(cache / "clary-bench"))

    given = arguments("transform", more)
    Path(given.peers_dir).mkdir(parents=True, exist_ok=True)
    results: dict[str, tuple[float, int]] = {}
    notes = []
    with tempfile.TemporaryDirectory(prefix="clary-bench-") as folder:
        top = Path(folder)
        source = top / "in.csv"
        data(source, given.rows)
        say(f"{given.rows:,} rows, {source.stat().st_size >> 20} MiB")
        with running(given.environments) as (bench, _):
            build(bench)
            booster = models.booster(algorithm_python(given.environments, serving=False), Path(given.peers_dir))
            small = top / "small.csv"
            data(small, 1000)
            say(f"a first small job: {clary(bench, booster, small, top / 'small.out')[0]:.2f} s")
            results["clary"] = clary(bench, booster, source, top / "clary.out")
        if not given.no_peers:
            python = launch.environment(given.peers_dir, "mlflow", TABLE["mlflow"].packages)
            saved = top / "mlflow-model"
            subprocess.run([python, "-c", SAVE, str(booster), str(saved)], check=True, stdout=sys.stderr)
            results["loop"] = program(python, LOOP, booster, source, top / "loop.out")
            results["mlflow"] = program(python, PYFUNC, saved, source, top / "mlflow.out")
            for peer in ("loop", "mlflow"):
                if not alike(top / "clary.out", top / f"{peer}.out"):
                    raise SystemExit(f"the scores are not those of {peer}")
            notes.append("all three wrote the same scores")
    return finish(rows_of(given.rows, results), given.json, notes)


if __name__ == "__main__":
    sys.exit(main())
