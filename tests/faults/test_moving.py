"""A state folder that was moved while Clary was down: everything in it works where it is now, and nothing looks for the old place."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.live import ROLE, Server

from clary.app import up
from clary.app.demo import Demo, split

pytestmark = [pytest.mark.live, pytest.mark.slow]
BUCKET = "sagemaker-us-east-1-000000000000"


def with_environments(folder: Path, shared: Path) -> None:
    """Give a state folder what other tests have built for XGBoost, as its own: building takes longer than all the rest."""
    (folder / "environments").mkdir(parents=True)
    for whole in shared.glob("*.json"):
        if json.loads(whole.read_text())["runtime"] == "xgboost":
            names = [str(whole), str(whole.with_suffix(""))]
            subprocess.run(["cp", "-al", *names, str(folder / "environments")], check=True)


def move(one: Path, two: Path) -> None:
    """As docs/operate.md has it, by a copy with owners and times; the environments, a gigabyte that nobody writes to, by their name."""
    two.mkdir(mode=one.stat().st_mode & 0o777)
    parts = [str(part) for part in one.iterdir() if part.name != "environments"]
    subprocess.run(["cp", "-a", *parts, str(two)], check=True)
    (one / "environments").rename(two / "environments")
    shutil.rmtree(one)


def test_endpoints_logs_and_objects_of_a_folder_that_was_moved(
    start: Callable[..., Server], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with_environments(one, tmp_path_factory.getbasetemp().parent / "clary-environments")
    server = start(dir=str(one), environments="")  # in the folder: they are moved with it
    demo = Demo(server.client, "us-east-1", BUCKET, ROLE, lambda line: None)
    training, held_back = split()
    demo.upload(training)
    artifact = demo.train()
    demo.deploy(artifact)
    lines, accuracy = demo.read_logs(), demo.predict(held_back)
    assert up.down(server.settings)
    assert [path for path in one.rglob("*") if path.is_fifo()] == [], "no copy of files can have that"
    move(one, two)

    moved = start(dir=str(two), environments="")
    sagemaker = moved.client("sagemaker")
    again = Demo(moved.client, "us-east-1", BUCKET, ROLE, lambda line: None)
    again.name = demo.name
    again.runtime = moved.client("sagemaker-runtime", retries={"total_max_attempts": 8, "mode": "standard"})
    assert again.predict(held_back) == accuracy
    assert again.read_logs() == lines
    key = artifact.partition(f"{BUCKET}/")[2]
    assert moved.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    (variant,) = sagemaker.describe_endpoint(EndpointName=demo.name)["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)
    assert not one.exists(), "something was written where the folder was"
    assert "not settled" not in (two / "logs" / "clary" / "control.log").read_text()
