"""The store of datapoints: what a year of one-minute points takes, how long a week's query lasts, what a second's put and a scrape cost.

A month of a few series of three kinds (idle, counts of events, latencies with their distribution) is written and stands for a year of
10,000 series of that kind: chunks are compressed each for itself, so disk grows with both. The bound itself (the setting
`datapoint_disk`) is a test's matter (`tests/stores/test_datapoints.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from benchmarks.common import Row, arguments, finish, percentile, say
from clary.api import scrape
from clary.api.call import Ports
from clary.domain.datapoints import Datapoint, Series, Summary, bucket, counted, nothing, single
from clary.domain.resources import Scope
from clary.stores.datapoints import FileDatapoints
from clary.testing.clock import FakeClock
from clary.testing.fronts import MemoryFronts
from clary.testing.keys import MemoryKeys
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "us-east-1")
DAY, MINUTES = 86_400, 1440
BEGIN = 1_800_000_000 // DAY * DAY
OF_A_KIND = 4
YEAR_OF_ALL = 365 * MINUTES * 10_000
WEEK_MS = 50.0

Make = Callable[[random.Random], Summary]


def events(luck: random.Random) -> Summary:
    """A minute of a variant that has some hundred requests."""
    return single(1.0, float(luck.randrange(50, 500)))


def latencies(luck: random.Random) -> Summary:
    """Their latencies: log-normal around 5 ms."""
    buckets: dict[int, float] = {}
    total = 0.0
    for _ in range(100):
        value = luck.lognormvariate(8.5, 0.4)
        total += value
        number = bucket(value)
        buckets[number] = buckets.get(number, 0.0) + 1
    return counted(buckets, total)


KINDS: dict[str, Make] = {"idle": lambda luck: nothing(), "counts": events, "latencies": latencies}


def series(kind: str) -> list[Series]:
    return [Series.of("AWS/SageMaker", kind, {"EndpointName": f"e{n}", "VariantName": "v"}) for n in range(OF_A_KIND)]


def fill(datapoints: FileDatapoints, kind: str, days: int, luck: random.Random) -> None:
    make, all_ = KINDS[kind], series(kind)
    pool = [make(luck) for _ in range(2000)]  # making a distribution costs more than keeping it
    for day in range(days):
        for hour in range(24):
            begin = BEGIN + day * DAY + hour * 3600
            points = [Datapoint(each, begin + 60 * n, luck.choice(pool)) for n in range(60) for each in all_]
            datapoints.put(SCOPE, points)
        datapoints.sweep(BEGIN + (day + 1) * DAY)


def rows_of(kind: str, folder: Path, days: int, rounds: int) -> list[Row]:
    luck = random.Random(1)
    datapoints = FileDatapoints(folder / kind)
    fill(datapoints, kind, days, luck)
    each = (folder / kind / "datapoints.db").stat().st_size / (days * MINUTES * OF_A_KIND)
    times = []
    for spread in (False, True):
        for n in range(rounds):
            start = BEGIN + (days - 7) * DAY
            began = time.perf_counter()
            found = datapoints.get(SCOPE, series(kind)[n % OF_A_KIND], start, start + 7 * DAY, 60, spread)
            times.append((time.perf_counter() - began) * 1000)
            if len(found) != 7 * MINUTES:
                raise RuntimeError(f"a week has {7 * MINUTES} minutes, not {len(found)}")
    datapoints.close()
    best, plain, whole = min(times[:rounds]), statistics.median(times[:rounds]), statistics.median(times[rounds:])
    must = f"< {WEEK_MS:g} ms"
    return [
        Row(f"{kind}: a one-minute point on disk", each, "bytes"),
        Row(f"{kind}: a year of 10,000 series", each * YEAR_OF_ALL / 2**30, "GiB", "datapoint_disk bounds it"),
        Row(f"{kind}: a week in minutes, best of {rounds}", best, "ms", must=must, ok=best < WEEK_MS),
        Row(f"{kind}: the same, median", plain, "ms"),
        Row(f"{kind}: the same with percentiles, median", whole, "ms"),
    ]


def rows_of_now(folder: Path, rounds: int) -> list[Row]:
    """What every second and every scrape cost, with 2,000 series."""
    datapoints, clock = FileDatapoints(folder / "now"), FakeClock()
    minute = clock.now() // 60 * 60 - 60
    names = [Series.of("Bench", f"m{n}", {"Host": f"h{n % 50}"}) for n in range(scrape.MOST_SERIES)]
    puts = []
    for n in range(rounds):
        points = [Datapoint(each, minute + n % 60, single(float(n)), fine=True) for each in names]
        began = time.perf_counter()
        datapoints.put(SCOPE, points)
        puts.append((time.perf_counter() - began) * 1000)
    datapoints.sweep(clock.now())
    nothing_else = cast("Any", None)
    ports = Ports(
        MemoryStore(),
        nothing_else,
        nothing_else,
        nothing_else,
        datapoints,
        MemoryKeys(),
        MemoryFronts(),
        clock,
        nothing_else,
    )
    scrapes = []
    for _ in range(rounds):
        began = time.perf_counter()
        asyncio.run(scrape.page(ports, SCOPE.account, clock.now()))
        scrapes.append((time.perf_counter() - began) * 1000)
    datapoints.close()
    return [
        Row(f"put of {len(names):,} series' second, durable: median", statistics.median(puts), "ms"),
        Row(f"put of {len(names):,} series' second, durable: p99", percentile(puts, 0.99), "ms"),
        Row(f"/metrics with {len(names):,} series: median", statistics.median(scrapes), "ms"),
    ]


def extra(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=int, default=30, help="days that are written")
    parser.add_argument("--rounds", type=int, default=20, help="times that each is measured")


def main() -> int:
    options = arguments("metrics", extra)
    folder = Path(tempfile.mkdtemp(prefix="clary-bench-"))
    rows: list[Row] = []
    try:
        for kind in KINDS:
            say(f"{kind}: {options.days} days of {OF_A_KIND} series ...")
            rows += rows_of(kind, folder, max(7, options.days), options.rounds)
        rows += rows_of_now(folder, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return finish(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
