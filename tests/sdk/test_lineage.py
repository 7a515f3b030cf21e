"""Lineage of a real job, through boto3 and SDK v2: a model leads back to the objects that it was trained on."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from tests.sdk.acts import User, channel, unique, until
from tests.sdk.conftest import ROOT, Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

SCRIPT = """
import os
open("/opt/ml/model/model.txt", "w").write(open("/opt/ml/input/data/train/part.csv").read())
"""
TABLE = """
import sys
from sagemaker.lineage.artifact import ModelArtifact
from sagemaker.lineage.visualizer import LineageTableVisualizer
from sagemaker.session import Session
session = Session(default_bucket="unused")
table = LineageTableVisualizer(session).show(training_job_name=sys.argv[1])
print(sorted(zip(table["Direction"], table["Type"])))
model = ModelArtifact.load(sys.argv[2], sagemaker_session=session)
print([each.source.source_uri for each in model.dataset_artifacts()])
print(len(model.training_job_arns()))
"""


def test_from_a_model_to_the_objects_that_it_was_trained_on(server: Server, user: User) -> None:
    sm = server.client("sagemaker")
    uri = user.put("lineage/part.csv", "1,2\n")
    etag = user.s3.head_object(Bucket=user.bucket, Key="lineage/part.csv")["ETag"].strip('"')
    experiment, trial = unique("exp"), unique("trial")
    sm.create_experiment(ExperimentName=experiment)
    sm.create_trial(TrialName=trial, ExperimentName=experiment)
    prefix = uri.rpartition("/")[0]
    done = user.train(
        files={"train.py": SCRIPT},
        InputDataConfig=[channel("train", prefix)],
        ExperimentConfig={"ExperimentName": experiment, "TrialName": trial},
    )
    job, model = done["TrainingJobName"], done["ModelArtifacts"]["S3ModelArtifacts"]

    def components() -> list[dict[str, Any]]:
        found = sm.list_trial_components(TrialName=trial)["TrialComponentSummaries"]
        return [each for each in found if each["Status"]["PrimaryStatus"] == "Completed"]

    (component,) = until(components)
    assert component["TrialComponentName"] == f"{job}-aws-training-job"
    (artifact,) = until(lambda: sm.list_artifacts(SourceUri=model)["ArtifactSummaries"])
    arn = artifact["ArtifactArn"]

    def data() -> list[str]:
        filters = {"LineageTypes": ["Artifact"], "Types": ["DataSet"]}
        found = sm.query_lineage(StartArns=[arn], Direction="Ascendants", Filters=filters)
        return [each["Arn"] for each in found["Vertices"]]

    found = [sm.describe_artifact(ArtifactArn=each) for each in until(data)]
    trained = next(each for each in found if each["Source"]["SourceUri"] == prefix)
    assert trained["Properties"]["s3:lineage/part.csv"] == etag
    expression = {"Filters": [{"Name": "Parents.TrialName", "Operator": "Equals", "Value": trial}]}
    results = sm.search(Resource="ExperimentTrialComponent", SearchExpression=expression)["Results"]
    assert [each["TrialComponent"]["TrialComponentName"] for each in results] == [component["TrialComponentName"]]
    python = ROOT / ".venv-v2/bin/python"
    if not python.exists():
        pytest.skip(f"scripts/test makes {python.parent.parent}")
    ran = server.run([str(python), "-W", "ignore", "-c", TABLE, job, arn])
    assert ran.returncode == 0, ran.stderr[-2000:]
    table, sources, jobs = ran.stdout.strip().splitlines()[-3:]
    assert "('Input', 'DataSet')" in table
    assert "('Output', 'Model')" in table
    assert prefix in sources
    assert jobs == "1"


def test_clary_lineage_tells_the_objects_in_one_command(server: Server, user: User) -> None:
    uri = user.put("told/part.csv", "1,2\n")
    etag = user.s3.head_object(Bucket=user.bucket, Key="told/part.csv")["ETag"].strip('"')
    job = user.train(files={"train.py": SCRIPT}, InputDataConfig=[channel("train", uri.rpartition("/")[0])])[
        "TrainingJobName"
    ]

    def told() -> str:
        done = server.run([sys.executable, "-m", "clary.app.cli", "lineage", job, "--dir", server.settings.dir])
        return done.stdout + done.stderr

    line = next(line for line in until(told, lambda text: "DataSet" in text, 20).splitlines() if "part.csv" in line)
    assert etag in line
