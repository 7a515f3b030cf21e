"""Rows of captured lines: encodings, forms, and what is not to be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.domain.endpoints.capture import Exchange, Side, line
from clary.domain.errors import Invalid
from clary.domain.monitoring.captured import rows_of, value_of

CONFIG: dict[str, Any] = {
    "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
}


def captured(asked: str, answered: str, kind: str = "text/csv", config: dict[str, Any] = CONFIG) -> str:
    return line(config, Exchange("e1", 1000.0, Side(kind, asked.encode()), Side(kind, answered.encode()), "mine"))


def test_csv_has_columns_by_position() -> None:
    told = rows_of(captured("1,a,\n2.5,b,nan\n", "0.25\n0.75"))
    assert (told.event, told.inference, told.at) == ("e1", "mine", 1000.0)
    assert told.rows == (
        {"input.0": 1.0, "input.1": "a", "input.2": None, "output.0": 0.25},
        {"input.0": 2.5, "input.1": "b", "input.2": None, "output.0": 0.75},
    )


def test_what_was_stored_in_base64_is_read_by_its_content_type() -> None:
    plain = {**CONFIG, "CaptureContentTypeHeader": {}}
    assert rows_of(captured("1,2", "3", config=plain)).rows == ({"input.0": 1.0, "input.1": 2.0, "output.0": 3.0},)


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (
            '{"age": 4, "name": "x", "more": {"a": [1, null]}}',
            [{"age": 4, "name": "x", "more.a.0": 1, "more.a.1": None}],
        ),
        ('{"instances": [{"features": [1, 2]}, {"features": [3, "z"]}]}', [{"0": 1, "1": 2}, {"0": 3, "1": "z"}]),
        ("[[1, 2], [3, 4]]", [{"0": 1, "1": 2}, {"0": 3, "1": 4}]),
        ("[1, true]", [{"0": 1, "1": "true"}]),
        ("0.5", [{"0": 0.5}]),
    ],
)
def test_json_in_its_forms(body: str, rows: list[dict[str, Any]]) -> None:
    told = rows_of(captured(body, "[]", "application/json"))
    wanted = [{f"input.{name}": value for name, value in row.items()} for row in rows]
    assert [{k: v for k, v in row.items() if k.startswith("input")} for row in told.rows] == wanted


def test_json_lines() -> None:
    config = {**CONFIG, "CaptureContentTypeHeader": {"JsonContentTypes": ["application/jsonlines"]}}
    told = rows_of(captured('{"a": 1}\n{"a": 2}\n', "{}", "application/jsonlines", config))
    assert [row["input.a"] for row in told.rows] == [1.0, 2.0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"captureData": {}, "eventMetadata": {"eventId": "1", "inferenceTime": 4}}',
        captured("1", "2")[:-20],
        captured('{"a": 1', "2", "application/json"),
        captured("x", "2", "image/png"),
        json.dumps(
            {
                "captureData": {
                    "endpointInput": {"encoding": "BASE64", "observedContentType": "text/csv", "data": "??"}
                },
                "eventMetadata": {"eventId": "1", "inferenceTime": "2026-01-01T00:00:00Z"},
            }
        ),
        captured("[" * 100_000, "1", "application/json"),
    ],
)
def test_what_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(Invalid, match="a captured line cannot be read"):
        rows_of(text)


@given(st.text(max_size=200), st.text(max_size=50))
def test_whatever_a_csv_holds_it_is_rows_or_invalid(body: str, answer: str) -> None:
    try:
        told = rows_of(captured(body, answer))
    except Invalid:
        return
    assert all(value is None or isinstance(value, (str, float)) for row in told.rows for value in row.values())


def test_values() -> None:
    assert [value_of(each) for each in (1, "1e3", " 2 ", "1_000", "NaN", None, True, float("nan"), 10**400)] == [
        1.0,
        1000.0,
        2.0,
        "1_000",
        None,
        None,
        "true",
        None,
        float("inf"),
    ]
    assert value_of("x" * 1000) == "x" * 17 + "~" + "c3efa6"
    assert value_of("\ud800") == "?"
    assert value_of("infinity") == "infinity"


def test_a_wide_row_is_cut_at_its_bound() -> None:
    assert len(rows_of(captured(",".join("1" * 600), "1")).rows[0]) == 501


def test_one_line_with_an_answer_for_each_row_is_an_answer_of_each() -> None:
    exchange = Exchange("e", 1.0, Side("text/csv", b"1,2\n3,4\n5,6"), Side("text/csv", b"0.1,0.2,0.3"))
    rows = rows_of(line(CONFIG, exchange)).rows
    assert [row["output.0"] for row in rows] == [0.1, 0.2, 0.3]
    assert rows[2] == {"input.0": 5.0, "input.1": 6.0, "output.0": 0.3}
