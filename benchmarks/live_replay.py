"""Goal 13: the simulator against a real endpoint. The same arrivals and the same work, 90 seconds, with two resizes.

Once the model sleeps for the work that was drawn, with replicas that start and go; once it burns CPU for it, with one replica whose
size changes in place. The simulator is told when each request was really sent, how long each start took, when what left was drained,
and by how much longer than its work a lone request takes (in the worker, and on its way). Everything else it must know by itself.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy

from benchmarks import league_sources
from benchmarks.common import Row, percentile, say
from benchmarks.live_site import LOOK, MILLICPU, Site, Watch, changes, looked_at, until
from benchmarks.replay import Play
from benchmarks.start import running
from clary.backends.own_limits import cpus
from clary.domain.scaling.signals import Current, Desired, Reason, Sample
from clary.sim import traces
from clary.sim.run import Run, World

SECONDS = 90.0
TICK = 0.01  # seconds between decisions of the simulator
LONE = 80  # requests by which the overhead is measured
PATIENCE = 5.0  # the objective, in works
WIDEST = 2.0  # seconds of a bin: what is in a wider one nobody knows


@dataclass(frozen=True, slots=True)
class Case:
    """`loads`: erlang in each third; `work`: mean seconds. `within` is how far the simulator may be off, `late` by how many points (0:
    reported only). A case without `starts` has one replica that is resized."""

    what: str
    kind: str
    work: float
    loads: tuple[float, float, float]
    starts: bool
    within: float
    late: float


CASES = (
    Case("asleep", "sleep", 0.1, (2.9, 5.8, 2.9), True, 0.05, 0.2),
    Case("CPU-bound", "burn", 0.05, (0.5, 1.0, 0.5), False, 0.10, 0.0),
)


@dataclass(frozen=True, slots=True)
class Lone:
    """By how many seconds a request without company takes longer than its work: in its worker (which is busy meanwhile) and outside."""

    worker: float
    path: float


@dataclass(frozen=True, slots=True)
class Step:
    """From `at` seconds on this is asked for."""

    at: float
    count: int
    allowance: int


class Overrun(RuntimeError):
    """Requests were turned away: on a machine that others use, a model that burns CPU may be too slow for what is sent."""


class Scheduled:
    """A policy that does at given times what was done."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = sorted(steps, key=lambda step: step.at)

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        step = next(step for step in reversed(self.steps) if step.at <= now)
        return Desired(step.count, step.allowance, step.count * step.allowance, 0.0, Reason("scheduled"))


