"""Warm pools through unmodified boto3: the interpreter of one job waits for the next one, which sees nothing of the first."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import SKLEARN, User, channel, unique, until

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a sandbox another job's folders"),
]

KEPT = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5, "KeepAlivePeriodInSeconds": 600}
SCRIPT = """
import json, os, pathlib, sys
warm = "sklearn.ensemble" in sys.modules
import sklearn.ensemble
def files(top):
    return sorted(str(path) for path in pathlib.Path(top).rglob("*") if path.is_file())
opened = []
for fd in os.listdir("/proc/self/fd"):
    if int(fd) > 2 and os.path.exists("/proc/self/fd/" + fd):
        opened.append(os.readlink("/proc/self/fd/" + fd))
seen = {
    "warm": warm,
    "name": os.environ["TRAINING_JOB_NAME"],
    "secret": sorted(name for name in os.environ if name.startswith("SECRET")),
    "data": {path: pathlib.Path(path).read_text() for path in files("/opt/ml/input/data")},
    "left": [path for top in ("/tmp", "/var/tmp", "/dev/shm", "/opt/ml/model", "/opt/ml/output") for path in files(top)],
    "open": opened,
    "mounts": [line.split()[3] for line in open("/proc/self/mountinfo")],
    "processes": sorted(pathlib.Path("/proc", pid, "cmdline").read_text().replace(chr(0), " ").strip()
                        for pid in os.listdir("/proc") if pid.isdigit()),
    "environment": dict(os.environ),
    "parameters": json.load(open("/opt/ml/input/config/hyperparameters.json")),
}
json.dump(seen, open("/opt/ml/model/report.json", "w"))
for top in ("/tmp", "/dev/shm", "/opt/ml/output/data", "/opt/ml/input/data/train"):
    pathlib.Path(top, "mine-" + os.environ["TRAINING_JOB_NAME"]).write_text("private")
"""


def job(user: User, data: str = "first", **changes: Any) -> str:
    uri = user.put(f"{unique('data')}/rows.csv", data).rpartition("/")[0]
    given = {"ResourceConfig": KEPT, "InputDataConfig": [channel("train", uri)], **changes}
    return user.job(SKLEARN, files={"train.py": SCRIPT}, **given)


def done(user: User, name: str) -> dict[str, Any]:
    seen = user.ended(name, 300)
    assert seen["TrainingJobStatus"] == "Completed", (seen.get("FailureReason"), user.lines(name)[-20:])
    return seen


def pool(user: User, name: str) -> dict[str, Any]:
    found: dict[str, Any] = user.describe(name).get("WarmPoolStatus", {})
    return found


def waits(user: User, name: str) -> None:
    """Until the sandbox of its pool has imported what it shall."""
    server = user.server
    folder = server.settings.root / "backend" / "own"

    def imported() -> bool:
        return any(
            path.name.startswith("pool-") and (path / "shim/run.json").exists() for path in folder.glob("pool-*")
        )

    until(imported)
    assert pool(user, name)["Status"] == "Available"


def listed(user: User, status: str) -> list[str]:
    found = user.sm.get_paginator("list_training_jobs").paginate(WarmPoolStatusEquals=status)
    return [each["TrainingJobName"] for page in found for each in page["TrainingJobSummaries"]]


def test_the_next_job_begins_with_what_was_imported_and_nothing_of_the_first(user: User) -> None:
    first = job(user, "the first one's", Environment={"SECRET_FIRST": "1"}, HyperParameters={"first": "1"})
    assert pool(user, first) == {"Status": "InUse"}
    assert first in listed(user, "InUse")
    report = user.report(done(user, first))
    assert not report["warm"]
    waits(user, first)
    assert first in listed(user, "Available")
    assert until(lambda: used(user, first)) > 30 << 20  # what waits takes memory, and that is counted as used
    second = job(user, "the second one's", Environment={"SECRET_SECOND": "2"})
    seen = user.report(done(user, second))
    assert seen["warm"], user.lines(second)
    assert seen["name"] == second
    assert seen["secret"] == ["SECRET_SECOND"]
    assert list(seen["data"].values()) == ["the second one's"]
    assert seen["left"] == report["left"]
    assert "first" not in seen["parameters"]
    hidden(report, seen, first)
    told = pool(user, first)
    assert (told["Status"], told["ReusedByJob"]) == ("Reused", second)
    assert told["ResourceRetainedBillableTimeInSeconds"] >= 1
    assert first in listed(user, "Reused")
    # Each has its own log, and its own results.
    assert not any(second in line for line in user.lines(first))
    assert not any(first in line for line in user.lines(second))
    end(user, second)


def used(user: User, job: str) -> int:
    """Bytes that the machine's account says of the pool of a job."""
    server = user.server
    done = server.run([sys.executable, "-m", "clary.app.cli", "capacity", "--json", "--dir", server.settings.dir])
    held = [each for each in json.loads(done.stdout)["holders"] if each["kind"] == "warm pool" and each["name"] == job]
    return sum(int(each["used"] or 0) for each in held)


def hidden(cold: dict[str, Any], warm: dict[str, Any], first: str) -> None:
    """Nothing of the first job is in the second one's open files, mounts, processes, variables and keys."""
    assert warm["open"] == cold["open"] == []
    for part in ("open", "mounts", "processes", "environment"):
        assert first not in json.dumps(warm[part]), part
    assert len(warm["processes"]) <= len(cold["processes"]) + 1  # the interpreter that waited, and its fork
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
    given = {name: value for name, value in cold["environment"].items() if name in keys}
    assert given
    assert [name for name, value in given.items() if warm["environment"].get(name) == value] == []
    ours = {name.replace("FIRST", "SECOND") for name in cold["environment"]}
    assert {name for name in {*warm["environment"]} - ours if not name.startswith(("KMP_", "SKLEARN"))} == set()


def end(user: User, name: str) -> None:
    until(lambda: pool(user, name).get("Status") == "Available")
    user.sm.update_training_job(TrainingJobName=name, ResourceConfig={"KeepAlivePeriodInSeconds": 0})
    until(lambda: pool(user, name)["Status"] == "Terminated")
    assert name in listed(user, "Terminated")


def test_a_job_of_another_role_or_size_gets_nothing_of_a_pool(user: User) -> None:
    first = job(user)
    done(user, first)
    waits(user, first)
    larger = job(user, ResourceConfig={**KEPT, "InstanceType": "ml.m5.xlarge", "KeepAlivePeriodInSeconds": 0})
    assert not user.report(done(user, larger))["warm"]
    assert pool(user, larger) == {}
    assert pool(user, first)["Status"] == "Available"
    with pytest.raises(ClientError, match="UpdateTrainingJob with a KeepAlivePeriodInSeconds of 0"):
        user.sm.delete_training_job(TrainingJobName=first)
    end(user, first)
    with pytest.raises(ClientError, match="while the warm pool of the training job is Available, and it is Terminated"):
        user.sm.update_training_job(TrainingJobName=first, ResourceConfig={"KeepAlivePeriodInSeconds": 60})
    user.sm.delete_training_job(TrainingJobName=first)


def test_a_pool_ends_when_its_time_is_up(user: User) -> None:
    first = job(user, ResourceConfig={**KEPT, "KeepAlivePeriodInSeconds": 2})
    done(user, first)
    until(lambda: pool(user, first)["Status"] == "Terminated", seconds=30)
    assert pool(user, first)["ResourceRetainedBillableTimeInSeconds"] == 2
