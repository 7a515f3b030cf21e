"""scripts/bench tuning: tuning jobs against Optuna's own searches, random search, a bare pool of processes and Ray Tune.

Searches are played by production's decisions and sampler over functions and data sets (`tuning_search.py`); the pace is measured on a live
Clary, with training jobs that sleep for a second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import Row, arguments, finish, say
from benchmarks.live_site import PYTHON
from benchmarks.peers.launch import HERE, environment
from benchmarks.start import BUCKET, ROLE, Bench, archive, name, put_data, running
from benchmarks.tuning_search import CURVES, PROBLEMS, Objectives, Problem, play, request
from clary.backends import runtimes
from clary.backends.sampler import OptunaSampler
from clary.domain.tuning import ranges

POOL = """
import sys, time
from multiprocessing import Pool
trials, parallel, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
if __name__ == "__main__":
    with Pool(parallel) as pool:
        pool.map(time.sleep, [seconds] * trials, chunksize=1)
"""
SLEEPS = b"""
import sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
time.sleep(float(given["--seconds"]))
print("loss=%r" % (float(given["-x"]) - 0.3) ** 2)
"""
BETTER, EPOCHS, OVER_POOL, OVER_RAY = 7, 0.4, 1.25, 1.3


# -- searches -------------------------------------------------------------------------------------------------------------------


async def parity(sampler: OptunaSampler, objectives: Objectives, problem: Problem, trials: int, seed: int) -> bool:
    """Whether a Bayesian job's trials are those of Optuna itself."""

    def curve(params: dict[str, Any]) -> list[float]:
        return [objectives.ask(do="value", problem=problem.name, params=params)]

    mine = await play(request("Bayesian", problem.ranges, trials, seed), sampler, curve)
    space = [each.sampled() for each in ranges.of(problem.ranges)]
    own = objectives.ask(do="optuna", problem=problem.name, seed=seed, trials=trials, space=space)
    return [params for params, _ in mine] == own


async def best_of(
    sampler: OptunaSampler, objectives: Objectives, problem: Problem, strategy: str, trials: int, seed: int
) -> float:
    def curve(params: dict[str, Any]) -> list[float]:
        return [objectives.ask(do="value", problem=problem.name, params=params)]

    made = await play(request(strategy, problem.ranges, trials, seed), sampler, curve)
    return min(values[-1] for _, values in made if values)


async def epochs_needed(
    sampler: OptunaSampler, objectives: Objectives, data: str, trials: int, epochs: int, seed: int
) -> float:
    """The share of a random search's epochs after which Hyperband has its best value; more than 1: never."""

    def curve(params: dict[str, Any]) -> list[float]:
        found: list[float] = objectives.ask(do="curve", problem=data, params=params, epochs=epochs)
        return found

    plain = await play(request("Random", CURVES, trials, seed), sampler, curve)
    goal = min(min(values) for _, values in plain)
    spent = 0
    for _, values in await play(request("Hyperband", CURVES, trials * 4, seed, epochs), sampler, curve):
        for value in values:
            spent += 1
            if value <= goal:
                return spent / (trials * epochs)
    return float("inf")


