"""The floor of what this time of day usually needs."""

from __future__ import annotations

import pytest

from clary.domain.scaling.signals import Memory, Sample
from clary.domain.scaling.usual import AHEAD, DAY, rate, replicas, windows

NOW = 1_800_000_030.0


def sample(service: float = 0.1) -> Sample:
    return Sample(NOW, 1, 1, 0, 0, 0, service, 0.0)


def test_the_same_minutes_of_the_last_days_a_start_ahead() -> None:
    found = windows(NOW, 90.0)
    assert len(found) == 14
    assert found[-1] == (1_800_000_120.0 - DAY, 1_800_000_120.0 - DAY + AHEAD)
    assert found[0][0] == found[-1][0] - 13 * DAY


def test_a_window_without_a_record_is_no_quiet_one() -> None:
    assert rate([]) is None
    assert rate([0.0, 120.0]) == 1.0


def test_the_usual_rate_by_what_a_request_takes_now() -> None:
    assert replicas([40.0] * 14, [sample()], Memory(), 0.5, 2) == 3
    assert replicas([40.0] * 14, [sample(0.2)], Memory(), 1.0, 2) == 5


@pytest.mark.parametrize(
    ("rates", "samples"), [([40.0] * 2, [sample()]), ([], [sample()]), ([40.0] * 14, []), ([40.0] * 14, [sample(0.0)])]
)
def test_without_days_or_a_service_time_there_is_no_floor(rates: list[float], samples: list[Sample]) -> None:
    assert replicas(rates, samples, Memory(), 0.5, 2) == 0
