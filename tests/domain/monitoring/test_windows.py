"""When monitoring schedules are due, and what time their runs look at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.monitoring import windows

HOURLY = {"ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"}}
AT = datetime(2030, 1, 1, 10, tzinfo=UTC).timestamp()


def now(**config: str) -> dict[str, Any]:
    return {"ScheduleConfig": {"ScheduleExpression": "NOW", **config}}


@pytest.mark.parametrize(
    ("text", "seconds"), [("-PT1H", -3600), ("-PT0H", 0), ("PT0H", 0), ("-P1D", -86_400), ("-P1DT2H3M4S", -93_784)]
)
def test_offsets_are_iso_durations(text: str, seconds: float) -> None:
    assert windows.offset(text, "x") == seconds


@pytest.mark.parametrize("text", ["PT1H", "-1H", "P", "-PT", "-P1DT", "yesterday"])
def test_an_offset_that_is_none_or_positive_is_named(text: str) -> None:
    with pytest.raises(Invalid, match="StartTimeOffset"):
        windows.offset(text, "StartTimeOffset")


def test_an_hourly_run_looks_at_the_hour_before() -> None:
    assert windows.window(HOURLY, {}, AT, 0.0, AT + 5) == (AT - 3600, AT)


def test_offsets_of_the_input_come_first() -> None:
    config = {"ScheduleConfig": {**HOURLY["ScheduleConfig"], "DataAnalysisStartTime": "-PT5H"}}
    given = {"StartTimeOffset": "-P1D", "EndTimeOffset": "-PT2H"}
    assert windows.window(config, given, AT, 0.0, AT) == (AT - 86_400, AT - 7200)
    assert windows.window(config, {}, AT, 0.0, AT) == (AT - 5 * 3600, AT)


def test_a_missed_run_looks_at_all_that_was_missed() -> None:
    assert windows.window(HOURLY, {}, AT, 0.0, AT + 7300) == (AT - 3600, AT + 7300)


def test_now_is_due_once_and_needs_its_window() -> None:
    config = now(DataAnalysisStartTime="-PT1H", DataAnalysisEndTime="-PT0H")
    windows.check(config)
    assert windows.following(config, AT - 1, AT) == AT
    assert windows.following(config, AT, AT) is None
    assert windows.window(config, {}, AT, AT, AT + 9e9) == (AT - 3600, AT)
    with pytest.raises(Invalid, match="needed"):
        windows.check(now(DataAnalysisStartTime="-PT1H"))


@pytest.mark.parametrize("expression", ["at(2030-01-01T00:00:00)", "cron(x)", "rate(0 hours)", "hourly"])
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(Invalid, match="ScheduleExpression"):
        windows.check({"ScheduleConfig": {"ScheduleExpression": expression}})


def test_no_expression_is_daily() -> None:
    assert windows.following({}, AT, 0.0) == AT + 14 * 3600
