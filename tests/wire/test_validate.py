"""Constraints that clients leave to the service, and AWS's words for them."""

import math
import time
from typing import Any

import pytest

from clary.wire.errors import ValidationError
from clary.wire.models import load
from clary.wire.patterns import matcher
from clary.wire.validate import validate

SERVICES = ["sagemaker", "sagemaker-runtime", "application-autoscaling", "cloudwatch", "logs", "sts", "iam", "ecr"]
NAME = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"


def message(service: str, operation: str, params: dict[str, Any], **kwargs: Any) -> str | None:
    try:
        validate(load(service).operation_model(operation), params, **kwargs)
    except ValidationError as error:
        return error.message
    return None


def one(constraint: str) -> str:
    return f"1 validation error detected: {constraint}"


@pytest.mark.parametrize(
    ("operation", "params", "expected"),
    [
        ("DescribeEndpoint", {"EndpointName": "good-name"}, None),
        (
            "DescribeEndpoint",
            {},
            one("Value null at 'endpointName' failed to satisfy constraint: Member must not be null"),
        ),
        (
            "DescribeEndpoint",
            {"EndpointName": "_bad name_"},
            one(
                "Value '_bad name_' at 'endpointName' failed to satisfy constraint: "
                f"Member must satisfy regular expression pattern: {NAME}"
            ),
        ),
        (
            "DescribeEndpoint",
            {"EndpointName": "a" * 64},
            "2 validation errors detected: "
            f"Value '{'a' * 64}' at 'endpointName' failed to satisfy constraint: "
            "Member must have length less than or equal to 63; "
            f"Value '{'a' * 64}' at 'endpointName' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {NAME}",
        ),
        (
            "ListEndpoints",
            {"SortOrder": "Sideways"},
            one(
                "Value 'Sideways' at 'sortOrder' failed to satisfy constraint: "
                "Member must satisfy enum value set: [Ascending, Descending]"
            ),
        ),
        (
            "ListEndpoints",
            {"MaxResults": 101},
            one(
                "Value '101' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 100"
            ),
        ),
        (
            "ListEndpoints",
            {"MaxResults": 0},
            one(
                "Value '0' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1"
            ),
        ),
        (
            "AddTags",
            {
                "ResourceArn": "arn:aws:sagemaker:eu-central-1:000000000000:endpoint/e",
                "Tags": [{"Key": "k", "Value": "v"}, {"Key": "k#", "Value": ""}],
            },
            one(
                "Value 'k#' at 'tags.2.member.key' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: ([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)"
            ),
        ),
        (
            "DeleteTags",
            {"ResourceArn": "arn:aws:sagemaker:eu-central-1:000000000000:endpoint/e", "TagKeys": ["fine", "not#fine"]},
            one(
                "Value '[fine, not#fine]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: "
                "[Member must have length less than or equal to 128, Member must have length greater than or equal to 1, "
                "Member must satisfy regular expression pattern: ([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)]"
            ),
        ),
    ],
)
def test_speaks_as_aws_does(operation: str, params: dict[str, Any], expected: str | None) -> None:
    assert message("sagemaker", operation, params) == expected


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (math.nan, "'nan' at 'desiredWeightsAndCapacities.1.member.desiredWeight'"),
        (math.inf, "Member must have value less than or equal to 3.4028235e+38"),
        (1e39, "Member must have value less than or equal to 3.4028235e+38"),
    ],
)
def test_what_has_a_bound_is_a_number(weight: float, words: str) -> None:
    """A weight that is none would make every share of the endpoint none, for ever."""
    row = {"VariantName": "A", "DesiredWeight": weight}
    params = {"EndpointName": "e", "DesiredWeightsAndCapacities": [row]}
    assert words in (message("sagemaker", "UpdateEndpointWeightsAndCapacities", params) or "")


def test_map_values_are_named_by_their_map() -> None:
    found = message(
        "sagemaker",
        "CreateModel",
        {"ModelName": "m", "PrimaryContainer": {"Image": "i", "Environment": {"A": "x" * 20000}}},
    )
    assert found is not None
    assert found.startswith("1 validation error detected: Value '{A=xxx")
    assert (
        "at 'primaryContainer.environment' failed to satisfy constraint: Map value must satisfy constraint: [" in found
    )


