"""Quantiles in bounded memory: exact while they can be, and never farther off than the sketch says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clary.toolkit.preparation.sketch import EXACT, Sketch

SHARES = [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0]


def made(values: Any, batch: int) -> Sketch:
    sketch = Sketch()
    for start in range(0, len(values), batch):
        sketch.update(values[start : start + batch])
    return sketch


def test_is_numpys_own_while_all_is_kept() -> None:
    values = np.random.default_rng(1).normal(0, 1, 50_000)
    sketch = made(values, 7_000)
    assert sketch.error == 0
    assert sketch.quantiles(SHARES) == np.quantile(values, SHARES).tolist()


@pytest.mark.parametrize("kind", ["normal", "sorted", "backwards", "few", "heavy"])
def test_ranks_are_within_the_error_that_it_states(kind: str) -> None:
    rows = 1_000_000
    values = np.random.default_rng(2).normal(0, 1, rows)
    if kind == "sorted":
        values = np.sort(values)
    elif kind == "backwards":
        values = -np.sort(values)
    elif kind == "few":
        values = np.floor(values * 2)
    elif kind == "heavy":
        values = np.exp(values * 20)
    sketch = made(values, 61_440)
    assert sketch.count == rows > EXACT
    assert sketch.rank_error < 0.001
    items, weights = sketch.items()
    assert weights.sum() == rows
    assert len(items) < 400_000
    ordered = np.sort(values)
    spread = weights.max()  # a quantile lies between two items
    for share, found in zip(SHARES, sketch.quantiles(SHARES), strict=True):
        first, last = np.searchsorted(ordered, found, "left"), np.searchsorted(ordered, found, "right")
        assert first - sketch.error - spread <= share * rows <= last + sketch.error + spread


def test_memory_does_not_grow_with_rows() -> None:
    random = np.random.default_rng(3)
    sketch = Sketch()
    sizes = []
    for number in range(60):
        sketch.update(random.random(61_440))
        if number in (9, 59):
            sizes.append(len(sketch.items()[0]))
    assert sizes[1] < 2 * sizes[0]
