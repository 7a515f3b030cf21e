"""From samples to minutes, and from minutes to a day."""

from __future__ import annotations

import pytest

from clary.domain.scaling.day import MINUTES, MOST, SECONDS, UNKNOWN, Minute, Seconds, day_of, known
from clary.domain.scaling.signals import Sample

NOON = 1_800_000_000 // 60


def at(time: float, arrivals: int, service: float = 0.1) -> Sample:
    return Sample(time, arrivals, arrivals, 0, 0, 0, service, 0.2)


def minute(number: int, count: int = 1, service: float = 0.1) -> Minute:
    return Minute(number, (count,) * 60, service, 0.2)


def test_a_minute_is_told_when_it_is_over() -> None:
    seconds, begin = Seconds(), NOON * 60.0
    samples = [at(begin + n + 0.3, n) for n in range(60)]
    assert seconds.take(samples) == []
    assert seconds.take([*samples, at(begin + 60.3, 9)]) == [Minute(NOON, tuple(range(60)), 0.1, 0.2)]


def test_looks_that_are_not_on_the_second_lose_no_request() -> None:
    seconds, begin = Seconds(), NOON * 60.0
    times = [0.02, 1.01, 1.99, 3.01, 4.0, *(n + 0.0 for n in range(5, 61))]
    [made] = seconds.take([at(begin + time, 5) for time in times])
    assert made.arrivals[:5] == (5, 10, 2, 3, 5)
    assert UNKNOWN not in made.arrivals


def test_what_nobody_counted_is_unknown() -> None:
    seconds, begin = Seconds(), NOON * 60.0
    [made] = seconds.take([at(begin + 10, 1), at(begin + 20, 2), at(begin + 60, 1)])
    assert (made.arrivals[9], made.arrivals[10], made.arrivals[15], made.arrivals[20]) == (UNKNOWN, 1, UNKNOWN, 2)
    assert sum(count != UNKNOWN for count in made.arrivals) == 2


def test_a_clock_that_is_set_back_begins_again() -> None:
    seconds, begin = Seconds(), NOON * 60.0
    seconds.take([at(begin + 3600, 1)])
    assert [each.number for each in seconds.take([at(begin, 2)])] == [NOON + 60]
    assert [each.arrivals[0] for each in seconds.take([at(begin + 60, 1)])] == [2]


def test_more_than_fits_is_the_most() -> None:
    seconds, begin = Seconds(), NOON * 60.0
    [made] = seconds.take([at(begin, 10**6), at(begin + 60, 0)])
    assert made.arrivals[0] == MOST


def test_how_much_of_a_day_is_known() -> None:
    day = [minute(NOON - n - 1) for n in range(MINUTES)]
    assert known(day, NOON * 60.0 + 59) == 1.0
    assert known(day[: MINUTES // 2], NOON * 60.0) == 0.5
    assert known([*day[: MINUTES // 2], minute(NOON - MINUTES - 1), minute(NOON + 5)], NOON * 60.0) == 0.5
    assert known([Minute(NOON - 1, (UNKNOWN, *(0,) * 59), 0.0, 0.0)], NOON * 60.0) == pytest.approx(59 / SECONDS)


def test_a_day_has_every_second_and_a_service_from_the_first_answer_on() -> None:
    kept = [minute(NOON - MINUTES, 2, 0.0), minute(NOON - 10, 3, 0.5), minute(NOON - 1, 4, 0.7), minute(NOON, 9)]
    day = day_of(kept, NOON * 60.0 + 5)
    assert (day.begin, len(day.arrivals), len(day.services)) == ((NOON - MINUTES) * 60, SECONDS, MINUTES)
    assert (day.arrivals[0], day.arrivals[60], day.arrivals[-600], day.arrivals[-1]) == (2, UNKNOWN, 3, 4)
    assert (day.services[0][0], day.services[-5][0], day.services[-1][0]) == (0.5, 0.5, 0.7)
    assert day_of([], NOON * 60.0).arrivals[0] == UNKNOWN
