"""Documents of S3: written and read back; what is none is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.objects import xml


def test_a_document_is_written_and_read_back() -> None:
    content = {"A": "x & <y>", "L": [{"K": "1", "V": "é"}, {"K": "2"}], "N": None, "E": "", "T": True, "I": 7}
    text = xml.document("Root", content)
    assert text.startswith(
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Root xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    )
    root, found = xml.parse(text)
    assert root == "Root"
    assert found == {
        "A": ["x & <y>"], "L": [{"K": ["1"], "V": ["é"]}, {"K": ["2"]}], "E": [""], "T": ["true"], "I": ["7"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        b"", b"<a>", b"<a></b>", b"x", b"<a/><b/>", b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", b"<a>&nothing;</a>",
        b"<a>" * 100 + b"</a>" * 100, b"\xff\xfe\x00", b"<a>\xff</a>",
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused(bad: bytes) -> None:
    with pytest.raises(xml.Malformed):
        xml.parse(bad)


@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        xml.parse(data)
    except xml.Malformed:
        pass
