"""Rows of a database as the input of a processing job, through unmodified boto3."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User, unique, until
from tests.sdk.conftest import ROLE, Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

ENDED = ("Completed", "Failed", "Stopped")
COUNT = """
import csv, gzip, json, os, pathlib
files = sorted(pathlib.Path("/opt/ml/processing/rows").rglob("*"))
rows = [row for path in files for row in csv.DictReader(gzip.open(path, "rt"))]
seen = {name: value for name, value in os.environ.items() if "archive.db" in value}
told = {"files": [path.name for path in files], "rows": len(rows), "sum": sum(int(row["n"]) for row in rows), "seen": seen}
open("/opt/ml/processing/out/told.json", "w").write(json.dumps(told))
"""
COUNT_JSON = """
import gzip, json, pathlib
files = sorted(path for path in pathlib.Path("/opt/ml/processing/rows").rglob("*") if path.is_file())
rows = [json.loads(line) for path in files for line in gzip.open(path, "rt")]
told = {"files": [path.name for path in files], "rows": len(rows), "sum": sum(row["n"] for row in rows)}
open("/opt/ml/processing/out/told.json", "w").write(json.dumps(told))
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "archive.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE numbers (n INTEGER, name TEXT)")
        connection.executemany("INSERT INTO numbers VALUES (?, ?)", ((n, f"number {n}") for n in range(50_000)))
    connection.close()
    path.parent.chmod(0o755)
    path.chmod(0o644)
    return path


