"""The way to zero."""

from __future__ import annotations

from clary.domain.scaling.retreat import may_sleep


def test_only_what_wakes_in_time_sleeps() -> None:
    assert may_sleep(0.2, 0.15, 0.5)
    assert not may_sleep(1.4, 0.15, 0.5)
