"""The model of errors: it finds where predictions are wrong, and has no other opinion."""

from __future__ import annotations

import json
import random

import pytest

from clary.domain.monitoring.captured import Row
from clary.domain.monitoring.losses import COLUMNS, LossModel

ROWS = 800


def taught(seed: int = 3) -> tuple[list[Row], list[float]]:
    """Errors are about 1 where x is below 5 and about 4 above, 3 more in city C; y has nothing to do with them."""
    draw = random.Random(seed)
    rows: list[Row] = [
        {"x": draw.uniform(0, 10), "y": draw.gauss(0, 1), "city": draw.choice("ABCD")} for _ in range(ROWS)
    ]
    return rows, [abs(draw.gauss(right(row), 0.3)) for row in rows]


def right(row: Row) -> float:
    x = row["x"]
    assert isinstance(x, float)
    return (1.0 if x < 5 else 4.0) + (3.0 if row["city"] == "C" else 0.0)


def test_errors_are_told_by_numbers_and_by_categories() -> None:
    model = LossModel.fitted(*taught())
    fresh, _ = taught(seed=4)
    off = [abs(model.loss(row) - right(row)) for row in fresh if abs(float(row["x"] or 0) - 5) > 0.5]
    assert sum(off) / len(off) < 0.3


def test_the_mean_over_rows_like_those_that_taught_is_theirs() -> None:
    rows, losses = taught()
    model = LossModel.fitted(rows, losses)
    assert sum(map(model.loss, rows)) / ROWS == pytest.approx(sum(losses) / ROWS, rel=1e-9)


def test_where_nothing_tells_one_row_from_another_it_is_the_mean() -> None:
    model = LossModel.fitted([{"x": 1.0}] * 50, [1.0, 3.0] * 25)
    assert model.trees == ()
    assert model.loss({"x": 1.0}) == model.loss({"other": "text"}) == 2.0


@pytest.mark.parametrize("row", [{}, {"x": None}, {"x": "text", "city": 7.0}, {"x": 1e300}, {"x": float("-inf")}])
def test_any_row_has_a_loss(row: Row) -> None:
    assert 0 <= LossModel.fitted(*taught()).loss(row) < 10


def test_it_is_the_same_after_a_restart() -> None:
    rows, losses = taught()
    model = LossModel.fitted(rows, losses)
    again = LossModel.read(json.loads(json.dumps(model.document())))
    assert list(map(again.loss, rows)) == list(map(model.loss, rows))


def test_it_has_few_columns_and_few_bytes() -> None:
    draw = random.Random(1)
    wide: list[Row] = [{f"c{n}": draw.random() for n in range(120)} for _ in range(100)]
    model = LossModel.fitted(wide, [draw.random() for _ in wide])
    assert len(model.names) == COLUMNS
    assert len(json.dumps(model.document())) < 1 << 17
