"""Which variant gets a request: smooth weighted round robin.

Owns the arithmetic of shares. Does not know queues, replicas and requests. The rule: every turn adds each weight to its
variant's credit, the largest credit wins and pays the sum of all weights. So shares are exact over any window of a full cycle, and
no variant gets a burst.
"""

from __future__ import annotations

from collections.abc import Mapping


class Shares:
    """Weights of named variants, and whose turn it is. A weight of 0 is never chosen."""

    __slots__ = ("_credit", "_only", "_total", "_weights")

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = {name: weight for name, weight in weights.items() if weight > 0}
        self._total = sum(self._weights.values())
        self._credit = dict.fromkeys(self._weights, 0.0)
        self._only = next(iter(self._weights)) if len(self._weights) == 1 else None

    def over(self, weights: Mapping[str, float]) -> Shares:
        """The turns by these weights: the very same ones, credits and all, where no weight changed. Otherwise the variant with the smallest
        weight would never get its turn while routes change often."""
        same = self._weights == {name: weight for name, weight in weights.items() if weight > 0}
        return self if same else Shares(weights)

    def choose(self) -> str | None:
        """The variant of the next request; None when no variant has any weight."""
        if self._only is not None:
            return self._only
        if not self._weights:
            return None
        credit = self._credit
        best = ""
        most = float("-inf")
        for name, weight in self._weights.items():
            credit[name] = value = credit[name] + weight
            if value > most:
                best, most = name, value
        credit[best] -= self._total
        return best
