"""Clary's own rule of drift: an effect that matters, which chance does not explain, in two windows in a row. Pure.

For each column up to four tests between reference and window: the cumulated distribution (Kolmogorov and Smirnov), the shares of the bins
(chi-square), the share of missing values and of values out of range (Fisher). A column's p is the smallest, times their number; over the
columns the false discovery rate is bounded (Benjamini and Hochberg). A column drifts when it is found in two windows of one size in a
row, each time with an effect of at least `effect`. The windows are fixed by their number of rows, so looking more often tests nothing
more; each is also merged with its neighbours to windows of 2, 4, ... times the rows, so small drifts are found too, only later.

False alarms: two windows in a row are compared to one reference, whose own chance they share: their correlation is n / (n + m).
`Rule.rate` is chosen so that both are found by chance with at most `alarms` / 2 at each size; larger windows come half as often, so all
sizes together give at most `alarms` false alarms for each window of the smallest size.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clary.domain.endpoints.capture import DRIFT as TAG
from clary.domain.errors import Invalid
from clary.domain.monitoring import significance
from clary.domain.monitoring.columns import Layout, present, rows

SIZES = 6  # windows of 1, 2, ... 32 times the rows


@dataclass(frozen=True, slots=True)
class DriftRule:
    """`reference` and `window` in rows; `effect` in shares (0.02: two rows in a hundred are elsewhere); `alarms`: false alarms of an
    endpoint's variant for each window; `minimum`: rows in which a column must have a value, else it is not judged."""

    reference: int = 5000
    window: int = 500
    effect: float = 0.02
    alarms: float = 0.001
    minimum: int = 50

    def __post_init__(self) -> None:
        bounds = {
            "reference": (100, 1_000_000),
            "window": (50, 1_000_000),
            "effect": (0, 1),
            "alarms": (1e-9, 0.1),
            "minimum": (10, 1_000_000),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise Invalid(f"{TAG}: {name}={getattr(self, name):g} must be from {low:g} to {high:g}.")
        if self.minimum > self.window:
            raise Invalid(f"{TAG}: minimum={self.minimum} must not exceed window={self.window}.")

    @classmethod
    def read(cls, text: str) -> DriftRule:
        """From `reference=5000 window=500 ...`; what is not named has its default. Invalid: not so."""
        given: dict[str, float] = {}
        for word in text.split():
            name, _, value = word.partition("=")
            if name not in cls.__slots__ or name in given:
                raise Invalid(f"{TAG}: '{word}' is none of {', '.join(f'{each}=NUMBER' for each in cls.__slots__)}.")
            try:
                given[name] = float(value) if name in ("effect", "alarms") else int(value)
            except ValueError:
                raise Invalid(f"{TAG}: '{value}' of {name} is not a number.") from None
        return cls(**given)  # type: ignore[arg-type]

    def text(self) -> str:
        return " ".join(f"{name}={getattr(self, name):g}" for name in self.__slots__)

    def rate(self, n: int, m: int) -> float:
        """The false discovery rate of one window of `n` rows against a reference of `m`."""
        return _rate(self.alarms / 2, n, m)

    def expected(self) -> str:
        """What the setting costs, in words."""
        every = round(self.window / self.alarms)
        return f"at most 1 false alarm in {every:,} rows ({round(1 / self.alarms):,} windows of {self.window:,})"


@functools.lru_cache(maxsize=1024)
def _rate(alarms: float, n: int, m: int) -> float:
    return significance.each_for_both(alarms, n / (n + m) if n + m else 1.0)


class Compared(NamedTuple):
    """A column's window against its reference. `distance`: the larger of the KS distance and the total variation of the bins, both from
    0 to 1; `effect`: the difference of shares in the most significant test, which `test` names; `p` is the column's, of all its tests."""

    n: int
    distance: float
    test: str  # distribution, shares, missing or range
    effect: float
    p: float
    missing: float
    outside: float


class DriftSide(NamedTuple):
    """What is compared: a layout, and the counts of reference and window in it."""

    layout: Layout
    reference: Sequence[int]
    current: Sequence[int]


def compare(side: DriftSide) -> Compared:
    """All tests of one column."""
    layout, ours, theirs = side
    bins = layout.bins
    of, among = rows(theirs), rows(ours)
    held, known = present(theirs), present(ours)
    tests = {"shares": significance.chi_square(ours[:bins], theirs[:bins])}
    distance = tests["shares"][0]
    if layout.numeric:
        tests["distribution"] = significance.kolmogorov_smirnov(ours[: bins - 1], theirs[: bins - 1])
        distance = max(distance, tests["distribution"][0])
    tests["missing"] = significance.fisher(theirs[-2], of, ours[-2], among)
    if layout.known is not None:
        tests["range"] = significance.fisher(theirs[-1], held, ours[-1], known)
    name = min(tests, key=lambda each: tests[each][1])
    effect, p = tests[name]
    return Compared(
        of,
        distance,
        name,
        effect,
        min(1.0, p * len(tests)),
        theirs[-2] / of if of else 0.0,
        theirs[-1] / held if held else 0.0,
    )


def judge(rule: DriftRule, compared: Mapping[str, Compared], n: int, m: int) -> set[str]:
    """The columns that this one window finds: significant, and with an effect. One window alone is no alarm."""
    judged = [name for name, each in compared.items() if each.n >= rule.minimum]
    if n < rule.minimum or not judged:
        return set()
    found = significance.discoveries([compared[name].p for name in judged], rule.rate(n, m))
    return {
        name for name, is_found in zip(judged, found, strict=True) if is_found and compared[name].effect >= rule.effect
    }
