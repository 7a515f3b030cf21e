"""`clary retrain`: the tag that it writes, and what it refuses with which advice. `--init` runs in docs/retraining.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from clary.app.cli import retrain
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused
from clary.app.cli.retrain import RetrainRequest, plan_of
from clary.domain.monitoring import metrics
from clary.domain.monitoring.retraining import RetrainPlan

EMPTY: dict[str, Any] = {"seen": 0, "phase": "takes its reference", "current": None, "columns": []}


def test_the_tag_has_what_was_said_and_keeps_what_was_there() -> None:
    first = plan_of("", "retrain-shop", RetrainRequest(cooldown="1d", topic="pager"))
    assert first == "cooldown=1d topic=pager pipeline=retrain-shop"
    second = plan_of(first, "", RetrainRequest(cooldown="2h", on="worse,drift"))
    plan = RetrainPlan.read(second)
    assert (plan.pipeline, plan.cooldown, plan.topic, plan.on) == ("retrain-shop", 7200.0, "pager", ("worse", "drift"))


@pytest.mark.parametrize(
    ("before", "pipeline", "asked", "words"),
    [
        ("", "", RetrainRequest(), "must name a pipeline.*`--init` makes a pipeline"),
        ("", "P", RetrainRequest(on="never"), "on=never must be one or several of"),
        ("", "P", RetrainRequest(every="weekly"), "'weekly' is no length of time"),
        ("", "P", RetrainRequest(budget="0"), "budget and fresh must be 1 or more"),
        ("", "P", RetrainRequest(topic="two words"), "'words' is none of"),
    ],
)
def test_what_is_no_plan_is_wrong_usage(before: str, pipeline: str, asked: RetrainRequest, words: str) -> None:
    with pytest.raises(CommandRefused, match=words) as caught:
        plan_of(before, pipeline, asked)
    assert caught.value.code == USAGE


def test_hyperparameters_are_an_object_whose_values_are_text() -> None:
    assert retrain._hyperparameters("") == {}
    assert retrain._hyperparameters('{"eta": 0.1, "objective": "reg:squarederror"}') == {
        "eta": "0.1",
        "objective": "reg:squarederror",
    }
    for text in ("[]", "{", "3"):
        with pytest.raises(CommandRefused, match="--hyperparameters is a JSON object"):
            retrain._hyperparameters(text)


class Api:
    """Describes one model, and the version that it may be of."""

    def __init__(self, container: Mapping[str, Any]) -> None:
        self.container = container

    def call(self, service: str, operation: str, params: Mapping[str, Any]) -> Any:
        if operation == "DescribeModelPackage":
            assert params == {"ModelPackageName": "shop@champion"}
            return {"InferenceSpecification": {"Containers": [{"Image": "of the version"}]}}
        return {"PrimaryContainer": self.container}


@pytest.mark.parametrize(
    ("container", "image"),
    [({"Image": "own"}, "own"), ({"ModelPackageName": "shop@champion"}, "of the version")],
)
def test_the_image_is_the_models_or_that_of_its_version(container: dict[str, str], image: str) -> None:
    assert retrain._image(Api(container), "m") == image  # type: ignore[arg-type]


def test_a_model_without_an_image_cannot_be_trained() -> None:
    with pytest.raises(CommandRefused, match="model 'm' has no image") as caught:
        retrain._image(Api({"Mode": "SingleModel"}), "m")  # type: ignore[arg-type]
    assert caught.value.code == NOT_FOUND


DESCRIBED: dict[str, Any] = {"EndpointName": "shop", "EndpointConfigName": "c"}


@pytest.mark.parametrize(
    ("told", "tags", "asked", "words"),
    [
        (DESCRIBED, {}, RetrainRequest(problem="ranking"), "--problem is one of binary, regression"),
        (DESCRIBED, {}, RetrainRequest(), "follows no alias.*clary:follow=GROUP@ALIAS"),
        (DESCRIBED, {"clary:follow": "shop@champion"}, RetrainRequest(), "captures nothing.*DataCaptureConfig"),
    ],
)
def test_init_refuses_where_the_loop_could_not_close(
    told: dict[str, Any], tags: dict[str, str], asked: RetrainRequest, words: str
) -> None:
    with pytest.raises(CommandRefused, match=words):
        retrain._init(None, Api({}), told, tags, "P", asked)  # type: ignore[arg-type]


def test_a_brief_in_s3_stays_where_it_is_and_a_missing_file_is_told() -> None:
    assert retrain._brief(None, "", "s3://b/f") == ""  # type: ignore[arg-type]
    assert retrain._brief(None, "s3://b/brief.yaml", "s3://b/f") == "s3://b/brief.yaml"  # type: ignore[arg-type]
    with pytest.raises(CommandRefused, match=r"no-such-brief\.yaml: there is no such file") as caught:
        retrain._brief(None, "no-such-brief.yaml", "s3://b/f")  # type: ignore[arg-type]
    assert caught.value.code == NOT_FOUND


def test_the_alarm_on_a_canary_is_on_the_metric_of_its_variant() -> None:
    alarm = retrain.guard("shop", "main")
    assert (alarm["AlarmName"], alarm["MetricName"]) == ("clary-accuracy-shop-main", "WorseThanBefore")
    [point] = [
        each
        for each in metrics.datapoints_of("shop", "main", 1.0, {**EMPTY, "worse_than_before": True})
        if each.series.metric == alarm["MetricName"]
    ]
    assert dict(point.series.dimensions) == {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    assert point.series.namespace == alarm["Namespace"]
    assert point.summary.total == 1.0 > alarm["Threshold"]
