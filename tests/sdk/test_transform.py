"""Batch transform through unmodified clients: what is read, sent, joined and written, and what is told of what cannot be."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.live import ROLE
from tests.sdk.acts import ENDED, PYTHON, User, unique, until
from tests.sdk.conftest import ROOT, Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

# Sums the fields of CSV rows; answers JSON by members; does on a word what its name says.
SUMS = """
import json, os, time

def model_fn(folder):
    return None

def transform_fn(model, body, content_type, accept):
    text = body.decode("utf-8", "replace") if isinstance(body, (bytes, bytearray)) else body
    if "sleep" in text:
        time.sleep(60)
    if "refuse" in text:
        from sagemaker_inference import errors
        raise errors.UnsupportedFormatError("refuse")
    if "break" in text:
        raise RuntimeError("the model broke on it")
    if "whoami" in text:
        names = ("SAGEMAKER_BATCH", "SAGEMAKER_MAX_PAYLOAD_IN_MB", "SAGEMAKER_BATCH_STRATEGY", "MINE")
        return json.dumps({name: os.environ.get(name) for name in names}), "application/json"
    if content_type == "application/octet-stream":
        return f"{len(body)};", accept
    if "json" in content_type:
        lines = [json.loads(line) for line in text.splitlines()]
        return "".join(json.dumps({"n": len(line)}) + "\\n" for line in lines), accept
    return "".join(f"{sum(map(float, line.split(',')))}\\n" for line in text.splitlines()), accept
"""


class Batcher(User):
    """A user with a model that sums."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.sums = self.scripted({"code/inference.py": SUMS}, {}, PYTHON)

    def transform(self, objects: Mapping[str, str | bytes], **changes: Any) -> dict[str, Any]:
        """A job over these objects, from its creation to its end, with `out`: what it wrote, by name."""
        name = self.begun(objects, **changes)
        done: dict[str, Any] = until(lambda: self.job_of(name), lambda d: d["TransformJobStatus"] in ENDED, 120)
        return {**done, "out": self.written(name)}

    def begun(self, objects: Mapping[str, str | bytes], **changes: Any) -> str:
        name = unique("batch")
        for key, body in objects.items():
            self.put(f"{name}/in/{key}", body)
        uri = f"s3://{self.bucket}/{name}/in" + changes.pop("tail", "")
        source = {"S3DataType": changes.pop("kind", "S3Prefix"), "S3Uri": uri}
        given = {"ContentType": "text/csv", "SplitType": "Line", **changes.pop("given", {})}
        output = {"Accept": "text/csv", "AssembleWith": "Line", **changes.pop("output", {})}
        request = {
            "TransformJobName": name,
            "ModelName": self.sums,
            "TransformInput": {"DataSource": {"S3DataSource": source}, **given},
            "TransformOutput": {"S3OutputPath": f"s3://{self.bucket}/{name}/out", **output},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": changes.pop("hosts", 1)},
            **changes,
        }
        self.sm.create_transform_job(**request)
        return name

    def job_of(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sm.describe_transform_job(TransformJobName=name)
        return answer

    def written(self, name: str) -> dict[str, bytes]:
        prefix = f"{name}/out/"
        return {key[len(prefix) :]: self.get(f"s3://{self.bucket}/{key}") for key in self.keys(prefix)}

    def log(self, name: str) -> list[str]:
        group = "/aws/sagemaker/TransformJobs"
        pages = self.logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, logStreamNamePrefix=f"{name}/"
        )
        return [event["message"] for page in pages for event in page["events"]]


@pytest.fixture(scope="module")
def batcher(server: Server) -> Batcher:
    return Batcher(server)


def refused(batcher: Batcher, **changes: Any) -> str:
    with pytest.raises(ClientError) as caught:
        batcher.begun({"a.csv": "1\n"}, **changes)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    message: str = caught.value.response["Error"]["Message"]
    return message


def test_objects_become_outputs_of_their_names(batcher: Batcher) -> None:
    done = batcher.transform({"a.csv": "1,2\n3,4\n", "deep/b.csv": "5,6", "empty.csv": "", "folder/": ""}, hosts=2)
    assert done["TransformJobStatus"] == "Completed", done
    assert done["out"] == {"a.csv.out": b"3.0\n7.0\n", "deep/b.csv.out": b"11.0\n"}
    assert done["CreationTime"] <= done["TransformStartTime"] <= done["TransformEndTime"]
    listed = batcher.sm.list_transform_jobs(NameContains=done["TransformJobName"])["TransformJobSummaries"]
    assert [job["TransformJobStatus"] for job in listed] == ["Completed"]
    assert any("MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD" in line for line in batcher.log(done["TransformJobName"]))
    assert not [e for e in batcher.sm.list_endpoints()["Endpoints"] if done["TransformJobName"] in e["EndpointName"]]
    with pytest.raises(ClientError, match="is in status Completed"):
        batcher.sm.stop_transform_job(TransformJobName=done["TransformJobName"])


