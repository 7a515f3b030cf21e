"""Which bodies of dashboards are kept, and where the others are wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.domain.metrics.dashboards import BODY, WIDGETS, problems, words

METRIC = {
    "type": "metric",
    "properties": {"region": "us-east-1", "metrics": [["AWS/SageMaker", "Invocations", {"stat": "Sum"}]]},
}


@pytest.mark.parametrize(
    "body",
    [
        {"widgets": []},
        {
            "start": "-PT6H",
            "periodOverride": "inherit",
            "widgets": [{**METRIC, "x": 23, "y": 0, "width": 24, "height": 1000}],
        },
        {"widgets": [{"type": "text", "properties": {"markdown": "# hello"}}]},
        {"widgets": [{"type": "metric", "properties": {"region": "r", "annotations": {"alarms": ["arn"]}}}]},
        {"widgets": [{"type": "alarm", "properties": {"alarms": ["arn"]}}]},
    ],
)
def test_what_is_kept(body: Any) -> None:
    assert problems(json.dumps(body)) == []


@pytest.mark.parametrize(
    ("body", "path", "says"),
    [
        ("{", "/", "must be a valid JSON object"),
        ("[" * 100_000, "/", "must be a valid JSON object"),
        ("[]", "/", "must be a valid JSON object"),
        ("{}", "/", "required property 'widgets'"),
        ('{"widgets": 1}', "/widgets", "Should be array"),
        ({"widgets": [METRIC] * (WIDGETS + 1)}, "/widgets", "more than 500"),
        ({"widgets": [METRIC, 1]}, "/widgets/1", "Should be object"),
        ({"widgets": [{"properties": {}}]}, "/widgets/0", "'type'"),
        ({"widgets": [{"type": "pie", "properties": {}}]}, "/widgets/0/type", "allowed values: metric, text"),
        ({"widgets": [{"type": ["metric"], "properties": {}}]}, "/widgets/0/type", "allowed values"),
        ({"widgets": [{"type": "text"}]}, "/widgets/0", "'properties'"),
        ({"widgets": [{"type": "text", "properties": 1}]}, "/widgets/0/properties", "Should be object"),
        ({"widgets": [{"type": "text", "properties": {}}]}, "/widgets/0/properties", "'markdown'"),
        ({"widgets": [{"type": "text", "properties": {"markdown": 1}}]}, "/widgets/0/properties/markdown", "string"),
        ({"widgets": [{"type": "metric", "properties": {"region": "r"}}]}, "/widgets/0/properties", "'metrics'"),
        ({"widgets": [{"type": "metric", "properties": {"region": "r", "metrics": ["m"]}}]}, "/widgets/0/properties/metrics", "arrays"),
        ({"widgets": [{**METRIC, "x": 24}]}, "/widgets/0/x", "<= 23"),
        ({"widgets": [{**METRIC, "width": True}]}, "/widgets/0/width", "integer"),
        ('{"widgets": [], "x": "' + "x" * BODY + '"}', "/", "at most"),
    ],
)  # fmt: skip
def test_where_a_body_is_wrong(body: Any, path: str, says: str) -> None:
    (problem,) = problems(body if isinstance(body, str) else json.dumps(body))
    assert problem.path == path
    assert says in problem.message


def test_every_problem_is_told() -> None:
    found = problems(json.dumps({"widgets": [{}, {"type": "text", "x": -1, "properties": {}}]}))
    assert [problem.path for problem in found] == ["/widgets/0", "/widgets/0", "/widgets/1/x", "/widgets/1/properties"]
    text, _, rows = words(found).partition("errors: ")
    assert text == "The dashboard body is invalid, there are 4 validation "
    assert json.loads(rows)[2] == {"dataPath": "/widgets/1/x", "message": "Should be >= 0 and <= 23"}
