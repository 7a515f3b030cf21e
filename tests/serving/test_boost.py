"""How many workers may be busy, how much is sent ahead and how long requests are kept together: plain numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.serving import boost


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((3, 100.0, 0.1, 5, 1, 8, None), 8),  # no objective: the allowance itself
        ((0, 0.0, 0.1, 0, 1, 8, 0.5), 1),  # idle: the base
        ((0, 30.0, 0.1, 0, 1, 8, 0.5), 3),  # load of 3 workers
        ((0, 30.0, 0.1, 10, 1, 8, 0.5), 5),  # and 10 queued: 2 more to be rid of them within the objective
        ((6, 1.0, 0.1, 0, 1, 8, 0.5), 6),  # never below what is busy
        ((0, 1000.0, 0.1, 0, 1, 8, 0.5), 8),  # never above the allowance
        (
            (3, 10.0, 0.1, 2, 1, 8, 0.5, 0.01),
            5,
        ),  # a queue that may take no time: a worker for each request that waits, and no more
    ],
)
def test_boost(arguments: tuple[Any, ...], wanted: int) -> None:
    assert boost.allowed(*arguments) == wanted


@given(
    st.integers(0, 20), st.floats(0, 1e4), st.floats(0, 10), st.integers(0, 10_000),
    st.integers(1, 4), st.integers(4, 64), st.floats(0.01, 10)
)  # fmt: skip
def test_boost_stays_between_base_and_allowance(
    busy: int, rate: float, service: float, queued: int, base: int, ceiling: int, objective: float
) -> None:
    assert base <= boost.allowed(busy, rate, service, queued, base, ceiling, objective) <= ceiling


@pytest.mark.parametrize(
    ("held", "service", "wanted"),
    [
        (0, 0.0001, False),  # nothing before it: that is not ahead
        (1, 0.0001, True),
        (23, 0.0005, True),
        (24, 0.0005, False),
        (31, 0.00001, True),
        (32, 0.00001, False),
        (1, 0.0039, True),
        (5, 0.0021, True),
        (6, 0.0021, False),
        (3, 0.0039, True),
        (4, 0.0039, False),
        (1, 0.004, False),
        (1, float("inf"), False),
    ],
)
def test_requests_go_ahead_while_they_are_expected_to_be_done_soon(held: int, service: float, wanted: bool) -> None:
    assert boost.sends_ahead(held, service) is wanted


def test_one_slow_prediction_stops_sending_ahead_for_long() -> None:
    service = boost.smoothed(float("inf"), 0.0002)
    assert service == 0.0002
    service = boost.smoothed(service, 1.0)
    waited = 0
    while not boost.sends_ahead(1, service):
        service = boost.smoothed(service, 0.0002)
        waited += 1
    assert 150 < waited < 500


def test_the_pace_of_batches_follows_what_was_quick_sooner() -> None:
    pace = boost.paced(float("inf"), 0.00002)
    assert pace == 0.00002
    slower, quicker = boost.paced(pace, 0.00003), boost.paced(pace, 0.00001)
    assert slower - pace < (pace - quicker) / 3


@pytest.mark.parametrize(
    ("waiting", "pace", "wanted"),
    [(1, 0.00001, True), (64, 0.00001, True), (100, 0.00001, False), (1, 0.001, False), (1, float("inf"), False)],
)
def test_requests_stay_together_where_that_costs_them_little(waiting: int, pace: float, wanted: bool) -> None:
    assert boost.together(waiting, pace) is wanted


@pytest.mark.parametrize(
    ("rate", "wanted"), [(0, 0), (2_500, 0), (7_999, 0), (8_000, 8), (20_000, 20), (1_000_000, 64)]
)
def test_batches_are_waited_for_at_high_rates_only(rate: float, wanted: int) -> None:
    assert boost.gathered(rate) == wanted


def test_answers_rest_only_while_their_worker_has_work_for_longer() -> None:
    assert boost.rest(15, 0.0002) == pytest.approx(0.0015)
    assert boost.rest(14, 0.0002) == 0
    assert boost.rest(3, 0.0011) == 0
    assert boost.rest(30, 0.0005) == boost.REST
    assert all(
        2 * service <= boost.rest(held, service) <= held * service / 2
        for held in range(1, boost.AHEAD_MOST)
        for service in (0.0001, 0.0003, 0.001, 0.003, 0.0039)
        if boost.rest(held, service)
    )


def test_a_worker_whose_answers_rest_is_not_taken_to_hang() -> None:
    assert boost.REST + boost.QUICK <= boost.HANGING / 2
