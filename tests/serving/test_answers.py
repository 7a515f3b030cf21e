"""HTTP answers as bytes: well-formed, whatever they tell."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from clary.serving import answers


@given(st.text(max_size=200), st.binary(max_size=200))
def test_errors_are_well_formed_whatever_they_tell(message: str, body: bytes) -> None:
    errors = answers.ModelErrors("000000000000", "us-east-1", "iris", "primary")
    for answer in (answers.error(400, "ValidationError", message, b"id"), errors.answered(500, body, b"id")):
        head, _, content = answer.partition(b"\r\n\r\n")
        assert head.count(b"\r\n") == 4
        assert f"Content-Length: {len(content)}".encode() in head
        json.loads(content)
