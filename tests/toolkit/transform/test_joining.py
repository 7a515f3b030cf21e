"""Filters and the join: text stays as it was written."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.toolkit.transform.joining import (
    BadJoin,
    filtered_json,
    filtered_row,
    joined_json,
    joined_rows,
    media_type,
    parsed_json,
    rows_of,
    written_json,
    written_row,
)
from clary.toolkit.transform.paths import parse


def read(field: str) -> str:
    """The value of a raw field."""
    return field[1:-1].replace('""', '"') if field.startswith('"') else field


FIELDS = st.text(st.sampled_from('ab1.,"\n '), max_size=5)


@given(st.lists(st.lists(FIELDS, min_size=1, max_size=4), min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_raw_fields_are_those_that_a_csv_reader_sees(rows: list[list[str]], newline: str) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator=newline).writerows(rows)
    raw = rows_of(out.getvalue())
    assert [[read(field) for field in row] for row in raw] == rows
    assert newline.join(map(written_row, raw)) + newline == out.getvalue()


def test_fields_are_copied_as_text() -> None:
    rows = rows_of('1.50,007,"a,""b"""\n1e5,,x')
    assert rows == [["1.50", "007", '"a,""b"""'], ["1e5", "", "x"]]
    assert [written_row(filtered_row(row, parse("$[1:]"))) for row in rows] == ['007,"a,""b"""', ",x"]


def test_an_end_of_a_row_that_is_a_comma_is_an_empty_field() -> None:
    assert rows_of("a,\n") == rows_of("a,") == [["a", ""]]
    assert rows_of('"a",') == [['"a"', ""]]


def test_a_quoted_field_that_does_not_end_is_named() -> None:
    with pytest.raises(BadJoin, match="A quoted field of the CSV does not end"):
        rows_of('1,"two\n')


def test_rows_are_joined_input_first_and_must_be_as_many() -> None:
    assert joined_rows([["1", "2"]], [["0.5"]]) == [["1", "2", "0.5"]]
    with pytest.raises(BadJoin, match="answered 1 rows to 2"):
        joined_rows([["1"], ["2"]], [["0.5"]])


def test_json_is_joined_into_objects_and_around_everything_else() -> None:
    assert joined_json({"x": 1, "SageMakerOutput": 0}, [2]) == {"x": 1, "SageMakerOutput": [2]}
    assert joined_json([1, 2], 3) == {"SageMakerInput": [1, 2], "SageMakerOutput": 3}


def test_a_filter_of_json_gives_the_value_it_names_or_an_array() -> None:
    value = {"a": {"b": 1}, "c": [1, 2, 3]}
    assert filtered_json(value, parse("$")) is value
    assert filtered_json(value, parse("$.a")) == {"b": 1}
    assert filtered_json(value, parse("$.c[0:2]")) == [1, 2]
    assert filtered_json(value, parse("$['x','y']")) == []
    with pytest.raises(BadJoin, match=r"The filter \$\.x selects nothing of"):
        filtered_json(value, parse("$.x"))


def test_what_is_no_json_is_named() -> None:
    with pytest.raises(BadJoin, match=r"The model's answer to record 3 is not JSON \(.*\): 0\.5;"):
        parsed_json(b"0.5;", "the model's answer to record 3")
    with pytest.raises(BadJoin, match="is not JSON"):
        parsed_json("[" * 100_000, "the record")


def test_types_are_compared_not_texts() -> None:
    assert media_type("Text/CSV; charset=utf-8") == "text/csv"
    assert written_json({"ü": [1, 2.5]}) == '{"ü":[1,2.5]}'