def rows(environments: str, given: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """Both cases. On a busy machine they have no verdict, and are left out unless `--anyway`."""
    most = cpus() / 2
    found: list[Row] = []
    notes: list[str] = []
    with running(environments) as (bench, _), tempfile.TemporaryDirectory(prefix="clary-bench-live-") as folder:
        for case in CASES:
            site = _site(case, bench, folder)
            with looked_at(bench) as machine:
                until(lambda: machine.others, "a look at the machine")
                time.sleep(LOOK)
            if machine.mean > most and not given.anyway:
                notes.append(
                    f"SKIPPED: the simulator was NOT compared with reality ({case.what}): others use {machine.mean:.1f} cores of this "
                    f"machine, and {most:g} are the most. Run it again when nothing else runs (or with --anyway, without a verdict)."
                )
                found += unmeasured(case)
                continue
            say(f"  {case.what}: {SECONDS:g} s ...")
            requests = load(case, given.traces)
            with looked_at(bench) as machine:
                try:
                    real, simulated, about = compare(site, case, requests)
                except Overrun as error:
                    until(lambda: machine.others, "a look at the machine")
                    if machine.mean <= most:
                        raise
                    notes.append(f"NO VERDICT ({case.what}): others used {machine.mean:.1f} cores, and {error}")
                    found += unmeasured(case)
                    continue
            quiet = machine.mean <= most
            if not quiet:
                notes.append(
                    f"NO VERDICT ({case.what}): others used {machine.mean:.1f} cores meanwhile, {most:g} are the most"
                )
            notes.append(f"{case.what}: {about}")
            found += judged(case, real, simulated, requests.objective, quiet)
    return found, notes


def unmeasured(case: Case) -> list[Row]:
    return [Row(f"13 {case.what}: {name}", None, "", "not measured") for name in ("mean", "p95", "p99")]


def load(case: Case, folder: Path | None) -> traces.Requests:
    """Ninety seconds: of the first trace of the folder that is fine enough, around its peak and thinned to the least load; else Poisson
    at three rates."""
    if folder is None:
        phases = [(SECONDS / 3, erlang / case.work) for erlang in case.loads]
        return traces.stepped(phases, case.work, 0.3, 23, PATIENCE)
    return work_of(folder, min(case.loads) / case.work, SECONDS, case.work)


def work_of(folder: Path, rate: float, seconds: float, work: float) -> traces.Requests:
    """So many seconds around the peak of the first trace that has them, thinned to this rate. ValueError: there is none."""
    for path in league_sources.find(folder):
        trace = traces.read(path)
        if trace.width > WIDEST or len(trace.counts) * trace.width < seconds:
            continue
        window = traces.around_peak(trace, seconds)
        if window.mean >= rate:
            say(f"    {trace.name}, {rate / window.mean:.1%} of its requests")
            return traces.draw(traces.thinned(window, rate / window.mean, 5), work, PATIENCE)
    raise ValueError(
        f"--traces: {folder} has no trace with bins of {WIDEST:g} s or less and {rate:g} requests a second in the {seconds:g} s around its "
        "peak; none is made busier than it was"
    )


def _site(case: Case, bench: Any, folder: str) -> Site:
    if case.starts:
        return Site(bench, folder, workers=2, count=2, stem="asleep")
    site = Site(bench, folder, stem="burning")
    site.register(MILLICPU, 1000, 1000)
    return site


def compare(site: Site, case: Case, requests: traces.Requests) -> tuple[Sequence[float], Sequence[float], str]:
    """Latencies of the real run and of the simulated one, and what the latter was told."""
    steps: list[tuple[float, Callable[[], None]]]
    if case.starts:
        first, sizes = 4, (4, 8, 4)
        steps = [(1 / 3, lambda: site.count(4)), (2 / 3, lambda: site.count(2))]
    else:
        first, sizes = 1, (1, 2, 1)
        steps = [
            (1 / 3, lambda: site.register(MILLICPU, 2000, 2000)),
            (2 / 3, lambda: site.register(MILLICPU, 1000, 1000)),
        ]
    with Watch(site) as watch:
        until(lambda: changes(watch.seen)[-1][1] == first, f"{first} workers")
        lone = overhead(site, case, watch)
        play = Play(
            site.bench.settings.port, site.folder, _signed(site, case, requests.work), requests.arrivals.tolist()
        )
        try:
            asked = []
            for share, ask in steps:
                time.sleep(max(0.0, share * SECONDS + 1.0 - play.elapsed()))
                asked.append(play.elapsed())
                ask()
            played = play.played()
        finally:
            play.stop()
        seen = [(at - play.began, workers) for at, workers in changes(watch.seen)]
    if played.failed:
        raise Overrun(f"{played.failed} of {len(played.status)} requests failed: HTTP {dict(Counter(played.status))}")
    plan, starts = told(case, asked, sizes, seen)
    sent = numpy.array(played.sent)
    order = numpy.argsort(sent, kind="stable")
    really = replace(requests, arrivals=sent[order], work=requests.work[order] + lone.worker)
    simulated = simulate(really, plan, starts) + lone.path
    late = float(numpy.max(sent - requests.arrivals)) * 1000
    about = (
        f"{len(sent)} requests; a lone one takes {1000 * lone.worker:.2f} ms longer than its work in the worker and {1000 * lone.path:.2f} "
        f"ms on its way; "
        + (f"starts took {', '.join(f'{s:.2f}' for s in starts)} s; " if starts else "")
        + f"the resizes were in force {', '.join(f'{step.at:.2f}' for step in plan[1:])} s after it began; sent at most {late:.1f} ms late"
    )
    return numpy.array(played.took)[order], simulated, about


def _signed(site: Site, case: Case, work: Sequence[float]) -> list[bytes]:
    return site.signed([f"{case.kind}:{seconds:.6f}".encode() for seconds in work])


def overhead(site: Site, case: Case, watch: Watch) -> Lone:
    """Of requests that come one by one."""
    work = [case.work / 2] * LONE
    before = watch.last
    due = [place * (case.work / 2 + 0.02) for place in range(LONE)]
    played = Play(site.bench.settings.port, site.folder, _signed(site, case, work), due).played()
    after = until(
        lambda: watch.last if watch.last.completed >= before.completed + LONE else None, "all answers counted"
    )
    inside = (after.model_seconds - before.model_seconds) / (after.completed - before.completed)
    whole = sorted(played.took)[LONE // 2]
    return Lone(max(0.0, inside - work[0]), max(0.0, whole - inside))


def told(
    case: Case, asked: Sequence[float], sizes: tuple[int, int, int], seen: Sequence[tuple[float, int]]
) -> tuple[list[Step], tuple[float, ...]]:
    """What the simulator does when: steps, and how long each start takes."""
    first, high, last = sizes
    up = [
        next(at for at, workers in seen if at > asked[0] and workers >= wanted)
        for wanted in range(first + 2, high + 1, 2)
    ]
    down = next(at for at, workers in seen if at > asked[1] and workers <= last)
    if case.starts:
        begun = math.ceil(asked[0] / TICK) * TICK
        steps = [Step(0.0, 2, 2), Step(begun, 4, 2), Step(down, 2, 2)]
        return steps, tuple(max(TICK, at - begun) for at in up)
    grown = next(at for at, workers in seen if at > asked[0] and workers >= high)
    return [Step(0.0, 1, first), Step(grown, 1, high), Step(down, 1, last)], ()


def simulate(requests: traces.Requests, steps: Sequence[Step], starts: tuple[float, ...]) -> Any:
    """Latencies."""
    world = World(allowance=8, ready=2, interval=TICK, first=steps[0].count, starts=starts)
    return Run(requests, world).through(Scheduled(steps)).latency


def judged(case: Case, real: Sequence[float], simulated: Sequence[float], objective: float, quiet: bool) -> list[Row]:
    """Mean, p95, p99 and late."""
    found = []
    within = f"within {case.within:.0%}"
    for name, figure in (
        ("mean", lambda values: float(numpy.mean(values))),
        ("p95", lambda values: percentile(values, 0.95)),
        ("p99", lambda values: percentile(values, 0.99)),
    ):
        ours, theirs = figure(real), figure(simulated)
        ratio = theirs / ours
        ok = abs(ratio - 1.0) <= case.within if quiet else None
        against = f"simulator {1000 * theirs:.1f} ms"
        found.append(Row(f"13 {case.what}: {name}", 1000 * ours, "ms", against, ratio, within, ok))
    ours, theirs = (100.0 * float(numpy.mean(numpy.asarray(values) > objective)) for values in (real, simulated))
    must = f"within {case.late:g} points" if case.late else ""
    ok = abs(ours - theirs) <= case.late if case.late and quiet else None
    found.append(Row(f"13 {case.what}: late", ours, "%", f"simulator {theirs:.2f} %", None, must, ok))
    return found
