"""Inputs that are asked of a database: what may be asked, where the rows go, and which sources there may be."""

from __future__ import annotations

from typing import Any

import pytest
from tests.domain.jobs.test_life import BOOK, NOW, SEEN

from clary.domain.errors import Invalid
from clary.domain.jobs import datasets, processing
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.jobs.life import decide
from clary.domain.jobs.processing import KIND
from clary.domain.jobs.record import Begin, SeenJob, Work, document
from clary.domain.jobs.spec import JobSpec
from clary.domain.resources import Record, Scope
from clary.domain.s3 import Location
from clary.domain.stored import dumped, loaded


def request(**changes: Any) -> dict[str, Any]:
    asked = {
        "ClusterId": "shop",
        "Database": "d",
        "DbUser": "u",
        "QueryString": "SELECT 1",
        "ClusterRoleArn": "arn:aws:iam::000000000000:role/r",
        "OutputS3Uri": "s3://b/queries/",
        "OutputFormat": "PARQUET",
        **changes,
    }
    definition = {"LocalPath": "/opt/ml/processing/rows", "RedshiftDatasetDefinition": asked}
    return {
        "ProcessingJobName": "Job",
        "RoleArn": "arn:aws:iam::000000000000:role/r",
        "AppSpecification": {"ImageUri": "x/sagemaker-scikit-learn:1", "ContainerEntrypoint": ["true"]},
        "ProcessingInputs": [{"InputName": "rows", "DatasetDefinition": definition}],
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
    }


def test_the_rows_are_an_input_in_a_folder_of_the_jobs_own() -> None:
    spec = processing.parse(request())
    [query] = spec.queries
    assert query == datasets.SourceQuery(
        "input-1", "shop", "SELECT 1", "PARQUET", "NONE", Location("b", "queries/Job/rows/")
    )
    [channel] = spec.inputs
    assert (channel.location, channel.path, channel.mode) == (query.location, "/opt/ml/processing/rows", "File")
    assert loaded(JobSpec, dumped(spec)) == spec


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"QueryString": "DROP TABLE t"}, "must be one SELECT"),
        ({"QueryString": "COPY (SELECT 1) TO PROGRAM 'sh'"}, "must be one SELECT"),
        ({"QueryString": "-- SELECT\nCOMMIT"}, "must be one SELECT"),
        ({"OutputCompression": "BZIP2"}, "PARQUET does not go with OutputCompression BZIP2"),
        ({"KmsKeyId": "k"}, "KmsKeyId is not supported"),
    ],
)
def test_what_cannot_be_asked_is_told(changes: dict[str, str], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        processing.parse(request(**changes))


@pytest.mark.parametrize(
    "sql", [" select 1", "WITH x AS (SELECT 1) SELECT * FROM x", "-- a\n/* b */ Values (1)", "TABLE t"]
)
def test_every_form_of_reading_may_be_asked(sql: str) -> None:
    assert processing.parse(request(QueryString=sql)).queries[0].sql == sql


def athena(**changes: str) -> dict[str, Any]:
    asked = request()
    definition = {
        "Catalog": "AwsDataCatalog",
        "Database": "sagemaker_featurestore",
        "QueryString": "SELECT 1",
        "OutputS3Uri": "s3://b/q",
        "OutputFormat": "PARQUET",
        **changes,
    }
    asked["ProcessingInputs"][0]["DatasetDefinition"] = {
        "LocalPath": "/opt/ml/processing/x",
        "AthenaDatasetDefinition": definition,
    }
    return asked


def test_athenas_shape_names_a_database_and_no_source() -> None:
    [query] = processing.parse(athena()).queries
    assert (query.source, query.database, query.form, query.compression) == (
        "",
        "sagemaker_featurestore",
        "PARQUET",
        "GZIP",
    )
    assert processing.parse(athena(OutputFormat="JSON", OutputCompression="GZIP")).queries[0].form == "JSON"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Catalog": "other"}, "Catalog other does not exist"),
        ({"OutputFormat": "ORC"}, "ORC is not supported; PARQUET, JSON, TEXTFILE are"),
        ({"OutputFormat": "JSON", "OutputCompression": "SNAPPY"}, "does not go with"),
        ({"QueryString": "DROP TABLE t"}, "must be one SELECT"),
        ({"KmsKeyId": "k"}, "does not encrypt"),
    ],
)
def test_what_athena_cannot_be_asked_is_told(changes: dict[str, str], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        processing.parse(athena(**changes))


def test_two_shapes_and_two_sources_are_refused() -> None:
    asked = athena()
    both = {
        **asked["ProcessingInputs"][0]["DatasetDefinition"],
        **request()["ProcessingInputs"][0]["DatasetDefinition"],
    }
    asked["ProcessingInputs"][0]["DatasetDefinition"] = both
    with pytest.raises(Invalid, match="one of them"):
        processing.parse(asked)
    asked = request()
    asked["ProcessingInputs"][0]["S3Input"] = {"S3Uri": "s3://b/x", "S3DataType": "S3Prefix"}
    with pytest.raises(Invalid, match="either S3Input or DatasetDefinition"):
        processing.parse(asked)


def test_the_database_is_asked_before_inputs_are_placed() -> None:
    asked = request()
    row = JOB_KINDS[KIND]
    made = document(row, row.parse(asked), asked, [], "id", [], NOW)
    scope, arn = Scope("000000000000", "us-east-1"), "arn:aws:sagemaker:us-east-1:000000000000:processing-job/job"
    record = Record(KIND, scope, "Job", arn, "InProgress", NOW, NOW, {**made, "phase": "downloading", "fits": {}}, 1)
    begun = [command.name for command in decide(record, SEEN, NOW).commands if isinstance(command, Begin)]
    assert begun == ["datasets", "environment"]
    done = SeenJob(BOOK, work={"datasets": Work("done", {"rows": {"input-1": 7}}), "environment": Work("running")})
    then = decide(record, done, NOW)
    assert [command.name for command in then.commands if isinstance(command, Begin)] == ["channels"]
    failed = SeenJob(BOOK, work={"datasets": Work("failed", message="no such table: t")})
    assert "no such table: t" in decide(record, failed, NOW).record.document["outcome"]["reason"]


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({"Shop": {"url": "sqlite:///a"}}, "is no name"),
        ({"shop": {"uri": "sqlite:///a"}}, "has a url, and nothing else"),
        ({"shop": {"url": "mysql://me:secret@h/d"}}, "postgresql://... or sqlite"),
        ({"shop": {"url": "postgresql://me:secret@localhost/d"}}, "loopback"),
        ({"shop": {"url": "postgresql:///d"}}, "loopback"),
        ({"shop": {"url": "sqlite://relative.db"}}, "sqlite"),
    ],
)
def test_a_source_that_cannot_be_one_is_told_without_its_secrets(
    sources: dict[str, dict[str, str]], words: str
) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        datasets.check_sources(sources)
    assert "secret" not in caught.value.message


def test_sources_by_host_socket_and_path() -> None:
    socket = "postgresql://me@/d?host=/run/pg"
    datasets.check_sources(
        {"a": {"url": "postgresql://me:x@db.example.org/d"}, "b": {"url": socket}, "c": {"url": "sqlite:////a.db"}}
    )
    assert datasets.socket_folder(socket) == "/run/pg"
    assert (
        datasets.shown("postgresql://me:x@db.example.org:5/d?password=y") == "postgresql://***@db.example.org:5/d?***"
    )
