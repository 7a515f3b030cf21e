"""Endpoints before jobs: what a training job that burns every core costs an endpoint under load, and what CPU the job gets meanwhile.

An open loop at a quarter of the machine, each prediction 10 ms of CPU; pieces alone and beside the job take turns, so that others on this
machine disturb both alike. A third kind of piece gives the job the endpoint's weight: what the weights are good for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import Row, arguments, finish, say
from benchmarks.live_site import PYTHON, Site, until
from benchmarks.load import Load, open_loop, save
from benchmarks.start import BUCKET, ROLE, Bench, archive, name, running
from clary.app import workloads
from clary.backends.cgroups import GroupLimits, settings
from clary.backends.own_limits import cpus
from clary.domain.machine.workload import RunState

WORK = 0.01  # seconds of CPU of each prediction
SHARE = 0.25  # of the machine that they take together
MUST = 2.0  # times the p99 alone
ALONE, BESIDE, EQUAL = "alone", "beside a job", "beside a job of equal weight"
BURNS = b"""
import os
for _ in range(os.cpu_count() - 1):
    if os.fork() == 0:
        break
while True:
    pass
"""


class Job:
    """A training job on every core, as long as it is wanted. `weight`: the endpoint's instead of a job's."""

    def __init__(self, bench: Bench, equal: bool) -> None:
        self.bench, self.name = bench, name("burns")
        bench.s3.put_object(Bucket=BUCKET, Key="burns/sourcedir.tar.gz", Body=archive({"train.py": BURNS}))
        code = {"sagemaker_program": "train.py", "sagemaker_submit_directory": f"s3://{BUCKET}/burns/sourcedir.tar.gz"}
        bench.sagemaker.create_training_job(
            TrainingJobName=self.name,
            RoleArn=ROLE,
            HyperParameters={key: json.dumps(value) for key, value in code.items()},
            AlgorithmSpecification={"TrainingImage": PYTHON, "TrainingInputMode": "File"},
            OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"},
            ResourceConfig={"InstanceType": "ml.m5.24xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5},
            StoppingCondition={"MaxRuntimeInSeconds": 3600},
        )
        until(lambda: self.used() > 0.2, f"{self.name} at full speed")
        if equal:
            self._equal()

    def _spec(self) -> dict[str, Any]:
        found = (self.bench.settings.root / "jobs").glob("*/*/algo-1/**/spec.json")
        specs = [json.loads(path.read_text()) for path in found]
        if not specs:
            raise RuntimeError(f"{self.name} has no run")
        return dict(specs[-1])

    def _equal(self) -> None:
        """The CPU weight that a replica of the whole machine has."""
        version, folder = self._spec()["folders"]["cpu"]
        for file, value, _ in settings("cpu", version, GroupLimits(float(cpus()), 1 << 30, 64)):
            Path(folder, file).write_text(value)

    def used(self) -> float:
        """CPU seconds so far."""
        return used(self.bench, "job-")

    def end(self) -> None:
        self.bench.sagemaker.stop_training_job(TrainingJobName=self.name)

        def ended() -> bool:
            found = self.bench.sagemaker.describe_training_job(TrainingJobName=self.name)
            return found["TrainingJobStatus"] in ("Stopped", "Failed", "Completed")

        until(ended, f"{self.name} stopped")


def used(bench: Bench, prefix: str) -> float:
    """CPU seconds of the runs whose keys begin so, as the backend counts them."""

    async def total() -> float:
        backend = workloads.backend(bench.settings)
        seen = [await backend.observe(handle) for handle in await backend.handles() if handle.startswith(prefix)]
        backend.close()
        return sum(run.cpu_seconds for run in seen if run is not None and run.state is RunState.RUNNING)

    return asyncio.run(total())


def piece(site: Site, kind: str, seconds: float) -> tuple[Load, float]:
    """One piece of load, and the CPU seconds that the job got meanwhile."""
    bench = site.bench
    job = Job(bench, kind == EQUAL) if kind != ALONE else None
    try:
        requests = save(site.folder / "requests", site.signed([f"burn:{WORK}".encode()]))
        before = job.used() if job else 0.0
        rate = SHARE * cpus() / WORK
        load = open_loop(bench.settings.port, requests, rate, seconds)
        return load, (job.used() if job else 0.0) - before
    finally:
        if job:
            job.end()


def rows(site: Site, rounds: int, seconds: float) -> list[Row]:
    weighed = "cpu" in workloads.backend(site.bench.settings).groups
    kinds = (ALONE, BESIDE, EQUAL) if weighed else (ALONE, BESIDE)
    seen: dict[str, list[tuple[Load, float]]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind in kinds:
            say(f"round {number + 1} of {rounds}: {kind} ...")
            seen[kind].append(piece(site, kind, seconds))
    found = []
    base = {which: median(getattr(load, which) for load, _ in seen[ALONE]) for which in ("p50", "p99")}
    for kind in kinds:
        for which in ("p50", "p99"):
            value = median(getattr(load, which) for load, _ in seen[kind])
            ratio, must = value / base[which], kind == BESIDE and which == "p99"
            bound = {"must": f"<= {MUST:g} x", "ok": ratio <= MUST} if must else {}
            found.append(Row(f"{which} {kind}", value, "ms", ALONE, ratio, **bound))
        failed = sum(load.failed for load, _ in seen[kind])
        bound = {"must": "0", "ok": failed == 0} if kind != EQUAL else {}
        found.append(Row(f"failed requests {kind}", failed, "", **bound))
        if kind != ALONE:
            cores = median(cpu for _, cpu in seen[kind]) / seconds
            found.append(Row(f"cores that the job got, {kind.removeprefix('beside ')}", cores, "", f"{cpus()} cores"))
    return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each piece")
    parser.add_argument("--environments", default="", help="folder of Clary's built runtimes; default: a fresh one")


def main() -> int:
    given = arguments("capacity", options)
    with tempfile.TemporaryDirectory(prefix="clary-bench-capacity-") as folder:
        with running(given.environments or f"{folder}/environments") as (bench, _):
            site = Site(bench, folder)
            found = rows(site, given.rounds, given.seconds)
            site.remove()
    return finish(found, given.json, [f"{cpus()} cores shared by load, Clary, endpoint and job"])


if __name__ == "__main__":
    sys.exit(main())
