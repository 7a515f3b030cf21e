"""Sketches of a column: bounded memory, mergeable over hosts.

`Quantiles` is KLL (Karnin, Lang, Liberty 2016; Apache DataSketches) with k = 2048, as Deequ's: the normalized rank error of one query is
0.14 % (99 % confidence). `Distinct` is HyperLogLog (Flajolet et al. 2007) with 4,096 registers: the standard error is 1.04 / sqrt(4096) =
1.6 %; small numbers are counted linearly. `Frequencies` counts exactly up to 4,096 values, beyond by Misra-Gries (DataSketches' frequent
items, 8,192 places): a count is then at most 3.5 / 8192 of all rows too high.
"""

from __future__ import annotations

import hashlib
from typing import Any, Dict, Iterable, List, Tuple

import numpy as np

K = 2048
_BITS = 12
_LIMIT = 4096
_LONGEST = 256  # characters of a category that are kept
_LG_COUNTERS = 13


class Quantiles:
    """The distribution of numbers."""

    def __init__(self) -> None:
        from datasketches import kll_doubles_sketch

        self.sketch: Any = kll_doubles_sketch(K)

    def update(self, values: Any) -> None:
        """An array of float64 without NaN."""
        self.sketch.update(np.require(values, requirements=["C", "W"]))  # the library takes no read-only memory

    def merge(self, other: "Quantiles") -> None:
        self.sketch.merge(other.sketch)

    def levels(self) -> List[List[float]]:
        """The numbers that are kept, by level: each of level i stands for 2**i rows. The form of `sketch.data` in statistics.json."""
        found: List[List[float]] = []
        for value, weight in self.sketch:
            level = int(weight).bit_length() - 1
            while len(found) <= level:
                found.append([])
            found[level].append(value)
        return [sorted(level) for level in found]


class Distinct:
    """About how many different values there are."""

    def __init__(self) -> None:
        self.registers = np.zeros(1 << _BITS, dtype=np.uint8)

    def update_numbers(self, values: Any) -> None:
        """An array of float64."""
        self._update(_mixed(np.ascontiguousarray(values + 0.0).view(np.uint64)))

    def update_texts(self, texts: Iterable[str]) -> None:
        hashes = [
            int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")
            for text in texts
        ]
        if hashes:
            self._update(np.array(hashes, dtype=np.uint64))

    def _update(self, hashes: Any) -> None:
        places = (hashes >> np.uint64(64 - _BITS)).astype(np.intp)
        rest = hashes & np.uint64(
            (1 << (64 - _BITS)) - 1
        )  # 52 bits: exact as a float64, whose exponent tells the first one
        ranks = (64 - _BITS + 1 - np.frexp(rest.astype(np.float64))[1]).astype(np.uint8)
        np.maximum.at(self.registers, places, ranks)

    def merge(self, other: "Distinct") -> None:
        np.maximum(self.registers, other.registers, out=self.registers)

    def estimate(self) -> float:
        size = float(1 << _BITS)
        raw = 0.7213 / (1 + 1.079 / size) * size * size / float(np.sum(np.exp2(-self.registers.astype(np.float64))))
        empty = int(np.count_nonzero(self.registers == 0))
        if raw <= 2.5 * size and empty:
            return float(size * np.log(size / empty))
        return raw


def _mixed(bits: Any) -> Any:
    """splitmix64's finalizer: each bit of the result depends on all bits."""
    bits = bits ^ (bits >> np.uint64(30))
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return bits


class Frequencies:
    """How often each text occurs: all of them, or the frequent ones."""

    def __init__(self) -> None:
        self.exact: Dict[str, int] = {}
        self.sketch: Any = None

    @property
    def is_exact(self) -> bool:
        return self.sketch is None

    def update(self, counts: Iterable[Tuple[str, int]]) -> None:
        for text, count in counts:
            text = text[:_LONGEST]
            if self.sketch is not None:
                self.sketch.update(text, count)
                continue
            self.exact[text] = self.exact.get(text, 0) + count
            if len(self.exact) > _LIMIT:
                self._overflow()

    def _overflow(self) -> None:
        from datasketches import frequent_strings_sketch

        self.sketch = frequent_strings_sketch(_LG_COUNTERS)
        for text, count in self.exact.items():
            self.sketch.update(text, count)
        self.exact = {}

    def merge(self, other: "Frequencies") -> None:
        if other.sketch is None:
            self.update(other.exact.items())
            return
        if self.sketch is None:
            self._overflow()
        self.sketch.merge(other.sketch)

    def most(self, limit: int = _LIMIT) -> List[Tuple[str, int]]:
        """The most frequent values and their counts, most frequent first."""
        if self.sketch is None:
            found = list(self.exact.items())
        else:
            from datasketches import frequent_items_error_type as kinds

            rows = self.sketch.get_frequent_items(kinds.NO_FALSE_NEGATIVES)
            found = [(row[0], int(row[1])) for row in rows]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:limit]
