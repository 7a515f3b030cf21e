"""What scaling costs where it must cost nothing: waking up (goals 7, 8, 9), a change of size (11), decisions (16), the front's signals.

Signals are counted in CPU time of the front for each request, at 64 connections. The control plane asks for them once a second; in every
other round somebody else asks OFTEN times a second more, so that the difference stands out, and is divided by that. What an answer
stores for them is timed by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
import timeit
from dataclasses import replace
from pathlib import Path

from benchmarks import boost, deploy_wakeup, league_goals
from benchmarks.common import Row, say
from benchmarks.load import save, wrk
from benchmarks.serve import signed
from benchmarks.start import XGBOOST, Bench, deploy, put_data, running, train
from clary.app import demo
from clary.domain.endpoints.fleets import READY, Plant, Replica, new_fleet
from clary.domain.endpoints.routes import Boost
from clary.domain.models.containers import Container
from clary.domain.objectives import record as latency_objectives
from clary.domain.objectives import turn as objective_turn
from clary.domain.objectives.commands import Live, SeenObjective
from clary.domain.objectives.record import Asked, Range
from clary.domain.resources import Record, Scope
from clary.domain.scaling.samples import Recent
from clary.domain.scaling.signals import Memory, Sample
from clary.serving.client import FrontClient
from clary.serving.counters import Counters
from clary.serving.parking import Meter, Parking
from clary.stores.keys import FileKeys

CONNECTIONS = 64
ROUNDS, SECONDS = 24, 1  # of each kind
OFTEN = 5  # questions a second
CHANGE_MS = 10.0
REPEAT, NUMBER = 100, 2_000


def rows(environments: str, given: argparse.Namespace) -> tuple[list[Row], list[str]]:
    say("  waking up ...")
    woken = deploy_wakeup.rows(environments)
    goals = (7, 7, 8, 8, 9)
    found = [replace(row, what=f"{goal} {row.what}") for goal, row in zip(goals, woken, strict=True)]
    say("  waking up from disk ...")
    found += [replace(row, what=f"9 {row.what}") for row in deploy_wakeup.from_disk(environments)]
    found += [
        change(),
        *(replace(row, what=f"16 {row.what}") for row in boost.rows()),
        league_goals.decisions()[1],
        whole_turn(),
    ]
    if shutil.which("wrk") is None:
        return found, ["wrk is not installed: what signals cost was NOT measured"]
    say("  signals ...")
    more, note = signals(environments)
    return found + more, [note]


def change() -> Row:
    """Goal 11: what a worker that is unparked and parked again costs the front, beyond the decision itself (goal 16)."""
    fleet = [boost.Replica() for _ in range(8)]
    parking = Parking(Boost(objective=0.5, base=1, rate=0.0, hold=0.0), fleet)
    parking.meter.took(0.1, 200)
    parking.look()
    request, number = boost.Request(0.0), 5_000

    def turn() -> None:
        for each in range(number):
            now = float(each)
            parking.admits([request] * 6, now)  # six wait: more workers than one
            parking.working(now + 0.9)  # nobody came: one is left

    took = min(timeit.repeat(turn, number=1, repeat=5)) / number
    return Row(
        "11 a size change and back", 1000 * took, "ms CPU", must=f"<= {CHANGE_MS:g} ms", ok=1000 * took <= CHANGE_MS
    )


def whole_turn() -> Row:
    """Goal 16: a turn of a variant with an objective as the control plane takes it each second, after a minute of samples; the
    endpoint's record is read anew."""
    scope, now = Scope("000000000000", "us-east-1"), 1_800_000_000.0
    row = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 4, "InstanceType": "ml.m5.large"}
    fleet = new_fleet("f", "c", [row], {"m": [Container("m", "image")]}, 0.0)
    replicas = tuple(Replica(f"r{n}", READY, size=fleet.variants[0].size) for n in range(4))
    fleet = fleet.with_variant(replace(fleet.variants[0], replicas=replicas))
    plant = Plant(seed="s", serving=fleet).to_json()
    endpoint = Record(
        "endpoint", scope, "e", "arn:e", "InService", 0.0, 0.0, {"request": {}, "tags": [], "plant": plant}
    )
    text = json.dumps(endpoint.document)
    record, live = latency_objectives.new(scope, "e", "v", now), Live(Memory())
    asked, recent = Asked("p", 0.5, Range(1, 6, True)), Recent()
    took = []
    for second in range(260):
        now += 1.0
        arrivals = 40 + second % 7
        recent.samples.append(Sample(now, arrivals, arrivals, 5, 1, 0, 0.1, 0.09))
        recent.at = now
        began = time.perf_counter()
        endpoint = replace(endpoint, document=json.loads(text))
        step = objective_turn.decide(record, SeenObjective(endpoint, asked, live, recent, 8), now)
        took.append(1000 * (time.perf_counter() - began))
        record, live = step.decision.record, step.live
    value = statistics.median(took[60:])
    return Row("16 a whole turn of an endpoint", value, "ms", must="<= 1 ms", ok=value <= 1.0)


