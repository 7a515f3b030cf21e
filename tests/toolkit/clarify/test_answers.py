"""Requests and answers of models: templates, positions of labels and probabilities, predicted labels."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.toolkit.clarify import answers
from clary.toolkit.clarify.config import CustomerError, Predictor, analysis

SHAP = {"shap": {"baseline": [[1]]}}


def predictor(**given: Any) -> Predictor:
    found = analysis({"methods": SHAP, "predictor": {"model_name": "m", **given}}).predictor
    assert found is not None
    return found


def labels(
    asked: Predictor, text: str, kind: str, count: int, observed: Any = (0, 1), threshold: Any = None
) -> list[Any]:
    return answers.labels(asked, threshold, observed, answers.answers(asked, text, kind, count))


def test_csv_keeps_cells_as_they_are_and_quotes_texts() -> None:
    assert answers.bodies(predictor(), ["a", "b"], [["1.50", "x,y"], [2.0, None]]) == [['1.50,"x,y"\n2,', 2]]


def test_large_requests_are_divided() -> None:
    found = answers.bodies(predictor(), ["a"], [["1"]] * 2500)
    assert [count for _, count in found] == [1000, 1000, 500]
    wide = answers.bodies(predictor(), ["a"], [["x" * 600_000]] * 3)
    assert [count for _, count in wide] == [1, 1, 1]


def test_json_lines_by_a_template() -> None:
    asked = predictor(content_type="application/jsonlines", content_template='{"features": $features}')
    body, count = answers.bodies(asked, ["a", "b"], [["1", "x"], ["2.5", None]])[0]
    assert count == 2
    assert [json.loads(line) for line in body.split("\n")] == [{"features": [1, "x"]}, {"features": [2.5, None]}]


def test_json_by_templates_of_records() -> None:
    given = {"content_type": "application/json", "content_template": '{"instances": $records}'}
    body, _ = answers.bodies(predictor(**given, record_template="$features_kvp"), ["a", "b"], [["1", "x"]])[0]
    assert json.loads(body) == {"instances": [{"a": 1, "b": "x"}]}
    body, _ = answers.bodies(predictor(**given, record_template='{"n": ${a}, "t": "${b}"}'), ["a", "b"], [["1", "x"]])[
        0
    ]
    assert json.loads(body) == {"instances": [{"n": 1, "t": "x"}]}
    single = {**given, "content_template": "$record"}
    assert len(answers.bodies(predictor(**single, record_template="$features"), ["a"], [["1"], ["2"]])) == 2


@pytest.mark.parametrize(
    ("given", "text", "kind", "expected"),
    [
        ({}, "0.2\n0.9\n", "text/csv", [0, 1]),
        ({}, "0.2,0.9", "text/csv; charset=utf-8", [0, 1]),
        ({"label": 0}, "1,0.7\n0,0.2\n", "text/csv", [1, 0]),
        ({"label": 0, "probability": 1}, 'yes,"[0.7]"\nno,"[0.1]"\n', "text/csv", ["yes", "no"]),
        ({"label_headers": ["cat", "dog"]}, "0.2,0.8\n0.7,0.3\n", "text/csv", ["dog", "cat"]),
        ({"label_headers": ["yes"]}, "0.7\n0.3\n", "text/csv", ["yes", None]),
        ({"label": "predicted"}, '{"predicted": "a"}\n{"predicted": "b"}\n', "application/jsonlines", ["a", "b"]),
        ({"label": "ls", "probability": "ps"}, '{"ls": ["a", "b"], "ps": [0.1, 0.9]}\n' * 2, "application/jsonlines", ["b", "b"]),
        ({"probability": "predictions[*].score"}, '{"predictions": [{"score": 0.9}, {"score": 0.1}]}', "application/json", [1, 0]),
        ({}, "[[0.1], [0.8]]", "application/json", [0, 1]),
        ({}, '{"predictions": [0.1, 0.8]}', "application/json", [0, 1]),
    ],
)  # fmt: skip
def test_predicted_labels(given: Any, text: str, kind: str, expected: Any) -> None:
    assert labels(predictor(**given), text, kind, 2) == expected


def test_a_threshold_and_a_regression() -> None:
    assert labels(predictor(), "0.2\n0.9\n", "text/csv", 2, threshold=0.1) == [1, 1]
    assert labels(predictor(), "0.2\n17\n", "text/csv", 2, observed=(1.5, 2.5)) == ["0.2", "17"]


@pytest.mark.parametrize("text", ["", "0.1\n", "0.1\n0.2\n0.3\n"])
def test_too_few_or_many_answers(text: str) -> None:
    with pytest.raises(CustomerError, match=r"2 rows were asked, \d answered"):
        answers.answers(predictor(), text, "text/csv", 2)


def test_what_is_no_answer() -> None:
    with pytest.raises(CustomerError, match="none of text/csv"):
        answers.answers(predictor(), "x", "image/png", 1)
    with pytest.raises(CustomerError, match=r"find nothing in it\): .*other"):
        answers.answers(predictor(label="predicted"), '{"other": 1, "more": 2}', "application/jsonlines", 1)
