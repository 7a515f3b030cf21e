"""Training jobs through unmodified boto3: the container's contract, what stops or fails a job, what Describe and List tell of it."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, SKLEARN, User, channel, unique, until
from tests.sdk.conftest import ROLE, Server

from clary.app import up

pytestmark = [pytest.mark.live, pytest.mark.slow]

REPORT = """
import json, os, sys
def tree(folder):
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if os.path.isfile(path) and os.path.getsize(path) < 10000:
                found[os.path.relpath(path, folder)] = open(path, errors="replace").read()
    return found
report = {"env": dict(os.environ), "argv": sys.argv[1:], "data": tree("/opt/ml/input/data"), "config": tree("/opt/ml/input/config")}
json.dump(report, open("/opt/ml/model/report.json", "w"))
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def refused(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_the_contract_of_a_script(user: User) -> None:
    user.put("contract/train/a.csv", "1,2\n")
    user.put("contract/train/deep/b.csv", "3,4\n")
    done = user.train(
        files={"train.py": REPORT},
        HyperParameters={"alpha": "0.5", "name": '"ada"', "flag": "true", "deep": '{"x": 1}', "n": "3"},
        Environment={"MINE": "yes"},
        InputDataConfig=[channel("train", f"s3://{user.bucket}/contract/train", ContentType="text/csv")],
        Tags=[{"Key": "team", "Value": "x"}],
    )
    seen = user.report(done)
    assert seen["data"] == {"train/a.csv": "1,2\n", "train/deep/b.csv": "3,4\n"}
    assert seen["argv"] == ["--alpha", "0.5", "--deep", "x=1", "--flag", "True", "-n", "3", "--name", "ada"]
    env = seen["env"]
    assert env["MINE"] == "yes"
    assert env["TRAINING_JOB_NAME"] == done["TrainingJobName"]
    assert env["TRAINING_JOB_ARN"] == done["TrainingJobArn"]
    assert env["SM_CHANNELS"] == '["train"]'
    assert env["SM_CHANNEL_TRAIN"] == "/opt/ml/input/data/train"
    assert env["SM_MODEL_DIR"] == "/opt/ml/model"
    assert env["SM_OUTPUT_DATA_DIR"] == "/opt/ml/output/data"
    assert json.loads(env["SM_HPS"]) == {"alpha": 0.5, "name": "ada", "flag": True, "deep": {"x": 1}, "n": 3}
    assert env["SM_HP_ALPHA"] == "0.5"
    assert env["SM_CURRENT_HOST"] == "algo-1"
    assert env["AWS_REGION"] == "us-east-1"
    configured = json.loads(seen["config"]["inputdataconfig.json"])["train"]
    assert configured["ContentType"] == "text/csv"
    resources = json.loads(seen["config"]["resourceconfig.json"])
    assert resources["hosts"] == ["algo-1"]
    assert resources["current_instance_type"] == "ml.m5.large"
    assert all(isinstance(value, str) for value in json.loads(seen["config"]["hyperparameters.json"]).values())
    assert [t["Status"] for t in done["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert all(t["StatusMessage"] for t in done["SecondaryStatusTransitions"])
    assert done["BillableTimeInSeconds"] == done["TrainingTimeInSeconds"] >= 1
    assert user.sm.list_tags(ResourceArn=done["TrainingJobArn"])["Tags"] == [{"Key": "team", "Value": "x"}]


def test_sharded_data_and_hosts_that_know_each_other(user: User) -> None:
    for number in range(5):
        user.put(f"shards/{number}.csv", f"{number}\n")
    script = """
    import json, os, socket
    host = os.environ["SM_CURRENT_HOST"]
    seen = sorted(os.listdir("/opt/ml/input/data/train"))
    every = sorted(os.listdir("/opt/ml/input/data/all"))
    resolved = {name: socket.gethostbyname(name) for name in json.loads(os.environ["SM_HOSTS"])}
    with open("/opt/ml/model/%s.json" % host, "w") as file:
        json.dump({"train": seen, "all": every, "resolved": resolved}, file)
    """
    done = user.train(
        files={"train.py": script},
        InputDataConfig=[
            channel("train", f"s3://{user.bucket}/shards/", spread="ShardedByS3Key"),
            channel("all", f"s3://{user.bucket}/shards/"),
        ],
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5},
    )
    files = user.untar(done["ModelArtifacts"]["S3ModelArtifacts"])
    one, two = (json.loads(files[f"algo-{n}.json"]) for n in (1, 2))
    assert sorted(one["train"] + two["train"]) == [f"{n}.csv" for n in range(5)]
    assert abs(len(one["train"]) - len(two["train"])) <= 1
    assert len(one["all"]) == len(two["all"]) == 5
    assert one["resolved"] == two["resolved"]
    assert len(set(one["resolved"].values())) == 2
    streams = user.logs.describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{done['TrainingJobName']}/"
    )["logStreams"]
    assert [stream["logStreamName"].split("/")[1][:6] for stream in streams] == ["algo-1", "algo-2"]


def test_manifest_fastfile_and_pipe(user: User) -> None:
    for name in ("a", "b", "c"):
        user.put(f"modes/data/{name}.txt", f"{name}\n")
    manifest = json.dumps([{"prefix": f"s3://{user.bucket}/modes/"}, "data/a.txt", "data/c.txt"])
    where = user.put("modes/list.manifest", manifest)
    script = (
        REPORT
        + """
for epoch in range(2):
    with open("/opt/ml/input/data/pipe_%d" % epoch, "rb") as pipe:
        report["pipe_%d" % epoch] = pipe.read().decode()
json.dump(report, open("/opt/ml/model/report.json", "w"))
"""
    )
    done = user.train(
        files={"train.py": script},
        InputDataConfig=[
            channel("listed", where, "ManifestFile"),
            channel("fast", f"s3://{user.bucket}/modes/data/", InputMode="FastFile"),
            channel("pipe", f"s3://{user.bucket}/modes/data/", InputMode="Pipe"),
        ],
    )
    seen = user.report(done)
    assert {k: v for k, v in seen["data"].items() if k.startswith("listed/")} == {
        "listed/data/a.txt": "a\n",
        "listed/data/c.txt": "c\n",
    }
    assert {k for k in seen["data"] if k.startswith("fast/")} == {"fast/a.txt", "fast/b.txt", "fast/c.txt"}
    assert seen["pipe_0"] == seen["pipe_1"] == "a\nb\nc\n"


def test_an_augmented_manifest_comes_as_records(user: User) -> None:
    for name in ("a", "b"):
        user.put(f"augmented/{name}.bin", f"<{name}>")
    lines = [
        json.dumps({"source-ref": f"s3://{user.bucket}/augmented/{name}.bin", "label": number, "other": "unasked"})
        for number, name in enumerate("ab")
    ]
    where = user.put("augmented/list.manifest", "\n".join(lines))
    script = """
    import json, struct
    data, found = open("/opt/ml/input/data/train_0", "rb").read(), []
    while data:
        magic, length = struct.unpack("<II", data[:8])
        assert magic == 0xCED7230A, magic
        size = length & ((1 << 29) - 1)
        found.append(data[8 : 8 + size].decode())
        data = data[8 + (size + 3) // 4 * 4 :]
    json.dump(found, open("/opt/ml/model/report.json", "w"))
    """
    source = {"AttributeNames": ["source-ref", "label"]}
    inputs = channel(
        "train", where, "AugmentedManifestFile", source=source, InputMode="Pipe", RecordWrapperType="RecordIO"
    )
    done = user.train(files={"train.py": script}, InputDataConfig=[inputs])
    assert user.report(done) == ["<a>", "0", "<b>", "1"]


def test_metrics_checkpoints_and_output(user: User) -> None:
    user.put("ck/in/old.txt", "from before")
    script = """
    import os
    os.makedirs("/opt/ml/checkpoints", exist_ok=True)
    assert open("/opt/ml/checkpoints/old.txt").read() == "from before"
    open("/opt/ml/checkpoints/new.txt", "w").write("from now")
    for epoch in range(3):
        print("epoch %d loss=%.3f acc: %s" % (epoch, 1 / (epoch + 1), 0.5 + epoch / 10))
    open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "plot.txt"), "w").write("x")
    open("/opt/ml/model/weights", "w").write("w")
    """
    done = user.train(
        files={"train.py": script},
        CheckpointConfig={"S3Uri": f"s3://{user.bucket}/ck/in"},
        AlgorithmSpecification={
            "MetricDefinitions": [
                {"Name": "loss", "Regex": r"loss=([0-9.]+)"},
                {"Name": "acc", "Regex": r"acc: ([0-9.]+)"},
                {"Name": "never", "Regex": r"nothing=([0-9.]+)"},
            ]
        },
    )
    assert {m["MetricName"]: round(m["Value"], 3) for m in done["FinalMetricDataList"]} == {"loss": 0.333, "acc": 0.7}
    assert user.get(f"s3://{user.bucket}/ck/in/new.txt") == b"from now"
    job = done["TrainingJobName"]
    assert user.untar(f"s3://{user.bucket}/out/{job}/output/output.tar.gz") == {"plot.txt": b"x"}
    assert user.untar(done["ModelArtifacts"]["S3ModelArtifacts"]) == {"weights": b"w"}


def test_uncompressed_output(user: User) -> None:
    script = "open('/opt/ml/model/w', 'w').write('1')"
    output = {"S3OutputPath": f"s3://{user.bucket}/plain", "CompressionType": "NONE"}
    done = user.train(files={"train.py": script}, OutputDataConfig=output)
    job = done["TrainingJobName"]
    assert done["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{user.bucket}/plain/{job}/output/model/"
    assert user.keys(f"plain/{job}/") == [f"plain/{job}/output/model/w"]


def test_a_command_replaces_the_images_own(user: User) -> None:
    command = {
        "ContainerEntrypoint": ["sh", "-c"],
        "ContainerArguments": ['echo "got $1"; echo ok > /opt/ml/model/f', "x", "y"],
    }
    done = user.train(PYTHON, AlgorithmSpecification=command)
    assert user.untar(done["ModelArtifacts"]["S3ModelArtifacts"]) == {"f": b"ok\n"}
    assert "got y" in user.lines(done["TrainingJobName"])


def test_a_failing_script_names_the_exception(user: User) -> None:
    script = "def f():\n    raise KeyError('the column price is missing')\nprint('before')\nf()\n"
    done = user.ended(user.job(SKLEARN, files={"train.py": script}))
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Failed", "Failed")
    reason = done["FailureReason"]
    assert reason.startswith("AlgorithmError: ExecuteUserScriptError:")
    assert "KeyError: 'the column price is missing'" in reason
    assert reason.endswith("exit code: 1")
    assert len(reason) <= 1024
    assert done["SecondaryStatusTransitions"][-1]["StatusMessage"] == reason
    lines = user.lines(done["TrainingJobName"])
    assert any("KeyError: 'the column price is missing'" in line for line in lines)
    assert "before" in lines


def test_a_failure_file_and_an_exit_code_of_ones_own(user: User) -> None:
    text = "echo 'my own words' > /opt/ml/output/failure; exit 42"
    done = user.ended(user.job(PYTHON, AlgorithmSpecification={"ContainerEntrypoint": ["sh", "-c", text]}))
    assert done["FailureReason"] == "AlgorithmError: my own words, exit code: 42"


def test_stop_lets_the_script_say_goodbye(user: User) -> None:
    script = """
    import signal, sys, time
    def bye(*_):
        open("/opt/ml/model/bye", "w").write("bye")
        sys.exit(0)
    signal.signal(signal.SIGTERM, bye)
    print("ready", flush=True)
    time.sleep(100)
    """
    name = user.job(files={"train.py": script})
    until(lambda: "ready" in user.lines(name))
    assert refused(user.sm.delete_training_job, TrainingJobName=name)[0] == "ResourceInUse"
    user.sm.stop_training_job(TrainingJobName=name)
    assert user.describe(name)["TrainingJobStatus"] in ("Stopping", "Stopped")
    done = user.ended(name)
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert user.untar(done["ModelArtifacts"]["S3ModelArtifacts"]) == {"bye": b"bye"}
    assert refused(user.sm.stop_training_job, TrainingJobName=name) == (
        "ValidationException",
        "The request was rejected because the training job is in status Stopped.",
    )


def test_max_runtime(user: User) -> None:
    name = user.job(
        files={"train.py": "import time\nopen('/opt/ml/model/half', 'w').write('1')\ntime.sleep(100)\n"},
        StoppingCondition={"MaxRuntimeInSeconds": 2},
    )
    done = user.ended(name)
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert user.untar(done["ModelArtifacts"]["S3ModelArtifacts"]) == {"half": b"1"}


def test_spot_is_an_ordinary_run(user: User) -> None:
    done = user.train(
        files={"train.py": "print(1)"},
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200},
    )
    assert done["EnableManagedSpotTraining"] is True
    assert done["StoppingCondition"] == {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200}
    assert done["BillableTimeInSeconds"] <= done["TrainingTimeInSeconds"]


def test_lists_deletion_and_the_name_being_taken(user: User) -> None:
    stem = unique("listed")
    command = {"ContainerEntrypoint": ["true"]}
    names = [user.job(TrainingJobName=f"{stem}-{n}", AlgorithmSpecification=command) for n in range(3)]
    bad = user.job(TrainingJobName=f"{stem}-bad", AlgorithmSpecification={"ContainerEntrypoint": ["false"]})
    for name in [*names, bad]:
        user.ended(name)

    def listed(**asked: Any) -> list[str]:
        pages = user.sm.get_paginator("list_training_jobs").paginate(NameContains=stem, **asked)
        return [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]

    assert listed() == [*names, bad]
    assert listed(SortOrder="Descending") == [bad, *reversed(names)]
    assert listed(SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 1}) == [*names, bad]
    assert listed(StatusEquals="Failed") == [bad]
    assert listed(SortBy="Status", SortOrder="Descending")[0] == bad
    now = datetime.datetime.now(datetime.UTC)
    assert listed(CreationTimeAfter=now) == []
    assert len(listed(CreationTimeBefore=now, LastModifiedTimeAfter=now - datetime.timedelta(minutes=5))) == 4
    page = user.sm.list_training_jobs(NameContains=stem, MaxResults=1)
    code, _ = refused(user.sm.list_training_jobs, NameContains="other", NextToken=page["NextToken"])
    assert code == "ValidationException"
    code, message = refused(user.job, TrainingJobName=names[0], AlgorithmSpecification=command)
    assert code == "ResourceInUse"
    assert message.startswith("Training job names must be unique within an AWS account and region, and a training job")
    user.sm.delete_training_job(TrainingJobName=bad)
    assert refused(user.sm.describe_training_job, TrainingJobName=bad) == (
        "ValidationException",
        "Requested resource not found.",
    )
    assert listed(StatusEquals="Failed") == []


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"image": "somewhere/unheard-of:1"}, "ValidationException", "stands for no runtime"),
        ({"RoleArn": "arn:aws:iam::999999999999:role/Other"}, "ValidationException", "Could not assume role"),
        (
            {"OutputDataConfig": {"S3OutputPath": "s3://no-such-bucket-here/x"}},
            "ValidationException",
            'bucket "no-such-bucket-here"',
        ),
        (
            {"InputDataConfig": [channel("train", "s3://no-such-bucket-here/x")]},
            "ValidationException",
            'No S3 objects found under S3 URL "s3://no-such-bucket-here/x" given in input data source.',
        ),
        (
            {"ResourceConfig": {"InstanceType": "local", "InstanceCount": 1, "VolumeSizeInGB": 5}},
            "ValidationException",
            "1 validation error detected: Value 'local' at 'resourceConfig.instanceType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [",
        ),
        (
            {"TrainingJobName": "_bad name_"},
            "ValidationException",
            "Value '_bad name_' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression",
        ),
        ({"EnableManagedSpotTraining": True}, "ValidationException", "MaxWaitTimeInSeconds"),
        ({"HyperParameters": {f"k{n}": "1" for n in range(101)}}, "ValidationException", "hyperParameters"),
    ],
)
def test_what_is_refused_at_once(user: User, changes: dict[str, Any], code: str, words: str) -> None:
    found, message = refused(user.job, **changes)
    assert (found, words in message) == (code, True), message


