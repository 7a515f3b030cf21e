"""Feature groups and their records as boto3 and the SDKs see them, on a live server."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.live import ROLE, Server

pytestmark = [pytest.mark.live]

BUCKET = "features-history"
DEFINITIONS = [
    {"FeatureName": "id", "FeatureType": "String"},
    {"FeatureName": "at", "FeatureType": "Fractional"},
    {"FeatureName": "count", "FeatureType": "Integral"},
    {"FeatureName": "name", "FeatureType": "String"},
]


def record(identifier: str, at: float, **values: str) -> list[dict[str, str]]:
    given = {"id": identifier, "at": str(at), **values}
    return [{"FeatureName": name, "ValueAsString": value} for name, value in given.items()]


def plain(answer: dict[str, Any]) -> dict[str, str]:
    return {each["FeatureName"]: each["ValueAsString"] for each in answer.get("Record", [])}


def until(server: Server, name: str, status: str) -> dict[str, Any]:
    sagemaker = server.client("sagemaker")
    deadline = time.monotonic() + 120
    while True:
        found: dict[str, Any] = sagemaker.describe_feature_group(FeatureGroupName=name)
        if found["FeatureGroupStatus"] == status:
            return found
        assert found["FeatureGroupStatus"] == "Creating", found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def group(server: Server) -> str:
    server.client("s3").create_bucket(Bucket=BUCKET)
    server.client("sagemaker").create_feature_group(
        FeatureGroupName="people",
        RecordIdentifierFeatureName="id",
        EventTimeFeatureName="at",
        FeatureDefinitions=DEFINITIONS,
        OnlineStoreConfig={"EnableOnlineStore": True},
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": f"s3://{BUCKET}/store"}},
        RoleArn=ROLE,
        Tags=[{"Key": "team", "Value": "a"}],
    )
    until(server, "people", "Created")
    return "people"


def test_a_record_is_put_read_replaced_and_deleted(server: Server, group: str) -> None:
    runtime = server.client("sagemaker-featurestore-runtime")
    runtime.put_record(FeatureGroupName=group, Record=record("a", 100.5, count="7", name="Zoë"))
    assert plain(runtime.get_record(FeatureGroupName=group, RecordIdentifierValueAsString="a")) == {
        "id": "a", "at": "100.5", "count": "7", "name": "Zoë",
    }  # fmt: skip
    runtime.put_record(FeatureGroupName=group, Record=record("a", 99, count="6"))
    some = runtime.get_record(FeatureGroupName=group, RecordIdentifierValueAsString="a", FeatureNames=["count", "id"])
    assert plain(some) == {"id": "a", "count": "7"}
    runtime.put_record(FeatureGroupName=group, Record=record("a", 101, count="8"))
    assert plain(runtime.get_record(FeatureGroupName=group, RecordIdentifierValueAsString="a")) == {
        "id": "a", "at": "101", "count": "8",
    }  # fmt: skip
    runtime.delete_record(FeatureGroupName=group, RecordIdentifierValueAsString="a", EventTime="102")
    assert "Record" not in runtime.get_record(FeatureGroupName=group, RecordIdentifierValueAsString="a")
    assert "Record" not in runtime.get_record(FeatureGroupName=group, RecordIdentifierValueAsString="never")


def test_batches(server: Server, group: str) -> None:
    runtime = server.client("sagemaker-featurestore-runtime")
    entries = [
        {"FeatureGroupName": group, "Record": record("b1", 5, count="1")},
        {"FeatureGroupName": group, "Record": record("b2", 5, count="one")},
        {"FeatureGroupName": "none", "Record": record("b3", 5)},
        {"FeatureGroupName": group, "Record": record("b4", 6, count="4")},
    ]
    written = runtime.batch_write_record(Entries=entries)
    assert written["UnprocessedEntries"] == []
    assert [each["ErrorCode"] for each in written["Errors"]] == ["ValidationError", "ResourceNotFound"]
    wanted = [{"FeatureGroupName": group, "RecordIdentifiersValueAsString": ["b1", "b2", "b4"]}]
    found = runtime.batch_get_record(Identifiers=wanted)
    assert {each["RecordIdentifierValueAsString"] for each in found["Records"]} == {"b1", "b4"}
    assert (found["Errors"], found["UnprocessedIdentifiers"]) == ([], [])
    pages = runtime.list_records(FeatureGroupName=group, MaxResults=1)
    assert len(pages["RecordIdentifiers"]) == 1
    rest = runtime.list_records(FeatureGroupName=group, MaxResults=1, NextToken=pages["NextToken"])
    assert rest["RecordIdentifiers"] > pages["RecordIdentifiers"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (record("c", 1, more="1"), "FeatureName [more] is not defined"),
        (record("c", 1, count="1.5"), "[1.5] is no Integral value"),
        (record("", 1), "no value for its record identifier"),
        (record("c", -1), "is no event time"),
    ],
)
def test_bad_records_are_refused(server: Server, group: str, given: list[dict[str, str]], words: str) -> None:
    runtime = server.client("sagemaker-featurestore-runtime")
    with pytest.raises(ClientError) as caught:
        runtime.put_record(FeatureGroupName=group, Record=given)
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert words in caught.value.response["Error"]["Message"]
    with pytest.raises(ClientError) as caught:
        runtime.put_record(FeatureGroupName="nobody", Record=given)
    assert caught.value.response["Error"]["Message"].startswith("Resource Not Found:")


def test_history_is_parquet_by_the_hour_of_the_event(server: Server, group: str) -> None:
    runtime, s3 = server.client("sagemaker-featurestore-runtime"), server.client("s3")
    described = server.client("sagemaker").describe_feature_group(FeatureGroupName=group)
    offline = described["OfflineStoreConfig"]
    assert offline["DataCatalogConfig"]["Database"] == "sagemaker_featurestore"
    prefix = offline["S3StorageConfig"]["ResolvedOutputS3Uri"].removeprefix(f"s3://{BUCKET}/")
    runtime.put_record(
        FeatureGroupName=group, Record=record("h", 1714567890.25, count="3"), TargetStores=["OfflineStore"]
    )
    assert "Record" not in runtime.get_record(FeatureGroupName=group, RecordIdentifierValueAsString="h")
    deadline = time.monotonic() + 60
    while True:
        keys = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]
        found = [key for key in keys if "/year=2024/month=05/day=01/hour=12/20240501T125130Z_" in key]
        if found:
            break
        assert time.monotonic() < deadline, keys
        time.sleep(0.1)
    body = s3.get_object(Bucket=BUCKET, Key=found[0])["Body"].read()
    assert (body[:4], body[-4:]) == (b"PAR1", b"PAR1")


def asked(server: Server, sql: str, **more: Any) -> dict[str, Any]:
    """The query, once it has ended."""
    athena = server.client("athena")
    where = {"OutputLocation": f"s3://{BUCKET}/answers"}
    name = athena.start_query_execution(QueryString=sql, ResultConfiguration=where, **more)["QueryExecutionId"]
    deadline = time.monotonic() + 120
    while True:
        found: dict[str, Any] = athena.get_query_execution(QueryExecutionId=name)["QueryExecution"]
        if found["Status"]["State"] not in ("QUEUED", "RUNNING"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_history_is_asked_in_sql(server: Server, group: str) -> None:
    catalog = server.client("sagemaker").describe_feature_group(FeatureGroupName=group)["OfflineStoreConfig"]
    table = catalog["DataCatalogConfig"]["TableName"]
    found = asked(
        server,
        f"SELECT id, day FROM {table} WHERE id = ? UNION SELECT 'last', '0' ORDER BY day",
        QueryExecutionContext={"Database": "sagemaker_featurestore"},
        ExecutionParameters=["'h'"],
    )
    assert found["Status"]["State"] == "SUCCEEDED", found
    athena, rows = server.client("athena"), list[list[str]]()
    for page in athena.get_paginator("get_query_results").paginate(
        QueryExecutionId=found["QueryExecutionId"], PaginationConfig={"PageSize": 2}
    ):
        rows += [[each["VarCharValue"] for each in row["Data"]] for row in page["ResultSet"]["Rows"]]
    assert rows == [["id", "day"], ["last", "0"], ["h", "01"]]
    body = server.client("s3").get_object(Bucket=BUCKET, Key=f"answers/{found['QueryExecutionId']}.csv")["Body"].read()
    assert body == b'"id","day"\n"last","0"\n"h","01"\n'
    told = server.client("glue").get_table(DatabaseName="sagemaker_featurestore", Name=table)["Table"]
    assert told["StorageDescriptor"]["Location"] == catalog["S3StorageConfig"]["ResolvedOutputS3Uri"]
    assert {"Name": "count", "Type": "bigint"} in told["StorageDescriptor"]["Columns"]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM nowhere", "TABLE_NOT_FOUND"),
        ("DELETE FROM people", "NOT_SUPPORTED"),
        ("SELECT * FROM read_text('/etc/passwd')", "name a table"),
        ("SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')", "name a table"),
        ("DROP TABLE nowhere", "TABLE_NOT_FOUND"),
    ],
)
def test_a_query_that_fails_says_why(server: Server, group: str, sql: str, words: str) -> None:
    found = asked(server, sql)
    assert found["Status"]["State"] == "FAILED"
    assert words in found["Status"]["StateChangeReason"]


def test_a_file_that_is_half_written_is_named_and_the_rest_is_read_without_it(server: Server, group: str) -> None:
    """What another program left below the store's folder: Clary's own files are there whole or not at all."""
    described = server.client("sagemaker").describe_feature_group(FeatureGroupName=group)["OfflineStoreConfig"]
    table, s3 = described["DataCatalogConfig"]["TableName"], server.client("s3")
    where = described["S3StorageConfig"]["ResolvedOutputS3Uri"]
    key = f"{where.removeprefix(f's3://{BUCKET}/')}/year=2024/month=05/day=01/hour=13/half.parquet"
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"PAR1 and no end")
    found = asked(server, f"SELECT count(*) FROM {table}")["Status"]
    assert (found["State"], "HIVE_BAD_DATA" in found["StateChangeReason"]) == ("FAILED", True), found
    assert f"s3://{BUCKET}/{key}" in found["StateChangeReason"]
    s3.delete_object(Bucket=BUCKET, Key=key)
    assert asked(server, f"SELECT count(*) FROM {table}")["Status"]["State"] == "SUCCEEDED"


def test_a_query_that_is_stopped_ends(server: Server, group: str) -> None:
    athena = server.client("athena")
    where = {"OutputLocation": f"s3://{BUCKET}/answers"}
    sql = "SELECT count(*) FROM unnest(sequence(1, 100000)) a, unnest(sequence(1, 100000)) b, unnest(sequence(1, 100000)) c"
    name = athena.start_query_execution(QueryString=sql, ResultConfiguration=where)["QueryExecutionId"]
    athena.stop_query_execution(QueryExecutionId=name)
    assert athena.get_query_execution(QueryExecutionId=name)["QueryExecution"]["Status"]["State"] == "CANCELLED"
    with pytest.raises(ClientError, match="Final query state: CANCELLED"):
        athena.get_query_results(QueryExecutionId=name)


def test_groups_are_found_by_what_they_hold(server: Server, group: str) -> None:
    names = [
        {"Name": "FeatureDefinitions.FeatureName", "Operator": "Contains", "Value": "coun"},
        {"Name": "Tags.team", "Operator": "Equals", "Value": "a"},
    ]
    found = server.client("sagemaker").search(Resource="FeatureGroup", SearchExpression={"Filters": names})["Results"]
    assert [each["FeatureGroup"]["FeatureGroupName"] for each in found] == [group]
    assert found[0]["FeatureGroup"]["Tags"] == [{"Key": "team", "Value": "a"}]
