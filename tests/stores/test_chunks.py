"""Chunks: whatever goes in comes out, small."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.domain.metrics.datapoints import Summary, bucket, middle, nothing, single, weighed
from clary.stores import chunks

SHARES = (0.0, 0.1, 0.5, 0.75, 0.99, 1.0)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
SUMMARIES = st.one_of(
    st.builds(nothing),
    st.builds(single, NUMBERS),
    st.builds(lambda values: weighed((value, 1.0) for value in values), st.lists(NUMBERS, min_size=1, max_size=5)),
    st.builds(
        lambda low, size: Summary(3.0, low * 3 + size, low, low + size, None), st.integers(-9, 9), st.integers(1, 9)
    ),
)


@given(st.dictionaries(st.integers(0, 359), SUMMARIES, max_size=30))
def test_what_goes_in_comes_out(places: dict[int, Summary]) -> None:
    points = {6000 + 60 * place: summary for place, summary in places.items()}
    data = chunks.encode(points, 6000, 60)
    back = dict(chunks.decode(data, 6000, 60))
    assert list(back) == sorted(points)
    for at, summary in points.items():
        found = back[at]
        assert (found.count, found.low, found.high) == (summary.count, summary.low, summary.high)
        assert found.buckets == summary.buckets
        assert found.total == pytest.approx(summary.total, rel=1e-12, abs=1e-30)
        assert [found.percentile(share) for share in SHARES] == [summary.percentile(share) for share in SHARES]
    again = dict(chunks.decode(data, 6000, 60))
    for at, summary in points.items():  # before anybody asked for the distribution
        assert [again[at].percentile(share) for share in SHARES] == [summary.percentile(share) for share in SHARES]
    plain = dict(chunks.decode(data, 6000, 60, spread=False))
    assert {at: s.count for at, s in plain.items()} == {at: s.count for at, s in points.items()}


def test_an_idle_hour_is_nearly_nothing_and_a_busy_one_little() -> None:
    made = random.Random(1)
    idle = {60 * minute: nothing() for minute in range(360)}
    busy = {60 * minute: single(1.0, made.randrange(200, 900)) for minute in range(360)}
    assert len(chunks.encode(idle, 0, 60)) < 360 * 0.5
    assert len(chunks.encode(busy, 0, 60)) < 360 * 6


def test_a_distribution_takes_half_a_byte_for_each_bucket_that_is_filled() -> None:
    made = random.Random(1)
    points = {60 * n: weighed((float(made.lognormvariate(8.5, 0.4)), 1.0) for _ in range(100)) for n in range(360)}
    filled = sum(len(summary.buckets or ()) for summary in points.values())
    left = {
        at: Summary(s.count, round(s.total), middle(bucket(s.low)), middle(bucket(s.high)), s.buckets)
        for at, s in points.items()
    }
    assert len(chunks.encode(left, 0, 60)) < 0.6 * filled


def test_chunks_of_the_version_before_are_read() -> None:
    old = base64.b64decode(
        "AgQAAwAAADIAAAB4nGNgZGRiwAUagNgpUoDBwcEBu4IDQFyuwsCASx4IPgCh/QF73PIiAgz2Dg4AwtEIvHicY2Bg/s/AwPA/g+HYLwZW"
        "BgygohLi4OAAAINfBYs="
    )
    assert dict(chunks.decode(old, 6000, 60)) == {
        6000: nothing(),
        6060: single(1.0, 37.0),
        6120: weighed([(0.0, 10), (5.0, 80), (-2.0, 10)]),
        6240: Summary(4.0, 10.0, 1.0, 4.0, None),
    }


@pytest.mark.parametrize(
    "data",
    [
        b"\x09" + b"\0" * 10,
        b"\x02\x05\x00\x00\x00\x00\x00\x04\x00\x00\x00nonsense",
        b"\x03\x05\x00\x00\x00\x00\x00\x04\x00\x00\x00nonsense",
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        list(chunks.decode(data, 0, 60))
