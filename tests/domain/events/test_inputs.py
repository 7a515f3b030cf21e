from __future__ import annotations

import json
from typing import Any

import pytest

from clary.domain.errors import InvalidValue
from clary.domain.events import inputs

EVENT = {"id": "1", "detail": {"name": 'a "b"', "n": 5, "list": [1, 2], "deep": {"x": True}, "odd key": 1}}
RULE = "arn:aws:events:eu-west-1:000000000000:rule/r"


def text(**target: Any) -> str:
    given = {"Id": "t", **target}
    inputs.check(given)
    return inputs.text_of(given, EVENT, RULE, "2030-01-01T00:00:00Z")


def test_all_of_it_a_constant_or_a_part() -> None:
    assert json.loads(text()) == EVENT
    assert text(Input='{"a": 1}') == '{"a": 1}'
    assert json.loads(text(InputPath="$.detail.list[1]")) == 2
    assert json.loads(text(InputPath="$.detail['odd key']")) == 1
    assert text(InputPath="$.none.of.these") == "null"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{"v": <name>}', {"v": 'a "b"'}),
        ('{"v": "is <name>"}', {"v": 'is a "b"'}),
        ('{"v": <n>, "w": "<n>"}', {"v": 5, "w": "5"}),
        ('{"v": <deep>}', {"v": {"x": True}}),
        ('{"v": "<deep>"}', {"v": '{"x":true}'}),
        ('{"v": "\\"<n>\\""}', {"v": '"5"'}),
        ('"only <n>"', "only 5"),
        ('{"r": "<aws.events.rule-name>", "e": <aws.events.event.json>}', {"r": "r", "e": EVENT}),
        ('{"v": "1 < 2 <n>"}', {"v": "1 < 2 5"}),
    ],
)
def test_templates(template: str, expected: Any) -> None:
    paths = {"name": "$.detail.name", "n": "$.detail.n", "deep": "$.detail.deep"}
    assert json.loads(text(InputTransformer={"InputPathsMap": paths, "InputTemplate": template})) == expected


@pytest.mark.parametrize(
    "target",
    [
        {"Input": "{"},
        {"Input": '"' + "x" * 9000 + '"'},
        {"Input": "{}", "InputPath": "$.a"},
        {"InputPath": "detail"},
        {"InputPath": "$.a..b"},
        {"InputTransformer": {"InputTemplate": "<unknown>"}},
    ],
)
def test_what_cannot_be_made(target: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        text(**target)
