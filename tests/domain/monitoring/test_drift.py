"""The rule: its settings, and what it finds in one window."""

from __future__ import annotations

import pytest

from clary.domain.errors import Invalid
from clary.domain.monitoring.columns import Layout
from clary.domain.monitoring.drift import Compared, DriftRule, DriftSide, compare, judge

NUMBERS = Layout.of([float(n) / 3 for n in range(1000)])


def counted(layout: Layout, values: list[float | str | None]) -> list[int]:
    counts = layout.empty()
    layout.count(counts, values)
    return counts


def test_a_rule_is_read_from_its_tag() -> None:
    assert DriftRule.read("") == DriftRule()
    assert DriftRule.read("reference=1000 window=200") == DriftRule(reference=1000, window=200)
    assert DriftRule.read(DriftRule(effect=0.1, alarms=0.01).text()) == DriftRule(effect=0.1, alarms=0.01)


@pytest.mark.parametrize(
    "text",
    [
        "window",
        "window=",
        "window=x",
        "rows=5",
        "window=200 window=300",
        "window=1",
        "effect=2",
        "effect=nan",
        "minimum=600",
    ],
)
def test_a_wrong_one_is_refused_by_name(text: str) -> None:
    with pytest.raises(Invalid, match="clary:drift"):
        DriftRule.read(text)


def test_what_a_rule_costs_is_told() -> None:
    assert DriftRule().expected() == "at most 1 false alarm in 500,000 rows (1,000 windows of 500)"


def test_one_window_may_be_found_more_often_than_two_in_a_row() -> None:
    rule = DriftRule()
    assert rule.alarms / 2 < rule.rate(16_000, 5000) < rule.rate(500, 5000) < 0.05


@pytest.mark.parametrize(
    ("values", "test"),
    [
        ([333 * (n / 1000) ** 1.3 for n in range(1000)], "distribution"),
        ([float(n) / 3 if n % 4 else None for n in range(1000)], "missing"),
        ([float(n) / 3 * (1 if n % 25 else 1000) for n in range(1000)], "range"),
        ([166.0 + n / 20 for n in range(-600, 600)], "shares"),
    ],
)
def test_each_kind_of_difference_is_named(values: list[float | str | None], test: str) -> None:
    reference = counted(NUMBERS, [float(n) / 15 for n in range(5000)])
    found = compare(DriftSide(NUMBERS, reference, counted(NUMBERS, values)))
    assert found.test == test
    assert found.p < 1e-5
    assert found.effect > 0.02


def test_the_same_again_is_no_difference() -> None:
    counts = counted(NUMBERS, [float(n) / 3 for n in range(1000)])
    assert compare(DriftSide(NUMBERS, counts, counts))[:5] == (1000, 0.0, "shares", 0.0, 1.0)


def of(p: float, effect: float = 0.1, n: int = 500) -> Compared:
    return Compared(n, 0.1, "shares", effect, p, 0.0, 0.0)


def test_a_window_finds_what_is_significant_and_large_in_enough_rows() -> None:
    compared = {"yes": of(1e-9), "small": of(1e-9, effect=0.019), "chance": of(0.5), "few": of(1e-9, n=49)}
    assert judge(DriftRule(), compared, 500, 5000) == {"yes"}
    assert judge(DriftRule(), compared, 49, 5000) == set()
    assert judge(DriftRule(), {}, 500, 5000) == set()