def test_nobody_invokes_the_route_of_a_job(batcher: Batcher) -> None:
    name = batcher.begun({"a.csv": "sleep\n"})
    until(lambda: "TransformStartTime" in batcher.job_of(name))
    for more in ({}, {"InferenceComponentName": ":transform"}):
        with pytest.raises(ClientError, match=r"not found|failed to satisfy"):
            batcher.runtime.invoke_endpoint(EndpointName=name, Body=b"1", ContentType="text/csv", **more)
    batcher.sm.stop_transform_job(TransformJobName=name)
    done = until(lambda: batcher.job_of(name), lambda d: d["TransformJobStatus"] in ENDED)
    assert done["TransformJobStatus"] == "Stopped"
    assert batcher.written(name) == {}


def test_columns_are_filtered_and_joined_as_text(batcher: Batcher) -> None:
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    done = batcher.transform({"a.csv": "007,1.50,2\nx y,3,4\n"}, DataProcessing=processing)
    assert done["out"] == {"a.csv.out": b"007,3.5\nx y,7.0\n"}
    assert done["DataProcessing"] == processing


def test_json_lines_are_joined(batcher: Batcher) -> None:
    done = batcher.transform(
        {"a.jsonl": '{"id": 1, "x": "ab"}\n{"id": 2, "x": "c"}\n'},
        given={"ContentType": "application/jsonlines"},
        output={"Accept": "application/jsonlines"},
        DataProcessing={"InputFilter": "$.x", "JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"},
    )
    assert done["TransformJobStatus"] == "Completed", done
    assert [json.loads(line) for line in done["out"]["a.jsonl.out"].splitlines()] == [[1, {"n": 2}], [2, {"n": 1}]]


def test_one_request_for_each_record_or_each_object(batcher: Batcher) -> None:
    binary = {
        "given": {"ContentType": "application/octet-stream", "SplitType": "None"},
        "output": {"AssembleWith": "None"},
    }
    assert batcher.transform({"a.bin": b"\0" * 1000}, **binary)["out"] == {"a.bin.out": b"1000;"}
    record = struct.pack("<II", 0xCED7230A, 5) + b"hello\0\0\0"
    single = {**binary, "given": {"ContentType": "application/octet-stream", "SplitType": "RecordIO"}}
    done = batcher.transform({"a.rec": record * 3}, BatchStrategy="SingleRecord", **single)
    assert done["out"] == {"a.rec.out": b"16;16;16;"}


def test_gzip_is_undone(batcher: Batcher) -> None:
    done = batcher.transform(
        {"a.csv.gz": gzip.compress(b"1,2\n") + gzip.compress(b"3,4\n")}, given={"CompressionType": "Gzip"}
    )
    assert done["out"] == {"a.csv.gz.out": b"3.0\n7.0\n"}
    bad = batcher.transform({"a.csv.gz": b"1,2\n"}, given={"CompressionType": "Gzip"})
    assert "a.csv.gz: CompressionType is Gzip, and the object cannot be unpacked" in bad["FailureReason"]


def test_manifests_name_objects(batcher: Batcher) -> None:
    prefix = unique("listed")
    for number in range(3):
        batcher.put(f"{prefix}/p{number}.csv", f"{number}\n")
    listed = json.dumps([{"prefix": f"s3://{batcher.bucket}/{prefix}/"}, "p2.csv", "p0.csv"])
    done = batcher.transform({"m.json": listed}, kind="ManifestFile", tail="/m.json")
    assert done["out"] == {"p0.csv.out": b"0.0\n", "p2.csv.out": b"2.0\n"}
    missing = json.dumps([{"prefix": f"s3://{batcher.bucket}/{prefix}/"}, "p1.csv", "nothing.csv"])
    failed = batcher.transform({"m.json": missing}, kind="ManifestFile", tail="/m.json")
    assert failed["TransformJobStatus"] == "Failed"
    assert f"{prefix}/nothing.csv" in failed["FailureReason"]
    assert failed["out"] == {}


