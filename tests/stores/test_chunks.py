"""Chunks: whatever goes in comes out, small."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.domain.datapoints import Summary, nothing, single, weighed
from clary.stores import chunks

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
    plain = dict(chunks.decode(data, 6000, 60, spread=False))
    assert {at: s.count for at, s in plain.items()} == {at: s.count for at, s in points.items()}


def test_an_idle_hour_is_nearly_nothing_and_a_busy_one_little() -> None:
    made = random.Random(1)
    idle = {60 * minute: nothing() for minute in range(360)}
    busy = {60 * minute: single(1.0, made.randrange(200, 900)) for minute in range(360)}
    assert len(chunks.encode(idle, 0, 60)) < 360 * 0.5
    assert len(chunks.encode(busy, 0, 60)) < 360 * 6


@pytest.mark.parametrize("data", [b"\x09" + b"\0" * 10, b"\x02\x05\x00\x00\x00\x00\x00\x04\x00\x00\x00nonsense"])
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        list(chunks.decode(data, 0, 60))
