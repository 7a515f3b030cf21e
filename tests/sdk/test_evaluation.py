"""Evaluation as users run it: a processing job of the image `clary-evaluate` without a script, over predictions, models and endpoints."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.sdk.acts import ENDED, PYTHON, XGBOOST, User, targz, unique, until
from tests.sdk.conftest import ROLE

pytestmark = [pytest.mark.live, pytest.mark.slow]
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/clary-evaluate:latest"
TOP = "/opt/ml/processing"

# The probability is the first feature; the second says how far off it is.
CODE = """
import json
import sys

def model_fn(folder):
    return None

def transform_fn(model, body, content_type, accept):
    text = body.decode() if isinstance(body, (bytes, bytearray)) else body
    rows = [line.split(",") for line in text.splitlines() if line]
    return "".join("%.4f\\n" % min(1.0, max(0.0, float(row[0]) + WEIGHT * float(row[1]))) for row in rows), "text/csv"
"""


def rows() -> str:
    lines = ["bought,shown,noise,region"]
    for row in range(400):
        shown = (row * 37 % 100) / 100
        bought = "yes" if row * 37 % 100 + row * 53 % 61 > 80 else "no"
        lines.append(f"{bought},{shown},{(row * 71 % 97) / 97 - 0.5},{'north' if row % 2 else 'south'}")
    return "\n".join(lines) + "\n"


class Evaluator(User):
    """Somebody who evaluates."""

    def evaluate(self, config: Mapping[str, Any], arguments: list[str] | None = None, **files: str) -> dict[str, Any]:
        """The job at its end, with `evaluation` and `report` where it wrote them."""
        name = unique("evaluation")
        given = {
            "dataset": ("data", "data.csv", rows()),
            "config": ("config", "evaluation_config.json", json.dumps(config)),
        }
        given |= {key: (key, key, text) for key, text in files.items()}
        application = {"ImageUri": IMAGE, **({"ContainerArguments": arguments} if arguments else {})}
        output = {"S3Uri": f"s3://{self.bucket}/{name}/out", "LocalPath": f"{TOP}/output", "S3UploadMode": "EndOfJob"}
        self.sm.create_processing_job(
            ProcessingJobName=name,
            RoleArn=ROLE,
            AppSpecification=application,
            ProcessingInputs=[
                {
                    "InputName": key,
                    "S3Input": {
                        "S3Uri": self.put(f"{name}/{key}/{file}", text).rpartition("/")[0],
                        "LocalPath": f"{TOP}/input/{folder}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
                for key, (folder, file, text) in given.items()
            ],
            ProcessingOutputConfig={"Outputs": [{"OutputName": "evaluation", "S3Output": output}]},
            ProcessingResources={
                "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
            },
        )
        done: dict[str, Any] = until(
            lambda: self.sm.describe_processing_job(ProcessingJobName=name),
            lambda d: d["ProcessingJobStatus"] in ENDED,
            240,
        )
        if done["ProcessingJobStatus"] == "Completed":
            done["evaluation"] = json.loads(self.get(f"s3://{self.bucket}/{name}/out/evaluation.json"))
            done["report"] = self.get(f"s3://{self.bucket}/{name}/out/report.html").decode()
        return done

    def artifact(self, weight: float) -> str:
        """A model.tar.gz that is off by that much of the noise."""
        code = CODE.replace("WEIGHT", str(weight))
        return self.put(f"{unique('model')}/model.tar.gz", targz({"code/inference.py": code}))


@pytest.fixture(scope="module")
def evaluator(server: Any) -> Evaluator:
    return Evaluator(server)


def test_predictions_in_the_data(evaluator: Evaluator) -> None:
    done = evaluator.evaluate(
        {"target": "bought", "model": {"column": "shown"}}, ["--slices", "region", "--bootstrap", "200"]
    )
    assert done["ProcessingJobStatus"] == "Completed", done
    assert done["evaluation"]["binary_classification_metrics"]["auc"]["value"] > 0.8
    assert set(done["evaluation"]["slices"]["region"]) == {"north", "south"}
    assert "better than the most frequent class" in done["ExitMessage"]
    assert "<svg" in done["report"]


def test_a_version_that_nobody_approved_against_the_endpoint(evaluator: Evaluator) -> None:
    sm, group = evaluator.sm, unique("group")
    worse = {"Image": PYTHON, "ModelDataUrl": evaluator.artifact(1.0)}
    name = unique("incumbent")
    sm.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=worse)
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sm.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sm.create_model_package_group(ModelPackageGroupName=group)
    package = sm.create_model_package(
        ModelPackageGroupName=group,
        InferenceSpecification={
            "Containers": [{"Image": PYTHON, "ModelDataUrl": evaluator.artifact(0.0)}],
            "SupportedContentTypes": ["text/csv"],
        },
        ModelApprovalStatus="PendingManualApproval",
    )["ModelPackageArn"]
    sm.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    config = {
        "target": "bought",
        "features": ["shown", "noise"],
        "model": {"model_package_name": package},
        "incumbent": {"endpoint_name": name},
        "bootstrap": 200,
    }
    done = evaluator.evaluate(config)
    assert done["ProcessingJobStatus"] == "Completed", done
    told = done["evaluation"]["comparisons"]["incumbent"]
    assert (told["verdict"], told["name"]) == ("better", f"endpoint {name}")
    assert done["evaluation"]["gate"] == {"passed": True, "reasons": []}
    assert not sm.list_models(NameContains=done["ProcessingJobName"][:40])["Models"]  # what it made is gone


def test_from_a_shell(evaluator: Evaluator, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(rows())
    argv = [
        sys.executable,
        "-m",
        "clary.app.cli",
        "evaluate",
        "data.csv",
        "--target",
        "bought",
        "--model",
        "column:shown",
    ]
    server = evaluator.server
    done = server.run([*argv, "--slices", "region", "--out", "found", "--dir", server.settings.dir], cwd=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "gate passed" in done.stdout
    assert "roc_auc" in done.stdout
    assert json.loads((tmp_path / "found/evaluation.json").read_text())["slices"]["region"]
    assert (tmp_path / "found/report.html").exists()
    wrong = server.run([*argv, "--metric", "rmse", "--dir", server.settings.dir], cwd=str(tmp_path))
    assert wrong.returncode == 1
    assert "does not judge binary" in wrong.stderr
    unknown = server.run([*argv[:-1], "shown", "--dir", server.settings.dir], cwd=str(tmp_path))
    assert unknown.returncode == 2
    assert "--model takes one of column:NAME" in unknown.stderr


TRAINING = {
    "image": XGBOOST,
    "hyperparameters": {"objective": "binary:logistic", "num_round": "5", "max_depth": "2", "nthread": "1"},
}


@pytest.mark.parametrize(("kind", "tested"), [("stratified", 400), ("time", 300)])
def test_cross_validation_trains_a_model_for_each_fold(evaluator: Evaluator, kind: str, tested: int) -> None:
    folds = {"number": 3, "kind": kind, **({} if kind == "stratified" else {"column": "noise"})}
    config = {
        "target": "bought",
        "model": {"training": TRAINING, "folds": folds, "name": "boosted"},
        "features": ["shown"],
        "bootstrap": 100,
    }
    done = evaluator.evaluate(config)
    assert done["ProcessingJobStatus"] == "Completed", done
    told = done["evaluation"]["cross_validation"]
    assert told["kind"] == kind
    assert len(told["folds"]) == 3
    assert sum(fold["test"] for fold in told["folds"]) == tested == done["evaluation"]["dataset"]["item_count"]
    assert done["evaluation"]["binary_classification_metrics"]["roc_auc"]["value"] > 0.7
    assert 0.6 < told["mean"] <= 1
    assert "Folds" in done["report"]
    jobs = [evaluator.describe(fold["training_job"]) for fold in told["folds"]]
    assert max(job["CreationTime"] for job in jobs) < min(job["TrainingEndTime"] for job in jobs)  # all at once


def test_a_fold_that_cannot_be_trained_says_why(evaluator: Evaluator) -> None:
    training = {**TRAINING, "hyperparameters": {"objective": "binary:logistic", "num_round": "0"}}
    config = {"target": "bought", "model": {"training": training, "folds": {"number": 2}}, "features": ["shown"]}
    done = evaluator.evaluate(config)
    assert done["ProcessingJobStatus"] == "Failed"
    assert "Training job" in done["ExitMessage"]
    assert "num_round" in done["ExitMessage"]


def test_a_model_that_cannot_answer_says_so(evaluator: Evaluator) -> None:
    config = {
        "target": "bought",
        "model": {"artifact": evaluator.artifact(0.0), "image": PYTHON},
        "features": ["region", "noise"],
    }
    done = evaluator.evaluate(config)
    assert done["ProcessingJobStatus"] == "Failed"
    assert "Transform job" in done["ExitMessage"]
    assert "is Failed" in done["ExitMessage"]
