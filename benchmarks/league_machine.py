"""Twelve endpoints on one finite machine (issue 4, section 8): twelve traces of different characters, each over the half hour around its
peak, and fewer CPUs than their bursts together ask for.

Owns the contest: whose requests are late, in all and of each endpoint. Every peer has one setting for all endpoints and is judged at the
one with the fewest late requests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from benchmarks import common, league_made, league_runs
from benchmarks.league_runs import CLARY, NO_BOOST
from clary.sim import traces
from clary.sim.machine import machine
from clary.sim.run import World

ENDPOINTS, LOAD = 12, 2.0  # endpoints; mean erlang of each over its whole trace
SPACE = 1.8  # CPUs over the mean load of the half hour
SPAN = 1800.0
FIRST_COME = "clary, first come"
MOST_STARVED = 15.0  # percent late that no endpoint may reach


@dataclass(frozen=True, slots=True)
class Contest:
    """One policy with one setting on all endpoints. `late` is the share of all requests in percent, `worst` that of the endpoint with the
    largest share, `used` the mean CPUs reserved."""

    policy: str
    setting: str
    late: float
    worst: float
    endpoint: str
    used: float


@cache
def endpoints() -> tuple[list[str], list[traces.Requests], int]:
    """Names, requests, and the machine's CPUs."""
    dense = [trace for trace in league_made.made() if trace.dense][:ENDPOINTS]
    asked = [
        traces.draw(traces.around_peak(trace, SPAN), LOAD / trace.mean, seed=3 + place)
        for place, trace in enumerate(dense)
    ]
    return [trace.name for trace in dense], asked, math.ceil(SPACE * sum(requests.load for requests in asked))


def jobs(peers: bool) -> list[tuple[str, tuple[tuple[str, object], ...]]]:
    ours = [(CLARY, ()), (FIRST_COME, ()), (NO_BOOST, (("boost", False), ("ready", 2)))]
    others = [
        (name, tuple(setting.items()))
        for name, settings in league_runs.GRIDS.items()
        if name not in (CLARY, NO_BOOST)
        for setting in settings
    ]
    return [*ours, *(others if peers else [])]


def play(job: tuple[str, tuple[tuple[str, object], ...]]) -> Contest:
    name, setting = job
    names, asked, workers = endpoints()
    policy = CLARY if name == FIRST_COME else name
    policies = [league_runs.make(policy, dict(setting), requests) for requests in asked]
    interval = getattr(policies[0], "interval", 1.0)
    world = World(allowance=8 if policy == CLARY else 2, interval=interval, first=1)
    found = machine(policies, asked, workers, world, sharing=name == CLARY)
    late = [100.0 * result.late for result in found]
    total = sum(len(requests.arrivals) for requests in asked)
    in_all = sum(share * len(requests.arrivals) for share, requests in zip(late, asked, strict=True)) / total
    worst = max(late)
    used = sum(float(result.seconds[:, 8].mean()) for result in found)
    text = " ".join(f"{key}={value}" for key, value in setting)
    return Contest(name, text, in_all, worst, names[late.index(worst)], used)


def results(found: Sequence[Contest]) -> list[Contest]:
    """Of each policy the setting with the fewest late requests."""
    best: dict[str, Contest] = {}
    for contest in found:
        if contest.policy not in best or contest.late < best[contest.policy].late:
            best[contest.policy] = contest
    return list(best.values())


def goals(found: Sequence[Contest]) -> list[common.Row]:
    """Late requests at most half of the best peer's, and none starved."""
    ours = next(contest for contest in found if contest.policy == CLARY)
    peers = [contest for contest in found if contest.policy not in (CLARY, FIRST_COME, NO_BOOST)]
    rows = []
    if not peers:
        rows.append(common.Row("17 late, twelve endpoints on one machine", ours.late, "%", "--no-peers"))
    else:
        best = min(peers, key=lambda contest: contest.late)
        most = best.late / 2
        ratio = ours.late / best.late if best.late else None
        rows.append(
            common.Row(
                "17 late, twelve endpoints on one machine",
                ours.late,
                "%",
                best.policy,
                ratio,
                f"<= {most:.3g}",
                ours.late <= most,
            )
        )
    worst = f"<= {MOST_STARVED:g}"
    rows.append(
        common.Row(
            "17 late, the worst of the twelve", ours.worst, "%", ours.endpoint, None, worst, ours.worst <= MOST_STARVED
        )
    )
    return rows


def table(found: Sequence[Contest]) -> str:
    """Markdown."""
    _, asked, workers = endpoints()
    load = sum(requests.load for requests in asked)
    lines = [
        f"Twelve endpoints on {workers} CPUs; their load is {load:.1f} in the mean.\n",
        "| policy | setting | late % in all | late % of the worst | which | CPUs reserved |",
        "|---|---|---|---|---|---|",
    ]
    for contest in sorted(found, key=lambda contest: contest.late):
        lines.append(
            f"| {contest.policy} | {contest.setting} | {contest.late:.3f} | {contest.worst:.3f} | {contest.endpoint} | {contest.used:.1f} |"
        )
    return "\n".join(lines)
