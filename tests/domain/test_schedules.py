"""When schedules are due: in their time zone, over clock changes, with cron's special days."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from clary.domain.errors import Invalid
from clary.domain.schedules import parse


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def said(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@pytest.mark.parametrize(
    ("text", "zone", "now", "due"),
    [
        ("at(2026-03-01T08:00:00)", "", "2026-02-01T00:00:00", "2026-03-01T08:00:00"),
        ("at(2026-03-01T08:00:00)", "America/New_York", "2026-02-01T00:00:00", "2026-03-01T13:00:00"),
        ("at(2026-03-01T08:00:00)", "", "2026-03-01T08:00:00", ""),
        ("rate(5 minutes)", "", "2026-01-01T00:12:00", "2026-01-01T00:15:00"),
        ("rate(1 day)", "", "2026-01-03T00:00:00", "2026-01-04T00:00:00"),
        ("cron(0 9 * * ? *)", "", "2026-01-01T09:00:00", "2026-01-02T09:00:00"),
        ("cron(0 9 * * ? *)", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-29T07:00:00"),  # summer time began
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-29T01:30:00"),  # 02:30 does not exist
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-24T12:00:00", "2026-10-25T00:30:00"),  # 02:30 comes twice ...
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-26T01:30:00"),  # ... and is due once
        ("rate(1 hour)", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-25T01:00:00"),  # hours are not repeated
        ("cron(0/15 * ? * MON-FRI *)", "", "2026-01-02T23:50:00", "2026-01-05T00:00:00"),  # after Friday: Monday
        ("cron(0 0 L * ? *)", "", "2026-02-01T00:00:00", "2026-02-28T00:00:00"),
        ("cron(0 0 LW * ? *)", "", "2026-02-01T00:00:00", "2026-02-27T00:00:00"),
        ("cron(0 0 1W 8 ? *)", "", "2026-01-01T00:00:00", "2026-08-03T00:00:00"),  # the 1st is a Saturday
        ("cron(0 0 ? * 2#1 *)", "", "2026-01-06T00:00:00", "2026-02-02T00:00:00"),
        ("cron(0 0 ? * 6L *)", "", "2026-01-01T00:00:00", "2026-01-30T00:00:00"),
        ("cron(0 12 29 2 ? *)", "", "2026-01-01T00:00:00", "2028-02-29T12:00:00"),
        ("cron(0 0 1 1 ? 2025)", "", "2026-01-01T00:00:00", ""),
        ("cron(0 0 1 1 ? 2055)", "", "2026-01-01T00:00:00", "2055-01-01T00:00:00"),
        ("cron(30 23,1 1,15 3-4 ? *)", "", "2026-03-01T01:30:00", "2026-03-01T23:30:00"),
        ("cron(0 8 30 2 ? *)", "", "2026-01-01T00:00:00", ""),  # there is no such day
    ],
)
def test_next_time(text: str, zone: str, now: str, due: str) -> None:
    assert said(parse(text, zone).after(at(now), at("2026-01-01T00:00:00"))) == due


@pytest.mark.parametrize(
    ("text", "zone", "word"),
    [
        ("daily", "", "Schedule daily"),
        ("at(2026-03-01)", "", "yyyy-mm-ddThh:mm:ss"),
        ("rate(0 minutes)", "", "rate"),
        ("rate(5 weeks)", "", "rate"),
        ("cron(0 9 * * *)", "", "six fields"),
        ("cron(0 9 * * * *)", "", "?"),
        ("cron(60 9 * * ? *)", "", "60 is no minutes"),
        ("cron(0 9 ? * FOO *)", "", "FOO is no day of week"),
        ("cron(0 9 1 FEB-X ? *)", "", "FEB-X is no month"),
        ("rate(5 minutes)", "Mars/Olympus", "IANA"),
    ],
)
def test_bad_schedules_say_what_is_wrong(text: str, zone: str, word: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text, zone)
    assert word in caught.value.message
