from __future__ import annotations

import csv
import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy
import pytest
from benchmarks.league import as_json, kinds_told, sources, table, write
from benchmarks.league_goals import ahead, boost, costs, day, steps, tight
from benchmarks.league_machine import Contest, goals, results
from benchmarks.league_plots import bars
from benchmarks.league_runs import CLARY, GRIDS, NO_BOOST, Job, Row, best, jobs, play
from benchmarks.league_sources import find, kind, load, share

from benchmarks import league_day, league_made, league_plots, league_shipped


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
        "p99_over_work,J,rules"
    )
    assert (len(rows[1]), rows[1][-1]) == (14, "equal start")


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


def test_pauses_make_a_trace_on_off(tmp_path: Path) -> None:
    assert kind(short(tmp_path, ([10] * 100 + [0] * 200) * 5)) == "on/off"
    assert kind(short(tmp_path, ([10] * 200 + [0] * 100) * 5)) != "on/off"


def test_a_folder_is_read_whatever_its_names(tmp_path: Path) -> None:
    first = short(tmp_path, [8, 12] * 300)
    (tmp_path / "plain.csv").write_text("t_seconds,requests\n" + "".join(f"{60 * i},40\n" for i in range(9)))
    (tmp_path / "index.csv").write_text("file,bin_s\n")
    (tmp_path / "league.csv").write_text("trace,policy\n")  # of a league that wrote here
    (tmp_path / "README.md").write_text("nothing")
    assert find(tmp_path) == [tmp_path / "plain.csv", first]


def test_all_that_is_wrong_with_a_folder_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no trace: no \*\.csv\.gz"):
        find(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        find(tmp_path / "none")
    short(tmp_path, [1] * 90)
    (tmp_path / "short.csv").write_text("t_seconds,requests\n" + "".join(f"{60 * i},40\n" for i in range(9)))
    (tmp_path / "other.csv").write_text("a,b\n")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "twin.csv").write_text("t_seconds,requests\n" + "".join(f"{60 * i},40\n" for i in range(9)))
    (tmp_path / "twin.csv.gz").write_bytes((tmp_path / "twin.csv").read_bytes())
    with pytest.raises(
        ValueError,
        match=r"folder\.csv: Is a directory\nother\.csv: the first line(.|\n)*short\.csv\.gz: nothing to judge(.|\n)*are one name",
    ):
        find(tmp_path)


def test_a_bin_may_be_a_day(tmp_path: Path) -> None:
    path = short(tmp_path, [90_000, 120_000, 60_000], 86_400)
    assert find(tmp_path) == [path]
    assert kind(path) == "smooth"


def test_too_many_requests_are_thinned_not_scaled(tmp_path: Path) -> None:
    path = short(tmp_path, [20_000] * 800)
    assert share(path) == pytest.approx(0.5, rel=0.001)
    assert 9_000 < load(path).counts.min() < load(path).counts.max() < 11_000
    assert share(short(tmp_path, [20] * 800)) == 1.0


def test_without_a_folder_traces_are_made_and_that_is_said(tmp_path: Path) -> None:
    paths, said = sources(None, tmp_path)
    assert len(paths) == len(league_made.KINDS) >= 12
    assert said[0].startswith("no --traces: 15 traces are made")
    assert {kind(path) for path in paths} == {"smooth", "bursty", "on/off", "sparse"}
    again, _ = sources(None, tmp_path / "again")
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(paths, again, strict=True))
    assert paths == find(tmp_path / "traces") or sorted(paths) == find(tmp_path / "traces")


def test_another_seed_makes_other_requests_of_the_same_character() -> None:
    for first, second in zip(league_made.made(1), league_made.made(2), strict=True):
        assert first.name == second.name
        assert first.mean == pytest.approx(second.mean, rel=1.0)
        assert not numpy.array_equal(first.counts, second.counts)


