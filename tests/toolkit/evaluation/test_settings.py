"""What an evaluation is asked for: configuration, arguments over it, the brief below it."""

from __future__ import annotations

from typing import Any

import pytest

from clary.toolkit import brief
from clary.toolkit.documents import DocumentError
from clary.toolkit.evaluation import settings

BRIEF = brief.of(
    {
        "name": "churn-2026",
        "objective": "call customers who are about to leave",
        "target": "left",
        "positive": "yes",
        "metric": {"name": "roc_auc", "threshold": 0.8},
        "baseline": {"value": 0.7},
        "slices": ["region"],
        "identifiers": ["id"],
        "split": {"group": "household"},
        "origin": "billing database",
        "lawful_basis": "contract",
    }
)


def test_the_brief_fills_what_is_not_asked() -> None:
    found = settings.parse({"model": {"column": "p"}}, BRIEF)
    assert (found.target, found.positive, found.metric, found.baseline) == ("left", "yes", "roc_auc", 0.7)
    assert (found.slices, found.group, found.excluded) == (("region",), "household", ("left", "id"))
    other = settings.parse({"model": {"column": "p"}, "target": "gone", "baseline": "trivial", "slices": []}, BRIEF)
    assert (other.target, other.baseline, other.slices) == ("gone", "trivial", ())


def test_arguments_stand_over_the_configuration() -> None:
    words = ["--target", "y", "--slices", "a,b", "--model.endpoint-name", "e", "--bootstrap", "50", "--positive", "1"]
    given = settings.arguments(words)
    assert given == {
        "target": "y",
        "slices": ["a", "b"],
        "model": {"endpoint_name": "e"},
        "bootstrap": 50,
        "positive": 1,
    }
    whole = settings.merged({"model": {"name": "new", "endpoint_name": "d"}, "seed": 3}, given)
    found = settings.parse(whole)
    assert (found.model.value, found.model.title, found.seed) == ("e", "new", 3)
    assert settings.arguments(["--target", "7"]) == {"target": "7"}  # a column whose name is a number is text


@pytest.mark.parametrize("words", [["--target"], ["target", "y"]])
def test_arguments_are_pairs(words: list[str]) -> None:
    with pytest.raises(DocumentError, match="pairs"):
        settings.arguments(words)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": {"column": "p"}}, "target: is missing"),
        ({"target": "y"}, "model: is missing"),
        ({"target": "y", "model": {}}, "model: names exactly one of"),
        ({"target": "y", "model": {"column": "a", "endpoint_name": "b"}}, "not column, endpoint_name"),
        ({"target": "y", "model": {"artifact": "s3://a/b"}}, "go together"),
        ({"target": "y", "model": {"column": "p", "folds": {}}}, "`folds` go with `training`"),
        ({"target": "y", "model": {"training": {}}}, "model.training.image: is missing"),
        ({"target": "y", "model": {"column": "p"}, "baseline": "none"}, "baseline: is a number or 'trivial'"),
        (
            {"target": "y", "model": {"column": "p"}, "metric": "rmse", "problem": "binary"},
            "rmse does not judge binary",
        ),
        ({"target": "y", "model": {"colum": "p"}}, "did you mean 'column'"),
        ({"target": "y", "model": {"column": "p"}, "confidence": 1}, "less than 1"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(given: dict[str, Any], words: str) -> None:
    with pytest.raises(DocumentError) as error:
        settings.parse(given)
    assert words in str(error.value)
