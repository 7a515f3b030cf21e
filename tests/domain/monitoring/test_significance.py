"""Tests against exact sums, and by drawing."""

from __future__ import annotations

import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.domain.monitoring import significance


@given(st.integers(1, 60), st.floats(0, 300))
def test_the_gamma_function_of_a_whole_number_is_poissons_sum(a: int, x: float) -> None:
    oracle = math.fsum(math.exp(-x + k * math.log(x) - math.lgamma(k + 1)) for k in range(a)) if x else 1.0
    assert significance.upper_gamma(a, x) == pytest.approx(oracle, rel=1e-8, abs=1e-13)


@given(st.floats(0, 300))
def test_the_gamma_function_of_halves_is_the_error_functions(x: float) -> None:
    oracle = math.erfc(math.sqrt(x))
    assert significance.upper_gamma(0.5, x) == pytest.approx(oracle, rel=1e-8, abs=1e-13)
    further = oracle + 2 * math.sqrt(x / math.pi) * math.exp(-x)
    assert significance.upper_gamma(1.5, x) == pytest.approx(further, rel=1e-8, abs=1e-13)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60), st.integers(0, 200))
def test_fishers_p_is_twice_the_exact_tail(hits: int, rest: int, others: int, more: int) -> None:
    of, among, total = hits + rest, others + more, hits + others
    _, p = significance.fisher(hits, of, others, among)
    if not of or not among:
        assert p == 1.0
        return
    whole = math.comb(of + among, total)
    shares = {k: Fraction(math.comb(of, k) * math.comb(among, total - k), whole) for k in range(min(of, total) + 1)}
    upper = hits * (of + among) >= total * of
    tail = sum(share for k, share in shares.items() if (k >= hits if upper else k <= hits))
    assert p == pytest.approx(min(1.0, 2 * float(tail)), rel=1e-9)


def test_chi_square_is_pearsons_where_no_bin_is_scarce() -> None:
    reference, current = [200, 300, 500], [30, 25, 45]
    observed = np.array([reference, current])
    expected = observed.sum(1, keepdims=True) * observed.sum(0) / observed.sum()
    statistic = float(((observed - expected) ** 2 / expected).sum())
    distance, p = significance.chi_square(reference, current)
    assert p == pytest.approx(math.exp(-statistic / 2))  # of two degrees of freedom
    assert distance == pytest.approx(0.1)


def test_scarce_bins_are_put_together() -> None:
    thin = significance.chi_square([500, 500, *[1] * 100], [250, 250, *[0] * 100])
    assert thin[1] == significance.chi_square([500, 500, 100], [250, 250, 0])[1] < 1e-8


def test_the_distance_is_that_of_the_cumulated_shares() -> None:
    draw = np.random.default_rng(3)
    one, other = draw.multinomial(700, [0.1] * 10), draw.multinomial(90, [0.1] * 10)
    distance, p = significance.kolmogorov_smirnov(one.tolist(), other.tolist())
    assert distance == pytest.approx(np.abs(np.cumsum(one) / 700 - np.cumsum(other) / 90).max())
    assert 0.05 < p <= 1.0


def test_kolmogorovs_law_has_its_published_quantiles() -> None:
    """1.358 at 5 % and 1.628 at 1 % (Smirnov 1948)."""
    many = 10**8
    for level, quantile in ((0.05, 1.3581), (0.01, 1.6276)):
        apart = quantile * math.sqrt(2 * many) / 2
        counts = [many / 2 + apart, many / 2 - apart], [many / 2 - apart, many / 2 + apart]
        assert significance.kolmogorov_smirnov(*counts)[1] == pytest.approx(level, rel=0.01)


@pytest.mark.parametrize("test", [significance.kolmogorov_smirnov, significance.chi_square])
def test_chance_alone_is_found_no_more_often_than_said(test: object) -> None:
    draw = np.random.default_rng(5)
    shares = np.full(20, 0.05)
    found = [
        test(draw.multinomial(4000, shares).tolist(), draw.multinomial(400, shares).tolist())[1]  # type: ignore[operator]
        for _ in range(4000)
    ]
    for level in (0.05, 0.01):
        assert np.mean(np.array(found) <= level) <= level * 1.3


def test_nothing_to_compare_says_nothing() -> None:
    assert significance.kolmogorov_smirnov([0, 0], [3, 4]) == (0.0, 1.0)
    assert significance.chi_square([1, 2], [0, 0]) == (0.0, 1.0)
    assert significance.fisher(0, 0, 3, 9) == (0.0, 1.0)


def test_discoveries_are_benjamini_and_hochbergs() -> None:
    p = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216]
    assert sum(significance.discoveries(p, 0.05)) == 2
    assert significance.discoveries([0.04, 0.9, 0.045], 0.07) == [
        True,
        False,
        True,
    ]  # a later rank brings the earlier ones
    assert significance.discoveries([], 0.05) == []


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8, 1.0])
def test_the_chance_of_both_is_what_drawing_says(correlation: float) -> None:
    draw = np.random.default_rng(9)
    one, own = draw.normal(size=(2, 400_000))
    other = correlation * one + math.sqrt(1 - correlation**2) * own
    level = NormalDist().inv_cdf(0.9)
    found = float(np.mean((one > level) & (other > level)))
    assert significance.both(0.1, correlation) == pytest.approx(found, abs=0.0015)


def test_each_may_be_found_more_often_where_both_must_be() -> None:
    assert significance.each_for_both(0.0001, 0.0) == pytest.approx(0.01, rel=1e-3)
    assert significance.each_for_both(0.0001, 1.0) == pytest.approx(0.0001)
    assert 0.0001 < significance.each_for_both(0.0001, 0.5) < 0.01
