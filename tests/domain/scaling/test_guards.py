"""The tournament, the forecast floor and the way to zero."""

from __future__ import annotations

import pytest

from clary.domain.scaling.forecast import floor
from clary.domain.scaling.retreat import may_sleep
from clary.domain.scaling.tournament import RUNNING, Score, Standing, judge


def test_a_challenger_needs_six_better_replays_running() -> None:
    standing = Standing("a")
    for _ in range(RUNNING - 1):
        standing, switched, _ = judge(standing, {"a": Score(1.2, 0.0), "b": Score(1.1, 0.0)})
        assert not switched
    verdict = judge(standing, {"a": Score(1.2, 0.0), "b": Score(1.1, 0.0)})
    assert verdict.standing == Standing("b")
    assert verdict.reason == "b takes over from a: 1.100 against 1.200, the 6th replay running"


@pytest.mark.parametrize("miss", [Score(1.19, 0.0), Score(0.5, 0.0001)])
def test_one_miss_begins_again(miss: Score) -> None:
    standing = Standing("a", (("b", RUNNING - 1),))
    verdict = judge(standing, {"a": Score(1.2, 0.0), "b": miss})
    assert (verdict.switched, verdict.standing) == (False, Standing("a"))


def test_late_requests_weigh() -> None:
    assert Score(1.1, 0.001).total == pytest.approx(1.3)


def test_nothing_is_compared_with_nothing() -> None:
    assert not judge(Standing("a", (("b", 5),)), {"b": Score(0.1, 0.0)}).switched


def test_the_usual_rate_is_a_floor_and_needs_days() -> None:
    assert floor([40.0] * 14, 0.1, 3.0, 0.5, 0.5, 2) == 3
    assert floor([40.0, 40.0], 0.1, 3.0, 0.5, 0.5, 2) == 0
    assert floor([40.0] * 13 + [4000.0], 0.1, 3.0, 0.5, 0.5, 2) == 3


def test_only_what_wakes_in_time_sleeps() -> None:
    assert may_sleep(0.2, 0.15, 0.5)
    assert not may_sleep(1.4, 0.15, 0.5)
