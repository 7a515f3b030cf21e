"""Statistics by their names, on distributions of which everything is known."""

from __future__ import annotations

import math

import pytest

from clary.domain.metrics.datapoints import Summary, nothing, single, weighed
from clary.domain.metrics.statistics import PLAIN, needs_spread, percentile_of, statistic

FOUR = weighed([(1.0, 1), (2.0, 1), (3.0, 1), (4.0, 1)])
HUNDRED = weighed((float(value), 1.0) for value in range(1, 101))


def about(value: float) -> object:
    return pytest.approx(value, rel=0.012)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SampleCount", 4.0),
        ("Sum", 10.0),
        ("Average", 2.5),
        ("Minimum", 1.0),
        ("Maximum", 4.0),
        ("p100", 4.0),
        ("p0", 1.0),
        ("p50", about(2.0)),
        ("p75.5", 4.0),
    ],
)
def test_statistics(name: str, value: float) -> None:
    found = statistic(name)
    assert found is not None
    assert found(FOUR) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tm90", about(sum(range(1, 91)) / 90)),
        ("TM(:90%)", about(sum(range(1, 91)) / 90)),
        ("TM(10%:90%)", about(sum(range(11, 91)) / 80)),
        ("TM(10%:)", about(sum(range(11, 101)) / 90)),
        ("IQM", about(sum(range(26, 76)) / 50)),
        ("iqm", about(sum(range(26, 76)) / 50)),
        ("TM(10.4:20.4)", about(sum(range(11, 21)) / 10)),
        ("tc90", pytest.approx(90.0)),
        ("TC(10%:90%)", pytest.approx(80.0)),
        ("TC(10.4:20.4)", 10.0),
        ("TC(:20.4)", 20.0),
        ("TC(20.4:)", 80.0),
        ("ts90", about(sum(range(1, 91)))),
        ("TS(80%:)", about(sum(range(81, 101)))),
        ("TS(10.4:20.4)", about(sum(range(11, 21)))),
        ("wm90", about((sum(range(1, 91)) + 10 * 90) / 100)),
        ("WM(10%:90%)", about((10 * 10 + sum(range(11, 91)) + 10 * 90) / 100)),
        ("WM(10.4:20.4)", about((10 * 10.4 + sum(range(11, 21)) + 80 * 20.4) / 100)),
        ("PR(:30.4)", 30.0),
        ("PR(10.4:30.4)", 20.0),
        ("PR(30.4:)", 70.0),
        ("pr(200:300)", 0.0),
        ("tc99.9", pytest.approx(99.9)),
    ],
)
def test_what_is_left_between_bounds(name: str, value: float) -> None:
    found = statistic(name)
    assert found is not None
    assert found(HUNDRED) == value


def test_the_lower_bound_is_excluded_and_the_upper_one_included() -> None:
    held = weighed([(5.0, 3), (5.0, 1)])
    assert [statistic(name)(held) for name in ("TC(5:6)", "TC(4:5)", "PR(4:5)", "TM(5:6)")] == [0.0, 4.0, 100.0, None]  # type: ignore[misc]


def test_of_samples_of_which_only_the_set_is_known_there_is_nothing_to_trim() -> None:
    known = Summary(4.0, 10.0, 1.0, 4.0, None)
    for name in ("tm90", "TC(:2)", "WM(10%:90%)", "PR(:2)", "IQM", "p50"):
        assert statistic(name)(known) is None  # type: ignore[misc]
    assert statistic("tm90")(single(7.0, 3)) == pytest.approx(7.0)  # type: ignore[misc]


def test_nothing_happened_sums_to_zero() -> None:
    names = ("Sum", "Average", "Maximum", "SampleCount", "p99", "tm99", "ts99", "tc99", "WM(1:2)")
    assert [statistic(name)(nothing()) for name in names] == [0.0] * len(names)  # type: ignore[misc]
    assert statistic("PR(:1)")(nothing()) is None, "a share of nothing"  # type: ignore[misc]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "average",
        "p101",
        "p",
        "p-1",
        "p50x",
        "tm101",
        "pr90",
        "TM(1:2%)",
        "TM(:)",
        "TM(90%:10%)",
        "TM(2:1)",
        "PR(1%:2%)",
    ],
)
def test_names_that_are_no_statistics(name: str) -> None:
    assert statistic(name) is None


def test_which_need_the_distribution() -> None:
    assert not any(needs_spread(name) for name in ("", *PLAIN))
    assert all(needs_spread(name) for name in ("p99", "tm99", "PR(:1)", "IQM"))
    assert percentile_of("p99.9") == pytest.approx(0.999)
    assert percentile_of("pr(:9)") is None
    assert math.isclose(percentile_of("p100") or 0, 1)
