"""Nothing of a named column is left, and what cannot be read is not stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.domain.endpoints.capture import Exchange, Side, kept, line
from clary.domain.endpoints.redaction import INPUT, read, redacted
from clary.domain.errors import Invalid


def test_csv_by_position() -> None:
    body = b'1,"a, b",3\n4,"c ""d""",6\n'
    assert redacted(body, "text/csv; charset=utf-8", ["input.1"], INPUT) == b"1,,3\n4,,6\n"
    assert redacted(body, "text/csv", ["output.1"], INPUT) == body


@pytest.mark.parametrize(
    ("columns", "given", "left"),
    [
        (["input.email"], {"email": "x", "age": 3}, {"email": None, "age": 3}),
        (["input.email"], {"instances": [{"who": {"email": ["x"]}}]}, {"instances": [{"who": {"email": None}}]}),
        (["input.who.email"], {"who": {"email": "x"}, "email": "kept"}, {"who": {"email": None}, "email": "kept"}),
        (["input.0"], [[1, 2], [3, 4]], [[None, 2], [None, 4]]),
        (["input.1"], {"instances": [{"features": [1, 2]}]}, {"instances": [{"features": [1, None]}]}),
        (["input.0"], {"instances": [7, 8]}, {"instances": [None, None]}),
        (["input.0"], 7, None),
    ],
)
def test_json_by_key_and_by_position(columns: list[str], given: Any, left: Any) -> None:
    assert json.loads(redacted(json.dumps(given).encode(), "application/json", columns, INPUT)) == left


def test_json_lines() -> None:
    body = b'{"a": 1}\n\n{"a": 2, "b": 3}\n'
    assert redacted(body, "application/jsonlines", ["input.a"], INPUT) == b'{"a": null}\n{"a": null, "b": 3}'


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"{", "application/json"), (b"\xff", "text/csv"), (b"1", "image/png"), (b"[" * 100_000, "application/json")],
)
def test_what_cannot_be_read_is_taken_out_whole(body: bytes, kind: str) -> None:
    assert redacted(body, kind, ["input.0"], INPUT) == b""


@pytest.mark.parametrize("text", ["", " ", "email", "input.", "input.0 output"])
def test_a_tag_that_names_no_columns_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="clary:capture-redact"):
        read(text)


def test_a_captured_line_is_without_them() -> None:
    config = {
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    config = {**kept(config, "c", [{"Key": "clary:capture-redact", "Value": "input.0 output.1"}])}
    told = json.loads(line(config, Exchange("1", 0.0, Side("text/csv", b"secret,1"), Side("text/csv", b"2,secret"))))
    assert [told["captureData"][name]["data"] for name in ("endpointInput", "endpointOutput")] == [",1\n", "2,\n"]
