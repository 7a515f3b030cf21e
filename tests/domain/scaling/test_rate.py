from __future__ import annotations

import random

import pytest

from clary.domain.scaling.rate import LEAST, MOST, estimate, remember, spread, trend, variability
from clary.domain.scaling.signals import Memory, Sample


def second(time: int, arrivals: int) -> Sample:
    return Sample(float(time), arrivals, arrivals, 0, 0, 0, 0.1, 0.1)


def test_steady_arrivals_keep_the_minutes_mean() -> None:
    rate = estimate([10, 9, 11, 10] * 15, 1.0, 3.0)
    assert rate.now == 10.0 == rate.means[-1]


def test_noise_is_no_evidence() -> None:
    counts = [10] * 56 + [14] * 4
    assert estimate(counts, 1.0, 3.0).now == sum(counts) / 60


def test_a_burst_is_believed_within_a_second() -> None:
    assert estimate([10] * 59 + [100], 1.0, 3.0).now > 25.0
    assert estimate([10] * 56 + [100] * 4, 1.0, 3.0).now == 100.0


def test_an_end_is_believed_as_far_as_the_evidence_goes() -> None:
    ended = estimate([10] * 56 + [0] * 4, 1.0, 3.0)
    assert ended.now == ended.high < 10.0
    assert estimate([10] * 30 + [0] * 30, 1.0, 3.0).now < 1.0


def test_bursty_arrivals_need_more_evidence() -> None:
    counts = [10] * 58 + [30] * 2
    assert estimate(counts, 25.0, 3.0).now < estimate(counts, 1.0, 3.0).now


def test_few_samples_do() -> None:
    assert estimate([7], 1.0, 3.0).now == 7.0


def test_variability_of_random_arrivals_is_one_and_a_trend_adds_nothing() -> None:
    draw = random.Random(7)
    flat = remember(Memory(), [second(t, sum(draw.random() < 0.1 for _ in range(200))) for t in range(1, 3000)])
    assert variability(flat) == pytest.approx(0.9, abs=0.15)  # binomial: 1 - p
    ramp = remember(Memory(), [second(t, t) for t in range(1, 500)])
    assert variability(ramp) == LEAST


def test_variability_is_bounded_and_unknown_at_first() -> None:
    assert variability(Memory()) == 1.0
    assert variability(remember(Memory(), [second(t, 1000 * (t % 2)) for t in range(1, 200)])) == MOST


def test_memory_is_the_same_by_pieces_and_at_once() -> None:
    samples = [second(t, (t * 7) % 11) for t in range(1, 200)]
    pieces = Memory()
    for end in range(1, 200):
        pieces = remember(pieces, samples[max(0, end - 60) : end])
    assert pieces == remember(Memory(), samples)


def test_a_gap_is_no_difference() -> None:
    assert remember(Memory(), [second(1, 0), second(100, 50)]).steps == 0.0


def test_trend_needs_significance() -> None:
    assert trend([10, 11] * 8, 1.0) == 0.0
    assert trend(list(range(0, 150, 10)), 1.0) == pytest.approx(10.0)
    assert trend([5] * 14, 1.0) == 0.0


def test_a_burst_is_spread_over_what_its_requests_may_wait() -> None:
    assert spread([0] * 58 + [100, 100], 8.0) == 20.0  # 200 in two seconds and eight more
    assert spread([0] * 59 + [7], 0.0) == 7.0
    assert spread([10] * 60, 8.0) == 10.0  # what comes all the time is put off by nobody