async def searches(sampler: OptunaSampler, objectives: Objectives, given: argparse.Namespace) -> list[Row]:
    rows, better = [], 0
    own = [await parity(sampler, objectives, each, given.trials, 1) for each in PROBLEMS]
    rows.append(Row("problems whose trials are Optuna's own", sum(own), f"of {len(own)}", must="all", ok=all(own)))
    for problem in PROBLEMS:
        say(f"{problem.name}: {given.seeds} seeds ...")
        found = {
            strategy: median(
                [
                    await best_of(sampler, objectives, problem, strategy, given.trials, seed)
                    for seed in range(given.seeds)
                ]
            )
            for strategy in ("Bayesian", "Random")
        }
        better += found["Bayesian"] < found["Random"]
        rows.append(
            Row(
                f"median best of {given.trials}, {problem.name}", found["Bayesian"], "", f"Random {found['Random']:.4g}"
            )
        )
    must = {} if given.tiny else {"must": f">= {BETTER}", "ok": better >= BETTER}
    rows.append(Row("problems on which Bayesian beats Random", better, f"of {len(PROBLEMS)}", **must))
    shares = [
        await epochs_needed(sampler, objectives, data, 20, 27, seed)
        for data in ("breast_cancer", "wine")
        for seed in range(max(1, given.seeds // 4))
    ]
    share = median(shares)
    must = {} if given.tiny else {"must": f"<= {EPOCHS}", "ok": share <= EPOCHS}
    rows.append(Row("epochs until Hyperband has Random's best", share, "of Random's", **must))
    return rows


# -- pace -----------------------------------------------------------------------------------------------------------------------


def tuned(bench: Bench, trials: int, seconds: float) -> float:
    """Seconds from Create to Completed of a tuning job, two training jobs at a time."""
    where = name("tuned")
    bench.s3.put_object(Bucket=BUCKET, Key=f"{where}/sourcedir.tar.gz", Body=archive({"train.py": SLEEPS}))
    began = time.monotonic()
    bench.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=where[:32],
        HyperParameterTuningJobConfig={
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]},
            "RandomSeed": 1,
        },
        TrainingJobDefinition={
            "StaticHyperParameters": {
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": f"s3://{BUCKET}/{where}/sourcedir.tar.gz",
                "seconds": str(seconds),
            },
            "AlgorithmSpecification": {
                "TrainingImage": PYTHON,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.e-]+)"}],
            },
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
    )
    while True:
        found = bench.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=where[:32])
        if found["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping"):
            break
        time.sleep(0.05)
    took = time.monotonic() - began
    if found["HyperParameterTuningJobStatus"] != "Completed":
        raise RuntimeError(str(found.get("FailureReason")))
    return took


def timed(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


def pace(bench: Bench, peer: str, given: argparse.Namespace) -> list[Row]:
    trials, seconds = given.jobs, given.seconds
    put_data(bench)
    tuned(bench, 2, 0.0)  # builds what is built on first use
    how = [str(trials), "2", str(seconds)]
    say(f"{trials} training jobs of {seconds:g} s, two at a time ...")
    mine = tuned(bench, trials, seconds)
    pool = timed([sys.executable, "-c", POOL, *how])
    must = {} if given.tiny else {"must": f"<= {OVER_POOL} x", "ok": mine / pool <= OVER_POOL}
    rows = [Row(f"{trials} training jobs of {seconds:g} s, two at a time", mine, "s", "bare pool", mine / pool, **must)]
    if peer:
        say("Ray Tune ...")
        ray = timed([peer, str(HERE / "raytune_app.py"), *how])
        must = {} if given.tiny else {"must": f">= {OVER_RAY} x", "ok": ray / mine >= OVER_RAY}
        rows.append(Row("the same by Ray Tune with Optuna, its start counted", ray, "s", "Clary", ray / mine, **must))
    return rows


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tiny", action="store_true", help="a smoke run: few seeds, trials and jobs, and no must but parity"
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each training job")
    parser.add_argument(
        "--peers-dir", default=str(Path.home() / ".cache" / "clary-bench"), help="environments of the peers"
    )
    parser.add_argument("--environments", default="", help="folder of Clary's built runtimes; default: a fresh one")


async def searched(folder: str, python: str, given: argparse.Namespace) -> list[Row]:
    built = runtimes.create(folder, None, environment=dict(os.environ))  # type: ignore[arg-type]
    sampler, objectives = OptunaSampler(built), Objectives(python)
    try:
        return await searches(sampler, objectives, given)
    finally:
        objectives.close()
        await sampler.rest()


def main() -> int:
    given = arguments("tuning", options)
    if given.tiny:
        given.seeds, given.trials, given.jobs, given.seconds = 2, 14, 4, 0.2
    with tempfile.TemporaryDirectory(prefix="clary-bench-tuning-") as folder:
        environments = given.environments or f"{folder}/environments"
        packages = ("--require-hashes", "-r", str(HERE / "requirements" / "raytune.txt"))
        say("installing Ray Tune, Optuna and scikit-learn ...")
        python = environment(given.peers_dir, "raytune", packages)
        rows = asyncio.run(searched(environments, python, given))
        with running(environments) as (bench, _):
            rows += pace(bench, "" if given.no_peers else python, given)
    return finish(rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
