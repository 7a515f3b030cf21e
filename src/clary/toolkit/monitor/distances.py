"""Distances between a baseline's distribution and the current one, as Deequ computes them. numpy only.

L-infinity is the largest difference between two distribution functions (numbers) or shares (categories). `Robust` takes off what chance
explains: 1.8 sqrt((n + m) / (n m)), the Kolmogorov-Smirnov bound for a false alarm in about 3 of 1,000 (Deequ's `Distance.scala`).
"""

from __future__ import annotations

import math
from typing import Any, Mapping, Tuple

import numpy as np

_ROBUST = 1.8
Weighed = Tuple[Any, Any]  # sorted values, weights


def corrected(distance: float, n: float, m: float, robust: bool) -> float:
    """The distance, less what chance explains."""
    return max(0.0, distance - _ROBUST * math.sqrt((n + m) / (n * m))) if robust else distance


def numeric(one: Weighed, other: Weighed, robust: bool) -> float:
    """Between two weighed samples, which are not empty."""
    n, m = float(one[1].sum()), float(other[1].sum())
    places = np.concatenate([one[0], other[0]])
    distance = float(np.max(np.abs(_ranks(one, places) - _ranks(other, places))))
    return corrected(distance, n, m, robust)


def _ranks(sample: Weighed, places: Any) -> Any:
    """The share of rows at or below each place."""
    values, weights = sample
    sums = np.concatenate([[0.0], np.cumsum(weights)])
    return sums[np.searchsorted(values, places, side="right")] / sums[-1]


def categorical(one: Mapping[str, int], other: Mapping[str, int], robust: bool) -> float:
    """Between the counts of two samples, which are not empty."""
    n, m = sum(one.values()), sum(other.values())
    distance = max(abs(one.get(key, 0) / n - other.get(key, 0) / m) for key in {*one, *other})
    return corrected(distance, n, m, robust)


def chi_squared(baseline: Mapping[str, int], current: Mapping[str, int]) -> float:
    """The p-value of the test that both samples have the same shares. Categories that the expected count is below 5 for are one."""
    n, m = sum(baseline.values()), sum(current.values())
    rows, rest = [], [0, 0]
    for key in {*baseline, *current}:
        pair = [baseline.get(key, 0), current.get(key, 0)]
        if sum(pair) * min(n, m) / (n + m) < 5:
            rest = [rest[0] + pair[0], rest[1] + pair[1]]
        else:
            rows.append(pair)
    if sum(rest):
        rows.append(rest)
    if len(rows) < 2:
        return 1.0
    table = np.array(rows, dtype=np.float64)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    return upper_gamma((len(rows) - 1) / 2, float(((table - expected) ** 2 / expected).sum()) / 2)


def upper_gamma(a: float, x: float) -> float:
    """Q(a, x), the regularized upper incomplete gamma function: by its series below a + 1, by its continued fraction (Lentz) above."""
    if x <= 0:
        return 1.0
    scale = math.exp(-x + a * math.log(x) - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        step = a
        while abs(term) > abs(total) * 1e-15:
            step += 1
            term *= x / step
            total += term
        return max(0.0, 1 - total * scale)
    b, c, d = x + 1 - a, 1e300, 1 / (x + 1 - a)
    value = d
    for i in range(1, 10_000):
        an = -i * (i - a)
        b += 2
        d = 1 / (an * d + b)
        c = b + an / c
        value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value * scale
