"""Processing jobs through unmodified boto3: what the container finds, when outputs are stored, how a job ends. `clients` has the SDKs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.sdk.acts import ENDED, PYTHON, User, unique, until
from tests.sdk.conftest import ROLE

pytestmark = [pytest.mark.live, pytest.mark.slow]
TOP = "/opt/ml/processing"


class Processing:
    """Creates jobs whose command is a text of Python."""

    def __init__(self, user: User) -> None:
        self.user = user

    def create(self, code: str, inputs: Mapping[str, Any] | None = None, **changes: Any) -> str:
        name = unique("processing")
        application = {"ImageUri": PYTHON, "ContainerEntrypoint": ["python3", f"{TOP}/code/run.py"]}
        given = {
            "code": {"S3Uri": self.user.put(f"{name}/run.py", code), "LocalPath": f"{TOP}/code"},
            **(inputs or {}),
        }
        outputs = changes.pop("outputs", {"out": {}})
        count = changes.pop("count", 1)
        self.user.sm.create_processing_job(
            **{
                "ProcessingJobName": name,
                "RoleArn": ROLE,
                "AppSpecification": {**application, **changes.pop("application", {})},
                "ProcessingInputs": [
                    {"InputName": key, "S3Input": {"S3DataType": "S3Prefix", "S3InputMode": "File", **source}}
                    for key, source in given.items()
                ],
                "ProcessingOutputConfig": {
                    "Outputs": [
                        {
                            "OutputName": key,
                            "S3Output": {
                                "S3Uri": f"s3://{self.user.bucket}/{name}/{key}",
                                "LocalPath": f"{TOP}/{key}",
                                "S3UploadMode": "EndOfJob",
                                **target,
                            },
                        }
                        for key, target in outputs.items()
                    ]
                },
                "ProcessingResources": {
                    "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 1}
                },
                "StoppingCondition": {"MaxRuntimeInSeconds": 300},
                **changes,
            }
        )
        return name

    def ended(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            seen: dict[str, Any] = self.user.sm.describe_processing_job(ProcessingJobName=name)
            return seen

        done: dict[str, Any] = until(look, lambda seen: seen["ProcessingJobStatus"] in ENDED, 120)
        return done

    def lines(self, name: str) -> list[str]:
        events = self.user.logs.filter_log_events(
            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{name}/"
        )
        return [event["message"] for event in events["events"]]

    def complete(self, *args: Any, **changes: Any) -> dict[str, Any]:
        done = self.ended(self.create(*args, **changes))
        told = done.get("FailureReason"), self.lines(done["ProcessingJobName"])
        assert done["ProcessingJobStatus"] == "Completed", told
        return done

    def read(self, job: Mapping[str, Any], key: str) -> bytes:
        return self.user.get(f"s3://{self.user.bucket}/{job['ProcessingJobName']}/{key}")

    def source(self, prefix: str, path: str, **more: Any) -> dict[str, Any]:
        return {"S3Uri": f"s3://{self.user.bucket}/{prefix}", "LocalPath": f"{TOP}/{path}", **more}


@pytest.fixture(scope="module")
def processing(user: User) -> Processing:
    return Processing(user)


def test_the_container_finds_what_aws_promises(processing: Processing) -> None:
    user = processing.user
    user.put("contract/in/a.csv", "1\n")
    user.put("contract/in/deep/b.csv", "2\n")
    code = """
import json, os, shutil, subprocess, sys
top = "/opt/ml/processing"
config = {name: json.load(open("/opt/ml/config/" + name)) for name in ("processingjobconfig.json", "resourceconfig.json")}
found = sorted(os.path.relpath(os.path.join(folder, name), top + "/in") for folder, _, names in os.walk(top + "/in") for name in names)
open(top + "/in/new.csv", "w").write("written beside the data")
open(top + "/code/new.py", "w").write("written beside the code")
open(top + "/in/a.csv", "a").write("more")
tools = {name: bool(shutil.which(name)) for name in ("bash", "tar", "gzip", "python", "python3", "pip")}
pip = subprocess.run(["pip", "--version"]).returncode
json.dump({"config": config, "found": found, "env": dict(os.environ), "argv": sys.argv[1:], "tools": tools, "pip": pip,
           "empty": os.listdir(top + "/empty")}, open(top + "/out/report.json", "w"))