def signals(environments: str) -> tuple[list[Row], str]:
    with (
        running(environments) as (bench, _),
        tempfile.TemporaryDirectory(prefix="clary-bench-live-") as folder,
        Asker(bench) as asker,
    ):
        put_data(bench)
        _, job = train(bench, XGBOOST, {"num_round": "20", "objective": "binary:logistic"})
        body = demo.split()[1][0].partition(",")[2].encode()
        endpoint, _ = deploy(bench, XGBOOST, job["ModelArtifacts"]["S3ModelArtifacts"], body, {})
        requests = Path(folder) / "requests"
        on, off = [], []
        for _ in range(ROUNDS):
            save(requests, signed(bench, endpoint, [body]))  # signed anew: 5 minutes
            off.append(each(bench, requests))
            asker.asks.set()
            on.append(each(bench, requests))
            asker.asks.clear()
    shares = [100 * (a / b - 1) / OFTEN for a, b in zip(on, off, strict=True)]
    cost, spread = statistics.median(shares), statistics.stdev(shares) / ROUNDS**0.5
    sure = abs(cost - 1.0) > 2 * spread
    front = 1e6 * statistics.median(off)
    plain, metered = stores()
    share, measured = 100 * plain / front, f"{plain:.2f} us"
    return [
        Row(
            "signals, asked for each second",
            cost,
            "% CPU",
            f"front {front:.1f} us a request",
            None,
            "< 1 %",
            cost < 1.0 if sure else None,
        ),
        Row("signals, what an answer stores", share, "% CPU", measured, None, "< 1 %", share < 1.0),
        Row("  and an answer or batch with an objective", 100 * metered / front, "% CPU", f"{metered:.2f} us"),
    ], f"signals: {ROUNDS} rounds of each; standard error {spread:.2f} points"


def each(bench: Bench, requests: Path) -> float:
    """CPU seconds of the front for a request."""
    pid = child(bench, "front")
    before = cpu(pid)
    load = wrk(bench.settings.port, requests, CONNECTIONS, SECONDS)
    if load.failed:
        raise RuntimeError(f"{load.failed} requests failed")
    return (cpu(pid) - before) / load.requests


def child(bench: Bench, what: str) -> int:
    """The process of this Clary that is its `front` or its `control`."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"clary.app.{what}".encode() in words and any(
                str(bench.settings.run).encode() in word for word in words
            ):
                return int(entry)
    raise RuntimeError(f"{what} does not run")


def cpu(pid: int) -> float:
    """CPU seconds of all its threads, by the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


class Asker(threading.Thread):
    """Asks the front for its counts, OFTEN times a second while `asks` is set."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(daemon=True)
        self.asks, self._end, self._bench = threading.Event(), threading.Event(), bench

    def __enter__(self) -> Asker:
        self.start()
        return self

    def __exit__(self, *of: object) -> None:
        self._end.set()
        self.join()

    def run(self) -> None:
        asyncio.run(self._ask())

    async def _ask(self) -> None:
        settings = self._bench.settings
        sockets = [str(settings.front_ctl(index)) for index in range(settings.front_count)]
        fronts = FrontClient(sockets, FileKeys(settings.root / "keys"))
        await fronts.start()
        try:
            while not self._end.is_set():
                if self.asks.is_set():
                    await fronts.counts()
                await asyncio.sleep(1 / OFTEN)
        finally:
            await fronts.close()


def stores() -> tuple[float, float]:
    """Microseconds that an answer spends on what signals are made of, counts and latencies; and an answer, or a batch of them, on the
    service time where there is an objective."""
    counters, meter = Counters(), Meter()
    counters.watched = counters.late_after = 0.5

    def counted() -> None:
        for _ in range(NUMBER):
            counters.arrivals += 1
            counters.record(0.01, 0.005)

    def measured() -> None:
        for _ in range(NUMBER):
            meter.took(0.005, 1)

    def nothing() -> None:
        for _ in range(NUMBER):
            pass

    plain, metered, empty = (min(timeit.repeat(code, number=1, repeat=REPEAT)) for code in (counted, measured, nothing))
    return 1e6 * (plain - empty) / NUMBER, 1e6 * (metered - empty) / NUMBER
