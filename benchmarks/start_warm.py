"""How much sooner a job of scikit-learn starts in a warm pool: from CreateTrainingJob until its script has imported what it uses.

Each round is a pair: a job that finds no pool, and, when the pool of that one waits, the same job again. The runtime is built before.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.common import Row

KEEP = 120  # seconds
LIMIT = 0.3
SCRIPT = b"""
import json, time
import numpy, pandas
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
json.dump({"imported": time.time()}, open("/opt/ml/model/report.json", "w"))
"""


def rows_of_warm_pools(
    sagemaker: Any,
    job: dict[str, Any],
    name: Callable[[str], str],
    report: Callable[[str], dict[str, Any]],
    rounds: int,
) -> list[Row]:
    """`job`: a request that runs SCRIPT, but for its name; `report` reads what a job of that name left."""
    kept = {**job, "ResourceConfig": {**job["ResourceConfig"], "KeepAlivePeriodInSeconds": KEEP}}
    seconds: dict[str, list[float]] = {"first": [], "second": []}
    run(sagemaker, job, name("build"))
    for _ in range(rounds):
        names = {which: name(which) for which in seconds}
        for which, called in names.items():
            began = time.time()
            run(sagemaker, kept, called)
            seconds[which].append(report(called)["imported"] - began)
            wait(sagemaker, called, "Available")
            time.sleep(3.0)  # the imports of the sandbox that waits
        pool = sagemaker.describe_training_job(TrainingJobName=names["first"])["WarmPoolStatus"]
        if pool.get("ReusedByJob") != names["second"]:
            raise SystemExit(f"the pool was not used: {json.dumps(pool)}")
        sagemaker.update_training_job(TrainingJobName=names["second"], ResourceConfig={"KeepAlivePeriodInSeconds": 0})
        wait(sagemaker, names["second"], "Terminated")
    first, second = (statistics.median(seconds[which]) for which in ("first", "second"))
    against = f"without a pool: {first * 1e3:.0f} ms"
    ratio = second / first
    return [
        Row(
            "scikit-learn job in a warm pool: start",
            second * 1e3,
            "ms",
            against,
            ratio,
            f"<= {LIMIT:g}x",
            ratio <= LIMIT,
        )
    ]


def run(sagemaker: Any, job: dict[str, Any], called: str) -> None:
    sagemaker.create_training_job(**job, TrainingJobName=called)
    while (seen := sagemaker.describe_training_job(TrainingJobName=called))["TrainingJobStatus"] == "InProgress":
        time.sleep(0.01)
    if seen["TrainingJobStatus"] != "Completed":
        raise SystemExit(f"{called}: {seen.get('FailureReason')}")


def wait(sagemaker: Any, called: str, status: str) -> None:
    until = time.monotonic() + 60
    while sagemaker.describe_training_job(TrainingJobName=called)["WarmPoolStatus"]["Status"] != status:
        if time.monotonic() > until:
            raise SystemExit(f"the warm pool of {called} is not {status} after 60 s")
        time.sleep(0.05)
