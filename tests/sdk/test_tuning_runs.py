"""How tuning jobs run and end: early stopping, Hyperband, grids, warm start, several definitions, stops, metrics that are never found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import ENDED, User, unique, until
from tests.sdk.tuned import RANGES, begin, config, definition, describe, ended, trials

pytestmark = [pytest.mark.live, pytest.mark.slow]

# The first three trials are good, those after them bad from their first epoch on.
WORSE = """
import os, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
trial = int(os.environ["TRAINING_JOB_NAME"].rsplit("-", 2)[1])
for epoch in range(int(given["--epochs"])):
    print("loss=%r" % ((1.0 if trial <= 3 else 5.0) / (epoch + 1)), flush=True)
    time.sleep(float(given["--pause"]))
"""
LR = {"ContinuousParameterRanges": RANGES["ContinuousParameterRanges"]}


def refused(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_grid_trains_every_combination_once(user: User) -> None:
    grid = {
        "CategoricalParameterRanges": [
            {"Name": "kind", "Values": ['"a"', '"b"']},
            {"Name": "depth", "Values": ["3", "4"]},
        ]
    }
    name = begin(user, config(None, 2, grid, Strategy="Grid"))
    done = ended(user, name)
    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    found = [tuple(sorted(entry["TunedHyperParameters"].items())) for entry in trials(user, name)]
    assert len(found) == len(set(found)) == 4
    assert done["BestTrainingJob"]["TunedHyperParameters"] == {"kind": '"a"', "depth": "4"}


def test_hyperband_stops_what_falls_behind(user: User) -> None:
    band = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}}
    how = config(6, 2, LR, Strategy="Hyperband", StrategyConfig=band, RandomSeed=1)
    name = begin(user, how, static={"epochs": "60", "pause": "0.25"})
    done = ended(user, name)
    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert done["TrainingJobStatusCounters"]["Stopped"] == 6, "MaxResource ends those that never fall behind"
    assert done["ObjectiveStatusCounters"]["Succeeded"] == 6
    seconds = [(entry["TrainingEndTime"] - entry["TrainingStartTime"]).total_seconds() for entry in trials(user, name)]
    assert max(seconds) < 15 * 0.9, seconds


def test_early_stopping_leaves_an_objective_value(user: User) -> None:
    how = config(5, 1, LR, TrainingJobEarlyStoppingType="Auto", RandomSeed=12)
    name = begin(user, how, static={"epochs": "8", "pause": "0.4"}, definition={"script": WORSE})
    done = ended(user, name)
    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    stopped = trials(user, name, StatusEquals="Stopped")
    assert stopped, trials(user, name)
    assert all(entry["ObjectiveStatus"] == "Succeeded" for entry in stopped)


def test_a_metric_that_is_never_found_ends_the_job_soon(user: User) -> None:
    wrong = {"MetricDefinitions": [{"Name": "loss", "Regex": "no such line ([0-9.]+)"}]}
    name = unique("tune")
    what = definition(user, name)
    what["AlgorithmSpecification"] |= wrong
    user.sm.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig=config(20, 1, LR),
        TrainingJobDefinition=what,
    )
    done = ended(user, name)
    assert done["HyperParameterTuningJobStatus"] == "Failed"
    assert "no such line" in done["FailureReason"]
    assert done["TrainingJobStatusCounters"]["Completed"] == 2
    lines = user.logs.get_log_events(logGroupName="/aws/sagemaker/HyperParameterTuningJobs", logStreamName=name)[
        "events"
    ]
    assert any("Warning: the training job" in line["message"] for line in lines)


def test_no_further_job_after_five_failures(user: User) -> None:
    name = begin(user, config(20, 2, LR), definition={"script": "raise SystemExit(3)"})
    done = ended(user, name)
    assert done["HyperParameterTuningJobStatus"] == "Failed"
    assert done["FailureReason"] == (
        "No training job succeeded after 5 attempts. Please take a look at the training job failures to get more details."
    )
    assert done["TrainingJobStatusCounters"]["NonRetryableError"] in (5, 6)
    assert all("exit code" in entry["FailureReason"].lower() for entry in trials(user, name, StatusEquals="Failed"))


def test_stop_stops_the_training_jobs_and_delete_leaves_them(user: User) -> None:
    name = begin(user, config(20, 2, LR), static={"epochs": "1000", "pause": "0.2"})
    until(lambda: trials(user, name), lambda found: len(found) == 2)
    first = trials(user, name)[0]["TrainingJobName"]
    taken = refused(
        user.sm.create_hyper_parameter_tuning_job,
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig=config(2, 1, LR),
        TrainingJobDefinition=definition(user, name),
    )
    assert taken[0] == "ResourceInUse"
    assert refused(user.sm.delete_hyper_parameter_tuning_job, HyperParameterTuningJobName=name)[1].endswith(
        "is in status InProgress."
    )
    user.sm.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    done = ended(user, name)
    assert done["HyperParameterTuningJobStatus"] == "Stopped"
    assert {entry["TrainingJobStatus"] for entry in trials(user, name)} == {"Stopped"}
    again = refused(user.sm.stop_hyper_parameter_tuning_job, HyperParameterTuningJobName=name)
    assert again[0] == "ValidationException"
    user.sm.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    missing = refused(user.sm.describe_hyper_parameter_tuning_job, HyperParameterTuningJobName=name)
    assert missing[0] == "ResourceNotFound"
    assert missing[1].startswith("Amazon SageMaker can't find a tuning job")
    assert user.describe(first)["TrainingJobStatus"] == "Stopped"


def test_one_job_that_is_stopped_does_not_stop_the_rest(user: User) -> None:
    name = begin(user, config(3, 1, LR), static={"epochs": "6", "pause": "0.5"})
    first = until(lambda: trials(user, name), bool)[0]["TrainingJobName"]
    until(lambda: user.describe(first)["SecondaryStatus"], lambda status: status == "Training")
    user.sm.stop_training_job(TrainingJobName=first)
    done = ended(user, name)
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert done["TrainingJobStatusCounters"]["Stopped"] == 1
    assert done["TrainingJobStatusCounters"]["Completed"] == 2


def test_the_target_ends_the_job_and_what_runs(user: User) -> None:
    criteria = {"TargetObjectiveMetricValue": 100.0}
    name = begin(user, config(50, 2, LR, TuningJobCompletionCriteria=criteria))
    done = ended(user, name)
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert sum(done["TrainingJobStatusCounters"].values()) <= 4


def test_warm_start_knows_the_best_of_all(user: User) -> None:
    first = begin(user, config(3, 1, LR, Strategy="Bayesian", RandomSeed=1))
    best = ended(user, first)["BestTrainingJob"]
    how = config(1, 1, LR, Strategy="Random", RandomSeed=99)
    warm = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": first}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    second = begin(user, how, WarmStartConfig=warm)
    done = ended(user, second)
    assert done["WarmStartConfig"] == warm
    overall = done["OverallBestTrainingJob"]
    values = {
        entry["TrainingJobName"]: entry["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for entry in (best, done["BestTrainingJob"])
    }
    assert overall["TrainingJobName"] == min(values, key=lambda name: values[name])
    assert overall["TuningJobName"] in (first, second)


def test_several_definitions_take_turns(user: User) -> None:
    name = unique("tune")
    how = config(4, 2, LR)
    of = [
        {
            **definition(user, f"{name}-{each}", {"kind": json.dumps(each)}),
            "DefinitionName": each,
            "TuningObjective": how.pop("HyperParameterTuningJobObjective", {"Type": "Minimize", "MetricName": "loss"}),
            "HyperParameterRanges": LR,
        }
        for each in ("a", "b")
    ]
    how.pop("ParameterRanges")
    user.sm.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, HyperParameterTuningJobConfig=how, TrainingJobDefinitions=of
    )
    done = ended(user, name)
    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert [entry["TrainingJobDefinitionName"] for entry in trials(user, name)] == ["a", "b", "a", "b"]
    assert done["BestTrainingJob"]["TrainingJobDefinitionName"] == "a"
    assert "TrainingJobDefinition" not in done
    assert describe(user, name)["HyperParameterTuningJobStatus"] in ENDED
