"""Queries over the offline stores: start, look at, stop, read. Handlers record the query; the query loop runs it. Source: Athena's API
reference."""

from __future__ import annotations

import csv
import io
import re
import uuid
from dataclasses import replace
from typing import Any

from clary.api import paging, records
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.domain.features import groups, queries
from clary.domain.resources import Record
from clary.domain.s3 import parse_uri

_ENGINE = {"SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": "Athena engine version 3"}
_LARGEST = 64 << 20  # bytes of an answer that is read through GetQueryResults
_PAGE = 1000


@operation("athena", "StartQueryExecution")
async def start_query_execution(call: Call, params: Params) -> Params:
    """Record the query as QUEUED; once for a ClientRequestToken, which every SDK of AWS's sends."""
    token = params.get("ClientRequestToken")
    place = uuid.uuid5(uuid.NAMESPACE_URL, f"{call.scope.account} {call.scope.region} {token}") if token else None
    name = str(place) if place else call.new_id()
    location = queries.output_of(params, name)
    if not await call.ports.artifacts.of(call.scope.account).exists(location.bucket):
        raise Invalid(f'The bucket "{location.bucket}" of OutputLocation does not exist.')
    if queries.catalog_of(params).lower() != groups.CATALOG.lower():
        raise Invalid(f"Catalog {queries.catalog_of(params)} does not exist; there is {groups.CATALOG}.")
    request = {**params, "ResultConfiguration": {**params["ResultConfiguration"], "OutputLocation": str(location)}}
    sql = _with_parameters(params["QueryString"], params.get("ExecutionParameters") or [])
    document = {"request": request, "sql": sql, "by": call.principal}
    record = records.new(call, queries.QUERY, name, document, queries.QUEUED)
    try:
        return {"QueryExecutionId": (await records.add(call, record)).name}
    except AlreadyExists:
        found = await _find(call, name)
        if found.document["request"] != request:
            raise Invalid(
                "Idempotent parameters do not match: the ClientRequestToken was used for another query."
            ) from None
        return {"QueryExecutionId": found.name}


def _with_parameters(sql: str, values: list[str]) -> str:
    """The query with a value, as SQL writes it, in the place of each question mark outside of quotes."""
    if not values:
        return sql
    left = list(values)

    def fill(found: re.Match[str]) -> str:
        if found[0] != "?":
            return found[0]
        if not left:
            raise Invalid(f"The query has more parameters than the {len(values)} ExecutionParameters.")
        return left.pop(0)

    filled = re.sub(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\?""", fill, sql)
    if left:
        raise Invalid(
            f"The query has {len(values) - len(left)} parameters; {len(values)} ExecutionParameters were given."
        )
    return filled


async def _find(call: Call, name: str) -> Record:
    try:
        return await records.find(call, queries.QUERY, name)
    except NotFound:
        raise Invalid(f"QueryExecution {name} was not found") from None


@operation("athena", "GetQueryExecution")
async def get_query_execution(call: Call, params: Params) -> Params:
    record = await _find(call, params["QueryExecutionId"])
    request, document = record.document["request"], record.document
    status: Params = {"State": record.status, "SubmissionDateTime": record.created}
    if "ended" in document:
        status["CompletionDateTime"] = document["ended"]
    if document.get("failure"):
        status["StateChangeReason"] = document["failure"]
        status["AthenaError"] = {
            "ErrorCategory": 2,
            "ErrorType": 1,
            "Retryable": False,
            "ErrorMessage": document["failure"],
        }
    began, ended = document.get("began", record.created), document.get("ended", call.now)
    answer: Params = {
        "QueryExecutionId": record.name,
        "Query": request["QueryString"],
        "StatementType": "DDL" if document.get("ddl") else "DML",
        "ResultConfiguration": request["ResultConfiguration"],
        "QueryExecutionContext": {
            "Database": queries.database_of(request),
            "Catalog": queries.catalog_of(request).lower(),
        },
        "Status": status,
        "Statistics": {
            "EngineExecutionTimeInMillis": int(1000 * (ended - began)),
            "TotalExecutionTimeInMillis": int(1000 * (ended - record.created)),
            "QueryQueueTimeInMillis": int(1000 * (began - record.created)),
            "DataScannedInBytes": document.get("scanned", 0),
        },
        "WorkGroup": request.get("WorkGroup", "primary"),
        "EngineVersion": _ENGINE,
    }
    for member in ("ExecutionParameters", "ResultReuseConfiguration"):
        if request.get(member):
            answer[member] = request[member]
    return {"QueryExecution": answer}


@operation("athena", "StopQueryExecution")
async def stop_query_execution(call: Call, params: Params) -> Params:
    """Without effect on one that has ended."""

    def change(old: Record) -> Record:
        if old.status not in queries.ACTIVE:
            return old
        return replace(old, status=queries.CANCELLED, modified=call.now, document={**old.document, "ended": call.now})

    await records.amend(call, lambda: _find(call, params["QueryExecutionId"]), change)
    return {}


@operation("athena", "GetQueryResults")
async def get_query_results(call: Call, params: Params) -> Params:
    """Rows as text, the first one the columns' names, read from the answer in S3."""
    record = await _find(call, params["QueryExecutionId"])
    if record.status != queries.SUCCEEDED:
        raise Invalid(
            f"Query has not yet finished. Current state: {record.status}"
            if record.status in queries.ACTIVE
            else f"Query did not finish successfully. Final query state: {record.status}"
        )
    if record.document.get("form"):
        raise Invalid(
            f"The answer is {record.document['form']}, in {record.document['request']['ResultConfiguration']['OutputLocation']}."
        )
    if params.get("QueryResultType") == "DATA_MANIFEST":
        raise Invalid("QueryResultType DATA_MANIFEST is not supported; DATA_ROWS is.")
    rows = await _rows(call, record)
    after = paging.resume(call, params)
    begin, limit = int(after[0]) if after else 0, params.get("MaxResults", _PAGE)
    page = rows[begin : begin + limit]
    more = {"NextToken": paging.token(call, params, (begin + limit, ""))} if len(rows) > begin + limit else {}
    columns = [
        {
            "CatalogName": "hive",
            "SchemaName": "",
            "TableName": "",
            "Name": name,
            "Label": name,
            "Type": kind,
            "Precision": 0,
            "Scale": 0,
            "Nullable": "UNKNOWN",
            "CaseSensitive": kind == "varchar",
        }
        for name, kind in record.document.get("columns") or []
    ]
    shown = [{"Data": [{"VarCharValue": value} if value else {} for value in row]} for row in page]
    return {"UpdateCount": 0, "ResultSet": {"Rows": shown, "ResultSetMetadata": {"ColumnInfo": columns}}, **more}


async def _rows(call: Call, record: Record) -> list[list[Any]]:
    if not record.document.get("columns"):
        return []
    where = parse_uri(record.document["request"]["ResultConfiguration"]["OutputLocation"])
    try:
        body = await call.ports.artifacts.of(call.scope.account).read(where.bucket, where.key, _LARGEST)
    except NotFound:
        raise Invalid(f"The answer of the query is not in S3 any more: {where}.") from None
    return list(csv.reader(io.StringIO(body.decode())))