@pytest.mark.parametrize(
    ("operation", "params", "path"),
    [
        ("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [None]}, "productionVariants"),
        ("AddTags", {"ResourceArn": "arn:aws:sagemaker:us-east-1:000000000000:model/m", "Tags": [None]}, "tags"),
        (
            "CreateModel",
            {"ModelName": "m", "PrimaryContainer": {"Image": "i", "Environment": {"a": None}}},
            "primaryContainer.environment",
        ),
        (
            "DeleteTags",
            {"ResourceArn": "arn:aws:sagemaker:us-east-1:000000000000:model/m", "TagKeys": [None]},
            "tagKeys",
        ),
    ],
)
def test_nothing_in_a_list_or_a_map_is_null(operation: str, params: dict[str, Any], path: str) -> None:
    found = message("sagemaker", operation, params)
    assert found is not None
    assert f"at '{path}' failed to satisfy constraint" in found
    assert "must satisfy constraint: [" in found


def test_values_of_our_own_pass_when_given() -> None:
    params = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/e/variant/v",
        "ScalableDimension": "clary:variant:Workers",
    }
    extra = {"ScalableDimension": ["clary:variant:Workers"]}
    assert message("application-autoscaling", "DeregisterScalableTarget", params) is not None
    assert message("application-autoscaling", "DeregisterScalableTarget", params, extra_values=extra) is None


def test_a_long_body_is_left_to_the_reader() -> None:
    params = {"EndpointName": "e", "Body": b"x" * (26 << 20)}
    assert message("sagemaker-runtime", "InvokeEndpoint", params) is not None
    assert message("sagemaker-runtime", "InvokeEndpoint", params, exempt=["BodyBlob"]) is None
    assert message("sagemaker-runtime", "InvokeEndpoint", {"EndpointName": "e"}, exempt=["BodyBlob"]) is None


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("sagemaker", "DescribeEndpoint", "ValidationException"),
        ("sagemaker-runtime", "InvokeEndpoint", "ValidationError"),
        ("iam", "GetRolePolicy", "ValidationError"),
        ("logs", "GetLogEvents", "InvalidParameterException"),
    ],
)
def test_each_service_has_its_code(service: str, operation: str, code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        validate(load(service).operation_model(operation), {})
    assert caught.value.code == code


def test_secrets_are_not_repeated() -> None:
    model = load("iam").operation_model("CreateLoginProfile")
    with pytest.raises(ValidationError) as caught:
        validate(model, {"UserName": "u", "Password": "é\x00" * 100})
    assert "é" not in caught.value.message


def patterns() -> list[str]:
    found = set()
    for service in SERVICES:
        for shape in load(service)._service_description["shapes"].values():
            if "pattern" in shape:
                found.add(shape["pattern"])
    return sorted(found)


@pytest.mark.parametrize("pattern", patterns())
def test_every_pattern_of_the_models_matches_in_bounded_time(pattern: str) -> None:
    match = matcher(pattern)
    before = time.process_time()
    for text in ("a" * 3000 + "!", "a-" * 1500 + "!", "/" * 3000 + "\n", " " * 3000 + "\n", "1.a/" * 800 + "\n"):
        match(text)
    assert time.process_time() - before < 1.0


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("\\p{ASCII}*", "plain", "é"),
        ("[\\u0020-\\uD7FF\\uE000-\\uFFFD\\uD800\\uDC00-\\uDBFF\\uDFFF\\t]*", "tab\t and 🙂", "\n"),
        ("(?!\\s*$).+", "x", "  "),
        ("\\A\\S[\\p{Print}]*\\z", "id 1", " id"),
        ("arn:[\\p{Alnum}\\-]+:x", "arn:aws-cn:x", "arn:aws_cn:x"),
        (".{0,4096}", "x" * 4096, "\n"),
        ("[a-z]+(?<!-)", "abc", "ABC"),
    ],
)
def test_java_patterns_mean_here_what_they_mean_there(pattern: str, good: str, bad: str) -> None:
    assert matcher(pattern)(good)
    assert not matcher(pattern)(bad)


def test_patterns_match_whole_texts() -> None:
    assert not matcher("[a-z]+")("abc1")
    assert matcher(NAME)("a")
