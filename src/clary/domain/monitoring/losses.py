"""A model of how wrong predictions are, by the row: it learns from rows whose errors are known, and estimates those of rows without
labels. Pure.

Boosted trees over the bins of `columns.Layout`: small on purpose. A few hundred rows teach it, it has a few kilobytes as a document, and
what is told of it are means over windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from clary.domain.monitoring.captured import Row
from clary.domain.monitoring.columns import Layout

COLUMNS = 50  # that are learned from
ROUNDS = 40
RATE = 0.1
DEPTH = 2
_LEAST = 20  # rows of a leaf

Tree = float | list[Any]  # a leaf; or [column, bins that go left as bits of a number, left, right]


class Split(NamedTuple):
    gain: float
    column: int
    left: int


@dataclass(frozen=True, slots=True)
class LossModel:
    names: tuple[str, ...]
    layouts: tuple[Layout, ...]
    base: float
    trees: tuple[Tree, ...]

    @classmethod
    def fitted(cls, rows: Sequence[Row], losses: Sequence[float]) -> LossModel:
        """By the first columns of `rows`; there is one row or more, and a loss for each."""
        names = tuple(dict.fromkeys(name for row in rows for name in row))[:COLUMNS]
        layouts = tuple(Layout.of([row.get(name) for row in rows]) for name in names)
        places = [[layout.place(row.get(name)) for row in rows] for name, layout in zip(names, layouts, strict=True)]
        base = sum(losses) / len(losses)
        left, trees = [loss - base for loss in losses], []
        for _ in range(ROUNDS):
            tree = _grown(places, layouts, left, range(len(rows)), DEPTH)
            if not isinstance(tree, list):
                break  # nothing tells one row from another any more
            trees.append(tree)
            for row in range(len(rows)):
                left[row] -= _leaf(tree, [place[row] for place in places])
        return cls(names, layouts, base, tuple(trees))

    def loss(self, row: Row) -> float:
        """What the row's loss may be; never below 0."""
        places = [layout.place(row.get(name)) for name, layout in zip(self.names, self.layouts, strict=True)]
        return max(0.0, self.base + sum(_leaf(tree, places) for tree in self.trees))

    def document(self) -> dict[str, Any]:
        layouts = [layout.document() for layout in self.layouts]
        return {"names": list(self.names), "layouts": layouts, "base": self.base, "trees": list(self.trees)}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> LossModel:
        """What `document` wrote, as JSON gives it back."""
        layouts = tuple(map(Layout.read, document["layouts"]))
        return cls(tuple(document["names"]), layouts, document["base"], tuple(document["trees"]))


def _leaf(tree: Tree, places: Sequence[int]) -> float:
    while isinstance(tree, list):
        column, left, low, high = tree
        tree = low if left >> places[column] & 1 else high
    return tree


def _grown(
    places: Sequence[Sequence[int]], layouts: Sequence[Layout], values: Sequence[float], rows: Sequence[int], depth: int
) -> Tree:
    mean = sum(values[row] for row in rows) / len(rows)
    best = _best(places, layouts, values, rows) if depth else None
    if best is None:
        return RATE * mean
    bins = places[best.column]
    low = [row for row in rows if best.left >> bins[row] & 1]
    high = [row for row in rows if not best.left >> bins[row] & 1]
    sides = (_grown(places, layouts, values, side, depth - 1) for side in (low, high))
    return [best.column, best.left, *sides]


def _best(
    places: Sequence[Sequence[int]], layouts: Sequence[Layout], values: Sequence[float], rows: Sequence[int]
) -> Split | None:
    """The split that leaves the least squared error; None where none has rows enough on both sides."""
    total = sum(values[row] for row in rows)
    least, best = total * total / len(rows) + 1e-12, None
    for column, (bins, layout) in enumerate(zip(places, layouts, strict=True)):
        counts, sums = [0] * (layout.bins + 1), [0.0] * (layout.bins + 1)
        for row in rows:
            counts[bins[row]] += 1
            sums[bins[row]] += values[row]
        order = [place for place, count in enumerate(counts) if count]
        if not layout.numeric:  # categories have no order but that of what is learned
            order.sort(key=lambda place: sums[place] / counts[place])
        mask, below, under = 0, 0, 0.0
        for place in order[:-1]:
            mask |= 1 << place
            below += counts[place]
            under += sums[place]
            above, over = len(rows) - below, total - under
            if min(below, above) >= _LEAST:
                gain = under * under / below + over * over / above
                if gain > least:
                    least, best = gain, Split(gain, column, mask)
    return best
