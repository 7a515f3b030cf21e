"""The pictures of docs/scaling.md, drawn by the simulator: `scripts/bench scaling_pictures docs`.

Everything in them is decided by the policy that production runs, and the sentences are those of its reasons.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from benchmarks import league_steps
from clary.app import plots
from clary.app.plots import BLUE, GREEN, GREY, ORANGE, PINK, SKY, Curve, Figure, Mark, Panel
from clary.domain.scaling import words
from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.signals import Current, Desired, Policy, Sample
from clary.sim.run import World, run
from clary.sim.traces import stepped

WORK, OBJECTIVE, CEILING, START = 0.1, 0.5, 8, 8.0
MORNING = ((600.0, 20.0), (300.0, 40.0), (300.0, 60.0), (300.0, 80.0), (60.0, 240.0), (540.0, 80.0), (2100.0, 10.0))
BEFORE, AFTER = 30, 120
APART = 60.0  # seconds between two decisions that are told


class Told:
    """A policy whose decisions are kept."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.made: list[tuple[float, int, Desired]] = []

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        desired = self._policy.decide(samples, current, last_change, now)
        self.made.append((now, current.count + current.starting, desired))
        return desired


def _points(values: Any, every: int = 1, first: float = 0.0) -> list[tuple[float, float]]:
    """Means of so many seconds each."""
    whole = numpy.asarray(values, dtype=float)
    whole = whole[: len(whole) // every * every].reshape(-1, every).mean(axis=1)
    return [(first + every * n, value) for n, value in enumerate(whole.tolist())]


def day() -> str:
    """A morning and a spike: all three levels at work."""
    requests = stepped(list(MORNING), WORK, 0.3, seed=7)
    policy = Told(ClaryPolicy(OBJECTIVE))
    result = run(policy, requests, World(start=START, allowance=CEILING))
    seconds, every = result.seconds, 10
    bins = numpy.floor(requests.arrivals / every).astype(int)
    p99 = [
        (float(every * n), float(numpy.quantile(result.latency[bins == n], 0.99)) * 1000)
        for n in numpy.unique(bins)
        if numpy.isfinite(result.latency[bins == n]).all()
    ]
    live = seconds[:, 9]
    base = [(now, float(desired.base)) for now, _, desired in policy.made if now <= len(seconds)]
    panels = (
        Panel("Load", "requests/s", [Curve("arrivals", _points(seconds[:, 0], every), BLUE, area=True)]),
        Panel(
            "Workers",
            "count",
            [
                Curve("busy", _points(seconds[:, 7], every), SKY, area=True),
                Curve("given work (boost)", _points(seconds[:, 8], every), BLUE, step=True),
                Curve("stay ready (staffing)", base, ORANGE, step=True),
                Curve("ceiling", _points(live * CEILING, every), GREY, step=True, dashed=True),
            ],
            height=130,
        ),
        Panel("Replicas (fleet)", "count", [Curve("ready", _points(live), GREEN, step=True)]),
        Panel(
            "Latency p99",
            "ms",
            [
                Curve("p99", p99, PINK),
                Curve("objective", [(0.0, OBJECTIVE * 1000), (p99[-1][0], OBJECTIVE * 1000)], GREY, dashed=True),
            ],
        ),
    )
    marks: list[Mark] = []
    for now, before, desired in policy.made:
        if desired.count != before and (not marks or now - marks[-1].at >= APART):
            marks.append(Mark(now, words.sentence(desired, before)))
    more = sum(desired.count != before for _, before, desired in policy.made) - len(marks)
    title = f"A morning with a spike: requests of {WORK * 1000:.0f} ms, an objective of {OBJECTIVE * 1000:.0f} ms, starts of {START:g} s"
    return plots.svg(Figure(title, 0.0, float(len(seconds)), panels, marks, zero="since the beginning", more=more))


def step() -> str:
    """A tenfold step where a replica takes 8 s to start, by policy."""
    names = (("boost 1-8", BLUE), ("no boost", ORANGE), ("KPA .6", PINK), ("AWS 10 s", GREEN))
    found = [(name, colour, league_steps.curve(name, 10.0, START, BEFORE, AFTER)) for name, colour in names]
    load = Curve("load", _points(found[0][2][0], first=-BEFORE), GREY, area=True)
    curves = [Curve(name, _points(reserved, first=-BEFORE), colour) for name, colour, (_, reserved) in found]
    panel = Panel("Workers reserved", "count", [load, *curves], height=200)
    title = f"Ten times the load at once; a replica takes {START:g} s to start"
    return plots.svg(Figure(title, -BEFORE, AFTER, [panel], zero="seconds after the step"))


def rate() -> str:
    """What is taken for growth and what for noise."""
    requests = stepped([(300.0, 20.0), (120.0, 60.0), (300.0, 20.0)], WORK, 0.3, seed=5)
    policy = Told(ClaryPolicy(OBJECTIVE))
    result = run(policy, requests, World(start=START, allowance=CEILING))
    believed = [
        (now, dict(term.of)["rate"])
        for now, _, desired in policy.made
        for term in desired.reason.terms
        if term.name == "load"
    ]
    counts = _points(result.seconds[:, 0])
    panel = Panel(
        "Requests a second",
        "count",
        [
            Curve("came", counts, SKY, area=True),
            Curve("believed", [p for p in believed if p[0] <= len(counts)], INK, step=True),
        ],
        height=150,
    )
    return plots.svg(
        Figure(
            "Three times the load for two minutes: noise is not believed, growth is",
            0.0,
            float(len(counts)),
            [panel],
            zero="seconds",
        )
    )


INK = plots.INK
PICTURES = {"scaling-day.svg": day, "scaling-step.svg": step, "scaling-rate.svg": rate}


def main() -> int:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print("usage: scripts/bench scaling_pictures FOLDER", file=sys.stderr)
        return 2
    for name, draw in PICTURES.items():
        (Path(sys.argv[1]) / name).write_text(draw())
    return 0


if __name__ == "__main__":
    sys.exit(main())
