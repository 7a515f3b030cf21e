from __future__ import annotations

from typing import Any

import pytest

from clary.domain.errors import Invalid, NotFound
from clary.domain.pipelines import conditions, expressions, paths
from clary.domain.pipelines.expressions import ExpressionContext, Needed, PropertyFile

REPORT = PropertyFile("evaluation", "evaluation.json")
CONTEXT = ExpressionContext(
    parameters={"N": 20, "F": 1.1, "B": True, "S": "x"},
    execution={"PipelineName": "p", "StartDateTime": "2026-01-01T00:00:00.000Z"},
    experiment={"ExperimentName": "e"},
    steps={"Train": {"ModelArtifacts.S3ModelArtifacts": "s3://b/m"}, "Eval": {REPORT.uri: "s3://b/eval/"}},
    property_files={("Eval", "Report"): REPORT},
    files={
        "s3://b/eval/evaluation.json": b'{"a b": {"c": [1, 2.5]}}',
        "s3://b/gone": NotFound("no"),
        "s3://b/bad": b"{",
    },
)


def get(name: str) -> dict[str, str]:
    return {"Get": name}


def join(on: str, *values: Any) -> dict[str, Any]:
    return {"Std:Join": {"On": on, "Values": list(values)}}


def json_get(path: str, **where: Any) -> dict[str, Any]:
    return {"Std:JsonGet": {"Path": path, **(where or {"PropertyFile": get("Steps.Eval.PropertyFiles.Report")})}}


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (get("Parameters.N"), 20),
        (get("Parameters.B"), True),
        (get("Execution.PipelineName"), "p"),
        (get("PipelineExperimentConfig.ExperimentName"), "e"),
        (get("Steps.Train.ModelArtifacts.S3ModelArtifacts"), "s3://b/m"),
        (join("/", "s3:/", "b", get("Parameters.S")), "s3://b/x"),
        (join("", get("Parameters.N")), "20"),
        (join(" ", get("Parameters.F"), get("Parameters.B"), 3, join("-", "a", "b")), "1.1 true 3 a-b"),
        (json_get("['a b'].c[1]"), 2.5),
        (json_get("$['a b'].c[0]"), 1),
        (
            {"a": [get("Parameters.N"), {"b": get("Parameters.S")}], "Get": 1, "c": None},
            {"a": [20, {"b": "x"}], "Get": 1, "c": None},
        ),
    ],
)
def test_results(value: Any, result: Any) -> None:
    assert expressions.evaluate(value, CONTEXT) == result
    assert type(expressions.evaluate(value, CONTEXT)) is type(result)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (get("Parameters.Z"), "Parameters.Z is undefined"),
        (get("Steps.Train.Other"), "Steps.Train.Other is undefined"),
        (get("Somewhere.x"), "Cannot resolve Get"),
        (get("Execution.Password"), "Cannot resolve Get"),
        ({"Get": 3}, "Cannot resolve Get"),
        (join("", {"a": 1}), "takes texts, numbers and booleans"),
        ({"Std:Join": {"On": "x"}}, "must be"),
        (json_get("nothing"), "nothing at the path 'nothing'"),
        (json_get("a", S3Uri="s3://b/gone"), "does not exist"),
        (json_get("a", S3Uri="s3://b/bad"), "not valid JSON"),
        ({"Std:JsonGet": {"Path": "a"}}, "must be"),
    ],
)
def test_what_has_no_result_says_why(value: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words.replace("(", r"\(")):
        expressions.evaluate(value, CONTEXT)


def test_a_file_that_was_not_read_is_asked_for() -> None:
    with pytest.raises(Needed) as caught:
        expressions.evaluate(json_get("a", S3Uri=join("/", "s3:/", "b", get("Parameters.S"))), CONTEXT)
    assert caught.value.uri == "s3://b/x"


def test_a_bomb_is_bounded() -> None:
    """Each Join is small, and names a large value often."""
    context = ExpressionContext(parameters={"L": "x" * 1024})
    line = [get("Parameters.L")] * 2000
    with pytest.raises(Invalid, match="more than 1 MB"):
        expressions.evaluate({"a": join("", *line)}, context)
    deep: Any = "x"
    for _ in range(150):
        deep = join("", deep)
    with pytest.raises(Invalid, match="nested more than"):
        list(expressions.references(deep))


ANSWER = {"Outputs": [{"OutputName": "train", "S3": "a"}, {"OutputName": "test", "S3": "b"}], "L": [[1], [2, 3]]}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("Outputs['test'].S3", "b"),
        ('Outputs["train"].S3', "a"),
        ("Outputs[0].S3", "a"),
        ("L[1][1]", 3),
        ("$.L[0]", [1]),
    ],
)
def test_paths(path: str, found: Any) -> None:
    assert paths.find(ANSWER, path) == found


@pytest.mark.parametrize("path", ["Outputs['none']", "Outputs[7]", "L.x", "Outputs[0].S3.x", "L[-1]"])
def test_paths_to_nothing(path: str) -> None:
    with pytest.raises(paths.Undefined):
        paths.find(ANSWER, path)


@pytest.mark.parametrize("path", ["", "$", "a[", "a[x]", "a..b", ".a", "a['b", "a" * 3 + ".b" * 100])
def test_paths_that_cannot_be_read(path: str) -> None:
    with pytest.raises(Invalid):
        paths.parse(path)


def compare(kind: str, left: Any, right: Any) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (compare("Equals", 3, 3.0), True),
        (compare("NotEquals", "a", "b"), True),
        (compare("GreaterThan", 2, 2), False),
        (compare("GreaterThanOrEqualTo", 2, 2), True),
        (compare("LessThan", "a", "b"), True),
        (compare("LessThanOrEqualTo", 3, 2.5), False),
        ({"Type": "In", "QueryValue": "a", "Values": ["a", 1]}, True),
        ({"Type": "In", "Value": 1, "In": [2, True]}, False),
        ({"Type": "NotIn", "QueryValue": 1, "Values": [2]}, True),
        ({"Type": "Not", "Condition": compare("Equals", 1, 1)}, False),
        ({"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("Equals", 1, 1)]}, True),
    ],
)
def test_conditions(condition: dict[str, Any], holds: bool) -> None:
    conditions.check([condition])
    assert conditions.hold([condition]) is holds
    assert conditions.hold([condition, compare("Equals", 1, 1)]) is holds
    assert conditions.hold([condition, compare("Equals", 1, 0)]) is False


@pytest.mark.parametrize(
    "condition",
    [
        {},
        "x",
        {"Type": "Like"},
        {"Type": "Equals", "LeftValue": 1},
        {"Type": "In", "QueryValue": 1},
        {"Type": "Not"},
        {"Type": "Or"},
    ],
)
def test_conditions_that_are_none(condition: Any) -> None:
    with pytest.raises(Invalid):
        conditions.check([condition])


@pytest.mark.parametrize(("left", "right"), [(1, "1"), (True, 1), ([1], [1, 2]), (None, 1)])
def test_what_cannot_be_compared(left: Any, right: Any) -> None:
    with pytest.raises(Invalid, match="cannot compare"):
        conditions.hold([compare("GreaterThan", left, right)])
