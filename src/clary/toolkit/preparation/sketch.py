"""Quantiles of a stream in bounded memory, with an error that is known: ranks are off by at most `error` rows.

Up to `EXACT` values all are kept and quantiles are numpy's own (linear interpolation). Beyond, values are kept in levels: a value of
level h stands for 2**h of them. A full level is merged and every second value goes up, which moves any rank by at most 2**h
(Munro and Paterson, 1980; Manku, Rajagopalan and Lindsay, 1998); `error` adds these up, so it is a bound, not an estimate.
"""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

Array = Any
EXACT = 1 << 17
_WIDTH = 1 << 14


class Sketch:
    """The distribution of the numbers given to `update`."""

    def __init__(self) -> None:
        self.count = 0
        self.error = 0  # rows by which a rank may be off
        self._raw: List[Array] = []
        self._levels: Dict[int, Array] = {}
        self._odd = 0

    def update(self, values: Array) -> None:
        """Add finite numbers."""
        if not len(values):
            return
        self.count += len(values)
        if not self._levels and self.count <= EXACT:
            self._raw.append(np.array(values, dtype=np.float64))
            return
        waiting, self._raw = [*self._raw, values], []
        for each in waiting:
            self._take(np.sort(each))

    def _take(self, values: Array) -> None:
        level = 0
        while len(values) > _WIDTH:
            if len(values) % 2:
                self._push(0 if not level else level, values[-1:])
                values = values[:-1]
            values = self._halved(values, level)
            level += 1
        self._push(level, values)

    def _halved(self, values: Array, level: int) -> Array:
        self._odd ^= 1
        self.error += 1 << level
        return values[self._odd :: 2]

    def _push(self, level: int, values: Array) -> None:
        while True:
            held = self._levels.pop(level, None)
            if held is not None:
                values = np.sort(np.concatenate([held, values]), kind="stable")
            if len(values) <= 2 * _WIDTH:
                self._levels[level] = values
                return
            if len(values) % 2:
                self._levels[level] = values[-1:]
                values = values[:-1]
            values = self._halved(values, level)
            level += 1

    def items(self) -> Tuple[Array, Array]:
        """`(values in order, how many each stands for)`."""
        if not self._levels:
            values = np.sort(np.concatenate(self._raw)) if self._raw else np.empty(0)
            return values, np.ones(len(values))
        values = np.concatenate(list(self._levels.values()))
        weights = np.concatenate([np.full(len(each), float(1 << level)) for level, each in self._levels.items()])
        order = np.argsort(values, kind="stable")
        return values[order], weights[order]

    def quantiles(self, shares: Sequence[float]) -> List[float]:
        """As numpy's `quantile` (linear) while everything is kept, else the value at that rank, give or take `error` rows."""
        values, weights = self.items()
        if not len(values):
            return [float("nan") for _ in shares]
        if not self.error:
            return [float(each) for each in np.quantile(values, list(shares))]
        ranks = np.cumsum(weights) - weights / 2
        return [float(each) for each in np.interp([share * self.count for share in shares], ranks, values)]

    @property
    def rank_error(self) -> float:
        """The bound as a share of all rows."""
        return self.error / self.count if self.count else 0.0
