from __future__ import annotations

from typing import Any

import orjson
import pytest

from clary.domain.errors import Invalid
from clary.domain.pipelines import caching, definition, parameters, retries, steps
from clary.domain.pipelines.definition import PipelineDefinition


def step(name: str, kind: str = "Training", arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": kind, "Arguments": {} if arguments is None else arguments, **more}


def parse(*given: Any, **more: Any) -> PipelineDefinition:
    return definition.parse(orjson.dumps({"Version": "2020-12-01", "Steps": list(given), **more}), {})


def of(name: str, path: str = "TrainingJobArn") -> dict[str, str]:
    return {"Get": f"Steps.{name}.{path}"}


def test_steps_come_after_all_that_they_need_and_the_condition_that_they_stand_in() -> None:
    gate = step(
        "Gate",
        "Condition",
        {
            "Conditions": [{"Type": "Equals", "LeftValue": of("A"), "RightValue": 1}],
            "IfSteps": [step("Yes", arguments={"X": of("B", "ModelArtifacts.S3ModelArtifacts")})],
            "ElseSteps": [step("No", "Fail", {"ErrorMessage": "m"})],
        },
    )
    found = parse(gate, step("C", DependsOn=["Gate"]), step("B", arguments={"X": of("A")}), step("A"))
    assert list(found.steps) == ["A", "Gate", "B", "No", "C", "Yes"]
    assert found.steps["Yes"].branch == ("Gate", True)
    assert found.steps["Yes"].needs == {"B"}
    assert found.steps["Gate"].arguments == {"Conditions": gate["Arguments"]["Conditions"]}
    assert found.wanted == {"A": ("TrainingJobArn",), "B": ("ModelArtifacts.S3ModelArtifacts",)}


def test_a_property_file_asks_for_its_outputs_place() -> None:
    files = [{"PropertyFileName": "R", "OutputName": "o", "FilePath": "r.json"}]
    value = {"Std:JsonGet": {"PropertyFile": of("E", "PropertyFiles.R"), "Path": "a"}}
    found = parse(step("E", "Processing", PropertyFiles=files), step("T", arguments={"X": value}))
    assert found.wanted == {"E": ("ProcessingOutputConfig.Outputs['o'].S3Output.S3Uri",)}
    assert found.steps["T"].needs == {"E"}


REPORT = {"Std:JsonGet": {"PropertyFile": of("E", "PropertyFiles.R"), "Path": "a"}}
CALL = step("A", "Callback", SqsQueueUrl="u", OutputParameters=[{"OutputName": "o", "OutputType": "String"}])
ONE = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "at least one step"),
        (["x"], "has the Name None"),
        ([step("a b")], "letters, digits"),
        ([step("A"), step("A")], "'A' is used more than once"),
        ([step("A", "Condition", {"Conditions": [ONE], "IfSteps": [step("A")]})], "used more than once"),
        ([step("A", "Dreaming")], "of type 'Dreaming', which Clary does not support. Types of steps: Training"),
        ([step("A", "EMR")], "Clary has no EMR clusters"),
        ([step("A", Color="red")], "has the member 'Color'"),
        ([{"Name": "A", "Type": "Training"}], "needs Arguments"),
        ([step("A", DependsOn=["B"])], "depends on 'B', which the pipeline does not have"),
        ([step("A", DependsOn=["A"])], "depends on itself"),
        ([step("A", arguments={"X": of("B")})], "names the step 'B', which"),
        ([step("A", arguments={"X": of("A")})], "names itself"),
        ([step("A", arguments={"X": {"Get": "Parameters.P"}})], "names the parameter 'P'"),
        ([step("A", arguments={"X": {"Get": "Nothing.P"}})], "Step 'A': Cannot resolve Get"),
        ([step("A", arguments={"X": of("B")}), step("B", arguments={"X": of("A")})], "form a cycle: A -> B -> A"),
        ([step("F", "Fail", {"ErrorMessage": "m"}), step("A", arguments={"X": of("F")})], "a Fail step has none"),
        ([step("F", "Fail")], "needs an ErrorMessage"),
        ([step("C", "Condition", {"Conditions": []})], "at least one condition"),
        ([step("E", "Processing"), step("A", arguments={"X": REPORT})], "property file 'R'"),
        ([step("A", CacheConfig={"Enabled": True, "ExpireAfter": "soon"})], "must be a duration"),
        ([step("A", "Callback")], "needs SqsQueueUrl"),
        ([step("A", "Callback", SqsQueueUrl="u", OutputParameters=[{"OutputName": "o"}])], "needs an OutputName"),
        ([CALL, step("B", arguments={"X": of("A", "OutputParameters['p']")})], "Its outputs: o"),
        ([step("A", "Model", CacheConfig={"Enabled": True})], "cannot be cached"),
        ([step("A", "InferenceComponent", CacheConfig={"Enabled": True})], "cannot be cached"),
        ([step("L", "Lineage")], "needs at least one of Actions, Artifacts, Contexts, Associations"),
        ([step("L", "Lineage", {"Trials": []})], "has the argument 'Trials'"),
        ([step("L", "Lineage", {"Actions": [{}] * 6})], "has 6 Actions; 5 are allowed"),
        ([step("L", "Lineage", {"Associations": [{"Source": {"Name": "a"}}]})], "needs Arn, or Name and Type"),
        ([step("L", "Lineage", {"Associations": [{"Source": {"Name": "a", "Type": "Action"}}]})], "names the Action 'a'"),
        ([step("A", RetryPolicies=[{"ExceptionType": ["x"]}])], "ExceptionType"),
        ([step("A", RetryPolicies=[{"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 1, "ExpireAfterMin": 1}])], "give one of them"),
        ([step(f"S{n}") for n in range(1001)], "more than 1000 steps"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_with_a_sentence(given: list[Any], words: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(*given)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ('{"Version": "1"}', "it must be '2020-12-01'"),
        ("[" * 5000 + "]" * 5000, "not valid JSON"),
        (" " * (1 << 20) + "{}", "1 MB"),
    ],
)
def test_texts_that_are_no_definition(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        definition.parse(text, {})


def test_a_deep_value_is_refused() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(Invalid, match="nested more than"):
        parse(step("A", arguments={"X": deep}))


def test_a_type_whose_operation_is_not_there_is_refused() -> None:
    text = orjson.dumps({"Version": "2020-12-01", "Steps": [step("A", "Tuning")]})
    with pytest.raises(Invalid, match="Step 'A' is of type 'Tuning', which Clary does not support: it needs x"):
        definition.parse(text, {"Tuning": "it needs x"})


def test_every_type_is_in_the_table_or_refused() -> None:
    """The SDKs' own types of steps (`StepTypeEnum` of both) are all known."""
    known = {*steps.TYPES, *steps.REFUSED}
    assert {
        "Condition",
        "Model",
        "Processing",
        "RegisterModel",
        "Training",
        "Transform",
        "Callback",
        "Tuning",
        "Lambda",
    } <= known
    assert {
        "QualityCheck",
        "ClarifyCheck",
        "EMR",
        "EMRServerless",
        "Fail",
        "AutoML",
        "Lineage",
        "ForEach",
        "Cleanup",
    } <= known


def test_a_chain_of_a_thousand_steps() -> None:
    chain = [step("S0"), *(step(f"S{n}", arguments={"X": of(f"S{n - 1}")}) for n in range(1, 1000))]
    assert list(parse(*reversed(chain)).steps) == [f"S{n}" for n in range(1000)]


DECLARED = [
    {"Name": "I", "Type": "Integer", "DefaultValue": 3},
    {"Name": "F", "Type": "Float", "DefaultValue": 1},
    {"Name": "B", "Type": "Boolean", "DefaultValue": True},
    {"Name": "S", "Type": "String", "EnumValues": ["x", "y"]},
]


def test_parameters() -> None:
    declared = parameters.parse(DECLARED)
    given = [{"Name": "S", "Value": "y"}, {"Name": "I", "Value": "-7"}, {"Name": "B", "Value": "False"}]
    assert parameters.resolve(declared, given) == {"I": -7, "F": 1.0, "B": False, "S": "y"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "'S' has no default value"),
        ({"S": "z"}, "must be one of x, y"),
        ({"S": "x", "Q": "1"}, "no parameter named 'Q'. Its parameters: I, F, B, S"),
        ({"S": "x", "I": "1.5"}, "cannot be converted to Integer"),
        ({"S": "x", "F": "nan"}, "cannot be converted to Float"),
        ({"S": "x", "B": "yes"}, "cannot be converted to Boolean"),
    ],
)
def test_values_that_are_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(Invalid) as caught:
        parameters.resolve(parameters.parse(DECLARED), [{"Name": k, "Value": v} for k, v in given.items()])
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1H", 3600),
        ("P30D", 2592000),
        ("p30d", 2592000),
        ("30d", 2592000),
        ("T16m", 960),
        ("30dT5h", 2610000),
        ("P1M", 2592000),
        ("P1Y", 31536000),
    ],
)
def test_lifetimes_of_the_cache(text: str, seconds: float) -> None:
    assert caching.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "soon", "1", None, 5])
