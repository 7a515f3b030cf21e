from __future__ import annotations

import csv
import gzip
from pathlib import Path

from benchmarks.league import kind, table, write
from benchmarks.league_goals import ahead, boost, costs, steps
from benchmarks.league_plots import bars
from benchmarks.league_runs import CLARY, GRIDS, NO_BOOST, Job, Row, best, jobs, play


def row(policy: str = CLARY, cost: float = 1.1, late: float = 0.0, trace: str = "a", setting: str = "") -> Row:
    return Row(trace, policy, setting, 1.2, 0.1, 0.5, late, cost, cost * 1.1, 2.0, 1800.0, 2.5, cost + 2 * late)


def short(folder: Path, counts: list[int], width: int = 1) -> Path:
    path = folder / "short.csv.gz"
    lines = "".join(f"{i * width},{count}\n" for i, count in enumerate(counts))
    path.write_bytes(gzip.compress(b"t_seconds,requests\n" + lines.encode()))
    return path


def test_a_run_becomes_a_row(tmp_path: Path) -> None:
    path = short(tmp_path, [8, 12] * 300)
    ours = play(Job(str(path), CLARY, ()))
    assert (ours.trace, ours.work_s < 0.5, ours.late_pct) == ("short", True, 0.0)
    assert 1.0 <= ours.cost_over_cstar < 1.5
    write([ours], tmp_path)
    rows = list(csv.reader((tmp_path / "league.csv").open()))
    assert ",".join(rows[0]) == (
        "trace,policy,setting,start_s,work_s,objective_s,late_pct,cost_over_cstar,cost_over_work,reversals_h,size_reversals_h,"
        "p99_over_work,J"
    )
    assert len(rows[1]) == 13


def test_every_setting_of_every_policy_is_run(tmp_path: Path) -> None:
    dense = jobs(short(tmp_path, [8, 12] * 300), True)
    assert {job.policy for job in dense} == set(GRIDS)
    assert len(dense) == sum(len(settings) for settings in GRIDS.values())
    assert [job.policy for job in jobs(short(tmp_path, [8, 12] * 300), False)] == [CLARY, NO_BOOST]
    assert len(jobs(short(tmp_path, [1] * 100, 300), True)) > len(dense)  # some may go to zero there
    assert len(GRIDS[CLARY]) == 1


def test_kinds_are_seen_in_the_counts(tmp_path: Path) -> None:
    assert kind(short(tmp_path, [1] * 100, 300)) == "sparse"
    assert kind(short(tmp_path, [10, 11] * 100)) == "smooth"
    assert kind(short(tmp_path, [0, 40] * 100)) == "bursty"
    assert kind(short(tmp_path, [0, 4000] * 100, 60)) == "smooth"  # nobody knows what is in a minute


def test_the_best_setting_counts() -> None:
    rows = [row("hpa", 2.0, setting="1"), row("hpa", 1.5, setting="2"), row("hpa", 1.4, 0.2, setting="3")]
    assert best(rows)["a", "hpa"].setting == "2"
    assert "| a | 1.10 / 0.000 |" in table([row()])


def test_goals_can_fail() -> None:
    assert all(goal.ok for goal in costs([row()], set(), set()))
    assert next(goal.ok for goal in costs([row(cost=1.22)], {"a"}, set())) is False
    assert [goal.what[:2] for goal in costs([row(late=0.011)], set(), set()) if not goal.ok] == [" 4"]
    assert [goal.ok for goal in ahead([row(), row("hpa", 1.2)])] == [True, True]
    assert [goal.ok for goal in ahead([row(), row("hpa", 1.15)])] == [False, False]
    assert [goal.ok for goal in boost([row(late=0.01), row(NO_BOOST, 2.0, 0.2)])] == [True, True]
    assert [goal.ok for goal in boost([row(late=0.03), row(NO_BOOST, 1.2, 0.2)])] == [False, False]
    assert boost([row(), row(NO_BOOST, 2.0)])[0].ok is None  # nobody was late: nothing is shown


def test_steps_are_judged() -> None:
    names = ("boost 1-8", "boost 2-8", "boost 2-4")
    fine = {(name, times, 8.0): (0.0, 0.0) for name in names for times in (3.0, 10.0)}
    assert all(goal.ok for goal in steps(fine))
    assert [goal.what[:2] for goal in steps({**fine, ("boost 2-8", 10.0, 8.0): (11.0, 1.0)}) if not goal.ok] == [" 6"]


def test_bars_are_drawn() -> None:
    text = bars("t", [("keda", 2.0), (CLARY, 1.1)])
    assert text.index("clary") < text.index("keda")
    assert text.endswith("</svg>\n")
