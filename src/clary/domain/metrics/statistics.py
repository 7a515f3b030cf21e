"""CloudWatch's statistics by their names: what each says of a summary. Pure (AWS's user guide, "CloudWatch statistics definitions").

`Sum` and its like are exact. The others go by the distribution, which is right to 1 %: percentiles (`p99.9`), and what is left of the
samples between two bounds, the lower one excluded and the upper one included: `TM(10%:90%)` or `TM(150:1000)`; in short `tm90` for
`TM(:90%)`.

| name | what |
|---|---|
| TM | trimmed mean: the mean of what is between the bounds |
| TC, TS | count and sum of what is between them |
| WM | winsorized mean: what is outside counts as the bound |
| PR | percentile rank: how many of all are between two values, in percent |
| IQM | interquartile mean: `TM(25%:75%)` |
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

from clary.domain.metrics.datapoints import Summary, middle

Statistic = Callable[[Summary], float | None]
Weighed = Sequence[tuple[float, float]]  # value and how often, by value
PLAIN: Mapping[str, Statistic] = {
    "SampleCount": lambda summary: summary.count,
    "Sum": lambda summary: summary.total,
    "Minimum": lambda summary: summary.low,
    "Maximum": lambda summary: summary.high,
    "Average": lambda summary: summary.total / summary.count if summary.count else 0.0,
}
KNOWN = "Average, Maximum, Minimum, SampleCount, Sum, percentiles (p99), TM, TC, TS, WM (tm99, WM(10%:90%)), PR(:300) and IQM"

_SHARE = r"(?:100(?:\.0{1,10})?|\d{1,2}(?:\.\d{1,10})?)"
_PERCENTILE = re.compile(rf"p({_SHARE})")
_SHORT = re.compile(rf"(tm|tc|ts|wm)({_SHARE})", re.IGNORECASE)
_NUMBER = r"-?\d{1,30}(?:\.\d{1,10})?"
_SHARES = re.compile(rf"(TM|TC|TS|WM)\((?:({_SHARE})%)?:(?:({_SHARE})%)?\)", re.IGNORECASE)
_VALUES = re.compile(rf"(TM|TC|TS|WM|PR)\(({_NUMBER})?:({_NUMBER})?\)", re.IGNORECASE)


def statistic(name: str) -> Statistic | None:
    """The function behind a statistic's name; None for a name that is none of ours."""
    plain = PLAIN.get(name)
    if plain is not None:
        return plain
    share = percentile_of(name)
    if share is not None:
        return lambda summary: summary.percentile(share)
    if name.upper() == "IQM":
        return _by_shares("TM", 0.25, 0.75)
    if match := _SHORT.fullmatch(name):
        return _by_shares(match[1].upper(), 0.0, float(match[2]) / 100)
    if match := _SHARES.fullmatch(name):
        return _between(match, 0.0, 1.0, 100, _by_shares)
    if match := _VALUES.fullmatch(name):
        return _between(match, -math.inf, math.inf, 1, _by_values)
    return None


def percentile_of(name: str) -> float | None:
    """0.99 for p99; None for what is no percentile."""
    match = _PERCENTILE.fullmatch(name)
    return float(match[1]) / 100 if match is not None else None


def needs_spread(name: str) -> bool:
    """Whether it cannot be told without the distribution of the samples."""
    return bool(name) and name not in PLAIN


def _between(
    match: re.Match[str], least: float, most: float, scale: float, make: Callable[[str, float, float], Statistic]
) -> Statistic | None:
    """At least one bound, in order."""
    low, high = (float(each) / scale if each else end for each, end in ((match[2], least), (match[3], most)))
    return make(match[1].upper(), low, high) if low < high and (match[2] or match[3]) else None


def _by_shares(what: str, low: float, high: float) -> Statistic:
    def compute(summary: Summary) -> float | None:
        held = _weighed(summary)
        if held is None or not summary.count:
            return None if held is None else 0.0
        first, last = low * summary.count, high * summary.count
        kept, passed = [], 0.0
        for value, count in held:
            inside = min(passed + count, last) - max(passed, first)
            if inside > 1e-9:
                kept.append((value, inside))
            passed += count
        below, above = first, max(0.0, summary.count - last)
        return _told(what, kept, (summary.percentile(low) or 0.0, below), (summary.percentile(high) or 0.0, above))

    return compute


def _by_values(what: str, low: float, high: float) -> Statistic:
    def compute(summary: Summary) -> float | None:
        held = _weighed(summary)
        if held is None or not summary.count:
            return None if held is None or what == "PR" else 0.0
        kept = [(value, count) for value, count in held if low < value <= high]
        if what == "PR":
            return 100 * sum(count for _, count in kept) / summary.count
        below = sum(count for value, count in held if value <= low)
        above = sum(count for value, count in held if value > high)
        return _told(what, kept, (low, below), (high, above))

    return compute


def _told(what: str, kept: Weighed, below: tuple[float, float], above: tuple[float, float]) -> float | None:
    """`below` and `above`: the bounds, and how many samples are beyond each."""
    count, total = sum(each for _, each in kept), sum(value * each for value, each in kept)
    if what == "TC":
        return count
    if what == "TS":
        return total
    if what == "WM":
        for bound, beyond in (below, above):
            count, total = count + beyond, total + (bound * beyond if beyond else 0.0)
    return total / count if count else None


def _weighed(summary: Summary) -> Weighed | None:
    """The samples, in order. None: how they are distributed is not known."""
    if summary.low == summary.high:
        return [(summary.low, summary.count)]
    if not summary.buckets:
        return None
    return [
        (min(max(middle(number), summary.low), summary.high), count)
        for number, count in sorted(summary.buckets.items())
    ]
