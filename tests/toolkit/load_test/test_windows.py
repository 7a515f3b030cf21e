"""What a load test makes of the answers: throughput, latency, when it ends."""

from __future__ import annotations

from typing import Any

import pytest

from clary.toolkit.load_test import windows
from clary.toolkit.load_test.windows import LoadWindow, Phase, TimedAnswer


def window(users: int, answers: int, took: float = 0.01, failed: int = 0) -> LoadWindow:
    """Five seconds."""
    good = [TimedAnswer(1.0, took, "") for _ in range(answers)]
    return LoadWindow(0.0, 5.0, users, [*good, *[TimedAnswer(1.0, 0.001, "HTTP 500") for _ in range(failed)]])


def test_throughput_and_latency_are_of_good_answers() -> None:
    took = [TimedAnswer(1.0, at / 1000, "") for at in range(1, 101)]
    seen = LoadWindow(0.0, 10.0, 3, [*took, TimedAnswer(1.0, 9.0, "broken")])
    assert seen.per_minute == 600.0
    assert [seen.percentile_ms(each) for each in (50, 95, 99)] == pytest.approx([50.0, 95.0, 99.0])
    assert seen.failed == 1


def test_users_come_as_a_phase_says() -> None:
    phase = Phase(2, 30, 20)
    assert [phase.users_at(second) for second in (0, 2, 10, 20)] == [2, 3, 7, 12]
    assert windows.cuts(phase) == [(0, 5), (5, 10), (10, 15), (15, 20)]
    assert windows.cuts(Phase(1, 0, 3)) == [(0, 3)]


def test_it_ends_when_more_users_bring_no_more() -> None:
    grows = [window(1, 100), window(2, 200), window(4, 390)]
    assert windows.over(grows, {"flat": True}) == ""
    flat = [*grows, window(8, 400), window(16, 395)]
    assert windows.over(flat[:-1], {"flat": True}) == ""
    assert windows.over(flat, {"flat": True}) == "flat"
    assert windows.over(flat, {"flat": False}) == ""
    assert windows.over([window(1, 100)] * 5, {"flat": True}) == ""  # the same users: nothing was tried


@pytest.mark.parametrize(
    ("last", "limits", "why"),
    [
        (window(1, 100), {"most": 1200}, "invocations"),
        (window(1, 100), {"most": 1201}, ""),
        (window(1, 100, 0.05), {"latency": [95.0, 49]}, "latency"),
        (window(1, 100, 0.05), {"latency": [95.0, 51]}, ""),
        (window(1, 100, failed=2), {}, "requests fail"),
        (window(1, 0), {}, "requests fail"),
    ],
)
def test_it_ends_at_a_limit(last: LoadWindow, limits: dict[str, Any], why: str) -> None:
    assert windows.over([last], limits) == why


def test_the_result_is_of_the_best_window_within_the_limits() -> None:
    seen = [window(1, 100, 0.01), window(2, 180, 0.02), window(4, 300, 0.2), window(8, 900, 0.01, failed=100)]
    told = windows.told(seen, {"latency": [95.0, 100]}, "latency")
    assert told is not None
    assert (told["invocations"], told["users"], told["latency_ms"]) == (2160, 2, 20.0)
    assert (told["requests"], told["failed"], told["why"]) == (1580, 100, "latency")
    assert windows.told(seen, {"latency": [95.0, 1]}, "latency") is None


def test_why_there_is_no_result() -> None:
    assert "P95 is 10.0 ms at best" in windows.refusal([window(1, 100)], {"latency": [95.0, 1]})
    assert windows.refusal([window(1, 0, failed=3)], {}) == "3 of 3 requests failed: HTTP 500"
    assert "No request was answered" in windows.refusal([window(1, 0)], {})
