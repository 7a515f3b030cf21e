"""How right a variant is, by the labels that came: its rolling accuracy (or error) with an interval, and since when it is worse. Pure.

The first `reference` labelled rows of an endpoint config are the reference; all later ones fill windows of `window` rows, two of which
make one of twice the size, up to eight times. A row is *wrong* when the class is another one; of a regression, when its absolute error is
larger than four in five of the first rows' were, so that one test judges both. A variant is worse when two windows of one size in a row
have a larger share of wrong rows than the reference, which chance does not explain (Fisher's exact test; the level takes into account that
both share the reference), by at least `effect`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from clary.domain.endpoints.capture import LABELS as TAG
from clary.domain.errors import Invalid
from clary.domain.monitoring import significance
from clary.domain.monitoring.captured import Value

CLASSES, REGRESSION = "classification", "regression"
SIZES = 4  # windows of 1, 2, 4, 8 times the rows
ROLLING = 5  # full windows that the rolling figures are of, with the one that fills
SHOWN = 120  # full windows that are told
_GUESSES = 20  # first rows by which the kind of problem is told, where it is not given
_SCALE = 100  # first rows of a regression by which a large error is told
_LARGE = 0.8  # the share of them with a smaller one
_FEW = 10  # different whole numbers that are still classes
TOGETHER = 120.0  # seconds between the newest labelled requests of two fleets that answer side by side
SURE = 1.96  # standard deviations of a 95 % interval


@dataclass(frozen=True, slots=True)
class LabelRule:
    """`folder`: where labels come ("": below the captured data); `prediction`: the column that is compared ("": the answer's first);
    `threshold`: the probability from which on a prediction is class 1."""

    folder: str = ""
    prediction: str = ""
    problem: str = ""
    threshold: float = 0.5
    reference: int = 500
    window: int = 100
    effect: float = 0.05
    alarms: float = 0.001

    def __post_init__(self) -> None:
        bounds = {"reference": (50, 1e6), "window": (20, 1e6), "effect": (0, 1), "alarms": (1e-9, 0.1)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise Invalid(f"{TAG}: {name}={getattr(self, name):g} must be from {low:g} to {high:g}.")
        if self.problem not in ("", CLASSES, REGRESSION):
            raise Invalid(f"{TAG}: problem={self.problem} must be {CLASSES} or {REGRESSION}.")
        if self.folder and not self.folder.startswith("s3://"):
            raise Invalid(f"{TAG}: folder={self.folder} must be s3://BUCKET/PREFIX.")

    @classmethod
    def read(cls, text: str) -> LabelRule:
        """From `window=100 prediction=output.0 ...`; what is not named has its default. Invalid: not so."""
        given: dict[str, Any] = {}
        for word in text.split():
            name, equals, value = word.partition("=")
            if name not in cls.__slots__ or name in given or not equals:
                raise Invalid(f"{TAG}: '{word}' is none of {', '.join(f'{each}=VALUE' for each in cls.__slots__)}.")
            kind = {"reference": int, "window": int, "threshold": float, "effect": float, "alarms": float}.get(
                name, str
            )
            try:
                given[name] = kind(value)
            except ValueError:
                raise Invalid(f"{TAG}: '{value}' of {name} is not a number.") from None
        return cls(**given)

    def expected(self) -> str:
        """What the setting costs, in words."""
        every = round(self.window / self.alarms)
        return f"at most 1 false alarm in {every:,} labelled rows"


class LabelledRow(NamedTuple):
    """A prediction with what was right. `at`: when it was asked, in epoch seconds."""

    prediction: Value
    label: Value
    at: float


class Sums(NamedTuple):
    """Over some labelled rows: how many, how many wrong, the errors' sum and that of their squares."""

    rows: int = 0
    wrong: int = 0
    total: float = 0.0
    squares: float = 0.0
    start: float = 0.0
    end: float = 0.0

    def plus(self, other: Sums) -> Sums:
        if not self.rows or not other.rows:
            return self if self.rows else other
        start, end = min(self.start, other.start), max(self.end, other.end)
        rows, wrong = self.rows + other.rows, self.wrong + other.wrong
        return Sums(rows, wrong, self.total + other.total, self.squares + other.squares, start, end)


@dataclass
class Quality:
    """`scale`: the error from which on a row of a regression counts as wrong. `conflicts`: labels that contradict an earlier one;
    `unmatched`: labels of another number of rows than their request has."""

    rule: LabelRule
    problem: str = ""
    scale: float = 0.0
    first: list[LabelledRow] = field(default_factory=list)
    reference: Sums = field(default_factory=lambda: Sums())
    open: Sums = field(default_factory=lambda: Sums())
    full: list[Sums] = field(default_factory=list)
    halves: list[Sums | None] = field(default_factory=lambda: [None] * SIZES)
    found: list[float | None] = field(default_factory=lambda: [None] * SIZES)
    quiet: int = 0
    since: float | None = None
    size: int = 0
    joined: int = 0
    conflicts: int = 0
    unmatched: int = 0

    def take(self, rows: Sequence[LabelledRow]) -> None:
        """Labelled rows in the order in which their labels came."""
        self.joined += len(rows)
        for row in rows:
            if self.problem and (self.problem == CLASSES or self.scale):
                self._count(row)
            else:
                self.first.append(row)
                self._settle()

    def _settle(self) -> None:
        """Know what kind of problem it is and what a large error is, once there are rows enough."""
        if not self.problem and (self.rule.problem or len(self.first) >= _GUESSES):
            self.problem = self.rule.problem or guessed([row.label for row in self.first])
        if self.problem == REGRESSION and len(self.first) >= _SCALE:
            errors = sorted(_error(row) for row in self.first)
            self.scale = errors[int(_LARGE * len(errors))] or math.ulp(1.0)
            self.first = []  # they fixed the scale, so they are not counted by it
        if self.problem == CLASSES:
            first, self.first = self.first, []
            for row in first:
                self._count(row)

    def _count(self, row: LabelledRow) -> None:
        error = _error(row) if self.problem == REGRESSION else float(not self._right(row))
        wrong = int(error > self.scale) if self.problem == REGRESSION else int(error)
        one = Sums(1, wrong, error, error * error, row.at, row.at)
        if self.reference.rows < self.rule.reference:
            self.reference = self.reference.plus(one)
            return
        self.open = self.open.plus(one)
        if self.open.rows >= self.rule.window:
            self._close(self.open)

    def _right(self, row: LabelledRow) -> bool:
        prediction, label = row.prediction, row.label
        if isinstance(prediction, float) and label in (0.0, 1.0) and 0 <= prediction <= 1:
            return (prediction >= self.rule.threshold) == (label == 1.0)
        return prediction == label

    def _close(self, window: Sums) -> None:
        self.open = Sums()
        self.full = [*self.full, window][-SHOWN:]
        self._judge(window, 0)
        for size in range(1, SIZES):
            half = self.halves[size]
            if half is None:
                self.halves[size] = window
                return
            self.halves[size] = None
            window = half.plus(window)
            self._judge(window, size)

    def _judge(self, window: Sums, size: int) -> None:
        reference = self.reference
        worse = window.wrong * reference.rows > reference.wrong * window.rows
        effect, p = significance.fisher(window.wrong, window.rows, reference.wrong, reference.rows)
        found = worse and effect >= self.rule.effect and p <= _rate(self.rule.alarms / 2, window.rows, reference.rows)
        before, self.found[size] = self.found[size], window.start if found else None
        if found and before is not None:
            if self.since is None:  # larger windows that find it later have older rows too
                self.since, self.size = before, size
            self.size, self.quiet = min(size, self.size), 0
        elif self.since is not None and size == self.size:
            self.quiet = 0 if found else self.quiet + 1
            if self.quiet >= 2:
                self.since, self.quiet = None, 0

    def join(self, predictions: Sequence[Value], labels: Sequence[Value], at: float) -> None:
        """The rows of one request, asked at that time, with the labels that came for it."""
        if len(predictions) == len(labels):
            self.take([LabelledRow(*both, at) for both in zip(predictions, labels, strict=True)])
        else:
            self.unmatched += 1

    # -- telling ----------------------------------------------------------------------------------------------------------------------

    def phase(self) -> str:
        """What it waits for, in words; "" while it judges."""
        if not self.joined:
            return "waits for labels"
        have = self.reference.rows
        return (
            f"takes its reference: {have} of {self.rule.reference} labelled rows" if have < self.rule.reference else ""
        )

    def rolling(self) -> Sums:
        """Over the newest labelled rows; over the reference while there are no others."""
        newest = self.open
        for window in self.full[-ROLLING:]:
            newest = newest.plus(window)
        return newest if newest.rows else self.reference

    def told(self) -> dict[str, Any]:
        """What `clary drift` shows of labels, as JSON takes it."""
        rolling = self.rolling()
        return {
            "problem": self.problem,
            "phase": self.phase(),
            "expected": self.rule.expected(),
            "joined": self.joined,
            "conflicts": self.conflicts,
            "unmatched": self.unmatched,
            "since": self.since,
            "reference": self._figures(self.reference),
            "rolling": self._figures(rolling),
            "windows": [self._figures(each) for each in self.full],
        }

    def _figures(self, sums: Sums) -> dict[str, Any] | None:
        if not sums.rows or not self.problem:
            return None
        mean = sums.total / sums.rows
        shown = {"rows": sums.rows, "start": sums.start, "end": sums.end}
        if self.problem == CLASSES:
            low, high = wilson(sums.rows - sums.wrong, sums.rows)
            return {**shown, "accuracy": 1 - mean, "lower": low, "upper": high}
        spread = SURE * math.sqrt(max(0.0, sums.squares / sums.rows - mean * mean) / sums.rows)
        error = {"mae": mean, "rmse": math.sqrt(sums.squares / sums.rows)}
        return {**shown, **error, "lower": mean - spread, "upper": mean + spread}

    # -- over a restart ---------------------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        names = [name for name in self.__dataclass_fields__ if name != "rule"]
        return {name: getattr(self, name) for name in names}

    @classmethod
    def read(cls, rule: LabelRule, document: Mapping[str, Any]) -> Quality:
        """What `document` wrote, as JSON gives it back."""
        made = cls(rule, **document)
        made.first = [LabelledRow(*row) for row in made.first]
        made.reference, made.open = Sums(*made.reference), Sums(*made.open)
        made.full = [Sums(*each) for each in made.full]
        made.halves = [None if each is None else Sums(*each) for each in made.halves]
        return made


def worse_than_before(qualities: Sequence[Quality]) -> bool | None:
    """Whether the newest of a variant's configs is worse than the one that answers beside it: of a canary, the fleet that it is to replace.

    Worse: their 95 % intervals do not overlap, each is of a window's rows at least, and shares of wrong rows differ by the rule's effect.
    False where the newest labelled rows of both are not of the same time; None before there are two. What got worse together is not worse.
    """
    judged = [each for each in qualities if each.rolling().rows and each.problem]
    if len(judged) < 2:
        return None
    newest = max(judged, key=lambda each: each.reference.start)
    before = max((each for each in judged if each is not newest), key=lambda each: each.rolling().end)
    new, old = newest.rolling(), before.rolling()
    enough = min(new.rows, old.rows) >= newest.rule.window
    if not enough or newest.problem != before.problem or abs(new.end - old.end) > TOGETHER:
        return False
    ours, theirs = newest._figures(new), before._figures(old)
    assert ours is not None
    assert theirs is not None
    if newest.problem == CLASSES:
        return bool(ours["upper"] < theirs["lower"] and theirs["accuracy"] - ours["accuracy"] >= newest.rule.effect)
    return bool(ours["lower"] > theirs["upper"])


def guessed(labels: Sequence[Value]) -> str:
    """Texts, and few different whole numbers, are classes."""
    numbers = [label for label in labels if isinstance(label, float)]
    whole = all(number.is_integer() for number in numbers)
    return CLASSES if len(numbers) < len(labels) or (whole and len(set(numbers)) <= _FEW) else REGRESSION


def wilson(hits: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson's score)."""
    share, square = hits / rows, SURE * SURE
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    spread = SURE / (1 + square / rows) * math.sqrt(share * (1 - share) / rows + square / (4 * rows * rows))
    return max(0.0, middle - spread), min(1.0, middle + spread)


def _error(row: LabelledRow) -> float:
    """A prediction that is no number is as wrong as can be told in a sum."""
    if isinstance(row.prediction, float) and isinstance(row.label, float):
        return min(1e150, abs(row.prediction - row.label))
    return 1e150


@lru_cache(maxsize=256)
def _rate(alarms: float, n: int, m: int) -> float:
    return significance.each_for_both(alarms, n / (n + m))
