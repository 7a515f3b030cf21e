"""Counts by bins that the first rows fixed."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.domain.monitoring.captured import Value
from clary.domain.monitoring.columns import Layout, name_of, present, rows, together

values = st.lists(st.one_of(st.none(), st.text(max_size=5), st.floats(allow_nan=False)), max_size=200)


@given(values, values)
def test_every_value_is_counted_once_whatever_came_first(first: list[Value], later: list[Value]) -> None:
    layout = Layout.of(first)
    counts = layout.empty()
    layout.count(counts, later)
    assert rows(counts) == len(later)
    assert counts[-2] == later.count(None)
    assert present(counts) == len(later) - counts[-2]
    assert len(layout.labels) == layout.bins == len(counts) - 2
    assert Layout.read(json.loads(json.dumps(layout.document()))) == layout
    half = len(later) // 2
    one, other = layout.empty(), layout.empty()
    layout.count(one, later[:half])
    layout.count(other, later[half:])
    assert together(one, other) == counts


def test_numbers_get_bins_of_equal_shares() -> None:
    layout = Layout.of([float(n) / 7 for n in range(1000)])
    counts = layout.empty()
    layout.count(counts, [float(n) / 7 for n in range(1000)])
    assert layout.numeric
    assert counts[:20] == [50] * 20
    layout.count(counts, [-1.0, 1e300, math.inf, "text"])
    assert counts[-3:] == [1, 0, 4]


def test_whole_numbers_of_few_values_are_categories() -> None:
    layout = Layout.of([float(n % 3) for n in range(99)])
    assert (layout.numeric, layout.categories) == (False, ("0", "1", "2"))
    counts = layout.empty()
    layout.count(counts, [0.0, "0", 7.0])
    assert counts == [2, 0, 0, 1, 0, 1]


def test_of_too_many_categories_none_is_new() -> None:
    layout = Layout.of([f"c{n}" for n in range(1000)])
    assert layout.known is None
    counts = layout.empty()
    layout.count(counts, ["never seen"])
    assert (counts[-1], counts[len(layout.categories)]) == (0, 1)


def test_a_constant_column_has_a_bin() -> None:
    layout = Layout.of([1e300] * 100)
    assert (layout.numeric, layout.categories, name_of(1e300)) == (False, ("1e+300",), "1e+300")


@pytest.mark.parametrize(
    "first",
    [
        [float(n) / 7 for n in range(100)],
        [f"c{n % 4}" for n in range(100)],
        [float(n % 3) for n in range(99)],
        [None] * 9,
    ],
)
def test_a_value_is_placed_where_it_is_counted(first: list[Value]) -> None:
    layout = Layout.of(first)
    for value in (*first[:12], "new", 1e9, -1e9, None):
        counts = layout.empty()
        layout.count(counts, [value])
        assert counts[layout.place(value)] == 1
