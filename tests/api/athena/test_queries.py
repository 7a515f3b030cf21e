"""Athena's operations over records (`api/athena/queries.py`)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.world import World

WHERE = {"OutputLocation": "s3://b/answers/"}
TOKEN = "0" * 32


@pytest.fixture
def world() -> World:
    return World({"b": {"answers/x.csv": b'"a","b"\n"1",\n"2","z"\n'}})


async def start(world: World, sql: str = "SELECT 1", **more: Any) -> str:
    answer = await world("athena", "StartQueryExecution", QueryString=sql, ResultConfiguration=WHERE, **more)
    return str(answer["QueryExecutionId"])


async def test_a_query_is_queued_and_told(world: World) -> None:
    name = await start(world, "SELECT ?, '?', ?", ExecutionParameters=["1", "'a'"])
    found = (await world("athena", "GetQueryExecution", QueryExecutionId=name))["QueryExecution"]
    assert found["Status"]["State"] == "QUEUED"
    assert found["ResultConfiguration"] == {"OutputLocation": f"s3://b/answers/{name}.csv"}
    assert found["QueryExecutionContext"] == {"Database": "sagemaker_featurestore", "Catalog": "awsdatacatalog"}
    (record,) = [each for each in world.store._records.values() if each.kind == "query-execution"]
    assert record.document["sql"] == "SELECT 1, '?', 'a'"


async def test_a_token_stands_for_one_query(world: World) -> None:
    first = await start(world, ClientRequestToken=TOKEN)
    assert await start(world, ClientRequestToken=TOKEN) == first
    code, words = await world.refused(
        "athena", "StartQueryExecution", QueryString="SELECT 2", ResultConfiguration=WHERE, ClientRequestToken=TOKEN
    )
    assert (code, "another query" in words) == ("InvalidRequestException", True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ResultConfiguration": {}}, "No output location"),
        ({"ResultConfiguration": {"OutputLocation": "s3://none/x"}}, "does not exist"),
        ({"QueryExecutionContext": {"Catalog": "other"}}, "there is AwsDataCatalog"),
        ({"QueryString": "SELECT ?, ?", "ExecutionParameters": ["1"]}, "more parameters than"),
        ({"QueryString": "SELECT ?", "ExecutionParameters": ["1", "2"]}, "has 1 parameters; 2"),
    ],
)
async def test_what_cannot_be_started_is_refused(world: World, change: dict[str, Any], words: str) -> None:
    given = {"QueryString": "SELECT 1", "ResultConfiguration": WHERE, **change}
    code, said = await world.refused("athena", "StartQueryExecution", **given)
    assert code == "InvalidRequestException"
    assert words in said


async def test_a_query_that_is_stopped_is_cancelled_and_has_no_results(world: World) -> None:
    name = await start(world)
    code, words = await world.refused("athena", "GetQueryResults", QueryExecutionId=name)
    assert (code, words) == ("InvalidRequestException", "Query has not yet finished. Current state: QUEUED")
    for _ in range(2):
        await world("athena", "StopQueryExecution", QueryExecutionId=name)
    found = (await world("athena", "GetQueryExecution", QueryExecutionId=name))["QueryExecution"]
    assert found["Status"]["State"] == "CANCELLED"
    assert (await world.refused("athena", "GetQueryExecution", QueryExecutionId="none"))[0] == "InvalidRequestException"
