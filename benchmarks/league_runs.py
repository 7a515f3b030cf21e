"""The runs of the league: every policy's published grid of settings, and one run of one of them.

A peer is judged at its best setting on each trace; Clary has one setting for all. All start replicas in the same time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy

from benchmarks import league_sources
from clary.domain.scaling.policy import ClaryPolicy
from clary.sim import traces
from clary.sim.learners import Learner
from clary.sim.optimum import DENSE_START, SPARSE_START, optimum
from clary.sim.peers import AwsStep, AwsTracking, Dstack, Hpa, Keda, Knative, Peer, RayServe, Static, Vpa
from clary.sim.run import World, run

START = 1.2
EQUAL = "equal start"
UTILS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
Setting = Mapping[str, Any]


def grid(**choices: Sequence[Any]) -> list[Setting]:
    """Every combination."""
    found: list[dict[str, Any]] = [{}]
    for name, values in choices.items():
        found = [{**setting, name: value} for setting in found for value in values]
    return found


def _static(requests: traces.Requests, of: str, times: float) -> Peer:
    minute = requests.arrivals // 60.0
    sums = [float(requests.work[minute == m].sum()) for m in range(math.ceil(requests.length / 60.0))]
    load = max(sums) / 60.0 if of == "peak" else requests.load
    return Static(count=max(1, math.ceil(times * load / 2)))


CLARY, NO_BOOST = "clary", "clary without boost"
GRIDS: dict[str, list[Setting]] = {
    CLARY: [{}],
    NO_BOOST: [{"boost": False, "ready": 2}],
    "aws target tracking 60 s": grid(period=[60], util=UTILS, cooldown=[60.0, 300.0]),
    "aws target tracking 10 s": grid(period=[10], util=UTILS, cooldown=[60.0, 300.0]),
    "aws step": grid(high=[60.0, 70.0, 80.0], low=[30.0, 50.0], cooldown=[60.0, 300.0]),
    "kubernetes hpa": grid(util=UTILS, calm=[60.0, 300.0]),
    "keda": grid(util=UTILS, calm=[60.0, 300.0]),
    "knative kpa": grid(util=UTILS, window=[60, 30]),
    "ray serve": grid(util=UTILS, up=[0.0, 5.0], down=[60.0, 300.0]),
    "dstack": grid(util=UTILS, up=[0.0, 60.0], down=[60.0, 600.0]),
    "kubernetes vpa": grid(share=[0.9, 0.99, 0.999], half_life=[3600.0, 86_400.0], margin=[1.15, 1.5]),
    "rossi model-based": grid(kind=["model"], performance=[0.9, 0.7], resources=[0.09, 0.05], interval=[10.0]),
    "rossi q-learning": grid(kind=["q"], performance=[0.9, 0.7], resources=[0.09, 0.05], interval=[10.0]),
    "rossi dyna-q": grid(kind=["dyna"], performance=[0.9], resources=[0.09, 0.05], interval=[10.0]),
    "static peak": grid(of=["peak"], times=[1.0, 1.25, 1.5]),
    "static mean": grid(of=["mean"], times=[1.0, 1.25, 1.5, 2.0]),
}
ZERO = ("keda", "knative kpa", "ray serve", "dstack")  # that go to zero by themselves, where traffic is sparse
MAKERS: dict[str, Callable[..., Any]] = {
    "aws target tracking 60 s": AwsTracking,
    "aws target tracking 10 s": AwsTracking,
    "aws step": AwsStep,
    "kubernetes hpa": Hpa,
    "keda": Keda,
    "knative kpa": Knative,
    "ray serve": RayServe,
    "dstack": Dstack,
    "kubernetes vpa": Vpa,
}


def roof(requests: traces.Requests) -> int:
    """The most replicas a user would allow: twice what the busiest ten seconds need. It spares the others what a pile of waiting
    requests makes them start."""
    sums = numpy.bincount((requests.arrivals // 10.0).astype(int), weights=requests.work)
    return max(4, math.ceil(2.0 * float(sums.max()) / 10.0 / 2))


def make(name: str, setting: Setting, requests: traces.Requests) -> Any:
    """The policy, fresh."""
    most = roof(requests)
    if name in (CLARY, NO_BOOST):
        return ClaryPolicy(objective=requests.objective, most=most, **setting)
    if name.startswith("rossi"):
        return Learner(most=min(most, 24), **setting)
    if name.startswith("static"):
        return _static(requests, **setting)
    return MAKERS[name](most=most, **setting)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of league.csv."""

    trace: str
    policy: str
    setting: str
    start_s: float
    work_s: float
    objective_s: float
    late_pct: float
    cost_over_cstar: float
    cost_over_work: float
    reversals_h: float
    size_reversals_h: float
    p99_over_work: float
    J: float
    rules: str = EQUAL

    def cells(self) -> list[str]:
        return [f"{value:.5g}" if isinstance(value, float) else value for value in asdict(self).values()]


@dataclass(frozen=True, slots=True)
class Job:
    """One run. `patience` is the objective in works; `hours` 0 for the six around the peak."""

    path: str
    policy: str
    setting: tuple[tuple[str, Any], ...]
    start: float = START
    patience: float = 5.0
    hours: float = 0.0
    rules: str = EQUAL


@lru_cache(maxsize=2)
def _requests(path: str, patience: float, hours: float) -> tuple[traces.Trace, traces.Requests, float]:
    trace = league_sources.load(Path(path))
    work = traces.league_work(trace)
    window = traces.around_peak(trace, hours * 3600.0 if hours else traces.SIX_HOURS)
    requests = traces.draw(window, work, patience)
    return trace, requests, optimum(requests, DENSE_START if trace.dense else SPARSE_START)


def play(job: Job) -> Row:
    """Run it. Late requests that nobody could have served in time (their own work exceeds the objective) are not counted."""
    trace, requests, least = _requests(job.path, job.patience, job.hours)
    setting = dict(job.setting)
    policy = make(job.policy, setting, requests)
    ceiling = 8 if job.policy == CLARY else 2
    world = World(start=job.start, allowance=ceiling, interval=getattr(policy, "interval", 1.0))
    result = run(policy, requests, world)
    late = max(0.0, result.late - float((requests.work > requests.objective).mean()))
    return Row(
        trace.name,
        job.policy,
        " ".join(f"{name}={value}" for name, value in setting.items()),
        job.start,
        float(requests.work.mean()),
        requests.objective,
        100.0 * late,
        result.cost / least,
        result.cost / result.work,
        result.reversals_hour,
        3600.0 * result.sizes_second,
        result.p99_over_work,
        result.cost / least + 200.0 * late,
        job.rules,
    )


def jobs(path: Path, peers: bool) -> list[Job]:
    """All runs of one trace."""
    sparse = not league_sources.load(path).dense
    found = []
    for name, settings in GRIDS.items():
        if name not in (CLARY, NO_BOOST) and not peers:
            continue
        for setting in settings:
            found.append(Job(str(path), name, tuple(setting.items())))
            if sparse and name in ZERO:
                found.append(Job(str(path), name, (*setting.items(), ("least", 0))))
    return found


def best(rows: Sequence[Row]) -> dict[tuple[str, str], Row]:
    """Of each trace and policy, by J."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = (row.trace, row.policy)
        if key not in found or row.J < found[key].J:
            found[key] = row
    return found