@pytest.fixture(scope="module")
def server(start: Callable[..., Server], database: Path) -> Server:
    return start(sources={"archive": {"url": f"sqlite://{database}"}})


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def asked(user: User, sql: str, source: str = "archive") -> dict[str, Any]:
    name = unique("asks")
    definition = {
        "ClusterId": source,
        "Database": "main",
        "DbUser": "reader",
        "QueryString": sql,
        "ClusterRoleArn": ROLE,
        "OutputS3Uri": f"s3://{user.bucket}/queries",
        "OutputFormat": "CSV",
        "OutputCompression": "GZIP",
    }
    user.put(f"{name}/code/count.py", COUNT)
    code = {"S3Uri": f"s3://{user.bucket}/{name}/code", "LocalPath": "/opt/ml/processing/code"}
    user.sm.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": PYTHON, "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/count.py"]},
        ProcessingInputs=[
            {"InputName": "code", "S3Input": {**code, "S3DataType": "S3Prefix", "S3InputMode": "File"}},
            {
                "InputName": "rows",
                "DatasetDefinition": {"LocalPath": "/opt/ml/processing/rows", "RedshiftDatasetDefinition": definition},
            },
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": f"s3://{user.bucket}/{name}",
                        "LocalPath": "/opt/ml/processing/out",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        ProcessingResources={
            "ClusterConfig": {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
    )
    done: dict[str, Any] = until(
        lambda: user.sm.describe_processing_job(ProcessingJobName=name),
        lambda d: d["ProcessingJobStatus"] in ENDED,
        240,
    )
    return done


def test_rows_of_a_query_are_an_input(user: User, database: Path) -> None:
    done = asked(user, "SELECT n, name FROM numbers WHERE n >= 10")
    assert done["ProcessingJobStatus"] == "Completed", done.get("FailureReason")
    name = done["ProcessingJobName"]
    told = json.loads(user.get(f"s3://{user.bucket}/{name}/told.json"))
    assert told == {"files": ["0000_part_00.csv.gz"], "rows": 49_990, "sum": sum(range(10, 50_000)), "seen": {}}
    assert user.keys(f"queries/{name}/rows/") == [f"queries/{name}/rows/0000_part_00.csv.gz"]
    assert done["ProcessingInputs"][1]["DatasetDefinition"]["RedshiftDatasetDefinition"]["ClusterId"] == "archive"
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (50_000,)


def test_what_the_database_says_is_the_reason(user: User) -> None:
    done = asked(user, "SELECT * FROM letters")
    assert done["ProcessingJobStatus"] == "Failed"
    assert "no such table: letters" in done["FailureReason"]
    assert user.keys(f"queries/{done['ProcessingJobName']}/") == []


def test_a_source_that_nobody_named_is_not_found(user: User) -> None:
    with pytest.raises(ClientError, match=r"Cluster 'shop' not found.*there are: archive"):
        asked(user, "SELECT 1", "shop")


def test_the_configuration_shows_no_secret(server: Server) -> None:
    done = server.run([sys.executable, "-m", "clary.app.cli", "config", "--json", "--dir", server.settings.dir])
    assert done.returncode == 0, done.stderr
    [row] = [each for each in json.loads(done.stdout) if each["name"] == "sources"]
    assert row["value"]["archive"]["url"].startswith("sqlite:///")


def test_the_history_of_a_feature_group_is_an_input(user: User) -> None:
    group, records = unique("people"), user.server.client("sagemaker-featurestore-runtime")
    user.sm.create_feature_group(
        FeatureGroupName=group,
        RecordIdentifierFeatureName="name",
        EventTimeFeatureName="at",
        FeatureDefinitions=[
            {"FeatureName": name, "FeatureType": kind}
            for name, kind in (("name", "String"), ("at", "Fractional"), ("n", "Integral"))
        ],
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": f"s3://{user.bucket}/store"}},
        RoleArn=ROLE,
    )
    described: dict[str, Any] = until(
        lambda: user.sm.describe_feature_group(FeatureGroupName=group),
        lambda d: d["FeatureGroupStatus"] == "Created",
        180,
    )
    for n in range(3):
        row = {"name": f"number {n}", "at": str(time.time()), "n": str(n)}
        entries = [{"FeatureName": key, "ValueAsString": value} for key, value in row.items()]
        records.put_record(FeatureGroupName=group, Record=entries)
    until(lambda: [key for key in user.keys("store/") if key.endswith(".parquet")], seconds=60)
    table = described["OfflineStoreConfig"]["DataCatalogConfig"]
    done = athena(user, table["Database"], f'SELECT n, name FROM "{table["TableName"]}" WHERE n > 0')
    assert done["ProcessingJobStatus"] == "Completed", done.get("FailureReason")
    told = json.loads(user.get(f"s3://{user.bucket}/{done['ProcessingJobName']}/told.json"))
    assert told == {"files": ["0000_part_00.json.gz"], "rows": 2, "sum": 3}
    failed = athena(user, table["Database"], "SELECT n FROM nothing")
    assert failed["ProcessingJobStatus"] == "Failed"
    assert "TABLE_NOT_FOUND" in failed["FailureReason"]
    assert failed["FailureReason"].startswith("ClientError")


def athena(user: User, database: str, sql: str) -> dict[str, Any]:
    name = unique("asks")
    code = user.put(f"{name}/code/count.py", COUNT_JSON).rpartition("/")[0]
    definition = {
        "Catalog": "AwsDataCatalog",
        "Database": database,
        "QueryString": sql,
        "OutputS3Uri": f"s3://{user.bucket}/queries",
        "OutputFormat": "JSON",
    }
    given = {"S3Uri": code, "LocalPath": "/opt/ml/processing/code", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    output = {"S3Uri": f"s3://{user.bucket}/{name}", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    user.sm.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": PYTHON, "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/count.py"]},
        ProcessingInputs=[
            {"InputName": "code", "S3Input": given},
            {
                "InputName": "rows",
                "DatasetDefinition": {"LocalPath": "/opt/ml/processing/rows", "AthenaDatasetDefinition": definition},
            },
        ],
        ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": output}]},
        ProcessingResources={
            "ClusterConfig": {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
    )
    done: dict[str, Any] = until(
        lambda: user.sm.describe_processing_job(ProcessingJobName=name),
        lambda d: d["ProcessingJobStatus"] in ENDED,
        240,
    )
    return done
