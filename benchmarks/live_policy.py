"""Clary's own policy on a real endpoint: what it gave, over time, against the clairvoyant optimum and against the simulator's run of the
same policy on the same requests (goals 1, 4, 11 and 16 in a real run). The model sleeps, so the machine's cores are no bound.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
from botocore.exceptions import ClientError

from benchmarks.common import Row, say
from benchmarks.live_costs import child, cpu
from benchmarks.live_replay import PATIENCE, Case, Lone, overhead, work_of
from benchmarks.live_site import Site, Watch, looked_at, until
from benchmarks.replay import Play
from benchmarks.start import running
from clary.backends.own_limits import cpus
from clary.domain.endpoints.routes import VariantView
from clary.domain.objectives.record import KEEP
from clary.domain.objectives.turn import SURGE
from clary.domain.scaling.shape import VCPU, Bounds, Have, allowance_of, policy_of
from clary.sim import traces
from clary.sim.events import MEMORY
from clary.sim.optimum import DENSE_START, optimum
from clary.sim.run import UNSCORED, Run, RunResult, World

SECONDS = 180.0
WORK = 0.1
LOADS = (3.0, 9.0, 3.0)  # erlang, in each third: a threefold step
MOST = 6  # replicas
READY = 2  # vCPU of its instance type
CALM = 15.0  # seconds by which the control plane's CPU time is measured, without an objective and with one, under the same load
WITHIN = 0.05
CASE = Case("policy", "sleep", WORK, LOADS, True, WITHIN, 0.2)


@dataclass(frozen=True, slots=True)
class Given:
    """What the real endpoint had. `seconds`: vCPU given, second after second; `cost` their sum and that of memory and starts, in vCPU
    seconds; `turns`: changes of direction of the workers' number; `starts`: seconds that each start took."""

    seconds: Sequence[float]
    cost: float
    turns: int
    starts: tuple[float, ...]


def rows(environments: str, given: argparse.Namespace) -> tuple[list[Row], list[str]]:
    most = cpus() / 2
    with running(environments) as (bench, _), tempfile.TemporaryDirectory(prefix="clary-bench-live-") as folder:
        site = Site(bench, folder, stem="policy")
        requests = load(given.traces)
        control = child(bench, "control")
        say("  without an objective ...")
        calm = traces.poisson(LOADS[2] / WORK, CALM, WORK, 0.3, 31)
        before = cpu(control)
        play(site, calm).played()
        idle = (cpu(control) - before) / CALM
        try:
            site.objective(1000 * requests.objective, 1, MOST)
        except ClientError as error:
            named = ("1 cost, real run", "4 late, real run", "11 size reversals, real run")
            return [Row(what, None, "") for what in named], [
                f"NOT MEASURED: the policy in a real run: {str(error)[:200]}"
            ]
        say(f"  {SECONDS:g} s ...")
        with looked_at(bench) as machine:
            result = run(site, requests, control)
    quiet = machine.mean <= most
    notes = [] if quiet else [f"others used {machine.mean:.1f} cores meanwhile: no verdict against the simulator"]
    return judged(*result, idle, quiet), [*notes, result[-1]]


def load(folder: Path | None) -> traces.Requests:
    if folder is None:
        return traces.stepped([(SECONDS / 3, erlang / WORK) for erlang in LOADS], WORK, 0.3, 29, PATIENCE)
    rate = sum(LOADS) / len(LOADS) / WORK
    return work_of(folder, rate, SECONDS, WORK)