def test_data_that_is_not_there_fails_the_job(user: User) -> None:
    inputs = [channel("train", f"s3://{user.bucket}/nothing/here")]
    done = user.ended(user.job(files={"train.py": "print(1)"}, InputDataConfig=inputs))
    assert done["TrainingJobStatus"] == "Failed"
    assert done["FailureReason"].startswith(
        f'ClientError: Data download failed:No S3 objects found under S3 URL "s3://{user.bucket}/nothing/here"'
    ) or done["FailureReason"].startswith(
        f'ClientError: No S3 objects found under S3 URL "s3://{user.bucket}/nothing/here"'
    )
    assert ROLE in done["FailureReason"]


def test_fields_without_effect_are_shown_and_told(user: User) -> None:
    vpc = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    done = user.train(files={"train.py": "print(1)"}, VpcConfig=vpc)
    assert done["VpcConfig"] == vpc
    assert done["OutputDataConfig"]["KmsKeyId"] == ""
    assert any("VpcConfig" in line and "No effect here" in line for line in user.lines(done["TrainingJobName"]))


def test_strict_settings(start: Any) -> None:
    strict = start(strict_fields=True, capacity="strict")
    user = User(strict)
    vpc = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    code, message = refused(user.job, files={"train.py": "print(1)"}, VpcConfig=vpc)
    assert (code, "VpcConfig" in message, "strict_fields" in message) == ("ValidationException", True, True)
    big = {"InstanceType": "ml.p4d.24xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5}
    assert refused(user.job, files={"train.py": "print(1)"}, ResourceConfig=big)[0] == "ResourceLimitExceeded"
    up.down(strict.settings)


def test_network_isolation_cuts_everything_but_the_data(user: User) -> None:
    user.put("isolated/a.txt", "a")
    script = (
        REPORT
        + """
import socket
names = [name for name in os.listdir("/sys/class/net")] if os.path.isdir("/sys/class/net") else []
try:
    socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), timeout=5)
    report["reached"] = True
except OSError as error:
    report["reached"] = False
json.dump(report, open("/opt/ml/model/report.json", "w"))
"""
    )
    port = user.server.settings.endpoint.rsplit(":", 1)[1]
    for isolated in (True, False):
        done = user.train(
            files={"train.py": script},
            EnableNetworkIsolation=isolated,
            Environment={"PORT": port},
            InputDataConfig=[channel("train", f"s3://{user.bucket}/isolated/")],
        )
        seen = user.report(done)
        assert seen["data"] == {"train/a.txt": "a"}
        assert seen["reached"] is not isolated


def test_a_job_uses_boto3_with_its_roles_keys(user: User) -> None:
    script = """
    import boto3, json
    report = {"arn": boto3.client("sts").get_caller_identity()["Arn"]}
    report["buckets"] = [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]]
    json.dump(report, open("/opt/ml/model/report.json", "w"))
    """
    seen = user.report(user.train(SKLEARN, files={"train.py": script}))
    assert seen["arn"].startswith("arn:aws:sts::000000000000:assumed-role/FlowRole/")
    assert user.bucket in seen["buckets"]


def test_gpu_types_run_on_what_is_there(user: User) -> None:
    done = user.train(
        files={"train.py": REPORT},
        ResourceConfig={"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5},
    )
    assert user.report(done)["env"]["SM_NUM_GPUS"] == "0"
    assert any("GPU" in line for line in user.lines(done["TrainingJobName"]))


def test_another_region_is_another_world(server: Server, user: User) -> None:
    name = user.job(AlgorithmSpecification={"ContainerEntrypoint": ["true"]})
    other = User(server, "eu-west-1")
    assert refused(other.sm.describe_training_job, TrainingJobName=name)[1] == "Requested resource not found."
    done = other.train(TrainingJobName=name, AlgorithmSpecification={"ContainerEntrypoint": ["true"]})
    assert done["TrainingJobArn"] == f"arn:aws:sagemaker:eu-west-1:000000000000:training-job/{name}"
    user.ended(name)
