"""Counts, sums, quantiles and distributions of the answers of one variant."""

from __future__ import annotations

from collections import Counter

import pytest

from clary.domain.metrics.datapoints import bucket, middle
from clary.serving.counters import KEPT, Counters


def test_quantiles_are_of_the_last_answers() -> None:
    counters = Counters()
    assert counters.quantiles(0.5, 0.99) == [0.0, 0.0]
    for number in range(KEPT * 2):
        counters.record(float(number), 0.0)
    p50, p99 = counters.quantiles(0.5, 0.99)
    assert p50 == KEPT * 1.5
    assert p99 >= KEPT * 1.98
    assert counters.completed == KEPT * 2


@pytest.mark.parametrize("steps", [(3,), (KEPT,), (KEPT - 1, 3), (KEPT, 1, KEPT), (KEPT + 500, 10)])
def test_distributions_count_every_answer(steps: tuple[int, ...]) -> None:
    counters = Counters()
    for step in steps:
        for _ in range(step):
            counters.record(0.0015, 0.001)
        counters.tally()
        counters.tally()
    for buckets, micros in ((counters.model_buckets, 1000), (counters.overhead_buckets, 500)):
        ((number, count),) = buckets.items()
        assert (middle(number), count) == (pytest.approx(micros, rel=0.011), pytest.approx(sum(steps)))


def test_only_new_answers_are_tallied() -> None:
    counters = Counters()
    for model in (0.001, 0.002):
        for _ in range(KEPT // 2 + 7):
            counters.record(model, model)
        counters.tally()
    assert sorted(counters.model_buckets.values()) == pytest.approx([KEPT // 2 + 7] * 2)


def test_each_latency_is_in_its_own_bucket() -> None:
    counters = Counters()
    models = [0.0, 1e-9, 1e-6, 1.0000001e-6, 0.00317, 0.9, 60.0, 3600.0]
    for model in models:
        counters.record(model, model)
    counters.tally()
    assert counters.model_buckets == dict(Counter(bucket(model * 1e6) for model in models))
    assert counters.overhead_buckets == {0: len(models)}


def test_sums_are_of_all_answers_and_never_fall() -> None:
    counters = Counters()
    before = (0, 0.0, 0.0)
    for number in range(KEPT + 10):
        counters.hand_on(0.0005)
        counters.record(0.003 + number * 1e-6, 0.001, 0.0005)
        if number % 97 == 0 or number > KEPT - 3:
            now = (counters.completed, counters.model_seconds, counters.overhead_seconds)
            assert all(a > b for a, b in zip(now, before, strict=True))
            before = now
    count = KEPT + 10
    overhead = count * 0.0015 + 1e-6 * count * (count - 1) / 2
    assert before == pytest.approx((count, count * 0.0015, overhead))


def test_what_was_not_answered_is_an_error_of_the_model_and_what_was_refused_is_not() -> None:
    counters = Counters()
    counters.failed()
    counters.refuse()
    assert (counters.errors_5xx, counters.model_errors, counters.unanswered, counters.refused) == (2, 1, 1, 1)
