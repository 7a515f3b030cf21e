"""A column's values as counts by fixed bins: what is kept of a column, however many rows come. Pure.

The bins come from the first rows (`Layout.of`), which are not counted themselves: so the counts of reference and of later rows are two
samples in bins that neither chose, and tests between them are exact. Per column a few hundred bytes; two sets of counts of one layout
add up.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from clary.domain.monitoring.captured import Value

BINS = 20  # of a numeric column, of about equal shares
CATEGORIES = 20  # that have a bin of their own
KNOWN = 100  # categories of the first rows, beyond which a category that was not among them says nothing
_FEW = 10  # distinct numbers up to which a column of whole numbers is one of categories

Counts = list[int]  # by bin, then: missing, out of range


@dataclass(frozen=True, slots=True)
class Layout:
    """The bins of a column. Numeric: below, between and above `edges`, and one for texts; out of range is outside [low, high]. Else: one
    for each of `categories`, and one for all others; out of range is what is not among `known`, which are
    digests (nothing, where those are too many)."""

    numeric: bool
    edges: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0
    categories: tuple[str, ...] = ()
    known: tuple[str, ...] | None = ()

    @classmethod
    def of(cls, values: Sequence[Value]) -> Self:
        """From a column's first values."""
        present = [value for value in values if value is not None]
        numbers = [value for value in present if isinstance(value, float)]
        whole = len(set(numbers)) <= _FEW and all(value.is_integer() for value in numbers)
        if numbers and len(numbers) >= 0.9 * len(present) and not whole:
            ordered = sorted(numbers)
            cuts = (ordered[len(ordered) * place // BINS] for place in range(1, BINS))
            return cls(True, tuple(dict.fromkeys(cuts)), ordered[0], ordered[-1])
        common = [name for name, _ in Counter(map(name_of, present)).most_common()]
        known = tuple(map(_mark, common)) if len(common) <= KNOWN else None
        return cls(False, (), 0.0, 0.0, tuple(common[:CATEGORIES]), known)

    @property
    def labels(self) -> list[str]:
        """What each bin is called."""
        if not self.numeric:
            return [*self.categories, "others"]
        texts = [f"{edge:.4g}" for edge in self.edges]
        if not texts:
            return ["numbers", "texts"]
        between = [f"{one} to {other}" for one, other in pairwise(texts)]
        return [f"below {texts[0]}", *between, f"{texts[-1]} and above", "texts"]

    @property
    def bins(self) -> int:
        return len(self.edges) + 2 if self.numeric else len(self.categories) + 1

    def empty(self) -> Counts:
        return [0] * (self.bins + 2)

    def place(self, value: Value) -> int:
        """The bin of a value; of a missing one the number after the last bin."""
        if value is None:
            return self.bins
        if not self.numeric:
            name = name_of(value)
            return self.categories.index(name) if name in self.categories else len(self.categories)
        return bisect_right(self.edges, value) if isinstance(value, float) else self.bins - 1

    def count(self, counts: Counts, values: Iterable[Value]) -> None:
        """Add values to the counts."""
        places = {name: place for place, name in enumerate(self.categories)}
        known = None if self.known is None else frozenset(self.known)
        for value in values:
            if value is None:
                counts[-2] += 1
            elif not self.numeric:
                name = name_of(value)
                counts[places.get(name, len(places))] += 1
                counts[-1] += known is not None and _mark(name) not in known
            elif isinstance(value, float):
                counts[bisect_right(self.edges, value)] += 1
                counts[-1] += not self.low <= value <= self.high
            else:
                counts[-3] += 1
                counts[-1] += 1

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """What `document` wrote, as JSON gives it back."""
        known = document["known"]
        return cls(
            document["numeric"],
            tuple(document["edges"]),
            document["low"],
            document["high"],
            tuple(document["categories"]),
            None if known is None else tuple(known),
        )


def name_of(value: Value) -> str:
    """A value as a category: 3.0 and "3" are the same."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _mark(name: str) -> str:
    """Six digits for a name: of a hundred known ones, one in 150,000 new ones is taken for known."""
    return f"{zlib.crc32(name.encode()) & 0xFFFFFF:06x}"


def rows(counts: Sequence[int]) -> int:
    """How many rows were counted, missing ones included."""
    return sum(counts[:-1])


def present(counts: Sequence[int]) -> int:
    return sum(counts[:-2])


def together(one: Sequence[int], other: Sequence[int]) -> Counts:
    return [ours + theirs for ours, theirs in zip(one, other, strict=True)]
