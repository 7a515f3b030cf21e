"""Goal 15: no failed request through any scaling action, in either direction. A closed loop of 64 connections runs from before each
action until after it; the actions are asked for by unmodified boto3.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Callable

from botocore.exceptions import ClientError

from benchmarks.common import Row, say
from benchmarks.live_site import INSTANCES, MILLICPU, Site, Watch, await_replicas, capacity, until
from benchmarks.load import during, save
from benchmarks.start import Bench, running

LEAST = 7_000  # requests of each action
ALL = 50_000
CONNECTIONS = 64
ROUNDS = 2  # of each action, there and back
WORK = b"sleep:0.001"
STOP = 2  # seconds without a request after which a serverless endpoint's replica stops
RACES = 8  # single requests that come when it is about to


def rows(environments: str, given: argparse.Namespace) -> tuple[list[Row], list[str]]:
    if shutil.which("wrk") is None:
        return [Row("15 failed requests", None, "")], ["wrk is not installed: goal 15 was NOT measured"]
    found: list[Row] = []
    notes: list[str] = []
    total = failures = 0
    with (
        running(environments, serverless_rest=1, serverless_stop=STOP) as (bench, _),
        tempfile.TemporaryDirectory(prefix="clary-bench-live-") as folder,
    ):
        for what, act in (
            ("1 to 4 replicas and back", horizontal),
            ("half a vCPU to two and back", vertical),
            ("instance type by hand, target registered", by_hand),
            ("boost and park", boosted),
            ("to zero and back, serverless", to_zero),
        ):
            say(f"  {what} ...")
            try:
                requests, failed = act(bench, folder)
            except Unavailable as error:
                found.append(Row(f"15 failed: {what}", None, "", must="0"))
                notes.append(f"NOT MEASURED: {what}: {str(error)[:200]}")
                continue
            total, failures = total + requests, failures + failed
            found.append(Row(f"15 failed: {what}", failed, f"of {requests:,}", must="0", ok=failed == 0))
    found.append(
        Row(
            "15 requests in all, failed ones",
            failures,
            f"of {total:,}",
            must=f"0 of {ALL:,} or more",
            ok=not failures and total >= ALL,
        )
    )
    return found, notes


class Unavailable(RuntimeError):
    """Clary refuses what an action needs."""


def loaded(site: Site, change: Callable[[], None]) -> tuple[int, int]:
    """Requests and failed ones while something changes."""
    port = site.bench.settings.port
    requests = save(site.folder / "requests", site.signed([WORK]))  # anew: 5 minutes
    took, total, failed = during(port, requests, change, LEAST, CONNECTIONS)
    say(f"    {took:.1f} s, {total:,} requests")
    return total, failed


def added(parts: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(total for total, _ in parts), sum(failed for _, failed in parts)


def horizontal(bench: Bench, folder: str) -> tuple[int, int]:
    site = Site(bench, folder)
    with Watch(site, 0.05) as watch:

        def size(wanted: int) -> None:
            site.register(INSTANCES, wanted, wanted)
            await_replicas(watch, wanted)

        result = added([loaded(site, lambda wanted=wanted: size(wanted)) for wanted in (4, 1) * ROUNDS])
    site.remove()
    return result


def vertical(bench: Bench, folder: str) -> tuple[int, int]:
    site = Site(bench, folder, count=2)
    with Watch(site, 0.05) as watch:

        def size(millicpu: int, workers: int) -> None:
            site.register(MILLICPU, millicpu, millicpu)
            until(lambda: capacity(watch.last) == workers, f"{workers} workers")

        sizes = ((500, 2), (2000, 4)) * ROUNDS
        result = added([loaded(site, lambda size_=size_: size(*size_)) for size_ in sizes])
    site.remove()
    return result


def by_hand(bench: Bench, folder: str) -> tuple[int, int]:
    """What AWS refuses while a scalable target is registered."""
    site = Site(bench, folder)
    site.register(INSTANCES, 1, 4)

    def change(kind: str) -> None:
        config = site.config(1, kind)
        bench.sagemaker.update_endpoint(EndpointName=site.endpoint, EndpointConfigName=config)
        site.settled()

    kinds = ("ml.m5.4xlarge", "ml.c5.large") * ROUNDS
    result = added([loaded(site, lambda kind=kind: change(kind)) for kind in kinds])
    site.remove()
    return result


def boosted(bench: Bench, folder: str) -> tuple[int, int]:
    """Workers are parked in every pause of the load, and unparked when it is back."""
    site = Site(bench, folder, workers=8)
    try:
        site.objective(50, 1, 2)
    except ClientError as error:
        site.remove()
        raise Unavailable(str(error)) from error
    parts = []
    with Watch(site, 0.05) as watch:
        until(lambda: watch.last.signals, "a latency objective at the front")
        for _ in range(2 * ROUNDS):

            def settle() -> None:
                until(lambda: watch.last.signals.working > 1, "workers that are unparked")

            parts.append(loaded(site, settle))
            until(lambda: watch.last.signals.working <= 1, "workers that are parked")
    site.remove()
    return added(parts)


def to_zero(bench: Bench, folder: str) -> tuple[int, int]:
    """A load that meets a sleeping endpoint, over and over; and single requests about when its replica stops."""
    site = Site(bench, folder, serverless={"MemorySizeInMB": 2048, "MaxConcurrency": 2 * CONNECTIONS})
    parts = []
    chance = random.Random(4)
    with Watch(site, 0.05) as watch:
        for _ in range(2 * ROUNDS):
            until(lambda: not watch.last.replicas, "an endpoint without replicas")
            parts.append(loaded(site, lambda: until(lambda: capacity(watch.last), "a worker")))
        failed = 0
        for _ in range(RACES):
            time.sleep(STOP + chance.uniform(-0.3, 0.5))
            try:
                bench.runtime.invoke_endpoint(EndpointName=site.endpoint, Body=WORK)
            except ClientError as error:
                say(f"    {error}")
                failed += 1
    site.remove()
    return added([*parts, (RACES, failed)])