os.symlink("/etc/passwd", top + "/out/link")
"""
    done = processing.complete(
        code,
        {"data": processing.source("contract/in", "in")},
        outputs={"out": {}, "empty": {}},
        application={"ContainerArguments": ["--size", "2"]},
        Environment={"MINE": "yes"},
        Tags=[{"Key": "team", "Value": "x"}],
    )
    seen = json.loads(processing.read(done, "out/report.json"))
    assert seen["found"] == ["a.csv", "deep/b.csv"]
    assert (seen["env"]["MINE"], seen["argv"], seen["empty"], seen["pip"]) == ("yes", ["--size", "2"], [], 0)
    assert all(seen["tools"].values()), seen["tools"]
    assert seen["config"]["resourceconfig.json"] == {"current_host": "algo-1", "hosts": ["algo-1"]}
    told = seen["config"]["processingjobconfig.json"]
    assert told["ProcessingJobArn"] == done["ProcessingJobArn"]
    assert told["NetworkConfig"] is None
    assert told["ProcessingInputs"][1]["S3Input"]["S3DownloadMode"] == "StartOfJob"
    assert user.keys(f"{done['ProcessingJobName']}/out") == [f"{done['ProcessingJobName']}/out/report.json"]
    assert user.get(f"s3://{user.bucket}/contract/in/a.csv") == b"1\n"
    assert user.sm.list_tags(ResourceArn=done["ProcessingJobArn"])["Tags"] == [{"Key": "team", "Value": "x"}]


def test_hosts_share_sharded_data_and_one_output(processing: Processing) -> None:
    for number in range(5):
        processing.user.put(f"shards/{number}.csv", f"{number}\n")
    code = """
import json, os, socket
told = json.load(open("/opt/ml/config/resourceconfig.json"))
reached = [socket.gethostbyname(host) for host in told["hosts"]]
out = {"in": sorted(os.listdir("/opt/ml/processing/in")), "addresses": reached}
json.dump(out, open("/opt/ml/processing/out/" + told["current_host"] + ".json", "w"))
open("/opt/ml/output/message", "w").write(told["current_host"] + ";")
"""
    source = processing.source("shards/", "in", S3DataDistributionType="ShardedByS3Key")
    done = processing.complete(code, {"data": source}, count=2)
    one, two = (json.loads(processing.read(done, f"out/algo-{n}.json")) for n in (1, 2))
    assert sorted(one["in"] + two["in"]) == [f"{n}.csv" for n in range(5)]
    assert len(one["in"]) in (2, 3)
    assert one["addresses"] == two["addresses"]
    assert done["ExitMessage"] == "algo-1;algo-2;"


def test_continuous_outputs_are_stored_while_the_job_runs_and_a_stopped_job_says_its_message(
    processing: Processing,
) -> None:
    code = """
import os, signal, sys, time
def end(*_):
    open("/opt/ml/processing/late/after.txt", "w").write("after")
    open("/opt/ml/output/message", "w").write("stopped on request")
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
open("/opt/ml/processing/live/first.txt", "w").write("1")
while not os.path.exists("/opt/ml/processing/live/never"):
    time.sleep(0.1)
"""
    name = processing.create(code, outputs={"live": {"S3UploadMode": "Continuous"}, "late": {}})
    until(lambda: processing.user.keys(f"{name}/live/"), lambda keys: keys == [f"{name}/live/first.txt"], 60)
    assert processing.user.sm.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] == "InProgress"
    assert processing.user.keys(f"{name}/late/") == []
    processing.user.sm.stop_processing_job(ProcessingJobName=name)
    done = processing.ended(name)
    assert (done["ProcessingJobStatus"], done["ExitMessage"]) == ("Stopped", "stopped on request")
    assert "FailureReason" not in done
    assert processing.read(done, "late/after.txt") == b"after"


def test_a_job_whose_time_is_up_is_stopped_and_keeps_its_outputs(processing: Processing) -> None:
    code = """
