"""`clary export` and `clary rerun` against a real server: what comes out makes the same thing again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.live import ROOT
from tests.sdk.acts import PYTHON, User
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

CODE = "def model_fn(d):\n    return 1\n\ndef transform_fn(model, body, kind, accept):\n    return 'one'\n"
TRAIN = """
import argparse, json
known = argparse.ArgumentParser()
known.add_argument("--depth", type=int)
known.add_argument("--kind")
asked = known.parse_args()
assert asked.depth != 3, "three is too shallow"
json.dump(vars(asked), open("/opt/ml/model/report.json", "w"))
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def clary(user: User, *words: str, good: bool = True) -> str:
    argv = [sys.executable, "-m", "clary.app.cli", *words, "--dir", user.server.settings.dir]
    done = user.server.run(argv)
    assert (done.returncode == 0) is good, done.stderr
    return done.stdout if good else done.stderr


def described(user: User, endpoint: str) -> dict[str, Any]:
    seen = user.sm.describe_endpoint(EndpointName=endpoint)
    config = user.sm.describe_endpoint_config(EndpointConfigName=seen["EndpointConfigName"])
    model = user.sm.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    for each in (seen, config, model):
        for name in ("ResponseMetadata", "CreationTime", "LastModifiedTime"):
            each.pop(name, None)
    for variant in seen["ProductionVariants"]:
        del variant["DeployedImages"]
    return {"endpoint": seen, "config": config, "model": model}


@pytest.mark.parametrize("form", ["boto3", "cli"])
def test_what_is_exported_makes_it_again(user: User, form: str, tmp_path: Path) -> None:
    if form == "cli" and not (ROOT / ".venv-cli" / "bin" / "aws").exists():
        pytest.fail("the AWS CLI's environment .venv-cli is not there: scripts/test makes it")
    endpoint = user.endpoint({"ModelName": user.scripted({"code/inference.py": CODE}, {"A": "it's"}, PYTHON)})
    user.sm.add_tags(
        ResourceArn=user.sm.describe_endpoint(EndpointName=endpoint)["EndpointArn"],
        Tags=[{"Key": "team", "Value": "iris"}],
    )
    before = described(user, endpoint)
    script = tmp_path / "again"
    script.write_text(clary(user, "export", f"endpoint/{endpoint}", "--as", form))
    user.sm.delete_endpoint(EndpointName=endpoint)
    user.sm.delete_endpoint_config(EndpointConfigName=before["config"]["EndpointConfigName"])
    user.sm.delete_model(ModelName=before["model"]["ModelName"])
    path = f"{ROOT / '.venv-cli' / 'bin'}:/usr/bin:/bin"
    done = user.server.run([sys.executable if form == "boto3" else "/bin/sh", str(script)], PATH=path)
    assert done.returncode == 0, done.stderr
    user.settled(endpoint, "InService")
    assert described(user, endpoint) == before
    assert user.ask(endpoint) == b"one"
    tags = user.sm.list_tags(ResourceArn=before["endpoint"]["EndpointArn"])["Tags"]
    assert {"Key": "team", "Value": "iris"} in tags
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_a_failed_job_runs_again_with_changes(user: User) -> None:
    tags = [{"Key": "team", "Value": "iris"}]
    job = user.job(files={"train.py": TRAIN}, HyperParameters={"depth": "3", "kind": '"old"'}, Tags=tags)
    assert user.ended(job)["TrainingJobStatus"] == "Failed"
    said = clary(user, "rerun", job, "--set", "depth=5", "--set", "kind=new", "--wait", "--json")
    answer = json.loads(said)
    assert answer["TrainingJobStatus"] == "Completed"
    assert user.report(user.describe(answer["TrainingJobName"])) == {"depth": 5, "kind": "new"}
    again = user.describe(answer["TrainingJobName"])["TrainingJobArn"]
    assert user.sm.list_tags(ResourceArn=again)["Tags"] == tags
    said = clary(user, "rerun", job, "--wait", good=False)
    assert "three is too shallow" in said
    assert "\\x0a" not in said, "a reason of several lines is told in one"
