"""The control plane: pages of lists at 100,000 records, and DescribeEndpoint through the edge.

A page is the slowest of all filters and sorts that SageMaker's lists know, each the median of several. Describes come from wrk, which
sends one signed request over 16 connections: signature, parsing, validation, record and answer are all paid for each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.common import Row, arguments, finish, say
from benchmarks.start import XGBOOST, Bench, running
from clary.domain.resources import Query, Scope
from clary.stores.database import Database
from clary.stores.sql import SqlStore, open_store

RECORDS = 100_000
SCOPE = Scope("000000000000", "us-east-1")
PAGE_MS, DESCRIBES, P99_MS = 20.0, 1500.0, 10.0
STATUSES = ("InService",) * 95 + ("Failed",) * 3 + ("Updating", "Deleting")
LUA = """
wrk.method = "POST"
wrk.path = "/"
wrk.body = [[{body}]]
{headers}
done = function(summary, latency, requests)
  io.write(string.format("RESULT %f %f %d\\n", summary.requests / summary.duration * 1e6, latency:percentile(99) / 1000,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


def fill(path: Path) -> None:
    """100,000 endpoints over a year, with documents of the size that endpoints have."""
    database = Database(f"sqlite:///{path}")
    database.prepare()
    document = json.dumps({"request": {"EndpointConfigName": "c"}, "tags": [], "plant": {"filling": "x" * 1500}})
    rows = [
        (
            "endpoint",
            SCOPE.account,
            SCOPE.region,
            f"endpoint-{n * 7919 % RECORDS:06}",
            f"arn:{n}",
            STATUSES[n * 31 % 100],
            1.7e9 + n * 300.0,
            1.7e9 + n * 300.0 + n * 6151 % 10_000,
            1,
            document,
        )
        for n in range(RECORDS)
    ]
    raw = database.connect()
    raw.execute("BEGIN")
    raw.executemany(
        "INSERT INTO resources (kind, account, region, name, arn, status, created, modified, version, document) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    raw.execute("COMMIT")
    raw.close()
    database.close()


def queries() -> Iterator[tuple[str, Query]]:
    """Every sort in both orders, with every filter, at the first page and in the middle."""
    middle = 1.7e9 + RECORDS * 150.0
    filters: dict[str, dict[str, Any]] = {
        "no filter": {},
        "name of one": {"name_contains": "endpoint-031415"},
        "name of none": {"name_contains": "nothing"},
        "rare status": {"statuses": ("Updating",)},
        "status of none": {"statuses": ("RollingBack",)},
        "newer half": {"created_after": middle},
        "one day": {"created_after": middle, "created_before": middle + 86_400},
        "modified, no such day": {"modified_after": 2e9},
        "all together": {
            "name_contains": "99",
            "statuses": ("Failed",),
            "created_after": middle,
            "modified_before": middle + 8e6,
        },
    }
    middles: dict[str, tuple[float | str, str]] = {
        "created": (middle, "endpoint-050000"),
        "modified": (middle, "endpoint-050000"),
        "name": ("endpoint-050000", "endpoint-050000"),
        "status": ("InService", "endpoint-050000"),
    }
    for sort, after in middles.items():
        for descending in (True, False):
            for name, changes in filters.items():
                query = replace(Query("endpoint", SCOPE, sort_by=sort, descending=descending, limit=100), **changes)
                yield f"{name} by {sort}", query
                yield f"{name} by {sort}, middle", replace(query, after=after)


async def pages(store: SqlStore, rounds: int) -> list[tuple[float, str]]:
    """(median ms, which query), slowest first."""
    found = []
    for name, query in queries():
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            await store.page(query)
            times.append((time.perf_counter() - began) * 1000)
        found.append((statistics.median(times), name))
    return sorted(found, reverse=True)


def rows_of_pages(rounds: int) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="clary-bench-"))
    try:
        fill(folder / "records.db")

        async def measure() -> tuple[list[tuple[float, str]], float]:
            store = open_store(f"sqlite:///{folder / 'records.db'}")
            found = await pages(store, rounds)
            began = time.perf_counter()
            for n in range(5000):
                await store.get("endpoint", SCOPE, f"endpoint-{n:06}")
            each = (time.perf_counter() - began) / 5000
            await store.close()
            return found, each

        found, each = asyncio.run(measure())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    slowest, name = found[0]
    middle = statistics.median(took for took, _ in found)
    return [
        Row(
            f"page of 100 of {RECORDS:,}, slowest of {len(found)} lists ({name})",
            slowest,
            "ms",
            must=f"< {PAGE_MS:g} ms",
            ok=slowest < PAGE_MS,
        ),
        Row("page of 100, median of the lists", middle, "ms"),
        Row("get of a record", each * 1e6, "us"),
    ]


def lua(bench: Bench, endpoint: str) -> str:
    """A script that sends one signed DescribeEndpoint over and over."""
    body = json.dumps({"EndpointName": endpoint})
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "SageMaker.DescribeEndpoint"}
    request = AWSRequest("POST", f"{bench.settings.endpoint}/", headers=headers, data=body)
    SigV4Auth(Credentials(bench.key.access_key_id, bench.key.secret), "sagemaker", "us-east-1").add_auth(request)
    lines = [f'wrk.headers["{name}"] = [[{value}]]' for name, value in request.headers.items()]
    return LUA.format(body=body, headers="\n".join(lines))


