"""Too much load, and one bad replica: what is still served, how soon the rest is refused, and what a slow replica of three costs.

The model sleeps, so the machine is not what is measured: `WORKERS` of them make the capacity. Requests come at Poisson times on a
connection each, whether or not answers came.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from dataclasses import dataclass

import uvloop

from benchmarks.common import Row, percentile, say
from benchmarks.serve import signed
from benchmarks.start import BUCKET, ROLE, XGBOOST, Bench, archive, name, remove, running

SERVICE = 0.02  # seconds of a prediction
WORKERS = 2
TIMEOUT = 4  # seconds: SAGEMAKER_MODEL_SERVER_TIMEOUT
SLOWER = 10  # times, of the slow replica
CODE = b"""
import os, time

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    if body in ("slow", b"slow"):
        open("/tmp/slow", "w").close()  # seen by all workers of this replica, and by no other
        return "slow"
    time.sleep(%f * (%d if os.path.exists("/tmp/slow") else 1))
    return "done"
""" % (SERVICE, SLOWER)


@dataclass(frozen=True, slots=True)
class Answered:
    """One request: when it was due, how many seconds later it was answered, and the HTTP status (0: never)."""

    due: float
    seconds: float
    status: int


async def _ask(port: int, request: bytes, due: float) -> Answered:
    status = 0
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 3 * TIMEOUT)
            status = int(head.split(b" ", 2)[1])
        finally:
            writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        pass  # status 0 says it
    return Answered(due, time.perf_counter() - due, status)


async def _open(port: int, request: bytes, rate: float, seconds: float) -> list[Answered]:
    source, tasks = random.Random(3), []
    begin = due = time.perf_counter()
    while due - begin < seconds:
        due += source.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.ensure_future(_ask(port, request, due)))
    return list(await asyncio.gather(*tasks))


async def _closed(port: int, request: bytes, clients: int, seconds: float) -> list[Answered]:
    end, found = time.perf_counter() + seconds, deque[Answered]()

    async def client() -> None:
        while (now := time.perf_counter()) < end:
            found.append(await _ask(port, request, now))

    await asyncio.gather(*(client() for _ in range(clients)))
    return list(found)


def open_loop(bench: Bench, endpoint: str, rate: float, seconds: float) -> list[Answered]:
    [request] = signed(bench, endpoint, [b"1"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_open(bench.settings.port, request, rate, seconds))


def closed_loop(bench: Bench, endpoint: str, clients: int, seconds: float) -> list[Answered]:
    [request] = signed(bench, endpoint, [b"1"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_closed(bench.settings.port, request, clients, seconds))


def deployed(bench: Bench, count: int, workers: int) -> str:
    endpoint = name("overload")
    environment = {
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_MODEL_SERVER_WORKERS": str(workers),
        "SAGEMAKER_MODEL_SERVER_TIMEOUT": str(TIMEOUT),
    }
    container = {"Image": XGBOOST, "ModelDataUrl": f"s3://{BUCKET}/overload/model.tar.gz", "Environment": environment}
    bench.sagemaker.create_model(ModelName=endpoint, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {
        "VariantName": "main",
        "ModelName": endpoint,
        "InitialInstanceCount": count,
        "InstanceType": "ml.m5.large",
    }
    bench.sagemaker.create_endpoint_config(EndpointConfigName=endpoint, ProductionVariants=[variant])
    bench.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)
    waiter = bench.sagemaker.get_waiter("endpoint_in_service")
    waiter.wait(EndpointName=endpoint, WaiterConfig={"Delay": 1, "MaxAttempts": 90})
    return endpoint


def rows_of_overload(bench: Bench, seconds: float) -> list[Row]:
    """Goodput at twice the peak, as a share of it; how soon refusals come; and nothing but answers and refusals."""
    endpoint = deployed(bench, 1, WORKERS)
    closed_loop(bench, endpoint, 4 * WORKERS, 1.0)
    good = sum(answer.status == 200 for answer in closed_loop(bench, endpoint, 4 * WORKERS, seconds))
    peak = good / seconds
    say(f"  peak {peak:,.0f}/s; twice that for {3 * seconds:.0f} s ...")
    answers = open_loop(bench, endpoint, 2 * peak, 3 * seconds)
    remove(bench, endpoint)
    last = max(answer.due + answer.seconds for answer in answers if answer.status == 200)
    first = min(answer.due for answer in answers)
    goodput = sum(answer.status == 200 for answer in answers) / (last - first)
    refused = [1000 * answer.seconds for answer in answers if answer.status == 503]
    others = sum(answer.status not in (200, 503) for answer in answers)
    p99 = percentile(refused, 0.99) if refused else 0.0
    share = goodput / peak
    return [
        Row("goodput at twice the capacity", goodput, "/s", f"peak {peak:,.0f}/s", share, ">= 0.9x", share >= 0.9),
        Row(
            "p99 of refusals (503)", p99, "ms", f"{len(refused)} refused", None, "<= 50 ms", bool(refused) and p99 <= 50
        ),
        Row("late or lost at twice the capacity", others, "", f"of {len(answers)}", None, "0", others == 0),
    ]


def rows_of_a_slow_replica(bench: Bench, seconds: float) -> list[Row]:
    """p99 with one replica of three ten times as slow, against the two others alone, at 60 % of what these can do."""
    rate = 0.6 * 2 / SERVICE
    two, three = deployed(bench, 2, 1), deployed(bench, 3, 1)
    bench.runtime.invoke_endpoint(EndpointName=three, ContentType="text/csv", Body=b"slow")
    open_loop(bench, three, rate, 6.0)  # it is found out
    found = {}
    for endpoint in (two, three):
        answers = open_loop(bench, endpoint, rate, 3 * seconds)
        statuses = Counter(answer.status for answer in answers)
        if set(statuses) != {200}:
            raise RuntimeError(f"requests failed: {dict(statuses)}")
        found[endpoint] = percentile([1000 * answer.seconds for answer in answers], 0.99)
        remove(bench, endpoint)
    ratio = found[three] / found[two]
    text = f"the two others alone {found[two]:.1f} ms"
    return [Row("p99 with one slow replica of three", found[three], "ms", text, ratio, "<= 1.5x", ratio <= 1.5)]


def rows(environments: str, seconds: float = 10.0) -> list[Row]:
    with running(environments) as (bench, _):
        bench.s3.create_bucket(Bucket=BUCKET)
        bench.s3.put_object(Bucket=BUCKET, Key="overload/model.tar.gz", Body=archive({"code/inference.py": CODE}))
        return [*rows_of_overload(bench, seconds), *rows_of_a_slow_replica(bench, seconds)]
