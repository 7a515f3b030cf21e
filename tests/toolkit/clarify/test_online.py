"""Explanations by the handler around a model: AWS's answer, when records are explained, and what cannot be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from clary.toolkit.clarify.online import HEADER, Explained
from clary.toolkit.frames import Request
from clary.toolkit.inference import Handler, LoadError, Response


class Linear(Handler):
    """x0 + 2 x1 + 3 x2 of each record, as CSV or JSON lines; 400 for what is no number."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def predict(self, requests: Sequence[Request]) -> list[Response]:
        self.asked += requests
        return [self._one(each) for each in requests]

    def _one(self, request: Request) -> Response:
        lines = request.body.decode().split("\n")
        try:
            if request.content_type == "text/csv":
                rows = [[float(each) for each in line.split(",")] for line in lines if line]
            else:
                rows = [json.loads(line)["features"] for line in lines if line]
            scores = [a + 2 * b + 3 * c for a, b, c in rows]
        except ValueError as error:
            return Response(400, str(error).encode())
        if request.accept == "application/jsonlines":
            text = "".join(json.dumps({"score": each}) + "\n" for each in scores)
            return Response(200, text.encode(), "application/jsonlines")
        return Response(200, "".join(f"{each}\n" for each in scores).encode(), "text/csv; charset=utf-8")


def config(baseline: str = "0,0,0", inference: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    shap = {"ShapBaselineConfig": {"ShapBaseline": baseline}, **more.pop("shap", {})}
    return {"ShapConfig": shap, "InferenceConfig": inference or {}, **more}


def ask(handler: Handler, body: str, when: str = "", kind: str = "text/csv", accept: str = "text/csv") -> Response:
    headers = {HEADER: when} if when else {}
    return handler.predict([Request(7, body.encode(), kind, accept, headers)])[0]


def values(response: Response) -> list[list[Any] | None]:
    assert response.status == 200, response.body
    found = json.loads(response.body)["explanations"]["kernel_shap"]
    return [None if each is None else [f["attributions"][0]["attribution"] for f in each] for each in found]


def test_the_answer_is_the_prediction_and_attributions_that_add_up() -> None:
    response = ask(Explained(Linear(), config("1,1,1")), "1,5,3\n2,2,2\n")
    assert response.content_type == "application/json"
    document = json.loads(response.body)
    assert set(document) == {"version", "predictions", "explanations"}
    assert document["predictions"] == {"content_type": "text/csv; charset=utf-8", "data": "20.0\n12.0\n"}
    found = values(response)
    assert found[0] == [[0.0], pytest.approx([8.0]), pytest.approx([6.0])]
    assert found[1] == [pytest.approx([1.0]), pytest.approx([2.0]), pytest.approx([3.0])]
    assert set(document["explanations"]["kernel_shap"][0][0]) == {"attributions"}


def test_names_of_features_and_labels() -> None:
    inference = {"FeatureHeaders": ["a", "b", "c"], "FeatureTypes": ["numerical"] * 3, "LabelHeaders": ["score"]}
    document = json.loads(ask(Explained(Linear(), config(inference=inference)), "1,2,3").body)
    assert document["explanations"]["label_headers"] == ["score"]
    assert document["explanations"]["kernel_shap"][0][1]["feature_header"] == "b"
    assert document["explanations"]["kernel_shap"][0][1]["feature_type"] == "numerical"


def test_what_is_not_to_be_explained_costs_one_prediction() -> None:
    model = Linear()
    handler = Explained(model, config())
    assert json.loads(ask(handler, "1,2,3", "`false`").body)["explanations"] == {}
    assert len(model.asked) == 1
    assert json.loads(ask(handler, "1,2,3", "[0]>`100`").body)["explanations"] == {}
    assert len(model.asked) == 2


def test_a_condition_of_the_prediction_chooses_records() -> None:
    handler = Explained(Linear(), config(EnableExplanations="[0]>`10`"))
    found = values(ask(handler, "1,2,3\n0,0,1\n"))
    assert found[0] is not None
    assert found[1] is None
    assert values(ask(handler, "0,0,1", "`true`"))[0] is not None


def test_json_lines() -> None:
    inference = {
        "FeaturesAttribute": "features",
        "ContentTemplate": '{"features":$features}',
        "LabelAttribute": "score",
    }
    shap = {"ShapBaselineConfig": {"MimeType": "application/jsonlines", "ShapBaseline": '{"features":[0,0,0]}'}}
    handler = Explained(Linear(), {"ShapConfig": shap, "InferenceConfig": inference})
    found = values(
        ask(handler, '{"features": [1, 2, 3]}\n', "score > `5`", "application/jsonlines", "application/jsonlines")
    )
    assert found == [[pytest.approx([1.0]), pytest.approx([4.0]), pytest.approx([9.0])]]


def test_synthetic_records_come_in_requests_of_the_size_that_the_model_takes() -> None:
    model = Linear()
    handler = Explained(model, config(inference={"MaxRecordCount": 2}))
    values(ask(handler, "1,2,3"))
    assert max(each.body.count(b"\n") + 1 for each in model.asked) == 2
    assert all(HEADER not in each.headers for each in model.asked[1:])


def test_the_expected_value_is_asked_for_once() -> None:
    model = Linear()
    handler = Explained(model, config())
    first = ask(handler, "1,2,3")
    count = len(model.asked)
    assert ask(handler, "1,2,3").body == first.body
    assert len(model.asked) == 2 * count - 1


@pytest.mark.parametrize(
    ("body", "when", "kind", "told"),
    [
        ("1,2", "", "text/csv", "not enough"),
        ("1,2,3", "", "application/json", "ContentType must be text/csv or application/jsonlines"),
        ("1,2,3", "max([0], `1`)", "text/csv", "JMESPath"),
    ],
)
def test_what_cannot_be_explained_is_the_clients_mistake(body: str, when: str, kind: str, told: str) -> None:
    class Sloppy(Linear):
        def _one(self, request: Request) -> Response:
            return super()._one(request._replace(content_type="text/csv"))

    response = ask(Explained(Sloppy(), config()), body, when, kind)
    assert response.status == 400
    assert told in response.body.decode()


def test_a_record_of_another_width() -> None:
    handler = Explained(Linear(), config("0,0"))
    response = ask(handler, "1,2,3")
    assert (response.status, b"a record has 3 features, ShapBaseline or FeatureHeaders 2" in response.body) == (
        400,
        True,
    )


def test_an_answer_of_the_model_that_is_an_error_is_passed_on() -> None:
    assert ask(Explained(Linear(), config()), "x,y,z").status == 400


def test_a_baseline_that_is_none_stops_the_replica() -> None:
    with pytest.raises(LoadError, match="ShapBaseline cannot be read"):
        Explained(Linear(), config("1,2\n3\n"))
