"""What a batch is sent as, and what is written of its answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.toolkit.transform.joining import BadJoin
from clary.toolkit.transform.shaping import TransformShape

CSV = {"content_type": "text/csv; charset=utf-8", "accept": "text/csv", "split": "Line", "assemble": "Line"}
LINES = {
    "content_type": "application/jsonlines",
    "accept": "application/jsonlines",
    "split": "Line",
    "assemble": "Line",
}
WHOLE = {"content_type": "application/json", "accept": "application/json", "split": "None", "assemble": "None"}


def shape(base: dict[str, str], **more: Any) -> TransformShape:
    return TransformShape({**base, **more})


def test_nothing_is_touched_where_nothing_is_asked() -> None:
    plain = shape(CSV)
    assert plain.asked(b"1,\xff\n") == b"1,\xff\n"
    assert plain.written(b"1\n", b"0.5") == b"0.5\n", "each response ends a line"
    assert plain.written(b"1\n", b"0.5\n") == b"0.5\n"
    assert shape(CSV, assemble="None").written(b"1\n", b"0.5") == b"0.5"


def test_csv_is_text() -> None:
    joined = shape(CSV, input_filter="$[1:]", join=True, output_filter="$[0,-1]")
    body = b'"a, b",1.50,007\r\nid\xff,2,3\n'
    assert joined.asked(body) == b"1.50,007\n2,3\n"
    assert joined.written(body, b"0.10\n0.20") == b'"a, b",0.10\nid\xff,0.20\n'
    assert shape(CSV, join=True).written(b"1,2\n", b"3,4\n") == b"1,2,3,4\n"


def test_as_many_answers_as_records() -> None:
    with pytest.raises(BadJoin, match="answered 1 rows to 2"):
        shape(CSV, join=True).written(b"1\n2\n", b"0.1\n")
    with pytest.raises(BadJoin, match="answered 1 lines to 2 records"):
        shape(LINES, join=True).written(b"{}\n{}\n", b"{}\n")


def test_json_lines() -> None:
    joined = shape(LINES, input_filter="$.x", join=True)
    body = b'{"x": [1, 2], "id": 7}\n\n{"x": "\xc3\xa4", "id": 8}\n'
    assert joined.asked(body) == '[1,2]\n"ä"\n'.encode()
    assert [json.loads(line) for line in joined.written(body, b'{"p": 1}\n2\n').splitlines()] == [
        {"x": [1, 2], "id": 7, "SageMakerOutput": {"p": 1}},
        {"x": "ä", "id": 8, "SageMakerOutput": 2},
    ]
    assert joined.written(b'{"x": 1}\n[2]\n', b"[5, 6]").splitlines() == [
        b'{"x":1,"SageMakerOutput":5}',
        b'{"SageMakerInput":[2],"SageMakerOutput":6}',
    ], "a list with an element for each"


def test_json_as_a_whole() -> None:
    joined = shape(WHOLE, join=True, output_filter="$.SageMakerOutput")
    assert joined.written(b'{"a": 1}', b'{"p": [1]}') == b'{"p":[1]}'
    with pytest.raises(BadJoin, match="The model's answer is not JSON"):
        joined.written(b"{}", b"oops")


def test_mixed_json_and_filters_that_select_nothing() -> None:
    with pytest.raises(BadJoin, match=r"The input, row 2 is not JSON"):
        shape(LINES, input_filter="$.x").asked(b'{"x": 1}\n{"x": \n')
    with pytest.raises(BadJoin, match=r"The filter \$\.x selects nothing of \[1\]"):
        shape(LINES, input_filter="$.x").asked(b'{"x": 1}\n[1]\n')
    with pytest.raises(BadJoin, match=r"InputFilter \$\[3\] selects nothing of row 2 of 1 fields"):
        shape(CSV, input_filter="$[3]").asked(b"1,2,3,4\n1\n")
    with pytest.raises(BadJoin, match=r"OutputFilter \$\[1\] selects nothing of row 1"):
        shape(CSV, output_filter="$[1]").written(b"", b"1\n")


def test_ids_and_times() -> None:
    rows = shape(CSV, ids=True).written(b"1\n2\n", b"0.1\n0.2\n").decode().splitlines()
    assert [row.split(",")[0] for row in rows] == ["0.1", "0.2"]
    assert len({row.split(",")[1] for row in rows}) == 2
    [told] = [json.loads(line) for line in shape(LINES, ids=True).written(b"1\n", b'{"p": 1}\n').splitlines()]
    assert set(told) == {"p", "SageMakerInferenceId", "SageMakerInferenceTime"}
