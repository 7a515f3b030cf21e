"""Statements, tables and states of queries (`domain/features/queries.py`)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.domain.features.test_life import group

from clary.domain.decisions import Decision
from clary.domain.errors import Invalid
from clary.domain.features import queries
from clary.domain.features.queries import Answered, Ask, CreateTable, DropTable, Forget, SourceTable
from clary.domain.resources import Record, Scope
from clary.domain.s3 import Location

# as SDK v2 writes it for the frame that a dataset begins with
CREATE = (
    "CREATE EXTERNAL TABLE dataframe_1 (Customer STRING, at DOUBLE, label INT) "
    "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde' "
    'WITH SERDEPROPERTIES ("separatorChar" = ",", "quoteChar" = "`", "escapeChar" = "\\\\") '
    "LOCATION 's3://b/joined/dataframe-1';"
)
TABLE = SourceTable(
    "db",
    "dataframe_1",
    "csv",
    Location("b", "joined/dataframe-1"),
    (("customer", "string"), ("at", "double"), ("label", "int")),
    {"separator": ",", "quote": "`", "escape": "\\"},
)


def query(status: str = "QUEUED", **document: Any) -> Record:
    told = {"request": {"QueryString": "select 1"}, **document}
    return Record(queries.QUERY, Scope("000000000000", "us-east-1"), "q", "arn:q", status, 1.0, 1.0, told)


def test_an_external_table_is_understood_and_kept_whole() -> None:
    assert queries.statement_of(CREATE, "db") == CreateTable(TABLE)
    kept = Record(
        "external-table", query().scope, "db.dataframe_1", "arn:t", "", 1.0, 1.0, queries.table_document(TABLE)
    )
    assert queries.table_of_record(kept) == TABLE


def test_a_table_is_dropped_by_name() -> None:
    assert queries.statement_of("drop table if exists `other`.T1 ;", "db") == DropTable("other", "t1", True)
    assert queries.statement_of("DROP TABLE t", "DB") == DropTable("db", "t", False)


@pytest.mark.parametrize("sql", ["select 1", "WITH a AS (SELECT 1) SELECT * FROM a", "created"])
def test_other_statements_are_left_to_the_engine(sql: str) -> None:
    assert queries.statement_of(sql, "db") is None


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t AS SELECT 1",
        "DROP DATABASE d",
        CREATE.replace("OpenCSVSerde", "JsonSerDe"),
        CREATE.replace("label INT", "label STRUCT<a:INT>"),
    ],
)
def test_what_is_not_supported_is_refused(sql: str) -> None:
    with pytest.raises(Invalid, match="NOT_SUPPORTED"):
        queries.statement_of(sql, "db")


def test_the_table_of_a_group_and_which_tables_a_query_names() -> None:
    catalog = {"Catalog": "AwsDataCatalog", "Database": "sagemaker_featurestore", "TableName": "people_1"}
    table = queries.table_of_group(group(offline={"data": "s3://b/data", "catalog": catalog}))
    assert table is not None
    assert (table.database, table.name, table.location) == ("sagemaker_featurestore", "people_1", Location("b", "data"))
    assert ("is_deleted", "boolean") in table.columns
    assert queries.table_of_group(group()) is None
    assert queries.named_in('select * from "sagemaker_featurestore"."PEOPLE_1"', [table, TABLE]) == [table]


def test_where_the_answer_goes() -> None:
    request = {"ResultConfiguration": {"OutputLocation": "s3://b/answers/"}}
    assert queries.output_of(request, "id") == Location("b", "answers/id.csv")
    with pytest.raises(Invalid, match="No output location"):
        queries.output_of({}, "id")


def test_a_query_runs_until_its_work_ends() -> None:
    begun = queries.decide(query(), None, 5.0)
    assert (begun.record.status, begun.record.document["began"], begun.commands) == ("RUNNING", 5.0, (Ask(),))
    again = queries.decide(begun.record, None, 9.0)
    assert (again.record.document["began"], again.commands) == (5.0, (Ask(),))
    assert queries.decide(begun.record, Answered(), 6.0) == Decision(begun.record)
    ended = queries.decide(begun.record, Answered((("n", "bigint"),), scanned=7), 8.0)
    assert (ended.record.status, ended.commands) == ("SUCCEEDED", (Forget(),))
    assert (ended.record.document["columns"], ended.record.document["scanned"]) == ([["n", "bigint"]], 7)
    failed = queries.decide(begun.record, Answered(failure="SYNTAX_ERROR: x"), 8.0).record
    assert (failed.status, failed.document["failure"]) == ("FAILED", "SYNTAX_ERROR: x")
