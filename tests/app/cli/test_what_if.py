"""`clary scaling --what-if`: what it reads of a recorded day, and what it tells of both replays."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from clary.app.cli import charts, scaling, what_if
from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused
from clary.domain.objectives.what_if import WhatIf, parse
from clary.domain.scaling.decisions import Event, State

NOW = 1_800_000_000.0 + 6 * 3600
HOURS = 6
OBJECTIVE = {"LatencyObjective": 500, "MinCapacity": 1, "MaxCapacity": 4}


class Recording(Client):
    """An endpoint of which six hours are recorded: 4 requests a second, 40 in the fourth hour, on one replica, then two."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, list[dict[str, Any]]()
        self.begin = NOW - HOURS * 3600

    def rate(self, at: float) -> float:
        return 40.0 if 3 <= (at - self.begin) // 3600 < 4 else 4.0

    def value(self, name: str, statistic: str, at: float, period: int) -> float:
        return {
            "Invocations": self.rate(at) * period,
            "ModelLatency": {"Average": 100_000.0, "p50": 95_000.0, "p95": 150_000.0}.get(statistic, 0.0),
            "Replicas": 2.0 if at >= self.begin + 5 * 3600 else 1.0,
            "WorkersActive": 3.0,
            "WorkersAllowed": 2.0 if at < self.begin + 5 * 3600 else 4.0,
            "MillicpuPerReplica": 2000.0,
            "CPUUtilization": 20.0,
        }[name]

    def call(self, service: str, operation: str, params: Any = None) -> Any:
        self.asked.append({"operation": operation, **dict(params or {})})
        if operation == "GetMetricData":
            return {"MetricDataResults": [self.row(query, params) for query in params["MetricDataQueries"]]}
        answer = self.answers.get(operation, {})
        if isinstance(answer, Exception):
            raise answer
        return answer

    def row(self, query: Any, params: Any) -> dict[str, Any]:
        asked, period = query["MetricStat"], query["MetricStat"]["Period"]
        name = asked["Metric"]["MetricName"]
        times: list[float] = []
        if name not in ("LatencyObjective", "LateRequests"):
            first = max(params["StartTime"], self.begin)
            times = [first + place * period for place in range(int((params["EndTime"] - first) // period))]
        return {
            "Id": query["Id"],
            "Timestamps": times,
            "Values": [self.value(name, asked["Stat"], at, period) for at in times],
        }

    def page(self, path: str) -> Any:
        return {"machine": {"cpus": 8}}


def play(api: Recording, asked: WhatIf, **how: Any) -> Any:
    load = what_if.load_of(api, "e", "v", NOW - 24 * 3600, NOW)
    return what_if.show(api, load, how.pop("events", ()), asked, "fast", "1d", False, as_json=how.pop("as_json", False))


def test_the_newest_hours_are_read_by_the_second_and_the_older_by_the_minute() -> None:
    api = Recording()
    load = what_if.load_of(api, "e", "v", NOW - 24 * 3600, NOW)
    assert load.begin == api.begin, "before it nothing is known"
    periods = {query["MetricStat"]["Period"] for asked in api.asked for query in asked["MetricDataQueries"]}
    assert periods == {1, 60}
    assert load.seconds["arrivals"][0] == (NOW - 3 * 3600, 40.0)
    joined = load.joined("arrivals")
    assert (joined[0], joined[-1][0]) == ((api.begin, 240.0), NOW - 1)
    assert len(joined) == 3 * 60 + 3 * 3600
    assert load.services[0] == (api.begin, pytest.approx(0.1), pytest.approx(0.095), pytest.approx(0.15))


def test_what_the_metrics_say_of_the_variant() -> None:
    api = Recording()
    load = what_if.load_of(api, "e", "v", NOW - 24 * 3600, NOW)
    grown = Event(NOW - 3600.5, "p", "fleet", "load", "why", State(1), State(2), applied=True)
    known = what_if.known_of(load, [grown], 8, "aws", parse(OBJECTIVE))
    assert (known.workers, known.objective, known.millicpu, known.cpus, known.timing) == (2, 0.0, 2000, 8, "aws")
    assert (known.starts, known.start, known.late) == ((0.5,), 0.5, 0.5)
    work = (5 * 4 + 40) * 3600 * 0.1
    used = 0.2 * (5 * 1 + 1 * 2) * 3600
    assert known.cost == pytest.approx(used / work)


def test_both_are_told_and_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = play(Recording(), parse(OBJECTIVE))
    told = capsys.readouterr().out
    assert "e, variant v: " in told
    assert "requests of the last 1d, played again with a latency objective of 500 ms, 1 to 4 replicas" in told
    rows = {line[:16].strip(): line[16:].split() for line in told.splitlines()}
    assert rows["instance-hours"][0] == "7.000"
    assert rows["worker-seconds"][0] == f"{3 * HOURS * 3600:,}"
    assert rows["replicas, most"] == ["2", "4"] or rows["replicas, most"] == ["2", "3"]
    assert float(rows["late, %"][0]) > 10 > float(rows["late, %"][1]), "one replica was too small in the fourth hour"
    assert "older than three hours, each minute's requests come at random seconds" in told
    assert "a replica starts in 1.2 s (assumed, since no start was seen)" in told
    out = io.StringIO()
    charts.show([drawn], Console(file=out, width=100, force_terminal=False, color_system=None))
    assert "Replicas, count" in out.getvalue()
    assert "no decision" not in out.getvalue()


def test_a_program_gets_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    play(Recording(), parse(OBJECTIVE), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["requests"] == sum(each["requests"] for each in found["what_if"]["bins"])
    assert found["requests"] == pytest.approx((5 * 4 + 40) * 3600, rel=0.001)
    assert (found["range"], found["policy"]) == ([1, 4], "a latency objective of 500 ms")
    assert len(found["was"]["workers_active"]) == len(found["was"]["bins"])


class Quiet(Recording):
    """One that nobody asked anything."""

    def row(self, query: Any, params: Any) -> dict[str, Any]:
        return {"Id": query["Id"], "Timestamps": [], "Values": []}


def test_without_a_recorded_load_it_says_what_to_do() -> None:
    told = "no recorded load of e, variant v in the last 1d.*send it requests, or name a longer --since"
    with pytest.raises(CommandRefused, match=told) as refused:
        play(Quiet(), parse(OBJECTIVE))
    assert refused.value.code == NOT_FOUND


def test_the_range_is_the_files_or_its_targets() -> None:
    asked, bare = parse(OBJECTIVE), parse({"LatencyObjective": 500})
    assert what_if.within(Recording(), "e", "v", asked, "f") == asked
    row = {"MinCapacity": 2, "MaxCapacity": 5}
    target = Recording(DescribeScalableTargets={"ScalableTargets": [row]})
    found = what_if.within(target, "e", "v", bare, "f")
    assert (found.least, found.most) == (2, 5)
    assert target.asked[-1]["ResourceIds"] == ["endpoint/e/variant/v"]
    with pytest.raises(
        CommandRefused, match=r"f: \$\.MinCapacity, \$\.MaxCapacity: missing, and the variant has no scalable"
    ):
        what_if.within(Recording(DescribeScalableTargets={}), "e", "v", bare, "f")


def test_a_serverless_variant_has_no_replicas_to_count() -> None:
    rows = [{"VariantName": "v", "CurrentServerlessConfig": {"MaxConcurrency": 2}}]
    with pytest.raises(CommandRefused, match="is serverless"):
        what_if.within(Recording(DescribeEndpoint={"ProductionVariants": rows}), "e", "v", parse(OBJECTIVE), "f")
    gone = Recording(DescribeEndpoint=ApiFailure("DescribeEndpoint", "ValidationException", "no"))
    assert what_if.within(gone, "e", "v", parse(OBJECTIVE), "f").most == 4, "its metrics stay"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON: line 1, column 2"),
        (
            '{"LatencyObjective": -1}',
            r"policy.json: \$\.LatencyObjective: must be above 0.*docs/scaling.md has examples",
        ),
    ],
)
def test_a_file_that_holds_no_policy(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "policy.json"
    file.write_text(text)
    with pytest.raises(CommandRefused, match=told) as refused:
        scaling.scaling(None, "e", "", "", "", str(file), as_json=False)
    assert refused.value.code == USAGE
    with pytest.raises(
        CommandRefused, match=r"--what-if takes a file with a policy as JSON: .*nowhere\.json: No such file"
    ):
        scaling.scaling(None, "e", "", "", "", str(tmp_path / "nowhere.json"), as_json=False)


@pytest.mark.parametrize(
    ("seconds", "most", "width"),
    [(30, 400, 1), (600, 400, 2), (3600, 130, 30), (86_400, 400, 240), (7 * 86_400, 130, 4680)],
)
def test_a_bin_is_as_wide_as_a_picture_has_room_for(seconds: float, most: int, width: int) -> None:
    assert what_if.width_of(seconds, most) == width
