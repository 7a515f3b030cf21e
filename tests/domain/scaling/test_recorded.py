"""From a variant's datapoints to the seconds that are played again."""

from __future__ import annotations

import pytest

from clary.domain.scaling.recorded import Recorded, Service, day_of, starts, variation
from clary.domain.scaling.replay import UNKNOWN
from clary.domain.scaling.signals import Current
from clary.domain.scaling.staffing import tail

BEGIN = 1_800_000_000.0
SERVICE = Service(BEGIN, 0.1, 0.1, 0.1)


def test_seconds_are_taken_as_they_are_and_an_idle_endpoint_tells_each_ten_seconds() -> None:
    day = day_of(
        [(BEGIN + 1, 3.0), (BEGIN + 2, 4.0), (BEGIN + 12, 0.0), (BEGIN + 40, 5.0)], [], [SERVICE], BEGIN, BEGIN + 60
    )
    assert day.begin == BEGIN
    assert list(day.arrivals[:14]) == [UNKNOWN, 3, 4, *[0] * 10, UNKNOWN]
    assert day.arrivals[40] == 5
    assert set(day.arrivals[13:40]) == set(day.arrivals[41:]) == {UNKNOWN}


@pytest.mark.parametrize("count", [0, 7, 600, 6000])
def test_a_minute_is_spread_over_its_seconds_and_always_alike(count: int) -> None:
    minutes = [(BEGIN, float(count)), (BEGIN + 120, float(count))]
    day = day_of([], minutes, [SERVICE], BEGIN, BEGIN + 180)
    first, second, third = (list(day.arrivals[place : place + 60]) for place in (0, 60, 120))
    assert (sum(first), sum(third)) == (count, count)
    assert min(first) >= 0
    assert set(second) == {UNKNOWN}
    assert (first == third) == (count == 0), "another minute has another draw"
    assert day_of([], minutes, [SERVICE], BEGIN, BEGIN + 180) == day


def test_what_is_known_by_the_second_is_not_taken_by_the_minute_too() -> None:
    day = day_of([(BEGIN + 60, 9.0)], [(BEGIN, 60.0), (BEGIN + 60, 9.0)], [SERVICE], BEGIN, BEGIN + 120)
    assert sum(count for count in day.arrivals if count != UNKNOWN) == 69
    assert day.arrivals[60] == 9


def test_a_minute_without_an_answer_takes_what_the_one_before_took() -> None:
    services = [Service(BEGIN + 60, 0.2, 0.2, 0.2), Service(BEGIN + 180, 0.4, 0.4, 0.4)]
    day = day_of([(BEGIN, 1.0)], [], services, BEGIN, BEGIN + 240)
    assert [mean for mean, _ in day.services] == [0.2, 0.2, 0.2, 0.4]


def test_the_spread_of_services_gives_their_95th_percentile_back() -> None:
    assert variation(Service(BEGIN, 0.1, 0.1, 0.1)) == 0.0
    median, p95 = 0.1, 0.3
    spread = variation(Service(BEGIN, 0.0, median, p95))
    mean = median * (1.0 + spread) ** 0.5
    assert tail(mean, spread) == pytest.approx(p95)


def test_a_start_is_from_a_decision_until_as_many_serve() -> None:
    replicas = [(BEGIN + n, 1.0 if n < 7 else 3.0) for n in range(20)]
    assert starts([(BEGIN + 5.5, 3)], replicas) == (1.5,)
    assert starts([(BEGIN + 5.5, 4), (BEGIN - 9, 3)], replicas) == (), (
        "it never served; it began before anything is known"
    )


def test_the_capacity_that_was() -> None:
    recorded = Recorded([(BEGIN, 1.0), (BEGIN + 60, 2.6)])
    assert [recorded.at(BEGIN + n) for n in (-5, 0, 59, 60, 900)] == [1, 1, 1, 3, 3]
    assert recorded.decide([], Current(1), 0.0, BEGIN + 60).count == 3