def run(
    site: Site, requests: traces.Requests, control: int
) -> tuple[Given, traces.Requests, Any, RunResult, float, str]:
    """What was given, the requests as they were sent, their latencies, the simulator's run, CPU of the control plane a second in the
    last seconds, and a note."""
    with Watch(site, 0.05) as watch:
        until(lambda: watch.last.signals, "a latency objective at the front")
        lone = overhead(site, CASE, watch)
        going = play(site, requests)
        try:
            time.sleep(max(0.0, SECONDS - CALM - 1.0 - going.elapsed()))
            began, before = time.perf_counter(), cpu(control)
            time.sleep(max(0.0, SECONDS - 1.0 - going.elapsed()))
            spent = (cpu(control) - before) / (time.perf_counter() - began)
            played = going.played()
        finally:
            going.stop()
        seen = [(at - played.began, view) for at, view in watch.seen]
    if played.failed:
        raise RuntimeError(f"{played.failed} of {len(played.status)} requests failed")
    ours = had(seen, SECONDS)
    sent = numpy.array(played.sent)
    order = numpy.argsort(sent, kind="stable")
    really = replace(requests, arrivals=sent[order], work=requests.work[order] + lone.worker)
    first = next(live for at, live in ((at, _live(view)) for at, view in seen) if at >= 0.0)
    bounds, have = Bounds(1, MOST, own=VCPU * READY), Have(first, first, 0, VCPU * READY)
    world = World(allowance=allowance_of(bounds, SURGE), ready=READY, first=first, starts=ours.starts)
    simulated = Run(really, world).through(policy_of(requests.objective, KEEP, bounds, have))
    about = f"policy: {len(sent)} requests; {len(ours.starts)} starts of {', '.join(f'{s:.2f}' for s in ours.starts)} s; {_lone(lone)}"
    return ours, really, numpy.array(played.took)[order], simulated, spent, about


def play(site: Site, requests: traces.Requests) -> Play:
    bodies = site.signed([f"sleep:{seconds:.6f}".encode() for seconds in requests.work])
    return Play(site.bench.settings.port, site.folder, bodies, requests.arrivals.tolist())


def _lone(lone: Lone) -> str:
    return f"a lone request takes {1000 * (lone.worker + lone.path):.2f} ms longer than its work"


def _live(view: VariantView) -> int:
    return sum(replica.state == "ready" for replica in view.replicas)


def had(seen: Sequence[tuple[float, VariantView]], length: float) -> Given:
    """What the front was seen to have between 0 and `length`, each look standing until the next one."""
    seconds, cost, turns, way, before = [0.0] * int(length), 0.0, 0, 0, None
    begun: dict[str, float] = {}
    starts: dict[str, float] = {}
    for (at, view), (until_, _) in itertools.pairwise(seen):
        for replica in view.replicas:
            begun.setdefault(replica.id, at)
            if replica.state == "ready" and begun[replica.id] > 0.0:
                starts.setdefault(replica.id, at - begun[replica.id])
        if at < 0.0 or at >= length or view.signals is None:
            continue
        busy = sum(replica.busy for replica in view.replicas)
        reserved = max(view.signals.working, busy)
        live = _live(view)
        span = min(until_, length) - at
        seconds[int(at)] += span * reserved
        cost += span * (reserved + READY * (len(view.replicas) - live) + MEMORY * live)
        if before is not None and reserved != before:
            now = 1 if reserved > before else -1
            turns += way not in (0, now)
            way = now
        before = reserved
    return Given(seconds, cost, turns, tuple(starts.values()))


def judged(
    ours: Given,
    requests: traces.Requests,
    latency: Any,
    simulated: RunResult,
    spent: float,
    about: str,
    idle: float,
    quiet: bool,
) -> list[Row]:
    least = optimum(requests, DENSE_START)
    cost, theirs = ours.cost / least, simulated.cost / least
    scored = requests.arrivals >= UNSCORED
    late = 100.0 * float(numpy.mean(latency[scored] > requests.objective))
    turns = ours.turns / requests.length
    capacity = simulated.seconds[:, 8]
    apart = float(numpy.mean(numpy.abs(numpy.array(ours.seconds) - capacity)) / numpy.mean(capacity))
    loop = 1000 * (spent - idle)
    same = abs(theirs / cost - 1.0) <= WITHIN if quiet else None
    alike = abs(late - 100 * simulated.late) <= CASE.late if quiet else None
    return [
        Row("1 cost, real run", cost, "x C*(1.2)", must="<= 1.3", ok=cost <= 1.3),
        Row("4 late, real run", late, "%", must="<= 0.02 %", ok=late <= 0.02),
        Row(
            "11 size reversals, real run",
            turns,
            "1/s",
            f"simulator {simulated.sizes_second:.2f}",
            None,
            "<= 1",
            turns <= 1.0,
        ),
        Row("13 policy: cost", cost, "x C*(1.2)", f"simulator {theirs:.2f}", theirs / cost, "within 5%", same),
        Row("13 policy: late", late, "%", f"simulator {100 * simulated.late:.3f} %", None, "within 0.2 points", alike),
        Row("13 policy: capacity, mean distance", 100 * apart, "%", "simulator, each second"),
        Row("control plane, CPU more with an objective", loop, "ms a second", "changes at fronts and records included"),
    ]