def test_the_record_that_the_model_refuses_is_named(batcher: Batcher) -> None:
    rows = [f"{n}" for n in range(1, 200)]
    rows[136] = "refuse"
    done = batcher.transform({"a.csv": "1\n", "b.csv": "\n".join(rows) + "\n"})
    assert done["TransformJobStatus"] == "Failed"
    assert "b.csv, line 137: the model answered 415" in done["FailureReason"]
    assert done["FailureReason"].startswith("ClientError: ")
    assert done["out"] == {"a.csv.out": b"1.0\n"}, "the object that was whole stays"
    assert any("b.csv: ClientError: 415" in line for line in batcher.log(done["TransformJobName"]))


def test_a_model_that_breaks_is_asked_again_and_then_told_of(batcher: Batcher) -> None:
    done = batcher.transform({"a.csv": "1\nbreak\n"}, ModelClientConfig={"InvocationsMaxRetries": 1})
    assert done["FailureReason"].startswith("AlgorithmError: ")
    assert "a.csv, lines 1 to 2: the model answered 500, at 2 attempts" in done["FailureReason"]
    assert "the model broke on it" in done["FailureReason"]


def test_a_prediction_that_takes_too_long_is_given_up(batcher: Batcher) -> None:
    client = {"InvocationsTimeoutInSeconds": 1, "InvocationsMaxRetries": 0}
    done = batcher.transform({"a.csv": "sleep\n"}, ModelClientConfig=client)
    assert "a.csv, line 1: the model gave no answer within 1 s" in done["FailureReason"]


def test_what_a_job_tells_its_model(batcher: Batcher) -> None:
    done = batcher.transform(
        {"a.csv": "whoami\n"}, Environment={"MINE": "yes"}, MaxPayloadInMB=1, output={"AssembleWith": "None"}
    )
    told = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1",
        "SAGEMAKER_BATCH_STRATEGY": None,
        "MINE": "yes",
    }
    assert json.loads(done["out"]["a.csv.out"]) == told


def test_captures_are_manifests(batcher: Batcher) -> None:
    place = f"captured-{unique('c')}"
    capture = {"DestinationS3Uri": f"s3://{batcher.bucket}/{place}", "GenerateInferenceId": True}
    done = batcher.transform({"a.csv": "1\n2\n"}, DataCaptureConfig=capture)
    rows = [line.split(",") for line in done["out"]["a.csv.out"].decode().splitlines()]
    assert [(row[0], len(row)) for row in rows] == [("1.0", 3), ("2.0", 3)]
    [given] = batcher.keys(f"{place}/input/")
    [made] = batcher.keys(f"{place}/output/")
    name = done["TransformJobName"]
    assert json.loads(batcher.get(f"s3://{batcher.bucket}/{given}"))[1:] == [f"{name}/in/a.csv"]
    assert json.loads(batcher.get(f"s3://{batcher.bucket}/{made}")) == [
        {"prefix": f"s3://{batcher.bucket}/{name}/out/"},
        "a.csv.out",
    ]


def test_a_model_may_be_deleted_while_its_job_runs(batcher: Batcher) -> None:
    name = unique("gone")
    described = batcher.sm.describe_model(ModelName=batcher.sums)
    batcher.sm.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=described["PrimaryContainer"])
    job = batcher.begun({"a.csv": "1\n"}, ModelName=name)
    batcher.sm.delete_model(ModelName=name)
    assert (
        until(lambda: batcher.job_of(job), lambda d: d["TransformJobStatus"] in ENDED)["TransformJobStatus"]
        == "Completed"
    )


