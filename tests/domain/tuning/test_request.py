from __future__ import annotations

from typing import Any

import pytest
from tests.domain.tuning.made import RANGES, request

from clary.domain.errors import Invalid
from clary.domain.tuning import request as asked

CHOICES = {"CategoricalParameterRanges": [{"Name": "x", "Values": ["a", "b"]}]}
BAND = {"HyperbandStrategyConfig": {"MinResource": 2, "MaxResource": 9}}
SINGLE: dict[str, Any] = request()["TrainingJobDefinition"]
SEVERAL = {
    **SINGLE,
    "DefinitionName": "one",
    "TuningObjective": {"Type": "Minimize", "MetricName": "loss"},
    "HyperParameterRanges": RANGES,
}


def several(*of: dict[str, Any]) -> dict[str, Any]:
    return request(request={"TrainingJobDefinition": None, "TrainingJobDefinitions": list(of)})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (request(limits={"MaxNumberOfTrainingJobs": 751}, Strategy="Bayesian"), "at most 750"),
        (request(limits={"MaxNumberOfTrainingJobs": 10_001}), "at most 10000"),
        (
            request(limits={"MaxParallelTrainingJobs": 11, "MaxNumberOfTrainingJobs": 20}),
            "at most 10 training jobs run",
        ),
        (request(limits={"MaxParallelTrainingJobs": 5}), "greater than MaxNumberOfTrainingJobs 4"),
        (request(limits={"MaxRuntimeInSeconds": 31 * 86_400}), "30 days"),
        (request(Strategy="Grid"), "categorical hyperparameters only, and 'x'"),
        (request(Strategy="Grid", ParameterRanges=CHOICES), "there are 2: leave MaxNumberOfTrainingJobs out"),
        (request(Strategy="Hyperband"), "needs a MaxResource"),
        (
            request(Strategy="Hyperband", definition={"StaticHyperParameters": {"epochs": "many"}}),
            "needs a MaxResource",
        ),
        (request(Strategy="Hyperband", StrategyConfig=BAND, TrainingJobEarlyStoppingType="Auto"), "must be Off"),
        (
            request(Strategy="Hyperband", StrategyConfig={"HyperbandStrategyConfig": {"MaxResource": 20_001}}),
            "at most 20000",
        ),
        (
            request(
                Strategy="Hyperband",
                StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 9, "MaxResource": 3}},
            ),
            "must be in order",
        ),
        (request(StrategyConfig=BAND), "for the strategy Hyperband, not for Random"),
        (request(HyperParameterTuningJobObjective=None), "A metric is required"),
        (request(ParameterRanges={}), "At least one hyperparameter range"),
        (
            request(definition={"StaticHyperParameters": {"x": "1"}}),
            "'x' is in StaticHyperParameters and in the ranges",
        ),
        (request(definition={"StaticHyperParameters": {asked.METRIC: "1"}}), "set by the service"),
        (request(definition={"StaticHyperParameters": {f"p{n}": "1" for n in range(99)}}), "are 101; at most 100"),
        (request(definition={"ResourceConfig": None}), "either ResourceConfig or"),
        (
            request(definition={"HyperParameterTuningResourceConfig": {"InstanceType": "ml.m5.large"}}),
            "either ResourceConfig or",
        ),
        (request(request={"TrainingJobDefinition": None}), "either TrainingJobDefinition or"),
        (request(request={"TrainingJobDefinitions": [SEVERAL]}), "either TrainingJobDefinition or"),
        (several({**SEVERAL, "DefinitionName": None}), "needs a DefinitionName"),
        (several({**SEVERAL, "TuningObjective": None}), "needs a DefinitionName, a TuningObjective"),
        (several(SEVERAL, SEVERAL), "must differ"),
        (
            several(
                SEVERAL, {**SEVERAL, "DefinitionName": "b", "TuningObjective": {"Type": "Maximize", "MetricName": "m"}}
            ),
            "the same Type",
        ),
    ],
)
def test_what_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        asked.check(given)


@pytest.mark.parametrize(
    ("given", "number"),
    [
        (request(), 4),
        (request(limits={"MaxNumberOfTrainingJobs": None}), 750),
        (request(limits={"MaxNumberOfTrainingJobs": None}, request={"Autotune": {"Mode": "Enabled"}}), 20),
        (request(Strategy="Grid", ParameterRanges=CHOICES, limits={"MaxNumberOfTrainingJobs": None}), 2),
        (request(Strategy="Grid", ParameterRanges=CHOICES, limits={"MaxNumberOfTrainingJobs": 2}), 2),
    ],
)
def test_how_many_jobs_there_are_at_most(given: dict[str, Any], number: int) -> None:
    assert asked.maximum(given, asked.check(given)) == number


@pytest.mark.parametrize("name", asked.EPOCHS)
def test_hyperband_finds_its_epochs_in_the_static_hyperparameters(name: str) -> None:
    given = request(Strategy="Hyperband", definition={"StaticHyperParameters": {name: '"27"'}})
    assert asked.resources(given, asked.check(given)[0]) == (1, 27)


@pytest.mark.parametrize(
    ("static", "shown"),
    [({}, "loss"), ({"sagemaker_program": "train.py"}, "loss"), ({"sagemaker_program": '"train.py"'}, '"loss"')],
)
def test_the_metric_is_quoted_where_the_other_values_are(static: dict[str, str], shown: str) -> None:
    definition = asked.check(request(definition={"StaticHyperParameters": static}))[0]
    assert definition.shown()["StaticHyperParameters"] == {**static, asked.METRIC: shown}
    assert asked.child(definition, "n", {"x": "1"})["HyperParameters"] == {**static, "x": "1", asked.METRIC: shown}


def test_the_sdks_resource_config_becomes_an_ordinary_one() -> None:
    one = request(
        definition={
            "ResourceConfig": None,
            "HyperParameterTuningResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 2,
                "VolumeSizeInGB": 9,
            },
        }
    )
    several_ = request(
        definition={
            "ResourceConfig": None,
            "HyperParameterTuningResourceConfig": {
                "InstanceConfigs": [
                    {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5},
                    {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
                ],
                "AllocationStrategy": "Prioritized",
            },
        }
    )
    sizes = [asked.child(asked.check(each)[0], "n", {})["ResourceConfig"] for each in (one, several_)]
    assert sizes[0] == {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 9}
    assert sizes[1] == {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5}
    assert asked.check(one)[0].shown()["ResourceConfig"] == sizes[0]


def test_trials_do_not_share_checkpoints() -> None:
    given = request(definition={"CheckpointConfig": {"S3Uri": "s3://b/c/", "LocalPath": "/opt/ml/checkpoints"}})
    made = asked.child(asked.check(given)[0], "t-001-a", {})
    assert made["CheckpointConfig"] == {"S3Uri": "s3://b/c/t-001-a", "LocalPath": "/opt/ml/checkpoints"}
