"""Documents that people write: every problem is named with its place."""

import pytest

from clary.toolkit import documents
from clary.toolkit.documents import DocumentError

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "description": "of the thing"},
        "kind": {"enum": ["red", "green"]},
        "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "parts": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer"}},
        "either": {"oneOf": [{"type": "string"}, {"type": "object", "required": ["a"], "properties": {"a": {}}}]},
        "free": {"type": "object", "additionalProperties": {"type": "number"}},
    },
}


@pytest.mark.parametrize(
    ("value", "place", "words"),
    [
        ([], "", "must be a mapping, not a list"),
        ({}, "name", "is missing (of the thing)"),
        ({"name": " "}, "name", "must not be empty"),
        ({"name": 3}, "name", "must be text, not 3"),
        ({"name": "a", "kind": "gren"}, "kind", "one of red, green, not \"gren\"; did you mean 'green'?"),
        ({"name": "a", "kindd": 1}, "kindd", "is not known; known are name, kind, share, parts, either, free; did"),
        ({"name": "a", "share": 0}, "share", "must be more than 0, not 0"),
        ({"name": "a", "share": 1.5}, "share", "must be at most 1, not 1.5"),
        ({"name": "a", "share": float("nan")}, "share", "must be finite"),
        ({"name": "a", "share": True}, "share", "must be a number, not true"),
        ({"name": "a", "parts": []}, "parts", "must have 1 to 2 items, not 0"),
        ({"name": "a", "parts": [1, 2.5]}, "parts[1]", "must be a whole number, not 2.5"),
        ({"name": "a", "either": 1}, "either", "must be text or a mapping, not 1"),
        ({"name": "a", "either": {}}, "either.a", "is missing"),
        ({"name": "a", "free": {"x": "1"}}, "free.x", 'must be a number, not "1"'),
    ],
)
def test_names_place_and_cause(value: object, place: str, words: str) -> None:
    with pytest.raises(DocumentError) as caught:
        documents.check(value, SCHEMA, "thing")
    assert [found for found, _ in caught.value.problems] == [place]
    assert words in caught.value.problems[0][1]


def test_takes_what_matches() -> None:
    documents.check({"name": "a", "parts": [1], "either": {"a": None}, "free": {"x": 1.5}}, SCHEMA, "thing")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ('{"a": }', "is not JSON: Expecting value"),
        ("[" * 100_000, "is not JSON"),
        ("{" + " " * (1 << 20) + "}", "is longer than"),
    ],
)
def test_refuses_bad_json(text: str, words: str) -> None:
    with pytest.raises(DocumentError, match=words):
        documents.read(text, "thing")
