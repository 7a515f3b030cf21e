"""A script that the kernel kills for its memory, through unmodified boto3: it goes on from its checkpoint with more."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from tests.sdk.acts import User
from tests.sdk.conftest import Server

from clary.app.machine import measure

pytestmark = [pytest.mark.live, pytest.mark.slow]

GIB = 1 << 30
# The first attempt takes more than it may have; the second finds what the first one checkpointed.
SCRIPT = """
import json, os
path = "/opt/ml/checkpoints/step"
step = int(open(path).read()) if os.path.exists(path) else 0
if step == 0:
    with open(path, "w") as file:
        file.write("7")
    held = []
    while True:
        held.append(b"x" * (256 << 20))
report = {"step": step, "type": json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_instance_type"]}
json.dump(report, open("/opt/ml/model/report.json", "w"))
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    machine = measure()
    if machine.usable <= 5 * GIB or machine.available < 7 * GIB:
        pytest.skip(f"{machine.available >> 30} GiB are free: too little for a job that takes 4 GiB")
    return User(server)


def job(user: User, **changes: Any) -> dict[str, Any]:
    small = {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 5}
    where = {"S3Uri": f"s3://{user.bucket}/{len(changes)}/checkpoints"}
    return user.ended(user.job(files={"train.py": SCRIPT}, ResourceConfig=small, CheckpointConfig=where, **changes))


def test_it_goes_on_from_its_checkpoint_one_size_larger(user: User, server: Server) -> None:
    done = job(user, Tags=[{"Key": "clary:grow-on-out-of-memory", "Value": "true"}])
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    assert user.report(done) == {"step": 7, "type": "ml.t3.large"}
    told = [(t["Status"], t["StatusMessage"]) for t in done["SecondaryStatusTransitions"]]
    assert [status for status, _ in told].count("Restarting") == 1
    assert "starting again on ml.t3.large" in dict(told)["Restarting"]
    assert done["ResourceConfig"]["InstanceType"] == "ml.t3.medium"
    command = [sys.executable, "-m", "clary.app.cli", "cost", "--json", "--since", "1d", "--dir", server.settings.dir]
    shown: subprocess.CompletedProcess[str] = server.run(command)
    assert shown.returncode == 0, shown.stderr
    [row] = [each for each in json.loads(shown.stdout)["groups"] if each["name"] == done["TrainingJobName"]]
    assert row["seconds"] == done["BillableTimeInSeconds"]


def test_without_the_tag_it_fails_with_the_reason(user: User) -> None:
    done = job(user)
    assert done["TrainingJobStatus"] == "Failed"
    assert "Please use an instance type with more memory" in done["FailureReason"]
