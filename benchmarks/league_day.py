"""What the simulator takes for a day of traffic under each policy, which decides as often as it does: Clary's each second."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy

from benchmarks import league_made, league_runs
from clary.sim import traces
from clary.sim.run import World, run

HOURS = 24


def play(name: str) -> float:
    """Seconds of CPU, with the policy's first setting. What is compiled is compiled before the clock starts."""
    trace = league_made.diurnal(numpy.random.default_rng(24))
    requests = traces.draw(trace, traces.league_work(trace))
    _run(name, traces.draw(replace(trace, counts=trace.counts[:120]), requests.objective / 5.0))
    began = time.process_time()
    _run(name, requests)
    return time.process_time() - began


def _run(name: str, requests: traces.Requests) -> None:
    policy = league_runs.make(name, league_runs.GRIDS[name][0], requests)
    ceiling = 8 if name == league_runs.CLARY else 2
    run(policy, requests, World(allowance=ceiling, interval=getattr(policy, "interval", 1.0)))
