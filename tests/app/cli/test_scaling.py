"""`clary scaling`: which metrics it asks for, what it makes of them, and how a terminal shows it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from clary.app.cli import charts, scaling
from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused
from clary.app.cli.scaling_figure import METRICS, MOST_MARKS, Story, document, figure, marks, period_of, points, queries
from clary.domain.metrics.statistics import statistic
from clary.domain.scaling import decisions
from clary.domain.scaling.decisions import Event, State

NOON = 1_800_000_000.0
TWO, FOUR = State(2, 2000, 8), State(4, 2000, 8)


def event(at: float, before: State = TWO, after: State = FOUR, level: str = "fleet", **more: Any) -> Event:
    return Event(NOON + at, "clary", level, "load", "the load is high", before, after, **{"applied": True, **more})


def story(*events: Event, series: dict[str, Any] | None = None, activities: tuple[Any, ...] = ()) -> Story:
    return Story("e", "v", NOON, NOON + 600, 5, series or {}, events, activities)


@pytest.mark.parametrize(
    ("span", "ago", "period"),
    [
        (30, 0, 1),
        (600, 0, 5),
        (3600, 0, 10),
        (10_000, 0, 30),
        (4 * 3600, 0, 60),
        (86_400, 0, 300),
        (7 * 86_400, 0, 3600),
        (600, 86_400, 60),
    ],
)
def test_points_are_as_fine_as_is_kept_and_seen(span: float, ago: float, period: int) -> None:
    assert period_of(NOON - ago - span, NOON - ago, NOON) == period


def test_queries_are_of_known_statistics_and_one_variant() -> None:
    asked = queries("e", "v", 10)
    assert [row["Id"] for row in asked] == [metric.key for metric in METRICS]
    assert all(statistic(row["MetricStat"]["Stat"]) for row in asked)
    assert {tuple(d["Value"] for d in row["MetricStat"]["Metric"]["Dimensions"]) for row in asked} == {("e", "v")}


def test_a_component_has_its_own_name_in_place_of_a_variant() -> None:
    asked = [row["MetricStat"]["Metric"] for row in queries("e/c", "copies", 10)]
    assert all(row["Dimensions"] == [{"Name": "InferenceComponentName", "Value": "c"}] for row in asked)
    assert "/aws/sagemaker/InferenceComponents" in {row["Namespace"] for row in asked}
    told = Story("e/c", "copies", NOON, NOON + 600, 5, {})
    assert figure(told).title == "Scaling of e, component c"
    api: Any = Api(DescribeInferenceComponent={"EndpointName": "e"})
    assert scaling.variants_of(api, "e/c", "") == ["copies"]
    for endpoint, variant in (("other/c", ""), ("e/c", "v")):
        with pytest.raises(CommandRefused, match="`clary scaling e/c`"):
            scaling.variants_of(api, endpoint, variant)


def test_points_are_in_the_units_that_are_shown() -> None:
    found = points(
        {
            "arrivals": [(0, 50.0)],
            "replicas": [(5, 2.0), (10, 3.0)],
            "cpu": [(0, 100.0), (5, 150.0), (12, 50.0)],
            "each": [(7, 500.0)],
            "p99": [(0, 250_000.0)],
        },
        10,
    )
    assert (found["arrivals"], found["p99"], found["queued"]) == ([(0, 5.0)], [(0, 250.0)], [])
    assert found["cpu"] == [(5, 3.0), (12, 1.5)]  # of all replicas that there were; before, nobody knows
    assert found["given"] == [(7, 1.0)]


def test_marks_are_what_changed_or_was_refused() -> None:
    held = event(1, after=TWO, level="hold", applied=False)
    again = event(1.5, after=TWO, level="hold", applied=False)
    told = event(2, after=TWO)
    later = event(3, applied=False)
    refused = event(4, refused="no room for it", applied=False)
    still = event(4.5, refused="no room for it", applied=False)
    shown, more = marks(story(held, again, told, later, refused, still, event(5)))
    assert ([(mark.at - NOON, mark.refused) for mark in shown], more) == ([(1, False), (4, True), (5, False)], 0)
    assert shown[0].text == "held. The load is high"
    assert shown[1].text == "not done (2 to 4 replicas): no room for it. The load is high"


def test_what_is_desired_changes_at_the_decision_not_when_it_is_next_told() -> None:
    told = story(
        event(7), event(8, refused="no", applied=False), series={"desired": [(NOON + 5, 2.0), (NOON + 10, 4.0)]}
    )
    panel = next(panel for panel in figure(told).panels if panel.title == "Replicas")
    assert panel.curves[1].points == [(NOON + 5, 2.0), (NOON + 7, 4.0), (NOON + 10, 4.0)]


def test_replicas_come_before_workers_where_there_are_many() -> None:
    many = [event(n, after=State(2, 2000, 8 + n), level="staffing") for n in range(1, 21)]
    shown, more = marks(story(event(0), *many))
    assert (len(shown), more) == (MOST_MARKS, 21 - MOST_MARKS)
    assert [mark.at - NOON for mark in shown] == [0, *range(21 - MOST_MARKS + 1, 21)]


def test_activities_stand_in_where_no_decision_was_written() -> None:
    row = {
        "StartTime": NOON + 9,
        "Description": "Setting desired instance count to 2.",
        "Cause": "c",
        "StatusCode": "Successful",
    }
    full = {**row, "NotScaledReasons": [{"Code": "NoRoom"}], "StatusCode": "NotScaled"}
    shown, _ = marks(story(activities=(row, full)))
    assert [(mark.text, mark.refused) for mark in shown] == [
        ("Setting desired instance count to 2. c", False),
        ("Setting desired instance count to 2. c NoRoom", True),
    ]
    assert marks(story(event(1), activities=(row,)))[0][0].text.startswith("2 to 4 replicas")


def test_a_terminal_asks_for_fewer_points() -> None:
    assert [period_of(NOON - 600, NOON, NOON, most) for most in (400, charts.MOST_POINTS)] == [5, 5]
    assert [period_of(NOON - 3600, NOON, NOON, most) for most in (400, charts.MOST_POINTS)] == [10, 30]


def test_a_program_gets_everything() -> None:
    found = document(story(event(1), series={"arrivals": [(NOON, 5.0)], "given": []}))
    assert found["series"]["arrivals"] == {"unit": "1/s", "points": [[NOON, 5.0]]}
    assert decisions.parse(json.dumps(found["decisions"][0])) == event(1)


def shown(told: Story, width: int, encoding: str = "utf-8") -> list[str]:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    charts.show([figure(told)], Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False))
    out.seek(0)
    return out.read().splitlines()


BUSY = {
    "arrivals": [(NOON + n, float(n)) for n in range(0, 600, 5)],
    "replicas": [(NOON + n, 2.0 if n < 300 else 4.0) for n in range(0, 600, 5)],
    "desired": [(NOON + n, 2.0 if n < 280 else 4.0) for n in range(0, 600, 5)],
}


@pytest.mark.parametrize("width", [44, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = shown(story(event(290), event(300, refused="no room " * 20, applied=False), series=BUSY), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for said in ("Load, requests/s", "arrivals 595", "ready 4", "desired 4", "no answers in this time", "1-2"):
        assert said in text


def test_a_rising_load_rises() -> None:
    lines = shown(story(series=BUSY), 80)
    rows = [line[9:] for line in lines[2:6]]
    ink = [len(row.replace("⠀", " ").strip()) for row in rows]
    assert ink == sorted(ink)
    assert ink[0] < ink[-1] / 2
    assert [line.split()[0] for line in (lines[2], lines[5])] == ["600", "0"]


def test_terminals_without_utf_8_get_ascii() -> None:
    lines = shown(story(event(290), series=BUSY), 80, "ascii")
    assert all(line.isascii() for line in lines)
    assert sum("###" in line for line in lines) > 4


def test_text_of_others_drives_no_terminal() -> None:
    evil = Event(NOON, "p", "fleet", "w", "x\x1b[2J", TWO, FOUR, applied=True)
    assert "\x1b" not in "\n".join(shown(story(evil), 80))


class Api(Client):
    """A client that answers from a table."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def call(self, service: str, operation: str, params: Any = None) -> Any:
        answer = self.answers[operation]
        if isinstance(answer, Exception):
            raise answer
        return answer


