"""The schema of model cards, from both sides."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clary.domain.errors import Invalid
from clary.domain.registry.card_content import parsed

WHOLE: dict[str, Any] = {
    "model_overview": {
        "model_description": "d",
        "model_version": 1,
        "model_artifact": ["s3://b/m.tar.gz"],
        "inference_environment": {"container_image": ["image"]},
    },
    "model_package_details": {
        "model_package_arn": "arn",
        "model_package_version": 2,
        "model_approval_status": "Approved",
        "created_by": {"user_profile_name": "ada"},
        "inference_specification": {"containers": [{"image": "i", "model_data_url": "s3://b/m"}]},
    },
    "intended_uses": {"purpose_of_model": "p", "risk_rating": "Low"},
    "business_details": {"business_problem": "b"},
    "training_details": {
        "objective_function": {"function": {"function": "Minimize", "facet": "Loss", "condition": "c"}, "notes": "n"},
        "training_job_details": {
            "training_arn": "arn",
            "training_metrics": [{"name": "loss", "value": 0.5}],
            "hyper_parameters": [{"name": "eta", "value": "0.1"}],
        },
    },
    "evaluation_details": [
        {
            "name": "first",
            "datasets": ["s3://b/test"],
            "metadata": {"rows": "100"},
            "metric_groups": [
                {
                    "name": "g",
                    "metric_data": [
                        {"name": "accuracy", "type": "number", "value": 0.9, "notes": "n"},
                        {"name": "fair", "type": "boolean", "value": True},
                        {"name": "verdict", "type": "string", "value": "good"},
                        {"name": "roc", "type": "linear_graph", "value": [[0, 0], [0.5, 0.9], [1, 1]], "x_axis_name": "fpr"},
                        {"name": "shap", "type": "bar_chart", "value": [1, -2.5], "x_axis_name": ["a", "b"]},
                        {"name": "confusion", "type": "matrix", "value": [[5, 1], [2, 7]], "x_axis_name": ["p", "n"]},
                    ],
                }
            ],
        }
    ],
    "additional_information": {"custom_details": {"colour": "red"}},
}  # fmt: skip


def deep(levels: int) -> Any:
    return json.loads("[" * levels + "]" * levels)


def test_a_whole_card_is_good() -> None:
    assert parsed(json.dumps(WHOLE)) == WHOLE
    assert parsed("{}") == {}


@pytest.mark.parametrize("text", ["", "nonsense", "[" * 50_000, '{"a": NaN}'])
def test_what_is_no_json_object(text: str) -> None:
    with pytest.raises(Invalid, match="Content is not valid: it must be a JSON object"):
        parsed(text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], r"\$ must be an object"),
        ({"colour": 1}, r"\$.colour is not a member of the schema"),
        ({"model_overview": {"model_version": 0}}, r"\$.model_overview.model_version must be at least 1"),
        ({"model_overview": {"model_version": True}}, r"model_version must be a number"),
        ({"model_overview": {"model_artifact": ["a"] * 16}}, r"model_artifact has 16 items, 15 at most"),
        ({"model_overview": {"model_owner": "a" * 1025}}, r"model_owner has 1025 characters, 1024 at most"),
        ({"intended_uses": {"risk_rating": "Huge"}}, r"risk_rating must be one of High, Medium, Low, Unknown"),
        ({"evaluation_details": [{}]}, r"\$.evaluation_details\[0\].name is required"),
        ({"evaluation_details": [{"name": "n", "datasets": ["d"] * 11}]}, "11 items, 10 at most"),
        ({"additional_information": {"custom_details": {"a": 1}}}, r"custom_details.a must be text"),
        ({"model_package_details": {"model_metrics": {"a": deep(21)}}}, "model_metrics is nested more than 20 deep"),
        ({"x" * 100: 1}, r"\$\.x{61}\.\.\. is not"),
    ],
)
def test_a_problem_is_named_with_its_place(content: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        parsed(json.dumps(content))


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("number", "1", "value must be a number"),
        ("boolean", 1, "value must be true or false"),
        ("matrix", [1], r"value\[0\] must be a list"),
        ("pie", 1, "type must be one of number, string"),
    ],
)
def test_the_type_of_a_metric_says_what_its_value_is(kind: str, value: Any, words: str) -> None:
    metric = {"name": "m", "type": kind, "value": value}
    content = {"evaluation_details": [{"name": "n", "metric_groups": [{"name": "g", "metric_data": [metric]}]}]}
    with pytest.raises(Invalid, match=words):
        parsed(json.dumps(content))


def test_few_problems_of_many_are_told() -> None:
    with pytest.raises(Invalid) as caught:
        parsed(json.dumps({str(at): 1 for at in range(1000)}))
    assert caught.value.message.count("is not a member") == 5


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*WHOLE, "name", "type", "value", "metric_data"]), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
@settings(max_examples=60, derandomize=True, database=None)
def test_nothing_but_invalid_is_raised(value: Any) -> None:
    with contextlib.suppress(Invalid):
        parsed(json.dumps(value))