def test_lifetimes_that_are_none(text: Any) -> None:
    with pytest.raises(Invalid):
        caching.seconds(text)


def test_a_miss_says_what_differs() -> None:
    before = {"HyperParameters": {"eta": "0.1", "depth": "3"}, "InputDataConfig": [{"S3Uri": "a"}]}
    now = {"HyperParameters": {"eta": "0.2"}, "InputDataConfig": [{"S3Uri": "b"}], "Environment": {"A": "b"}}
    former = caching.Former("arn", 100.0, before, {})
    assert caching.match(before, [former], 50.0, 149.0) == (former, "")
    found, why = caching.match(now, [former], None, 149.0)
    assert found is None
    assert why == (
        "Environment was absent, is {'A': 'b'}; HyperParameters.depth was 3, is absent; HyperParameters.eta was 0.1, is 0.2; "
        "InputDataConfig[0].S3Uri was a, is b"
    )
    assert caching.match(before, [former], 50.0, 150.0) == (
        None,
        "its last success ended 50 s ago, and expires after 50 s",
    )
    assert caching.match(before, [], 50.0, 150.0)[1].startswith("no earlier execution")


def test_retries() -> None:
    policies = retries.parse(
        [
            {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "IntervalSeconds": 2, "BackoffRate": 3.0, "MaxAttempts": 2},
            {"ExceptionType": "SageMaker.JOB_INTERNAL_ERROR", "ExpireAfterMin": 1},
        ],
        "step 'A'",
    )
    capacity, internal = "SageMaker.CAPACITY_ERROR", "SageMaker.JOB_INTERNAL_ERROR"
    assert retries.again(policies, capacity, {capacity: 1}, 0.0, 10.0) == 12.0
    assert retries.again(policies, capacity, {capacity: 2}, 0.0, 10.0) == 16.0
    assert retries.again(policies, capacity, {capacity: 3}, 0.0, 10.0) is None
    assert retries.again(policies, internal, {internal: 3}, 0.0, 10.0) == 14.0
    assert retries.again(policies, internal, {internal: 3}, 0.0, 57.0) is None
    assert retries.again((), retries.THROTTLING, {retries.THROTTLING: 1}, 0.0, 1.0) == 2.0
    assert retries.again((), "", {"": 1}, 0.0, 1.0) is None
