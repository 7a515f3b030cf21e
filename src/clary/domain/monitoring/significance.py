"""Probabilities that chance alone gives such a difference, by the standard library alone. Pure.

Two samples of `n` and `m` rows are given as counts by bin. Each function answers a p-value that is valid, or errs to the larger side, when
the bins were fixed before the rows were counted. Sources: Kolmogorov and Smirnov's asymptotic law with Stephens' correction; Pearson's
chi-square for homogeneity; Fisher's exact test; Benjamini and Hochberg (1995).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

LEAST_EXPECTED = (
    10.0  # rows that both samples should have in a bin of the chi-square test; scarcer ones are put together
)
_TINY = 1e-300


def kolmogorov_smirnov(reference: Sequence[float], current: Sequence[float]) -> tuple[float, float]:
    """(largest difference of the cumulated shares over ordered bins, p)."""
    m, n = sum(reference), sum(current)
    if not m or not n:
        return 0.0, 1.0
    below = distance = 0.0
    for ours, theirs in zip(reference, current, strict=True):
        below += theirs / n - ours / m
        distance = max(distance, abs(below))
    root = math.sqrt(m * n / (m + n))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.3:
        return distance, 1.0
    tail = 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 40))
    return distance, min(1.0, max(0.0, tail))


def chi_square(reference: Sequence[float], current: Sequence[float]) -> tuple[float, float]:
    """(total variation distance of the shares, p); scarce bins are put together first."""
    m, n = sum(reference), sum(current)
    if not m or not n:
        return 0.0, 1.0
    share = min(m, n) / (m + n)
    kept, scarce = [], [0.0, 0.0]
    for ours, theirs in zip(reference, current, strict=True):
        if (ours + theirs) * share >= LEAST_EXPECTED:
            kept.append((ours, theirs))
        else:
            scarce = [scarce[0] + ours, scarce[1] + theirs]
    if sum(scarce) * share >= LEAST_EXPECTED:
        kept.append((scarce[0], scarce[1]))
    distance = sum(abs(theirs / n - ours / m) for ours, theirs in kept) / 2
    if len(kept) < 2:
        return distance, 1.0
    m, n = sum(ours for ours, _ in kept), sum(theirs for _, theirs in kept)
    up, down = math.sqrt(m / n), math.sqrt(n / m)
    statistic = sum((up * theirs - down * ours) ** 2 / (ours + theirs) for ours, theirs in kept)
    return distance, upper_gamma((len(kept) - 1) / 2, statistic / 2)


def fisher(hits: int, of: int, others: int, among: int) -> tuple[float, float]:
    """(difference of the shares hits/of and others/among, two-sided p: twice the smaller tail) of the hypergeometric law."""
    if not of or not among:
        return 0.0, 1.0
    total, rows = hits + others, of + among
    expected = total * of / rows
    upper = hits >= expected
    steps = range(hits, min(total, of) + 1) if upper else range(hits, max(0, total - among) - 1, -1)
    scale = _choose(rows, total)
    tail = 0.0
    for count in steps:
        term = math.exp(_choose(of, count) + _choose(among, total - count) - scale)
        tail += term
        if term < tail * 1e-12:
            break
    return abs(hits / of - others / among), min(1.0, 2 * tail)


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def upper_gamma(a: float, x: float) -> float:
    """The regularised upper incomplete gamma function Q(a, x), to 1e-12: a series below a + 1, else Lentz's continued fraction."""
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for step in range(1, 10_000):
            term *= x / (a + step)
            total += term
            if term < total * 1e-15:
                break
        return max(0.0, 1 - total * front)
    b, c = x + 1 - a, 1 / _TINY
    d = fraction = 1 / b
    for step in range(1, 10_000):
        factor = -step * (step - a)
        b += 2
        d = 1 / _away(factor * d + b)
        c = _away(b + factor / c)
        fraction *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return min(1.0, front * fraction)


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def discoveries(p: Sequence[float], rate: float) -> list[bool]:
    """Which of these Benjamini and Hochberg's procedure rejects: of those rejected, a share of at most `rate` is expected to be false;
    where nothing changed, the chance that any is rejected is at most `rate`."""
    order = sorted(range(len(p)), key=p.__getitem__)
    last = max((rank for rank, place in enumerate(order, 1) if p[place] <= rate * rank / len(p)), default=0)
    found = [False] * len(p)
    for place in order[:last]:
        found[place] = True
    return found


def both(rate: float, correlation: float) -> float:
    """The chance that two standard normal variables of this correlation both exceed what one exceeds with chance `rate`."""
    level = NormalDist().inv_cdf(1 - rate)
    if correlation >= 1 - 1e-9:
        return rate
    spread, step, total = math.sqrt(1 - correlation * correlation), 8 / 400, 0.0
    for place in range(401):  # Simpson's rule over the 8 deviations above the level
        x = level + place * step
        weight = 1 if place in (0, 400) else 4 if place % 2 else 2
        total += weight * math.exp(-x * x / 2) * math.erfc((level - correlation * x) / spread / math.sqrt(2)) / 2
    return total * step / 3 / math.sqrt(2 * math.pi)


def each_for_both(rate: float, correlation: float) -> float:
    """The chance to give each of two such variables, so that both exceed with chance `rate` at most."""
    low, high = rate, 0.5
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if both(middle, correlation) <= rate else (low, middle)
    return low
