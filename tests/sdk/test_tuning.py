"""Tuning jobs through unmodified boto3: strategies, what Describe and the lists tell, early stopping, warm start, ends of all kinds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sdk.acts import User, unique
from tests.sdk.conftest import ROOT
from tests.sdk.tuned import begin, config, definition, ended, trials

AWS = ROOT / ".venv-cli" / "bin" / "aws"
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


def test_the_command_line_draws_it(user: User, tmp_path: Path) -> None:
    name = begin(user, config(6, 2, Strategy="Bayesian", RandomSeed=1))
    ended(user, name)
    drawn = tmp_path / "tuning.svg"
    assert clary(user, "tuning", name, "--out", str(drawn)).stdout.startswith(f"{drawn}: {name}, Completed")
    assert drawn.read_text().count("<circle") == 6
    told = json.loads(clary(user, "tuning", name, "--json").stdout)
    assert [trial["number"] for trial in told["trials"]] == [1, 2, 3, 4, 5, 6]
    assert set(told["importances"]) == {"lr", "depth", "kind"}
    shown = clary(user, "tuning", name).stdout
    assert "how much each hyperparameter matters" in shown
    assert clary(user, "logs", name).stdout.count(": Completed, loss ") == 6
    missing = clary(user, "tuning", "nobody")
    assert (missing.returncode, missing.stderr.strip()) == (4, "clary: there is no tuning job 'nobody'")


def test_the_aws_cli_creates_lists_and_describes(user: User, tmp_path: Path) -> None:
    if not AWS.exists():
        pytest.skip("scripts/test makes .venv-cli")
    name = unique("tune")
    request = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": config(1, 1),
        "TrainingJobDefinition": definition(user, name),
    }
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request))
    made = user.server.run(
        [str(AWS), "sagemaker", "create-hyper-parameter-tuning-job", "--cli-input-json", f"file://{file}"]
    )
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["HyperParameterTuningJobArn"].endswith(f":hyper-parameter-tuning-job/{name}")
    assert ended(user, name)["HyperParameterTuningJobStatus"] == "Completed"
    listed = user.server.run(
        [str(AWS), "sagemaker", "list-hyper-parameter-tuning-jobs", "--name-contains", name, "--query",
         "HyperParameterTuningJobSummaries[].HyperParameterTuningJobStatus", "--output", "text"]
    )  # fmt: skip
    assert listed.stdout.split() == ["Completed"]


def clary(user: User, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "clary.app.cli", *words, "--dir", user.server.settings.dir]
    return user.server.run(argv)
