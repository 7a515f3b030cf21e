"""What a processing container finds, and how the end of one is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.domain.jobs import failures, life, processing
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.jobs.record import Begin, SeenJob
from clary.domain.machine.capacity import Book, Machine
from clary.domain.machine.workload import Observation, RunState
from clary.domain.resources import Record, Scope

NOW = 1000.0
ROW = JOB_KINDS[processing.KIND]
BOOK = Book(Machine(cpus=4, memory=16 << 30, available=12 << 30), "fit", NOW)
REQUEST: dict[str, Any] = {
    "ProcessingJobName": "Job",
    "RoleArn": "arn:aws:iam::000000000000:role/r",
    "AppSpecification": {"ImageUri": "x/sagemaker-scikit-learn:1", "ContainerEntrypoint": ["python3"]},
    "ProcessingInputs": [
        {
            "InputName": "any / name",
            "S3Input": {"S3Uri": "s3://b/in", "LocalPath": "/opt/ml/processing//in/", "S3DataType": "S3Prefix"},
        },
        {"InputName": "own", "AppManaged": True, "S3Input": {"S3Uri": "s3://b/own", "S3DataType": "S3Prefix"}},
    ],
    "ProcessingOutputConfig": {
        "Outputs": [
            {
                "OutputName": "out",
                "S3Output": {
                    "S3Uri": "s3://b/out",
                    "LocalPath": "/opt/ml/processing/out",
                    "S3UploadMode": "Continuous",
                },
            },
            {
                "OutputName": "group",
                "AppManaged": True,
                "S3Output": {"S3Uri": "s3://b/g", "LocalPath": "/opt/ml/processing/g", "S3UploadMode": "EndOfJob"},
                "FeatureStoreOutput": {"FeatureGroupName": "g"},
            },
        ]
    },
    "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}},
}


def job(status: str = "InProgress", **document: Any) -> Record:
    made = jobs.document(ROW, ROW.parse(REQUEST), REQUEST, [], "id", [], NOW - 10)
    arn = "arn:aws:sagemaker:r:000000000000:processing-job/job"
    running = {
        "phase": "training",
        "started": NOW - 9,
        "run_started": NOW - 8,
        "handles": {"algo-1": "1", "algo-2": "2"},
    }
    scope = Scope("000000000000", "r")
    return Record(ROW.name, scope, "Job", arn, status, NOW - 10, NOW - 10, {**made, **running, **document}, 1)


def over(exit_code: int, **more: Any) -> Observation:
    return Observation(RunState.EXITED, started_at=1.0, ended_at=2.0, exit_code=exit_code, **more)


def test_a_request_becomes_a_spec() -> None:
    spec = processing.parse(REQUEST)
    (given,) = spec.inputs
    assert (given.name, given.path, given.mode) == ("input-1", "/opt/ml/processing/in", "File")
    (stored,) = spec.syncs
    assert (stored.path, stored.restore, stored.running) == ("/opt/ml/processing/out", False, True)
    assert "/opt/ml/processing/g" in spec.folders
    assert [host.name for host in spec.hosts] == ["algo-1", "algo-2"]
    assert (spec.volume, spec.max_runtime) == (1 << 30, 86400)


def test_the_configuration_tells_what_is_absent_as_null() -> None:
    spec = processing.parse(REQUEST)
    files = {name: json.loads(text) for name, text in processing.contract_files(job(), spec, spec.hosts[1]).items()}
    assert files["resourceconfig.json"] == {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]}
    told = files["processingjobconfig.json"]
    assert told["ProcessingJobArn"].endswith(":processing-job/job")
    assert told["AppSpecification"]["ContainerArguments"] is None
    assert told["Environment"] is None
    assert told["ProcessingInputs"][0] == {
        "InputName": "any / name",
        "AppManaged": False,
        "S3Input": {
            "LocalPath": "/opt/ml/processing//in/",
            "S3Uri": "s3://b/in",
            "S3DataDistributionType": "FullyReplicated",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3CompressionType": "None",
            "S3DownloadMode": "StartOfJob",
        },
        "DatasetDefinition": None,
    }
    assert told["ProcessingOutputConfig"]["KmsKeyId"] is None
    assert told["ProcessingOutputConfig"]["Outputs"][1]["FeatureStoreOutput"] == {"FeatureGroupName": "g"}


@pytest.mark.parametrize(
    ("status", "runs", "messages", "outcome", "message"),
    [
        ("InProgress", (over(0), over(0)), ("a", "b"), "Completed", "ab"),
        (
            "InProgress",
            (over(0), over(0)),
            ("", None),
            "ClientError: The file /opt/ml/output/message is not UTF-8",
            None,
        ),
        ("InProgress", (over(1), over(0)), ("", "x" * 2000), "AlgorithmError: , exit code: 1", "x" * 1024),
        ("InProgress", (over(143, timed_out=True), over(0)), ("late", ""), "MaxRuntimeExceeded", "late"),
        ("Stopping", (over(143, stopped=True), over(143, stopped=True)), ("s", ""), "Stopped", "s"),
    ],
)
def test_what_the_containers_say_is_kept_in_every_ending(
    status: str,
    runs: tuple[Observation, Observation],
    messages: tuple[str, str | None],
    outcome: str,
    message: str | None,
) -> None:
    names = ("algo-1", "algo-2")
    seen = SeenJob(
        BOOK,
        runs=dict(zip(names, runs, strict=True)),
        failures={"algo-1": ("", ())},
        messages=dict(zip(names, messages, strict=True)),
    )
    decision = life.decide(job(status), seen, NOW)
    document = decision.record.document
    assert document["phase"] == "uploading"
    assert outcome in (document["outcome"].get("reason"), document["outcome"]["secondary"])
    assert document.get("message") == message
    assert [type(command) for command in decision.commands] == [Begin]


@pytest.mark.parametrize(
    ("message", "tail", "reason"),
    [
        ("", (), "AlgorithmError: , exit code: 1"),
        ("said", ("KeyError: 'a'",), "AlgorithmError: See job logs for more information"),
        (
            "",
            (
                "before",
                "Traceback (most recent call last):",
                '  File "x.py", line 1',
                "ValueError: no such column: age",
            ),
            "AlgorithmError: , exit code: 1: ValueError: no such column: age",
        ),
        (
            "",
            ("one", "bash: nosuch: command not found"),
            "AlgorithmError: , exit code: 1: bash: nosuch: command not found",
        ),
        ("ClientError: an input", (), "ClientError: an input, exit code: 1"),
    ],
)
def test_failure_reasons(message: str, tail: tuple[str, ...], reason: str) -> None:
    assert failures.processing_error(1, message, tail) == reason


def test_a_long_last_line_is_cut() -> None:
    assert len(failures.processing_error(1, "", [f"ValueError: {'x' * 5000}"])) == failures.LIMIT
