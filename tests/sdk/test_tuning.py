"""Tuning jobs through unmodified boto3: strategies, what Describe and the lists tell, early stopping, warm start, ends of all kinds."""

from __future__ import annotations

import json
import re

import pytest
from tests.sdk.acts import User
from tests.sdk.tuned import begin, config, ended, trials

pytestmark = [pytest.mark.live, pytest.mark.slow]


def test_a_random_search_from_create_to_the_best_job(user: User) -> None:
    name = begin(user, config(4, 2, RandomSeed=3), static={"momentum": "0.9"}, Tags=[{"Key": "team", "Value": "x"}])
    done = ended(user, name)
    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert done["TrainingJobStatusCounters"] == {
        "Completed": 4, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0,
    }  # fmt: skip
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    assert done["TrainingJobDefinition"]["StaticHyperParameters"]["_tuning_objective_metric"] == '"loss"'
    listed = trials(user, name)
    assert [re.sub("[0-9a-f]{8}$", "", entry["TrainingJobName"]) for entry in listed] == [
        f"{name}-{n:03d}-" for n in (1, 2, 3, 4)
    ]
    assert all(set(entry["TunedHyperParameters"]) == {"lr", "depth", "kind"} for entry in listed)
    best = trials(user, name, SortBy="FinalObjectiveMetricValue", MaxResults=1)[0]
    assert best["TrainingJobName"] == done["BestTrainingJob"]["TrainingJobName"]
    child = user.describe(best["TrainingJobName"])
    assert child["TuningJobArn"] == done["HyperParameterTuningJobArn"]
    assert child["ResourceConfig"]["InstanceType"] == "ml.m5.large"
    tuned = best["TunedHyperParameters"]
    assert child["HyperParameters"] == {
        **done["TrainingJobDefinition"]["StaticHyperParameters"],
        **tuned,
    }
    value = best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    loss = (float(tuned["lr"]) - 0.3) ** 2 + abs(int(tuned["depth"]) - 4) + (json.loads(tuned["kind"]) == "b")
    assert value == pytest.approx(loss + 1.0, rel=1e-5)
    assert user.untar(child["ModelArtifacts"]["S3ModelArtifacts"])["model.txt"]