import time
open("/opt/ml/processing/out/part.txt", "w").write("part")
time.sleep(100)
"""
    done = processing.ended(processing.create(code, StoppingCondition={"MaxRuntimeInSeconds": 2}))
    assert done["ProcessingJobStatus"] == "Stopped"
    assert processing.read(done, "out/part.txt") == b"part"


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        (
            "open('/opt/ml/processing/out/kept', 'w').write('1')\ntable = {}\nprint(table['age'])\n",
            "AlgorithmError: , exit code: 1: KeyError: 'age'",
            None,
        ),
        (
            "import sys\nopen('/opt/ml/processing/out/kept', 'w').write('1')\n"
            "open('/opt/ml/output/message', 'w').write('no rows')\nsys.exit(3)\n",
            "AlgorithmError: See job logs for more information",
            "no rows",
        ),
        (
            "open('/opt/ml/processing/out/kept', 'w').write('1')\n"
            "open('/opt/ml/output/message', 'wb').write(b'\\xff\\xfe')\n",
            "ClientError: The file /opt/ml/output/message is not UTF-8",
            None,
        ),
    ],
)
def test_failures_are_told_in_aws_words_and_outputs_kept(
    processing: Processing, code: str, reason: str, message: str | None
) -> None:
    done = processing.ended(processing.create(code))
    assert (done["ProcessingJobStatus"], done["FailureReason"], done.get("ExitMessage")) == ("Failed", reason, message)
    assert processing.read(done, "out/kept") == b"1"


def test_an_entrypoint_that_is_missing_and_an_input_without_objects(processing: Processing) -> None:
    done = processing.ended(processing.create("", application={"ContainerEntrypoint": ["/no/such/command"]}))
    assert "exit code: 127" in done["FailureReason"]
    done = processing.ended(processing.create("", {"data": processing.source("none/at/all", "in")}))
    assert done["FailureReason"].startswith("ClientError: No S3 objects found under S3 URL")


def test_gzip_is_undone_in_pipe_mode_alone(processing: Processing) -> None:
    processing.user.put("pipe/a.csv.gz", gzip.compress(b"1,2\n"))
    code = """
data = open("/opt/ml/processing/piped_0", "rb").read() + b"|" + open("/opt/ml/processing/filed/a.csv.gz", "rb").read()
open("/opt/ml/processing/out/data", "wb").write(data)
"""
    inputs = {
        "piped": processing.source("pipe/", "piped", S3InputMode="Pipe", S3CompressionType="Gzip"),
        "filed": processing.source("pipe/", "filed"),
    }
    done = processing.complete(code, inputs)
    piped, _, filed = processing.read(done, "out/data").partition(b"|")
    assert (piped, gzip.decompress(filed)) == (b"1,2\n", b"1,2\n")


def test_an_isolated_container_reaches_nobody_and_an_ordinary_one_the_api(processing: Processing) -> None:
    code = """
import os, socket, sys, urllib.parse
where = urllib.parse.urlparse(os.environ["AWS_ENDPOINT_URL"])
try:
    socket.create_connection((where.hostname, where.port), 5)
    reached = "yes"
except OSError:
    reached = "no"
open("/opt/ml/output/message", "w").write(reached)
"""
    assert processing.complete(code)["ExitMessage"] == "yes"
    assert processing.complete(code, NetworkConfig={"EnableNetworkIsolation": True})["ExitMessage"] == "no"


def test_manifests_name_objects_and_themselves_and_what_is_missing_fails_the_job(processing: Processing) -> None:
    user = processing.user
    user.put("manifest/a.csv", "1\n")
    names = ["a.csv", "list"]
    user.put("manifest/list", json.dumps([{"prefix": f"s3://{user.bucket}/manifest/"}, *names]))
    user.put("manifest/bad", json.dumps([{"prefix": f"s3://{user.bucket}/manifest/"}, "none.csv"]))
    code = (
        "import os\nopen('/opt/ml/output/message', 'w').write(' '.join(sorted(os.listdir('/opt/ml/processing/in'))))\n"
    )
    whole = {"data": processing.source("manifest/list", "in", S3DataType="ManifestFile")}
    assert processing.complete(code, whole)["ExitMessage"] == "a.csv list"
    done = processing.ended(
        processing.create(code, {"data": processing.source("manifest/bad", "in", S3DataType="ManifestFile")})
    )
    assert done["ProcessingJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("ClientError: ")
    assert "manifest/none.csv" in done["FailureReason"]