def test_the_league_as_shipped_has_one_run_of_each_product(tmp_path: Path) -> None:
    path = short(tmp_path, [8, 12] * 300)
    runs = league_shipped.jobs(path, True)
    assert [job.policy for job in runs] == list(league_shipped.PRODUCTS)
    assert all(job.rules == league_shipped.SHIPPED for job in runs)
    assert {job.start for job in runs} == {1.2, 8.0, 240.0}
    assert [job.policy for job in league_shipped.jobs(path, False)] == [CLARY]
    hpa = play(next(job for job in runs if job.policy == "kubernetes hpa"))
    assert (hpa.rules, hpa.start_s, hpa.setting) == ("as shipped", 8.0, "util=0.8 calm=300.0")
    assert "| short |" in league_shipped.table([hpa])


def test_json_has_the_goals_as_rows_and_no_figure_that_is_none() -> None:
    odd = replace(row(), p99_over_work=math.nan)
    body = json.loads(as_json(ahead([row(), row("hpa", 1.2)]), [odd], ["note"]))
    assert set(body["rows"][0]) == {"what", "value", "unit", "against", "ratio", "must", "ok"}
    assert body["runs"][0]["p99_over_work"] is None
    assert body["notes"] == ["note"]


def test_the_machine_is_judged_against_half_of_the_best_peer() -> None:
    found = results(
        [
            Contest(CLARY, "", 1.0, 3.0, "a", 9.0),
            Contest("hpa", "1", 4.0, 9.0, "a", 9.0),
            Contest("hpa", "2", 2.0, 9.0, "b", 9.0),
        ]
    )
    assert [goal.ok for goal in goals(found)] == [True, True]
    assert [goal.ok for goal in goals([replace(found[0], late=1.1, worst=16.0), found[1]])] == [False, False]


def test_the_best_setting_counts() -> None:
    rows = [row("hpa", 2.0, setting="1"), row("hpa", 1.5, setting="2"), row("hpa", 1.4, 0.2, setting="3")]
    assert best(rows)["a", "hpa"].setting == "2"
    assert "| a | 1.10 / 0.000 |" in table([row()])
    assert "| a\\|b | 1.10 / 0.000 |" in table([row(trace="a|b")])


def test_goals_can_fail() -> None:
    def passes(kind: str, **figures: float) -> set[bool | None]:
        return {goal.ok for goal in costs([row(**figures)], {"a": kind}) if goal.value is not None}

    assert passes("smooth") == {True}
    assert False in passes("bursty", cost=1.22)
    assert False in passes("on/off", cost=1.61)
    assert False in passes("sparse", cost=2.01)
    assert [goal.what[:2] for goal in costs([row(late=0.011)], {"a": "smooth"}) if goal.ok is False] == [" 4"]
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


def test_a_goal_of_which_nothing_is_known_says_so() -> None:
    """It has its row, without a value and without a pass."""
    none = [*costs([row()], {"a": "smooth"}), *tight([]), *boost([]), *ahead([row()])]
    assert [(goal.what[:2], goal.against, goal.ok) for goal in none if goal.value is None] == [
        (" 2", "no bursty trace", None),
        (" 3", "no on/off trace", None),
        (" 3", "no sparse trace", None),
        (" 2", "no bursty trace", None),
        ("14", "no bursty trace", None),
        ("12", "--no-peers", None),
    ]
    assert [goal.ok for goal in goals([Contest(CLARY, "", 1.0, 3.0, "a", 9.0)])] == [None, True]


def test_the_dearest_trace_is_named() -> None:
    rows = [row(trace="a"), row(cost=1.2, trace="b")]
    assert [goal.against for goal in costs(rows, {"a": "smooth", "b": "smooth"})][:2] == ["b", ""]
    assert kinds_told({"a": "smooth", "b": "sparse", "c": "smooth"}).endswith("smooth: a, c; sparse: b.")


def test_pictures_stand_names_of_any_kind(tmp_path: Path) -> None:
    named = [row(trace="step"), row("keda", 1.3, trace="step"), row(trace="a<b&c"), row("keda", 1.3, trace="a<b&c")]
    league_plots.write(named, [row()], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "step.svg",
        "overview.svg",
        "shipped.svg",
        "trace-step.svg",
        "trace-a<b&c.svg",
    }
    for path in tmp_path.iterdir():
        ElementTree.parse(path)


def test_a_day_is_simulated_in_ten_seconds() -> None:
    took = {CLARY: league_day.play(CLARY)}
    assert day(took).ok is (took[CLARY] <= 10.0) is True
    assert day({**took, "keda": 11.0}).ok is False
