"""What a shadow variant costs the clients: one endpoint with a shadow that gets everything, one without, in turn at the same rate.

The rate is the one at which the endpoint without a shadow keeps 40 % of the machine busy (Clary's processes together). Each pair is an
open loop at Poisson times against the one and then against the other, in changing order; what counts is the median over the pairs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import models
from benchmarks.checks import QUIET, others, spent
from benchmarks.common import Row, arguments, finish, say, tree
from benchmarks.load import Load, open_loop, save
from benchmarks.serve import build, signed
from benchmarks.start import BUCKET, ROLE, XGBOOST, Bench, algorithm_python, archive, name, remove, running
from clary.backends.own_limits import cpus

BUSY = 0.4
FIRST_RATE = 1000.0  # requests a second, to learn what one costs
CORES = cpus()


def deployed(bench: Bench, model: str, *, shadow: bool) -> str:
    """An endpoint of that model; with `shadow`, a second variant of it gets a copy of every request."""
    endpoint = name("shadowed" if shadow else "plain")
    row = {"ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    more = {"ShadowProductionVariants": [{"VariantName": "shadow", **row}]} if shadow else {}
    bench.sagemaker.create_endpoint_config(
        EndpointConfigName=endpoint, ProductionVariants=[{"VariantName": "own", **row}], **more
    )
    bench.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)
    bench.sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=endpoint, WaiterConfig={"Delay": 1, "MaxAttempts": 90}
    )
    return endpoint


def rate_of(bench: Bench, requests: Path, seconds: float) -> float:
    """The rate that keeps `BUSY` of the machine's cores busy with Clary."""
    pids = bench.processes()
    before, began = spent(pids), time.monotonic()
    open_loop(bench.settings.port, requests, FIRST_RATE, seconds)
    used = (spent(pids) - before) / (time.monotonic() - began)
    return FIRST_RATE * BUSY * CORES / used


def pairs(
    bench: Bench, folder: Path, endpoints: Sequence[str], rate: float, given: argparse.Namespace
) -> list[list[Load]]:
    """Loads of (plain, shadowed) for each pair."""
    found = []
    for number in range(given.pairs):
        order = (0, 1) if number % 2 else (1, 0)
        pair: dict[int, Load] = {}
        for place in order:
            path = save(folder / f"{place}.requests", signed(bench, endpoints[place], models.bodies()))
            pair[place] = open_loop(bench.settings.port, path, rate, given.seconds)
        if pair[0].failed or pair[1].failed:
            raise RuntimeError(f"{pair[0].failed} and {pair[1].failed} requests failed")
        say(f"  pair {number + 1}: p50 {pair[0].p50:.3f} ms without, {pair[1].p50:.3f} ms with")
        found.append([pair[0], pair[1]])
    return found


def rows_of(found: Sequence[Sequence[Load]], *, quiet: bool) -> list[Row]:
    rows = []
    for what, of in (("p50", lambda load: load.p50), ("p99", lambda load: load.p99)):
        plain = statistics.median(of(pair[0]) for pair in found)
        shadowed = statistics.median(of(pair[1]) for pair in found)
        ok = shadowed <= max(1.05 * plain, plain + 0.1) if quiet and what == "p50" else None
        must = "<= +5 % or +0.1 ms" if what == "p50" else ""
        text = f"median of {len(found)} without {plain:.3f} ms"
        rows.append(Row(f"{what} with everything copied to a shadow", shadowed, "ms", text, shadowed / plain, must, ok))
    return rows


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each half of a pair")
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second, where it is not to be found out")
    parser.add_argument("--environments", default="", help="a folder that has the XGBoost runtime already")
    parser.add_argument("--models-dir", default=str(Path.home() / ".cache" / "clary-bench"))


def measured(environments: str, given: argparse.Namespace) -> list[Row]:
    """The rows, and on standard error what they were measured at."""
    folder = Path(tempfile.mkdtemp(prefix="clary-bench-shadow-"))
    Path(given.models_dir).mkdir(parents=True, exist_ok=True)
    try:
        with running(environments) as (bench, _):
            build(bench)
            python = algorithm_python(environments, serving=False)
            booster = models.booster(python, Path(given.models_dir))
            bench.s3.create_bucket(Bucket=BUCKET)
            bench.s3.put_object(Bucket=BUCKET, Key="m.tar.gz", Body=archive({"xgboost-model": booster.read_bytes()}))
            model, container = name("model"), {"Image": XGBOOST, "ModelDataUrl": f"s3://{BUCKET}/m.tar.gz"}
            bench.sagemaker.create_model(ModelName=model, ExecutionRoleArn=ROLE, PrimaryContainer=container)
            endpoints = [deployed(bench, model, shadow=shadow) for shadow in (False, True)]
            requests = save(folder / "rate.requests", signed(bench, endpoints[0], models.bodies()))
            rate = given.rate or rate_of(bench, requests, given.seconds)
            say(f"  {given.pairs} pairs at {rate:,.0f}/s, beside the shadow's own predictions on the same cores ...")
            with others(sorted({*tree(os.getpid()), *bench.processes()})) as busy:
                found = pairs(bench, folder, endpoints, rate, given)
            for endpoint in endpoints:
                remove(bench, endpoint)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"  others used {busy[0]:.1f} of {CORES} cores meanwhile" + (": no verdict" if busy[0] > QUIET else ""))
    return rows_of(found, quiet=busy[0] <= QUIET)


def rows(environments: str) -> list[Row]:
    """The rows of `scripts/bench deploy` about shadows."""
    parser = argparse.ArgumentParser()
    options(parser)
    return measured(environments, parser.parse_args([]))


def main() -> int:
    given = arguments("deploy_shadow", options)
    environments = given.environments or tempfile.mkdtemp(prefix="clary-bench-env-")
    try:
        return finish(measured(environments, given), given.json)
    finally:
        if not given.environments:
            shutil.rmtree(environments, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
