"""The processing jobs of monitoring executions."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from tests.api.monitors import definition

from clary.domain.monitoring import definitions, record, requests
from clary.domain.monitoring.requests import ANALYSIS, MERGE, Baseline, Captured
from clary.domain.resources import Record, Scope

AT = datetime(2030, 1, 2, 3, tzinfo=UTC).timestamp()
SCOPE = Scope("000000000000", "eu-west-1")


def execution(monitor: definitions.Monitor) -> Record:
    document = {"by": "me", "definition": "d", "id": "0123456789abcdef"}
    schedule = Record(
        "monitoring-schedule",
        SCOPE,
        "watch",
        "arn:aws:sagemaker:r:a:monitoring-schedule/watch",
        "Scheduled",
        0,
        0,
        document,
    )
    return record.new_execution(schedule, monitor, AT, (AT - 3600, AT), AT)


def test_hours_and_fewer_folders() -> None:
    found = requests.hours(AT - 5400, AT)
    assert found == ["2030/01/02/01", "2030/01/02/02"]
    assert requests.coarse(found, 2) == found
    assert requests.coarse(found, 1) == ["2030/01/02"]
    assert requests.coarse(["2030/01/31", "2030/02/01"], 1) == ["2030"]
    assert requests.coarse(["2030/01/31", "2031/02/01"], 1) == [""]


def test_a_data_quality_job_is_as_aws_makes_it() -> None:
    monitor = definitions.of_definition("DataQuality", definition("DataQuality"))
    made = requests.request(
        execution(monitor),
        monitor,
        ANALYSIS,
        [Captured("s3://b/cap/e/v/2030/01/02/02/", "e/v/2030/01/02/02")],
        Baseline("s3://b/base/constraints.json", "s3://b/base/statistics.json"),
    )
    assert made["ProcessingJobName"].startswith("model-monitoring-203001020300-")
    first = made["ProcessingInputs"][0]
    assert first["InputName"] == "endpoint_input_1"
    assert first["S3Input"]["LocalPath"] == "/opt/ml/processing/input/endpoint/e/v/2030/01/02/02"
    assert made["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] == "s3://b/reports/e/watch/2030/01/02/03"
    environment = made["Environment"]
    assert environment["A"] == "b"
    assert environment["baseline_constraints"] == "/opt/ml/processing/baseline/constraints/constraints.json"
    assert environment["baseline_statistics"] == "/opt/ml/processing/baseline/stats/statistics.json"
    assert environment["record_preprocessor_script"] == "/opt/ml/processing/code/preprocessing/pre.py"
    assert environment["start_time"] == "2030-01-02T02:00:00Z"
    assert environment["end_time"] == "2030-01-02T03:00:00Z"
    assert json.loads(environment["dataset_format"]) == {
        "sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}
    }
    assert len(made["ProcessingInputs"]) <= 10


def test_model_quality_merges_labels_first() -> None:
    monitor = definitions.of_definition("ModelQuality", definition("ModelQuality"))
    run = execution(monitor)
    assert requests.steps(monitor) == (MERGE, ANALYSIS)
    merge = requests.request(run, monitor, MERGE, [Captured("s3://b/c/", "e")], Baseline())
    analysis = requests.request(run, monitor, ANALYSIS, [], Baseline("s3://b/constraints.json"))
    assert merge["AppSpecification"]["ImageUri"].endswith("sagemaker-model-monitor-groundtruth-merger")
    assert merge["Environment"]["analysis_type"] == "MERGE"
    stored = merge["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert analysis["ProcessingInputs"][0]["S3Input"]["S3Uri"] == stored
    assert analysis["Environment"]["dataset_source"] == analysis["ProcessingInputs"][0]["S3Input"]["LocalPath"]
    assert analysis["Environment"]["problem_type"] == "Regression"
    given = replace(monitor, input={**monitor.input, "InferenceAttribute": "None"})  # as SDK v2 writes it
    assert "inference_attribute" not in requests.request(run, given, ANALYSIS, [], Baseline())["Environment"]
    assert merge["ProcessingJobName"] != analysis["ProcessingJobName"]


def test_batch_inputs_are_manifests_with_their_own_format() -> None:
    given = definition("DataQuality")
    source = given["DataQualityJobInput"].pop("EndpointInput")
    del source["EndpointName"]
    given["DataQualityJobInput"]["BatchTransformInput"] = {
        **source,
        "DataCapturedDestinationS3Uri": "s3://b/batch",
        "DatasetFormat": {"Csv": {"Header": True}},
    }
    monitor = definitions.of_definition("DataQuality", given)
    made = requests.request(
        execution(monitor), monitor, ANALYSIS, [Captured("s3://b/batch/input/x.json", "0", True)], Baseline()
    )
    assert made["ProcessingInputs"][0]["InputName"] == "batch_transform_input_1"
    assert made["ProcessingInputs"][0]["S3Input"]["S3DataType"] == "ManifestFile"
    assert made["Environment"]["dataset_format"] == '{"csv": {"header": true}}'
    assert "sagemaker_endpoint_name" not in made["Environment"]
    assert "/watch/" in made["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]


def test_a_stored_monitor_is_read_again() -> None:
    monitor = definitions.of_definition("ModelBias", definition("ModelBias"))
    assert definitions.loaded(monitor.stored()) == monitor
    assert replace(monitor, image="x") != monitor
