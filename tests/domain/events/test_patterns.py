"""Patterns as EventBridge's guide writes them, and what is no pattern."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.domain.events import patterns

EVENT = {
    "version": "0",
    "id": "1",
    "source": "aws.sagemaker",
    "detail-type": "SageMaker Model Package State Change",
    "resources": ["arn:a", "arn:b"],
    "detail": {
        "ModelApprovalStatus": "Approved",
        "n": 5,
        "half": 0.5,
        "on": True,
        "none": None,
        "ip": "10.0.0.17",
        "list": ["a", "b"],
        "path": "dir/sub/file.png",
        "star": "a*b",
        "deep": {"x": [{"y": 1}, {"y": 2}]},
        "empty": "",
    },
}


def fits(detail: Any) -> bool:
    return patterns.matches(patterns.parse(json.dumps({"detail": detail})), EVENT)


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ({"ModelApprovalStatus": ["Approved", "Rejected"]}, True),
        ({"ModelApprovalStatus": ["approved"]}, False),
        ({"n": [5]}, True),
        ({"n": ["5"]}, False),
        ({"n": [1, 5.0]}, True),
        ({"on": [True]}, True),
        ({"on": [1]}, False),
        ({"none": [None]}, True),
        ({"empty": [""]}, True),
        ({"empty": [None]}, False),
        ({"list": ["b"]}, True),
        ({"list": ["c"]}, False),
        ({"path": [{"prefix": "dir/"}]}, True),
        ({"path": [{"prefix": {"equals-ignore-case": "DIR/"}}]}, True),
        ({"path": [{"prefix": "DIR/"}]}, False),
        ({"path": [{"suffix": ".png"}]}, True),
        ({"path": [{"suffix": {"equals-ignore-case": ".PNG"}}]}, True),
        ({"path": [{"equals-ignore-case": "DIR/SUB/FILE.PNG"}]}, True),
        ({"path": [{"wildcard": "dir/*/file.*"}]}, True),
        ({"path": [{"wildcard": "dir/*.jpg"}]}, False),
        ({"path": [{"wildcard": "*"}]}, True),
        ({"star": [{"wildcard": "a\\*b"}]}, True),
        ({"path": [{"wildcard": "a\\*b"}]}, False),
        ({"ModelApprovalStatus": [{"anything-but": "Rejected"}]}, True),
        ({"ModelApprovalStatus": [{"anything-but": ["Approved", "x"]}]}, False),
        ({"ModelApprovalStatus": [{"anything-but": {"prefix": "App"}}]}, False),
        ({"ModelApprovalStatus": [{"anything-but": {"suffix": ["ed", "x"]}}]}, False),
        ({"ModelApprovalStatus": [{"anything-but": {"equals-ignore-case": ["approved"]}}]}, False),
        ({"ModelApprovalStatus": [{"anything-but": {"wildcard": "Rej*"}}]}, True),
        ({"n": [{"anything-but": 5}]}, False),
        ({"n": [{"anything-but": [6, 7]}]}, True),
        ({"missing": [{"anything-but": "x"}]}, False),
        ({"n": [{"numeric": [">", 0, "<=", 5]}]}, True),
        ({"n": [{"numeric": ["<", 5]}]}, False),
        ({"half": [{"numeric": ["=", 0.5]}]}, True),
        ({"path": [{"numeric": [">", 0]}]}, False),
        ({"on": [{"numeric": [">", 0]}]}, False),
        ({"n": [{"exists": True}]}, True),
        ({"n": [{"exists": False}]}, False),
        ({"missing": [{"exists": False}]}, True),
        ({"missing": {"deeper": [{"exists": False}]}}, True),
        ({"deep": [{"exists": True}]}, False),  # leaves only
        ({"ip": [{"cidr": "10.0.0.0/24"}]}, True),
        ({"ip": [{"cidr": "10.0.1.0/24"}]}, False),
        ({"path": [{"cidr": "10.0.1.0/24"}]}, False),
        ({"deep": {"x": {"y": [2]}}}, True),
        ({"deep": {"x": {"y": [3]}}}, False),
        ({"$or": [{"n": [1]}, {"half": [{"numeric": [">", 0]}]}]}, True),
        ({"$or": [{"n": [1]}, {"half": [1]}]}, False),
        ({"on": [True], "$or": [{"n": [5]}, {"half": [1]}]}, True),
        ({"n": [5], "half": [1]}, False),
    ],
)
def test_what_fits(detail: Any, expected: bool) -> None:
    assert fits(detail) is expected


def test_members_of_the_event_itself() -> None:
    assert patterns.matches(patterns.parse('{"resources": ["arn:b"], "source": [{"prefix": "aws."}]}'), EVENT)
    assert not patterns.matches(patterns.parse('{"account": ["1"]}'), EVENT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"a": "b"}',
        '{"a": []}',
        '{"a": {}}',
        '{"a": [[1]]}',
        '{"a": [{"like": "x"}]}',
        '{"a": [{"prefix": "x", "suffix": "y"}]}',
        '{"a": [{"prefix": 5}]}',
        '{"a": [{"prefix": {"suffix": "x"}}]}',
        '{"a": [{"numeric": [">"]}]}',
        '{"a": [{"numeric": ["~", 5]}]}',
        '{"a": [{"numeric": [">", "5"]}]}',
        '{"a": [{"exists": "yes"}]}',
        '{"a": [{"cidr": "10.0.0.0/99"}]}',
        '{"a": [{"wildcard": "a**b"}]}',
        '{"a": [{"wildcard": "a\\\\b"}]}',
        '{"a": [{"anything-but": []}]}',
        '{"a": [{"anything-but": {"numeric": [">", 1]}}]}',
        '{"a": ' * 40 + "[1]" + "}" * 40,
        '{"a": ["' + "x" * 5000 + '"]}',
        "[" * 3000,
    ],
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(patterns.InvalidPattern, match="Event pattern is not valid"):
        patterns.parse(text)


def test_a_wildcard_bomb_costs_nothing() -> None:
    pattern = patterns.parse(json.dumps({"a": [{"wildcard": "*a" * 500 + "b"}]}))
    assert not patterns.matches(pattern, {"a": "a" * 100_000})