GONE = ApiFailure("DescribeEndpoint", "ValidationException", 'Could not find endpoint "e".')


def test_which_variants() -> None:
    two: Any = Api(DescribeEndpoint={"ProductionVariants": [{"VariantName": "a"}, {"VariantName": "b"}]})
    assert scaling.variants_of(two, "e", "") == ["a", "b"]
    assert scaling.variants_of(two, "e", "b") == ["b"]
    with pytest.raises(CommandRefused, match="no variant 'c': there is a, b") as refused:
        scaling.variants_of(two, "e", "c")
    assert refused.value.code == NOT_FOUND
    streams = [{"logStreamName": "b"}, {"logStreamName": "a"}]
    told: Any = Api(DescribeEndpoint=GONE, DescribeLogStreams={"logStreams": streams})
    assert scaling.variants_of(told, "e", "") == ["a", "b"]
    gone: Any = Api(DescribeEndpoint=GONE, DescribeLogStreams={"logStreams": []})
    assert scaling.variants_of(gone, "e", "a") == ["a"]
    with pytest.raises(CommandRefused, match="Could not find"):
        scaling.variants_of(gone, "e", "")
    coming: Any = Api(DescribeEndpoint={"PendingDeploymentSummary": {"ProductionVariants": [{"VariantName": "a"}]}})
    assert scaling.variants_of(coming, "e", "") == ["a"]


def test_no_decisions_where_there_is_no_group() -> None:
    api: Any = Api(GetLogEvents=ApiFailure("GetLogEvents", "ResourceNotFoundException", "no"))
    assert list(scaling.events_of(api, "e", "v", 0.0)) == []


@pytest.mark.parametrize(
    ("since", "out", "told"), [("1s", "", "from 30s on"), ("all", "", "from 30s on"), ("1h", "a.gif", ".svg or .png")]
)
def test_what_is_refused_before_anything_is_asked(since: str, out: str, told: str) -> None:
    with pytest.raises(CommandRefused, match=told) as refused:
        scaling.scaling(None, "e", "", since, out, as_json=False)
    assert refused.value.code == USAGE


def test_a_png_has_twice_the_pixels() -> None:
    pytest.importorskip("resvg_py")
    drawn = '<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"></svg>'
    data = scaling.png(drawn)
    assert (data[:4], data[16:24]) == (b"\x89PNG", (60).to_bytes(4, "big") + (40).to_bytes(4, "big"))
