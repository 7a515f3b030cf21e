"""What processing, transform and tuning jobs make of other accounts' buckets, lines of 50 MB, mixed JSON and ranges upside down."""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.live import ROLE
from tests.sdk.acts import ENDED, PYTHON, User, unique, until
from tests.sdk.conftest import Server
from tests.sdk.test_transform import Batcher
from tests.sdk.tuned import RANGES, begin, config

pytestmark = [pytest.mark.live, pytest.mark.slow]

LONG = 50 << 20  # bytes of a line


@pytest.fixture(scope="module")
def batcher(server: Server) -> Batcher:
    return Batcher(server)


@pytest.fixture(scope="module")
def foreign(server: Server) -> str:
    """A bucket of another account, with an object `in/a.csv`."""
    argv = [sys.executable, "-m", "clary.app.cli", "env", "--dir", server.settings.dir, "--account", "444455556666"]
    given = json.loads(server.run([*argv, "--json"]).stdout)
    s3 = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=given["AWS_ENDPOINT_URL"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )
    name = unique("foreign")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="in/a.csv", Body=b"1\n")
    return name


def processing(user: User, command: list[str], **changes: Any) -> str:
    name = unique("process")
    user.sm.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": PYTHON, "ContainerEntrypoint": command},
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}},
        **changes,
    )
    return name


def processed(user: User, name: str) -> dict[str, Any]:
    done: dict[str, Any] = until(
        lambda: user.sm.describe_processing_job(ProcessingJobName=name),
        lambda d: d["ProcessingJobStatus"] in ENDED,
        120,
    )
    return done


def stored_at(uri: str, mode: str = "EndOfJob") -> dict[str, Any]:
    where = {"S3Uri": uri, "LocalPath": "/opt/ml/processing/out", "S3UploadMode": mode}
    return {"Outputs": [{"OutputName": "out", "S3Output": where}]}


def test_outputs_in_a_bucket_of_another_account_are_refused_at_once(batcher: Batcher, foreign: str) -> None:
    with pytest.raises(ClientError, match="ValidationException") as caught:
        processing(batcher, ["true"], ProcessingOutputConfig=stored_at(f"s3://{foreign}/out"))
    assert f'The bucket "{foreign}" of ProcessingOutputConfig does not exist' in str(caught.value)
    with pytest.raises(ClientError, match="ValidationException") as caught:
        batcher.begun({"a.csv": "1\n"}, output={"S3OutputPath": f"s3://{foreign}/out"})
    assert f'The bucket "{foreign}" of TransformOutput does not exist' in str(caught.value)
    with pytest.raises(ClientError, match="ValidationException") as caught:
        begin(batcher, config(), definition={"OutputDataConfig": {"S3OutputPath": f"s3://{foreign}/out"}})
    assert f'The bucket "{foreign}" of OutputDataConfig.S3OutputPath does not exist' in str(caught.value)


def test_a_manifest_cannot_lead_into_a_bucket_of_another_account(batcher: Batcher, foreign: str) -> None:
    manifest = json.dumps([{"prefix": f"s3://{foreign}/in/"}, "a.csv"])
    done = batcher.transform({"m": manifest}, kind="ManifestFile", tail="/m")
    assert done["TransformJobStatus"] == "Failed"
    assert foreign in done["FailureReason"]
    assert done["out"] == {}

    source = batcher.put(f"{unique('manifests')}/m", manifest)
    given = {"S3Uri": source, "LocalPath": "/opt/ml/processing/in", "S3DataType": "ManifestFile", "S3InputMode": "File"}
    name = processing(batcher, ["true"], ProcessingInputs=[{"InputName": "in", "S3Input": given}])
    told = processed(batcher, name)
    assert told["ProcessingJobStatus"] == "Failed"
    assert foreign in told["FailureReason"]


def test_a_line_of_50_mb_is_a_record_or_is_named(batcher: Batcher) -> None:
    objects = {"a.csv": b"1\n" + b"0" * LONG + b"\n2\n"}
    refused = batcher.transform(objects)
    assert refused["TransformJobStatus"] == "Failed"
    assert "a.csv" in refused["FailureReason"]
    assert "Record 2 is larger than MaxPayloadInMB (6 MB)" in refused["FailureReason"]
    assert refused["out"] == {}
    passed = batcher.transform(objects, MaxPayloadInMB=60, MaxConcurrentTransforms=1)
    assert passed["TransformJobStatus"] == "Completed", passed["FailureReason"]
    assert passed["out"] == {"a.csv.out": b"1.0\n0.0\n2.0\n"}


def test_a_processing_job_may_print_and_write_a_line_of_50_mb(batcher: Batcher) -> None:
    code = f"""
import sys
line = "x" * {LONG}
print(line)
print("after it")
open("/opt/ml/processing/out/line.txt", "w").write(line)
open("/opt/ml/output/message", "w").write(line)
"""
    where = unique("long-line")
    source = batcher.put(f"{where}/code/main.py", code.encode())
    local = "/opt/ml/processing/code"
    given = {"S3Uri": source, "LocalPath": local, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    name = processing(
        batcher,
        ["python3", f"{local}/main.py"],
        ProcessingInputs=[{"InputName": "code", "S3Input": given}],
        ProcessingOutputConfig=stored_at(f"s3://{batcher.bucket}/{where}/out"),
    )
    done = processed(batcher, name)
    assert done["ProcessingJobStatus"] == "Completed", done
    assert 0 < len(done["ExitMessage"]) <= 1024
    assert len(batcher.get(f"s3://{batcher.bucket}/{where}/out/line.txt")) == LONG
    pages = batcher.logs.get_paginator("filter_log_events").paginate(
        logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{name}/"
    )
    said = [event["message"] for page in pages for event in page["events"]]
    assert said[-1] == "after it"
    assert said[0].startswith("x" * 1000)


def test_json_of_mixed_types_is_joined_as_it_is(batcher: Batcher) -> None:
    lines = ['{"a": 1, "b": "x"}', '[1, "2", null]', '"text"']
    done = batcher.transform(
        {"a.jsonl": "\n".join(lines) + "\n"},
        given={"ContentType": "application/jsonlines"},
        output={"Accept": "application/jsonlines"},
        DataProcessing={"JoinSource": "Input"},
    )
    assert done["TransformJobStatus"] == "Completed", done["FailureReason"]
    joined = [json.loads(line) for line in done["out"]["a.jsonl.out"].decode().splitlines()]
    assert joined[0] == {"a": 1, "b": "x", "SageMakerOutput": {"n": 2}}
    assert joined[1] == {"SageMakerInput": [1, "2", None], "SageMakerOutput": {"n": 3}}
    assert joined[2] == {"SageMakerInput": "text", "SageMakerOutput": {"n": 4}}


def test_ranges_that_are_upside_down_are_refused(batcher: Batcher) -> None:
    down = {"ContinuousParameterRanges": [{"Name": "lr", "MinValue": "1", "MaxValue": "0.5", "ScalingType": "Auto"}]}
    for ranges in (down, {"IntegerParameterRanges": [{**RANGES["IntegerParameterRanges"][0], "MinValue": "9"}]}):
        with pytest.raises(ClientError, match="ValidationException") as caught:
            begin(batcher, config(ranges=ranges))
        assert "MinValue" in str(caught.value)
