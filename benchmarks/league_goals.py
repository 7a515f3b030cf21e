"""The goals of scaling (scaling reference, section 4) that a simulator can show, each as a row with pass or fail."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from benchmarks import common
from benchmarks.league_runs import CLARY, NO_BOOST, Row, best
from clary.domain.scaling.boost import allowed
from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.signals import Current, Sample

AHEAD = 1.08
DAY_SECONDS = 10.0
ELSEWHERE = "goals 7, 8, 9, 13 and 15, and 1, 4, 11 and 16 on a real endpoint: scripts/bench scaling-live"


def _row(number: int, what: str, value: float, unit: str, most: float, against: str = "") -> common.Row:
    return common.Row(f"{number:2d} {what}", value, unit, against, None, f"<= {most:g}", value <= most)


def _none(number: int, what: str, why: str) -> common.Row:
    """A goal that this run says nothing of."""
    return common.Row(f"{number:2d} {what}", None, "", why)


def _most(
    number: int, what: str, rows: Sequence[Row], figure: Callable[[Row], float], unit: str, most: float
) -> common.Row:
    """The trace with the largest figure, by name."""
    worst = max(rows, key=figure)
    return _row(number, what, figure(worst), unit, most, worst.trace)


def _cost(row: Row) -> float:
    return row.cost_over_cstar


def costs(rows: Sequence[Row], kinds: Mapping[str, str]) -> list[common.Row]:
    """Goals 1 to 4, 10, 11."""
    ours = [row for row in rows if row.policy == CLARY]
    found = []
    for number, kind, what, unit, most in (
        (1, "smooth", "cost, smooth and flash crowd, dearest", "x C*(1.2)", 1.25),
        (2, "bursty", "cost, bursty, dearest", "x C*(1.2)", 1.20),
        (3, "on/off", "cost, on/off, dearest", "x C*(1.2)", 1.6),
        (3, "sparse", "cost, sparse, dearest", "x C*(0.1)", 2.0),
    ):
        of = [row for row in ours if kinds[row.trace] == kind]
        found.append(_most(number, what, of, _cost, unit, most) if of else _none(number, what, f"no {kind} trace"))
        if of and kind == "smooth":
            found.append(_row(1, "cost, smooth and flash crowd, median", median(map(_cost, of)), unit, 1.15))
    found.append(_most(4, "late, worst trace", ours, lambda row: row.late_pct, "%", 0.01))
    found.append(_most(10, "replica reversals, most", ours, lambda row: row.reversals_h, "1/h", 4.0))
    found.append(_most(11, "size reversals, most", ours, lambda row: row.size_reversals_h / 3600.0, "1/s", 1.0))
    return found


def tight(rows: Sequence[Row]) -> list[common.Row]:
    """Goal 2 where the objective is 2.5 works."""
    what = "cost, bursty, objective 2.5 works, dearest"
    if not rows:
        return [_none(2, what, "no bursty trace")]
    return [
        _most(2, what, rows, _cost, "x C*(1.2)", 1.6),
        _most(2, "late there, beyond the unavoidable", rows, lambda row: row.late_pct, "%", 0.02),
    ]


def steps(results: Mapping[tuple[str, float, float], tuple[float, float]]) -> list[common.Row]:
    """Goals 5 and 6."""
    three = [
        value for (name, times, _), value in results.items() if times == 3.0 and name in ("boost 1-8", "boost 2-8")
    ]
    inside = [value for (name, times, _), value in results.items() if times == 10.0 and name == "boost 1-8"]
    beyond = [
        (start, v)
        for (name, times, start), v in results.items()
        if times == 10.0 and name in ("boost 2-8", "boost 2-4")
    ]
    return [
        _row(5, "x3 step, recovery at any start time", max(seconds for seconds, _ in three), "s", 0.0),
        _row(5, "x3 step, late", max(late for _, late in three), "%", 0.01),
        _row(6, "x10 step inside the ceiling, recovery", max(seconds for seconds, _ in inside), "s", 1.0),
        _row(6, "x10 step beyond it, over the start time", max(v[0] - start for start, v in beyond), "s", 2.0),
    ]


def ahead(rows: Sequence[Row]) -> list[common.Row]:
    """Goal 12: by how much the best peer on each trace is behind."""
    chosen, found, won = best(rows), [], 0
    traces = sorted({row.trace for row in rows})
    for trace in traces:
        ours = chosen[trace, CLARY].J
        others = [row for (t, policy), row in chosen.items() if t == trace and policy not in (CLARY, NO_BOOST)]
        if not others:
            return [_none(12, "J of the best peer over Clary's", "--no-peers")]
        nearest = min(others, key=lambda row: row.J)
        ok = AHEAD * ours <= nearest.J
        won += ok
        found.append(common.Row(f"12 J, {trace}", ours, "", nearest.policy, nearest.J / ours, f">= {AHEAD:g} x", ok))
    share = won / len(traces)
    found.append(common.Row("12 traces won by 8 %", share, "", "", None, ">= 0.9", share >= 0.9))
    return found


def boost(rows: Sequence[Row]) -> list[common.Row]:
    """Goal 14, of rows with a start of 8 s on bursty traces: requests late and cost, all together."""
    if not rows:
        return [_none(14, "late with boost, start 8 s", "no bursty trace")]
    late = {name: sum(row.late_pct for row in rows if row.policy == name) for name in (CLARY, NO_BOOST)}
    cost = {name: sum(row.cost_over_cstar for row in rows if row.policy == name) for name in (CLARY, NO_BOOST)}
    # Where nobody was late there is nothing to compare, which is not a pass.
    share = late[CLARY] / late[NO_BOOST] if late[NO_BOOST] else None
    ok = None if share is None else share <= 0.1
    return [
        common.Row("14 late with boost, start 8 s", share, "x", "no boost", None, "<= 0.1", ok),
        _row(14, "cost with boost there", cost[CLARY] / cost[NO_BOOST], "x", 0.8, "no boost"),
    ]


def day(took: Mapping[str, float]) -> common.Row:
    """What the simulator takes for a day under each policy."""
    slowest = max(took, key=lambda name: took[name])
    must = f"<= {DAY_SECONDS:g} s"
    return common.Row(
        "   24 h simulated, slowest", took[slowest], "s CPU", slowest, None, must, took[slowest] <= DAY_SECONDS
    )


def decisions() -> list[common.Row]:
    """Goal 16, best of five, on this machine as it is."""
    samples = [Sample(float(t), 40 + t % 7, 40, 5, 1, 0, 0.1, 0.09) for t in range(1, 61)]
    policy, current = ClaryPolicy(0.5), Current(5)
    loop = min(timeit.repeat(lambda: policy.decide(samples, current, 0.0, 60.0), number=200, repeat=5)) / 200
    front = min(timeit.repeat(lambda: allowed(3, 40.0, 0.1, 5, 2, 8, 0.5, 0.7), number=2000, repeat=5)) / 2000
    return [
        _row(16, "boost decision, the rule itself", 1e6 * front, "us", 50.0),
        _row(16, "loop's decision, an endpoint", 1e3 * loop, "ms", 1.0),
    ]
