"""Summaries: additive, exact but for percentiles, which are right to 1 %."""

from __future__ import annotations

import random

import pytest

from clary.domain.metrics.datapoints import ONE, Summary, bucket, counted, middle, nothing, single, weighed


@pytest.mark.parametrize("value", [1e-12, 3e-7, 0.5, 1.0, 1.0000001, 7.0, 12345.678, 3.6e9, 1e17, -0.25, -40.0])
def test_a_bucket_stands_for_values_within_one_percent(value: float) -> None:
    assert middle(bucket(value)) == pytest.approx(value, rel=0.0101)


def test_buckets_are_in_the_order_of_their_values_and_fit_in_16_bits() -> None:
    values = [-1e30, -2.0, -1.0, -1e-30, 0.0, 1e-30, 1.0, 2.0, 1e30]
    numbers = [bucket(value) for value in values]
    assert numbers == sorted(numbers)
    assert max(map(abs, numbers)) < 1 << 15
    assert bucket(1.0) == ONE


def test_merging_is_the_same_in_any_order_and_grouping() -> None:
    made = random.Random(4)
    values = [made.choice((0.0, made.lognormvariate(3, 2), -made.random())) for _ in range(500)]
    whole, left, right = nothing(), nothing(), nothing()
    for number, value in enumerate(values):
        whole.merge(single(value))
        (left if number % 3 else right).merge(single(value))
    right.merge(left)
    assert (right.count, right.low, right.high, right.buckets) == (whole.count, whole.low, whole.high, whole.buckets)
    assert right.total == pytest.approx(whole.total)
    ordered = sorted(values)
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        assert whole.percentile(share) == pytest.approx(ordered[max(0, round(share * 500) - 1)], rel=0.02)


def test_merging_leaves_the_other_alone() -> None:
    one, other = single(1.0), weighed([(2.0, 1), (3.0, 1)])
    before = dict(other.buckets or {})
    one.merge(other)
    one.merge(other)
    assert (other.count, other.buckets) == (2.0, before)
    copy = nothing()
    copy.merge(other)
    copy.merge(single(9.0))
    assert other.buckets == before


def test_an_unknown_distribution_has_no_percentiles_unless_all_samples_are_equal() -> None:
    known = Summary(4.0, 10.0, 1.0, 4.0, None)
    assert known.percentile(0.5) is None
    assert Summary(4.0, 8.0, 2.0, 2.0, None).percentile(0.5) == 2.0
    known.merge(single(2.0))
    assert (known.count, known.percentile(0.5)) == (5.0, None)


def test_counted_values_have_their_exact_sum() -> None:
    summary = counted({bucket(100.0): 3, bucket(200.0): 1, bucket(7.0): 0}, 501.0)
    assert (summary.count, summary.total) == (4, 501.0)
    assert (summary.low, summary.high) == (pytest.approx(100, rel=0.01), pytest.approx(200, rel=0.01))
    assert counted({bucket(5.0): 2}, 10.02) == single(5.01, 2)
    assert counted({}, 0.0) == nothing()
