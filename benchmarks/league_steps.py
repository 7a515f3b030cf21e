"""Steps of load (scaling reference 3.6): how long until the requests are in time again, by policy and start time of a replica."""

from __future__ import annotations

from typing import Any

from clary.domain.scaling.policy import ClaryPolicy
from clary.sim.peers import AwsTracking, Dstack, Hpa, Knative, RayServe
from clary.sim.run import RunResult, World, recovery, run
from clary.sim.traces import Requests, stepped

STARTS = (0.15, 1.2, 8.0, 60.0)
BEFORE, AFTER = 900.0, 900.0
WORK, OBJECTIVE = 0.1, 0.5
MOST = 80  # replicas: what piled up during a start of a minute needs four times the tenfold load to be gone in a moment


def contestants() -> dict[str, tuple[Any, int, int]]:
    """Name -> fresh policy, ceiling of a replica, workers that it starts with."""
    return {
        "boost 1-8": (ClaryPolicy(OBJECTIVE, most=MOST, ready=1), 8, 1),
        "boost 2-8": (ClaryPolicy(OBJECTIVE, most=MOST, ready=2), 8, 2),
        "boost 2-4": (ClaryPolicy(OBJECTIVE, most=MOST, ready=2), 4, 2),
        "no boost": (ClaryPolicy(OBJECTIVE, most=MOST, ready=2, boost=False), 2, 2),
        "KPA .6": (Knative(most=MOST, util=0.6), 2, 2),
        "HPA .5": (Hpa(most=MOST, util=0.5), 2, 2),
        "Ray .5 (0/300)": (RayServe(most=MOST, util=0.5, up=0.0, down=300.0), 2, 2),
        "Ray .5 shipped": (RayServe(most=MOST, util=0.5), 2, 2),
        "AWS 10 s": (AwsTracking(most=MOST, util=0.5, period=10), 2, 2),
        "AWS": (AwsTracking(most=MOST, util=0.5), 2, 2),
        "dstack": (Dstack(most=MOST, util=0.7), 2, 2),
    }


def step(name: str, times: float, start: float) -> tuple[float, float]:
    """Seconds to recover and percent late after a step from 4 erlang to so many times that."""
    requests, result = _run(name, times, start)
    seconds, late = recovery(result, requests.arrivals, BEFORE, BEFORE + AFTER)
    return seconds, 100.0 * late


def curve(name: str, times: float, start: float, before: int, after: int) -> tuple[list[float], list[float]]:
    """Load (erlang) and reserved workers, each second around the step."""
    _, result = _run(name, times, start)
    seconds = result.seconds[int(BEFORE) - before : int(BEFORE) + after]
    return (seconds[:, 0] * WORK).tolist(), seconds[:, 8].tolist()


def _run(name: str, times: float, start: float) -> tuple[Requests, RunResult]:
    policy, ceiling, ready = contestants()[name]
    requests = stepped([(BEFORE, 40.0), (AFTER, 40.0 * times)], WORK, 0.3, seed=17)
    world = World(start=start, allowance=ceiling, ready=ready, interval=getattr(policy, "interval", 1.0))
    return requests, run(policy, requests, world)


def table(results: dict[tuple[str, float, float], tuple[float, float]], times: float) -> str:
    """Markdown."""
    names = list(contestants())
    lines = [f"| start, x{times:g} | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for start in STARTS:
        cells = [f"{results[name, times, start][0]:.0f} / {results[name, times, start][1]:.2g}" for name in names]
        lines.append(f"| {start:g} s | " + " | ".join(cells) + " |")
    return "\n".join(lines)
