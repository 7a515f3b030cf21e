"""The JSON paths of filters, as the developer guide has them."""

from __future__ import annotations

from typing import Any

import pytest

from clary.toolkit.transform.paths import BadPath, parse

ROW = ["a", "b", "c", "d"]
ORDER = {"id": 7, "items": [{"n": 1}, {"n": 2}], "a b": 3}


@pytest.mark.parametrize(
    ("path", "value", "taken"),
    [
        ("$", ROW, [ROW]),
        ("$[0]", ROW, ["a"]),
        ("$[-1]", ROW, ["d"]),
        ("$[1:]", ROW, ["b", "c", "d"]),
        ("$[0:2]", ROW, ["a", "b"]),
        ("$[:-1]", ROW, ["a", "b", "c"]),
        ("$[0, 2,-1]", ROW, ["a", "c", "d"]),
        ("$[9]", ROW, []),
        ("$[*]", ROW, ROW),
        ("$.id", ORDER, [7]),
        ("$['id']", ORDER, [7]),
        ("$['a b','id']", ORDER, [3, 7]),
        ("$.items[*].n", ORDER, [1, 2]),
        ("$.items[0]", ORDER, [{"n": 1}]),
        ("$.*", {"x": 1, "y": 2}, [1, 2]),
        ("$.missing.deeper", ORDER, []),
        ("$['it\\'s']", {"it's": 1}, [1]),
    ],
)
def test_what_a_path_takes(path: str, value: Any, taken: list[Any]) -> None:
    assert parse(path).select(value) == taken


@pytest.mark.parametrize(
    ("path", "single"),
    [("$", True), ("$.a.b", True), ("$[3]", True), ("$[0,1]", False), ("$[0:1]", False), ("$.a[*]", False)],
)
def test_which_paths_name_one_value(path: str, single: bool) -> None:
    assert parse(path).single is single


@pytest.mark.parametrize("path", ["", "a.b", "$..a", "$[?(@.x)]", "$[(1)]", "$[0][", "$[a]", "$.a[0,1:2]", "$['a'"])
def test_what_aws_does_not_have_is_refused_with_its_place(path: str) -> None:
    with pytest.raises(BadPath, match=r"DataProcessing.InputFilter: '.*' is not a JSON path that is supported"):
        parse(path, "DataProcessing.InputFilter")
