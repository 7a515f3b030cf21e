"""Search among 100,000 training jobs, and metrics that are put into trial components.

Over SQLite, through the API's own handlers: by what is indexed (50 ms at the median), by what is not (500 ms), how long the event loop was
held meanwhile (the median of the longest times: 5 ms), and points of metrics a second (10,000).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.common import Row, arguments, finish, say
from clary.api import handlers
from clary.api.call import Ports
from clary.api.dispatch import answer
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.resources import Record, Scope
from clary.stores.sql import SqlStore, open_store
from clary.testing.clock import FakeClock

HERE = Scope("000000000000", "us-east-1")
TRAINING = JOB_KINDS["training-job"]
ARN = "arn:aws:sagemaker:us-east-1:000000000000:training-job"
FILTERS: Sequence[tuple[str, str, str, str, float]] = (  # what, property, operator, value, must (ms)
    ("name", "TrainingJobName", "Equals", "job-5000", 50),
    ("state", "TrainingJobStatus", "Equals", "Completed", 50),
    ("time", "CreationTime", "LessThan", "1970-01-01T00:10:00Z", 50),
    ("tag", "Tags.team", "Equals", "t7", 50),
    ("part of a name", "TrainingJobName", "Contains", "9999", 500),
    ("hyperparameter, none", "HyperParameters.eta", "Equals", "none", 500),
    ("hyperparameter, number", "HyperParameters.depth", "GreaterThan", "100", 500),
    ("part of a text", "HyperParameters.eta", "Contains", "9999", 500),
)


def most(what: str, value: float, must: float) -> Row:
    return Row(what, value, "ms", must=f"<= {must:g}", ok=value <= must)


def job(n: int) -> Record:
    request = {
        "TrainingJobName": f"job-{n}",
        "HyperParameters": {"eta": str(n), "depth": str(n % 10), "objective": "binary:logistic"},
        "AlgorithmSpecification": {"TrainingImage": "image:1", "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::000000000000:role/r",
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    spec = TRAINING.parse(request)
    tags = [{"Key": "team", "Value": f"t{n % 500}"}]
    document = jobs.document(TRAINING, spec, request, tags, f"id-{n}", (), float(n))
    return Record("training-job", HERE, f"job-{n}", f"{ARN}/job-{n}", "Completed", float(n), float(n), document)


async def fill(store: SqlStore, count: int) -> None:
    for start in range(0, count, 1000):
        await asyncio.gather(*(store.add(job(n)) for n in range(start, min(count, start + 1000))))


async def ask(ports: Ports, service: str, operation: str, **params: Any) -> dict[str, Any]:
    user = f"arn:aws:iam::{HERE.account}:user/clary"
    return await answer(ports, service, operation, params, account=HERE.account, region=HERE.region, principal=user)


async def held(ports: Ports, **params: Any) -> tuple[float, float]:
    """Seconds of a search, and the longest time between two turns that another task got meanwhile."""
    longest = 0.0

    async def others() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.0005)
            longest, last = max(longest, time.perf_counter() - last - 0.0005), time.perf_counter()

    beside = asyncio.create_task(others())
    began = time.perf_counter()
    await ask(ports, "sagemaker", "Search", **params)
    seconds = time.perf_counter() - began
    beside.cancel()
    return seconds, longest


async def measure(count: int, rounds: int) -> list[Row]:
    handlers.load()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{os.path.join(folder, 'records.db')}")
        nothing: Any = None
        ports = Ports(store, *[nothing] * 6, FakeClock(), *[nothing] * 2)
        say(f"{count} jobs are stored ...")
        await fill(store, count)
        for what, name, operator, value, must in FILTERS:
            filters = {"Filters": [{"Name": name, "Operator": operator, "Value": value}]}
            asked = {"Resource": "TrainingJob", "SearchExpression": filters}
            times = [await held(ports, **asked) for _ in range(rounds)]
            middle = statistics.median(seconds for seconds, _ in times) * 1000
            rows.append(most(f"by {what}", middle, must))
            longest = statistics.median(longest for _, longest in times) * 1000
            rows.append(most(f"by {what}: loop held", longest, 5))
        put = await points(ports)
        rows.append(Row("points of metrics", put, "/s", must=">= 10,000", ok=put >= 10_000))
        await store.close()
    return rows


async def points(ports: Ports, clients: int = 8, puts: int = 100) -> float:
    """Points a second of clients that put ten at a time, each into a component of its own."""
    for client in range(clients):
        await ask(ports, "sagemaker", "CreateTrialComponent", TrialComponentName=f"c{client}")

    async def put(client: int) -> None:
        for n in range(puts):
            at = ports.clock.now()
            data = [{"MetricName": "loss", "Timestamp": at, "Step": 10 * n + k, "Value": 0.5} for k in range(10)]
            await ask(ports, "sagemaker-metrics", "BatchPutMetrics", TrialComponentName=f"c{client}", MetricData=data)

    began = time.perf_counter()
    await asyncio.gather(*(put(client) for client in range(clients)))
    return clients * puts * 10 / (time.perf_counter() - began)


def main() -> int:
    def extra(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--count", type=int, default=100_000, help="records")
        parser.add_argument("--rounds", type=int, default=7, help="searches of each kind")

    given = arguments("search", extra)
    return finish(asyncio.run(measure(given.count, given.rounds)), given.json)


if __name__ == "__main__":
    sys.exit(main())