@pytest.mark.parametrize(
    ("objects", "changes", "words"),
    [
        ({"a.csv": "1,2\n3,\x004\n"}, {}, "a.csv, line"),
        ({"a.csv": '1,"a\nb",2\n'}, {"DataProcessing": {"InputFilter": "$[0]"}}, ""),
        ({"a.csv": "1," * 700_000 + "1\n"}, {"MaxPayloadInMB": 1}, "Record 1 is larger than MaxPayloadInMB (1 MB)"),
        ({"a.csv": "1\n"}, {"DataProcessing": {"InputFilter": "$[5]"}}, "InputFilter $[5] selects nothing of row 1 of 1 fields"),
        ({"a.csv": "1\n"}, {"tail": "/nothing-here"}, "No S3 objects found under S3 URL"),
        ({"a.csv": ""}, {}, "No S3 objects found under S3 URL"),
        ({"m": "[1]"}, {"kind": "ManifestFile", "tail": "/m"}, "must be a JSON list that starts with"),
        ({"m": '[{"prefix": "s3://b-that-is-not/"}, "a.csv"]'}, {"kind": "ManifestFile", "tail": "/m"}, "b-that-is-not"),
        ({"b": ""}, {"kind": "ManifestFile", "tail": "/none"}, "No S3 objects found under S3 URL"),
    ],
    ids=["nul", "quotes", "long-line", "filter", "prefix", "empty", "manifest", "manifest-of-nothing", "no-manifest"],
)  # fmt: skip
def test_bad_input_is_told(batcher: Batcher, objects: dict[str, str], changes: dict[str, Any], words: str) -> None:
    done = batcher.transform(objects, **changes)
    if not words:
        assert done["TransformJobStatus"] == "Completed", done
        return
    assert done["TransformJobStatus"] == "Failed"
    assert words in done["FailureReason"]
    assert done["out"] == {}


def test_what_cannot_be_is_refused_at_once(batcher: Batcher) -> None:
    assert "DataProcessing.InputFilter: '$..a' is not a JSON path" in refused(
        batcher, DataProcessing={"InputFilter": "$..a"}
    )
    assert "must not exceed 100 MB" in refused(batcher, MaxConcurrentTransforms=30, MaxPayloadInMB=6)
    assert "AugmentedManifestFile is not supported" in refused(batcher, kind="AugmentedManifestFile")
    joined = {"JoinSource": "Input"}
    assert "SplitType and AssembleWith to be the same" in refused(
        batcher, DataProcessing=joined, output={"AssembleWith": "None"}
    )
    assert "TransformOutput.Accept to be the same" in refused(
        batcher, DataProcessing=joined, output={"Accept": "application/json"}
    )
    assert "does not exist" in refused(batcher, output={"S3OutputPath": "s3://of-somebody-else/out"})
    with pytest.raises(ClientError, match="Could not find model"):
        batcher.begun({"a.csv": "1\n"}, ModelName="nothing")


SCRIPT_V2 = """
import os, sagemaker
from sagemaker.transformer import Transformer

job = os.environ["JOB"]
transformer = Transformer(
    model_name=os.environ["MODEL"], instance_count=1, instance_type="ml.m5.large", accept="text/csv", assemble_with="Line",
    output_path=f"s3://{os.environ['BUCKET']}/{job}/out", strategy="MultiRecord", sagemaker_session=sagemaker.Session(),
)
transformer.transform(f"s3://{os.environ['BUCKET']}/{job}/in", content_type="text/csv", split_type="Line", job_name=job)
attached = Transformer.attach(job, sagemaker.Session())
assert attached.output_path == transformer.output_path
client = transformer.sagemaker_session.sagemaker_client
print("said:", client.describe_transform_job(TransformJobName=job)["TransformJobStatus"])
"""


def test_the_sdk_shows_its_log(batcher: Batcher) -> None:
    job = unique("by-sdk")
    batcher.put(f"{job}/in/a.csv", "1,2\n")
    done = batcher.server.run(
        [str(ROOT / ".venv-v2" / "bin" / "python"), "-c", SCRIPT_V2],
        timeout=150, JOB=job, MODEL=batcher.sums, BUCKET=batcher.bucket,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "said: Completed" in done.stdout
    assert "MaxConcurrentTransforms=" in done.stdout
    assert batcher.written(job) == {"a.csv.out": b"3.0\n"}


def test_the_cli_creates_and_waits(batcher: Batcher) -> None:
    job = unique("by-cli")
    batcher.put(f"{job}/in/a.csv", "1,2\n")
    request = {
        "TransformJobName": job,
        "ModelName": batcher.sums,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{batcher.bucket}/{job}/in"}},
            "ContentType": "text/csv",
        },
        "TransformOutput": {"S3OutputPath": f"s3://{batcher.bucket}/{job}/out"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    aws = str(ROOT / ".venv-cli" / "bin" / "aws")
    made = batcher.server.run(
        [aws, "sagemaker", "create-transform-job", "--cli-input-json", json.dumps(request)], timeout=60
    )
    assert made.returncode == 0, made.stderr
    waited = batcher.server.run(
        [aws, "sagemaker", "wait", "transform-job-completed-or-stopped", "--transform-job-name", job], timeout=120
    )
    assert waited.returncode == 0, waited.stderr
    assert batcher.written(job) == {"a.csv.out": b"3.0\n"}
