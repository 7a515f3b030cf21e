"""Which rows are a person's, as text, JSON, captures and Parquet tell it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from clary.toolkit.privacy.where import PersonCondition, meant, same


@pytest.mark.parametrize(
    ("held", "value", "expected"),
    [
        ("ada", "ada", True),
        (" ada ", "ada", True),
        ("Ada", "ada", False),
        ("adam", "ada", False),
        (7, "7", True),
        (7.0, "7", True),
        ("7.0", "7", True),
        ("7e0", "7", True),
        ("007", "7", False),
        ("7", "007", False),
        (True, "true", True),
        (True, "1", False),
        (b"ada", "ada", True),
        (None, "None", False),
        ("", "0", False),
        ("123456789012345678901", "123456789012345678902", False),
    ],
)
def test_a_value_is_the_same_as_text_or_as_number(held: Any, value: str, expected: bool) -> None:
    assert same(held, value) is expected


def test_the_value_is_never_shown() -> None:
    assert "ada" not in repr(PersonCondition("email", "ada@example.org"))


def capture(data: str, encoding: str = "CSV", part: str = "endpointInput") -> dict[str, Any]:
    return {"captureData": {part: {"data": data, "encoding": encoding}}, "eventMetadata": {"eventId": "1"}}


@pytest.mark.parametrize(
    "line",
    [
        {"id": "ada"},
        capture('{"id": "ada", "x": 1}', "JSON"),
        capture('[{"x": [{"id": "ada"}]}]', "JSON"),
        capture('{"id": "bob"}\n{"id": "ada"}', "JSON"),
        capture("3,ada"),
        capture("x,id\n1,bob\n2,ada"),
        capture(base64.b64encode(b"3,ada").decode(), "BASE64"),
        capture('{"id": "ada"}', "JSON", "endpointOutput"),
    ],
)
def test_a_line_is_meant_wherever_the_column_stands(line: dict[str, Any]) -> None:
    assert meant(line, PersonCondition("id", "ada", ("x", "id")))
    assert not meant(line, PersonCondition("id", "eve", ("x", "id")))


def test_a_member_within_others_is_named_by_a_path() -> None:
    assert meant(json.loads('{"user": {"id": 7}}'), PersonCondition("user.id", "7"))
    assert not meant(json.loads('{"user": {"id": 7}}'), PersonCondition("id", "7"))
