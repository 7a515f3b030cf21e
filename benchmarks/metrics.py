"""The store of datapoints: what minutes and later five minutes take, how long a query of a week lasts, what a put and a scrape cost.

Some weeks of a few series of each kind (idle, counts of events, latencies with their distribution, use of CPU) are written, and stand for
10,000 series: chunks are compressed each for itself, so disk grows with both. `--full` writes all the days that are kept. The bound
itself (the setting `datapoint_disk`) is a test's matter (`tests/stores/test_datapoints.py`).
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.common import Row, arguments, finish, percentile, say
from clary.api import scrape
from clary.api.call import Ports
from clary.app.settings import Settings
from clary.domain.metrics.datapoints import Datapoint, Series, Summary, bucket, counted, nothing, single, weighed
from clary.domain.resources import Scope
from clary.stores import rollup
from clary.stores.datapoints import FIVE, FileDatapoints
from clary.testing.clock import FakeClock
from clary.testing.fronts import MemoryFronts
from clary.testing.keys import MemoryKeys
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "us-east-1")
DAY, MINUTES = 86_400, 1440
BEGIN = 1_800_000_000 // rollup.SPAN * rollup.SPAN
FRESH = (rollup.AFTER + rollup.SPAN) // DAY  # days that are kept by the minute, at most
KEPT = int(FIVE.keep + FIVE.span) // DAY  # days that are kept by the minute or by five, at most
OF_ALL = 10_000
WEEK_MS = 50.0
DEFAULT = Settings().datapoint_disk / 2**30
MOST_SERIES = Settings().metrics_series


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
    return counted(buckets, float(round(total)))


def use(luck: random.Random) -> Summary:
    """Percent of a vCPU, every 5 s."""
    return weighed((round(64 * min(400.0, luck.lognormvariate(4.0, 0.3))) / 64, 1.0) for _ in range(12))


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    make: Callable[[random.Random], Summary]
    written: int  # series
    of_ten: int  # of ten series of a busy variant of an endpoint

    def series(self) -> list[Series]:
        where = [{"EndpointName": f"e{n}", "VariantName": "v"} for n in range(self.written)]
        return [Series.of("AWS/SageMaker", self.name, each) for each in where]


IDLE = Kind("idle", lambda luck: nothing(), 20, 0)
KINDS = (IDLE, Kind("counts", events, 10, 6), Kind("latencies", latencies, 4, 2), Kind("use", use, 4, 2))


def fill(datapoints: FileDatapoints, kind: Kind, first: int, days: int, luck: random.Random) -> None:
    """Days `first` to `days`."""
    names = kind.series()
    pool = [kind.make(luck) for _ in range(2000)]  # making a distribution costs more than keeping it
    for day in range(first, days):
        for hour in range(0, 24, 6):
            begin = BEGIN + day * DAY + hour * 3600
            datapoints.put(SCOPE, [Datapoint(s, begin + 60 * n, luck.choice(pool)) for n in range(360) for s in names])
        datapoints.sweep(BEGIN + (day + 1) * DAY)


def asked(
    datapoints: FileDatapoints, kind: Kind, day: int, rounds: int, p99: bool, period: int = 60
) -> tuple[list[float], float]:
    """Milliseconds that a week from `day` on takes, by the `period`; and of CPU, which other work on the machine does not change."""
    start, times, before = BEGIN + day * DAY, [], time.process_time()
    for n in range(rounds):
        name = kind.series()[n % kind.written]
        began = time.perf_counter()
        found = datapoints.get(SCOPE, name, start, start + 7 * DAY, period, p99)
        known = [summary.percentile(0.99) for _, summary in found] if p99 else found
        times.append((time.perf_counter() - began) * 1000)
        wanted = 7 * DAY // period
        if len(known) != wanted or None in known:
            raise RuntimeError(f"a week has {wanted} points of {period} s, not {len(known)}, each with its figures")
    return times, (time.process_time() - before) / rounds * 1000


@dataclass(slots=True)
class Taken:
    """Bytes of a minute in chunks of minutes and of five minutes, and of all that is kept of a series."""

    fresh: float
    older: float

    @property
    def all(self) -> float:
        return MINUTES * (FRESH * self.fresh + (KEPT - FRESH) * self.older)


def rows_of(kind: Kind, folder: Path, days: int, rounds: int) -> tuple[list[Row], Taken]:
    luck, file = random.Random(1), folder / kind.name / "datapoints.db"
    datapoints = FileDatapoints(folder / kind.name)
    datapoints.sweep(BEGIN)
    empty = file.stat().st_size
    fill(datapoints, kind, 0, 14, luck)
    fresh = (file.stat().st_size - empty) / (14 * MINUTES * kind.written)
    fill(datapoints, kind, 14, days, luck)
    weeks = int(DAY * days - rollup.AFTER) // rollup.SPAN
    minutes = empty + fresh * (days - 7 * weeks) * MINUTES * kind.written
    older = (file.stat().st_size - minutes) / (7 * weeks * MINUTES * kind.written)
    rows = [
        Row(f"{kind.name}: a one-minute point on disk, of the last {FRESH} days at most", fresh, "bytes"),
        Row(f"{kind.name}: a minute of older five-minute points", older, "bytes"),
    ]
    for when, day, period in (("the last week in minutes", days - 7, 60), ("an old week in five minutes", 0, 300)):
        for what, p99 in (("", False), (" with p99", True)):
            times, cpu = asked(datapoints, kind, day, rounds, p99, period)
            best, must = min(times), f"< {WEEK_MS:g} ms"
            name = f"{kind.name}: {when}{what}, best of {rounds}"
            rows.append(
                Row(
                    name,
                    best,
                    "ms",
                    f"median {statistics.median(times):.0f}, CPU {cpu:.0f} ms",
                    None,
                    must,
                    best < WEEK_MS,
                )
            )
    datapoints.close()
    return rows, Taken(fresh, older)


def rows_of_all(taken: dict[str, Taken], days: int) -> list[Row]:
    """What 10,000 series take: those of endpoints that are all idle, some busy, all busy."""
    busy = sum(kind.of_ten * taken[kind.name].all for kind in KINDS) / 10
    idle = taken[IDLE.name].all
    rows = []
    for name, share in (("all idle", 0.0), ("a tenth busy day and night", 0.1), ("all busy day and night", 1.0)):
        size = OF_ALL * (share * busy + (1 - share) * idle) / 2**30
        fits = f"datapoint_disk {DEFAULT:g} GiB: {min(1.0, DEFAULT / size) * KEPT:.0f} days"
        must = "fits" if share <= 0.1 else ""
        rows.append(
            Row(
                f"all that is kept of 10,000 series, {name}",
                size,
                "GiB",
                fits,
                None,
                must,
                size <= DEFAULT if must else None,
            )
        )
    how = "written whole" if days >= KEPT else f"by {days} written days of {KEPT}"
    return [*rows, Row(f"written: {how}, of {sum(kind.written for kind in KINDS)} series", float(days), "days")]


def rows_of_now(folder: Path, rounds: int) -> list[Row]:
    """What every second and every scrape cost, with 2,000 series."""
    datapoints, clock = FileDatapoints(folder / "now"), FakeClock()
    minute = clock.now() // 60 * 60 - 60
    names = [Series.of("Bench", f"m{n}", {"Host": f"h{n % 50}"}) for n in range(MOST_SERIES)]
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
    exposition, scrapes = scrape.Exposition(ports, MOST_SERIES), list[float]()
    for _ in range(rounds):
        began = time.perf_counter()
        asyncio.run(exposition.page(SCOPE.account, clock.now()))
        scrapes.append((time.perf_counter() - began) * 1000)
    datapoints.close()
    return [
        Row(f"put of {len(names):,} series' second, durable: median", statistics.median(puts), "ms"),
        Row(f"put of {len(names):,} series' second, durable: p99", percentile(puts, 0.99), "ms"),
        Row(f"/metrics with {len(names):,} series: median", statistics.median(scrapes), "ms"),
    ]


def extra(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=int, default=36, help="days that are written; 29 at least")
    parser.add_argument("--full", action="store_true", help="write all the days that are kept: minutes")
    parser.add_argument("--rounds", type=int, default=20, help="times that each is measured")


def main() -> int:
    options = arguments("metrics", extra)
    folder = Path(tempfile.mkdtemp(prefix="clary-bench-"))
    days = KEPT if options.full else max(FRESH + 7, options.days)
    rows: list[Row] = []
    taken: dict[str, Taken] = {}
    try:
        for kind in KINDS:
            say(f"{kind.name}: {days} days of {kind.written} series ...")
            made, taken[kind.name] = rows_of(kind, folder, days, options.rounds)
            rows += made
        rows += rows_of_all(taken, days)
        rows += rows_of_now(folder, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return finish(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