def endpoint_that_stays(bench: Bench) -> str:
    """A record to describe: an endpoint whose model is gone, so that nothing runs for it."""
    sagemaker, data = bench.sagemaker, {"Bucket": "none", "Key": "model.tar.gz"}
    bench.s3.create_bucket(Bucket="none")
    bench.s3.put_object(**data, Body=b"soon gone")
    sagemaker.create_model(
        ModelName="none", PrimaryContainer={"Image": XGBOOST, "ModelDataUrl": "s3://none/model.tar.gz"}
    )
    bench.s3.delete_object(**data)
    variant = {"VariantName": "A", "ModelName": "none", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="none", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="none", EndpointConfigName="none")
    deadline = time.monotonic() + 60
    while sagemaker.describe_endpoint(EndpointName="none")["EndpointStatus"] != "Failed":
        if time.monotonic() > deadline:
            raise TimeoutError("the endpoint without a model did not fail")
        time.sleep(0.05)
    return "none"


def rows_of_describes(rounds: int, seconds: int) -> list[Row]:
    environments = tempfile.mkdtemp(prefix="clary-bench-env-")
    best: tuple[float, float] = (0.0, float("inf"))
    try:
        with running(environments) as (bench, _):
            script = Path(bench.settings.root) / "describe.lua"
            endpoint = endpoint_that_stays(bench)
            for _ in range(rounds):
                script.write_text(lua(bench, endpoint))
                best = max(best, wrk(bench.settings.endpoint, script, seconds))
    finally:
        shutil.rmtree(environments, ignore_errors=True)
    rate, p99 = best
    return [
        Row(
            "DescribeEndpoint at 16 connections, through the edge",
            rate,
            "/s",
            must=f">= {DESCRIBES:g}/s",
            ok=rate >= DESCRIBES,
        ),
        Row("its p99", p99, "ms", must=f"< {P99_MS:g} ms", ok=p99 < P99_MS),
    ]


def wrk(url: str, script: Path, seconds: int) -> tuple[float, float]:
    """(requests a second, p99 in ms)"""
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(script), url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"RESULT (\S+) (\S+) (\d+)", text)
    if found is None:
        raise RuntimeError(f"wrk said: {text}")
    if int(found[3]):
        raise RuntimeError(f"{found[3]} of the requests failed")
    return float(found[1]), float(found[2])


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each round of Describes")


def main() -> int:
    given = arguments("control", options)
    say("pages ...")
    rows = rows_of_pages(given.rounds)
    if shutil.which("wrk") is None:
        return finish(rows, given.json, ["wrk is not installed: Describes were not measured"])
    say("describes ...")
    with contextlib.suppress(KeyboardInterrupt):
        rows += rows_of_describes(given.rounds, given.seconds)
    return finish(rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
