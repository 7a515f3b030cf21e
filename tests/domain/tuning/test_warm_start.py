from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.domain.tuning.made import RANGES, Tuned, request

from clary.domain.errors import Invalid
from clary.domain.resources import Record
from clary.domain.tuning import record as tuning
from clary.domain.tuning import request as asked
from clary.domain.tuning import warm_start


def parent(**changes: Any) -> Record:
    job = Tuned(request(limits={"MaxNumberOfTrainingJobs": 3}, **changes))
    job.settle()
    job.end(0, value=0.5)
    job.end(1, "Failed")
    job.end(2, value=0.25)
    return replace(job.record, name="p")


def warm(kind: str = "TransferLearning", **changes: Any) -> dict[str, Any]:
    names = changes.pop("names", ["p"])
    config = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": name} for name in names],
        "WarmStartType": kind,
    }
    return request(request={"WarmStartConfig": config}, **changes)


def test_parents_are_named_once() -> None:
    assert warm_start.parents(request()) == []
    assert warm_start.parents(warm(names=["p", "q"])) == ["p", "q"]
    for names, words in ((["p", "p"], "twice"), ([None], "needs a HyperParameterTuningJobName")):
        with pytest.raises(Invalid, match=words):
            warm_start.parents(warm(names=names))


@pytest.mark.parametrize(
    ("child", "words"),
    [
        (warm(HyperParameterTuningJobObjective={"Type": "Maximize", "MetricName": "loss"}), "another objective"),
        (warm(definition={"StaticHyperParameters": {"a": "1", "b": "2"}}), "has 2 hyperparameters, .* this one has 3"),
        (
            warm(ParameterRanges={"IntegerParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]}),
            "'x' has another type",
        ),
    ],
)
def test_a_parent_that_does_not_fit(child: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        warm_start.check(child, asked.check(child), parent())


def test_a_parent_that_runs_is_none_yet() -> None:
    job = Tuned()
    with pytest.raises(Invalid, match="a parent must have ended"):
        warm_start.check(warm(), asked.check(warm()), job.record)


def test_identical_needs_the_same_image() -> None:
    spec = {**request()["TrainingJobDefinition"]["AlgorithmSpecification"], "TrainingImage": "other"}
    child = warm("IdenticalDataAndAlgorithm", definition={"AlgorithmSpecification": spec})
    with pytest.raises(Invalid, match="another training image"):
        warm_start.check(child, asked.check(child), parent())
    transfer = warm(definition={"AlgorithmSpecification": spec})
    warm_start.check(transfer, asked.check(transfer), parent())


def test_at_most_ten_hyperparameters_change() -> None:
    names = [f"p{n}" for n in range(12)]
    old = parent(definition={"StaticHyperParameters": dict.fromkeys(names, "1")})
    for changed, fits in ((10, True), (11, False)):
        static = {name: "2" if n < changed else "1" for n, name in enumerate(names)}
        child = warm(definition={"StaticHyperParameters": static})
        if fits:
            warm_start.check(child, asked.check(child), old)
            continue
        with pytest.raises(Invalid, match="11 hyperparameters differ"):
            warm_start.check(child, asked.check(child), old)


def test_the_study_begins_with_the_parents_trials() -> None:
    child = warm(Strategy="Bayesian")
    prior = warm_start.prior(parent())
    document = tuning.document(child, [], "by", "id", 1, prior)
    study = tuning.study(document, 0, asked.check(child)[0], "tpe")
    assert study["prior"] == [{"params": {"x": 0.01}, "value": 0.5}, {"params": {"x": 0.03}, "value": 0.25}]
    assert tuning.study(document, 0, asked.check(child)[0], "random")["prior"] == []


def test_what_was_static_in_the_parent_and_is_tuned_now_is_known() -> None:
    child = warm(
        Strategy="Bayesian",
        ParameterRanges={
            **RANGES,
            "IntegerParameterRanges": [{"Name": "a", "MinValue": "1", "MaxValue": "5"}],
        },
        definition={"StaticHyperParameters": {}},
    )
    warm_start.check(child, asked.check(child), parent())
    document = tuning.document(child, [], "by", "id", 1, warm_start.prior(parent()))
    study = tuning.study(document, 0, asked.check(child)[0], "tpe")
    assert study["prior"][0] == {"params": {"a": 1, "x": 0.01}, "value": 0.5}


def test_a_parents_trial_outside_of_the_new_range_does_not_count() -> None:
    narrow = {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0.02", "MaxValue": "1"}]}
    child = warm(Strategy="Bayesian", ParameterRanges=narrow)
    document = tuning.document(child, [], "by", "id", 1, warm_start.prior(parent()))
    assert tuning.study(document, 0, asked.check(child)[0], "tpe")["prior"] == [{"params": {"x": 0.03}, "value": 0.25}]


def test_the_best_of_all_parents() -> None:
    found = warm_start.best([parent(), replace(parent(), name="q")], maximize=False)
    assert found is not None
    assert (found["tuning_job"], found["value"]) == ("p", 0.25)
    assert warm_start.best([], maximize=False) is None
