"""Ground truth as it is given, and as it is written."""

from __future__ import annotations

import json

import pytest

from clary.domain.errors import Invalid
from clary.domain.monitoring.labels import lines, place, read, truths
from clary.domain.s3 import Location


@pytest.mark.parametrize(
    "text",
    ['a,1\nb,"x, y"\n\na,1\n', '{"id": "a", "label": 1}\n\n{"id": "b", "label": "x, y"}\n{"id": "a", "label": "1"}\n'],
)
def test_both_forms_are_read(text: str) -> None:
    assert read(text) == {"a": "1", "b": "x, y"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no label"),
        ("\n\n", "there is no label"),
        ("a,1\nb", "line 2: ID,LABEL has 2 fields, not 1"),
        ("a,1\na,2", "line 2: a is labelled '2', and before that '1'"),
        (",1", "line 1: an id has 1 to 256 characters, not 0"),
        ("x" * 257 + ",1", "not 257"),
        ('{"id": "a"}', "line 1: JSON needs id and label"),
        ('{"id": "a", "label": 1}\n{', "line 2: "),
        ('{"id": "a", "label": null}', "a label is a number or a text"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        read(text)


def test_files_are_as_aws_merges_them() -> None:
    one, other = map(json.loads, lines({"a": "1", "b": "x, y"}).splitlines())
    assert one == {
        "groundTruthData": {"data": "1", "encoding": "CSV"},
        "eventMetadata": {"eventId": "a"},
        "eventVersion": "0",
    }
    assert other["groundTruthData"]["data"] == '"x, y"'


def test_the_same_labels_go_to_the_same_place() -> None:
    folder, text = Location("b", "truth/"), lines({"a": "1"})
    where = place(folder, 1_800_000_000, text)
    assert where == place(folder, 1_800_000_001, text) != place(folder, 1_800_000_000, lines({"a": "2"}))
    assert str(where).startswith("s3://b/truth/2027/01/15/08/")
    assert str(where).endswith(".jsonl")


def test_files_are_read_back_a_label_for_each_row_of_a_request() -> None:
    text = lines({"a": "1", "b": "x, y"})
    assert truths(text) == ({"a": [1.0], "b": ["x, y"]}, 0)
    rows = {"groundTruthData": {"data": "1,0\n1", "encoding": "CSV"}, "eventMetadata": {"eventId": "c"}}
    assert truths(json.dumps(rows))[0] == {"c": [1.0, 0.0, 1.0]}
    listed = {"groundTruthData": {"data": "[1, 0]", "encoding": "JSON"}, "eventMetadata": {"eventId": "c"}}
    assert truths(json.dumps(listed))[0] == {"c": [1.0, 0.0]}


def test_of_an_id_that_comes_twice_the_last_label_counts_and_torn_lines_are_counted() -> None:
    assert truths(lines({"a": "1"}) + "[]\n{\n\n" + lines({"a": "2"})) == ({"a": [2.0]}, 2)


def test_a_list_is_a_label_for_each_row() -> None:
    given = read('{"id": "a", "label": [1, 0, "x, y"]}\n{"id": "b", "label": 2}')
    assert given == {"a": ("1", "0", "x, y"), "b": "2"}
    assert truths(lines(given))[0] == {"a": [1.0, 0.0, "x, y"], "b": [2.0]}
