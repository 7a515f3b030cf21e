"""Which part a row belongs to, and which fold of the training part: from the row and its place in the data alone.

Random and stratified parts are dealt in blocks of a hundred rows of each stratum, shuffled by the seed: shares are exact to within one
block, whatever the number of rows, and both passes deal alike, because they read in the same order. Groups go by a hash.
"""

from __future__ import annotations

import hashlib
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from clary.toolkit.preparation.recipe import GROUP, TIME, Split
from clary.toolkit.preparation.values import Array, BadValue, Coded, Values, instant

_BLOCK = 100
FOLDS = 60  # every number of folds from 2 to 6, 10, 12, 15 and 20 divides it; the others nearly
LEFT_OUT = -1
MOST_STRATA = 1000


class Dealer:
    """Deals the rows of a stream to parts by exact shares, each stratum by itself."""

    def __init__(self, shares: Sequence[float], seed: int, salt: str) -> None:
        ends = np.round(np.cumsum(shares) * _BLOCK, 6)
        self._ends, self._seed, self._salt = ends, seed, salt
        self._strata: Dict[Optional[str], _Stratum] = {}

    def deal(self, strata: Coded) -> Array:
        """The part's number of each row."""
        out = np.empty(len(strata.codes), dtype=np.int64)
        order = np.argsort(strata.codes, kind="stable")
        sizes = np.bincount(strata.codes, minlength=len(strata.values)).tolist()
        start = 0
        for text, size in zip(strata.values, sizes):
            if size:
                out[order[start : start + size]] = self._stratum(text).next(size)
                start += size
        return out

    def _stratum(self, text: Optional[str]) -> _Stratum:
        if text not in self._strata:
            if len(self._strata) == MOST_STRATA:
                raise BadValue("what the split is stratified by has more than {} different values".format(MOST_STRATA))
            self._strata[text] = _Stratum(self._ends, _hash("{}\0{}\0{}".format(self._salt, self._seed, text)))
        return self._strata[text]


class _Stratum:
    def __init__(self, ends: Array, seed: int) -> None:
        self._ends, self._random, self._left = ends, np.random.Generator(np.random.PCG64(seed)), np.empty(0, np.int64)

    def next(self, count: int) -> Array:
        missing = count - len(self._left)
        if missing > 0:
            blocks = -(-missing // _BLOCK)
            # A uniform offset within the block's slots keeps shares that are no whole hundredths right on average.
            slots = np.argsort(self._random.random((blocks, _BLOCK)), axis=1) + self._random.random((blocks, 1))
            parts = np.searchsorted(self._ends, slots.reshape(-1) % _BLOCK, side="right")
            self._left = np.concatenate([self._left, np.minimum(parts, len(self._ends) - 1)])
        made, self._left = self._left[:count], self._left[count:]
        return made


class Splitter:
    """`parts(...)` for the batches of one pass, in order."""

    def __init__(self, split: Split, cuts: Sequence[float] = ()) -> None:
        self._split, self._cuts = split, np.asarray(cuts, dtype=np.float64)
        shares = list(split.parts.values())
        self._dealer = Dealer(shares, split.seed, "part")
        self._folds = Dealer([1 / FOLDS] * FOLDS, split.seed, "fold")
        self._ends = np.cumsum(shares)

    def parts(self, rows: int, column: Optional[Values]) -> Array:
        """The part's number of each row; LEFT_OUT where its time or group is missing."""
        if self._split.by == TIME:
            assert column is not None
            moments = times(column)
            found = np.searchsorted(self._cuts, moments, side="right")
            return np.where(np.isnan(moments), LEFT_OUT, found)
        if self._split.by == GROUP:
            assert isinstance(column, Coded)
            last = len(self._ends) - 1
            places = [
                LEFT_OUT
                if each is None
                else min(int(np.searchsorted(self._ends, share(each, self._split.seed), side="right")), last)
                for each in column.values
            ]
            return np.array(places, dtype=np.int64)[column.codes]
        return self._dealer.deal(column if isinstance(column, Coded) else _one(rows))

    def folds(self, rows: int, column: Optional[Values]) -> Array:
        """The fold, 0 to FOLDS - 1, of each row of the training part: by group where the split is."""
        if self._split.by == GROUP:
            assert isinstance(column, Coded)
            places = [_hash("fold\0{}\0{}".format(self._split.seed, each)) % FOLDS for each in column.values]
            return np.array(places, dtype=np.int64)[column.codes]
        return self._folds.deal(_one(rows))


def times(column: Values) -> Array:
    """Instants in microseconds, or the numbers themselves, as float64."""
    if not isinstance(column, Coded):
        return column
    found: List[Any] = [None if text is None else instant(text) for text in column.values]
    return np.array([np.nan if each is None else float(each) for each in found])[column.codes]


def share(text: str, seed: int) -> float:
    """Where a group stands between 0 and 1."""
    return _hash("part\0{}\0{}".format(seed, text)) / 2.0**64


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _one(rows: int) -> Coded:
    return Coded(np.zeros(rows, dtype=np.int64), [""])
