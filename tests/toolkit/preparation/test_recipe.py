"""Recipes: what does not fit is named with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.toolkit.documents import DocumentError
from clary.toolkit.preparation import recipe

FOUND = {"age": "number", "city": "category", "at": "date", "left": "category"}


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"split": {"parts": {"train": 0.5, "test": 0.6}}}, "split.parts"),
        ({"split": {"parts": {"learn": 0.5, "test": 0.5}}}, "split.parts"),
        ({"split": {"by": "time"}}, "split.column"),
        ({"split": {"by": "stratified"}}, "split.column"),
        ({"split": {"cuts": [1, 2]}}, "split.cuts"),
        ({"split": {"parts": {"train": 0.5, "../x": 0.5}}}, "split.parts.../x"),
        ({"columns": {"age": {"fil": "mean"}}}, "columns.age.fil"),
        ({"columns": {"age": {"fill": "average"}}}, "columns.age.fill"),
        ({"columns": {"age": {"bound": {"quantiles": [0.9, 0.1]}}}}, "columns.age.bound"),
        ({"columns": {"age": {"bins": {"edges": [3, 1]}}}}, "columns.age.bins.edges"),
        ({"columns": {"age": {"encode": "one_hot"}}}, "columns.age.encode"),
        ({"columns": {"city": {"normalise": "standard"}}}, "columns.city.normalise"),
        ({"columns": {"city": {"fill": "mean"}}}, "columns.city.fill"),
        ({"columns": {"city": {"encode": "target"}}}, "columns.city.encode"),
        ({"columns": {"r": {"ratio": ["age", "city"]}}}, "columns.r.ratio"),
        ({"columns": {"r": {"ratio": ["age", "income"]}}}, "columns.r.ratio"),
        ({"columns": {"age": {"ratio": ["age", "age"]}}}, "columns.age"),
        ({"target": "left", "columns": {"left": {}}}, "columns"),
        ({"others": "error", "columns": {"age": {}}}, "columns"),
        ({"others": "drop"}, "columns"),
    ],
)
def test_names_the_place(given: dict[str, Any], place: str) -> None:
    with pytest.raises(DocumentError) as caught:
        recipe.bind(recipe.parse(json.dumps(given)), FOUND)
    assert [found for found, _ in caught.value.problems] == [place]


def test_says_what_is_not_said() -> None:
    made = recipe.bind(recipe.parse('{"target": "left", "split": {"by": "time", "column": "at"}}'), FOUND)
    assert [(column.name, column.kind, column.encode) for column in made.columns] == [
        ("age", "number", "none"),
        ("city", "category", "one_hot"),
    ]
    assert made.features_from == ("age", "city")
    assert list(made.split.parts) == ["train", "validation", "test"]
    assert made.split.kind == "date"
