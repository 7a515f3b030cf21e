"""SQL queries over the offline stores of feature groups, as Athena and Glue tell them: their states, and the tables that they may read.

Source: Athena's and Glue's API references; reference/lifecycle.md 9.4. A query is a record; what it reads and writes is S3's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.errors import Invalid
from clary.domain.features import offline
from clary.domain.features.groups import CATALOG, DATABASE, KIND, group_of
from clary.domain.resources import Record
from clary.domain.s3 import Location, parse_uri

QUERY = "query-execution"
TABLE = "external-table"
QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = "QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"
ACTIVE = (QUEUED, RUNNING)

_NAME = r'(?:(?:[`"]?(?P<db>[A-Za-z0-9_]+)[`"]?)\.)?[`"]?(?P<name>[A-Za-z0-9_]+)[`"]?'
_CREATE = re.compile(
    rf"^\s*CREATE\s+EXTERNAL\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}\s*\((?P<columns>.*?)\)\s*ROW\s+FORMAT\s+SERDE\s+'(?P<serde>[^']+)'"
    r"(?:\s*WITH\s+SERDEPROPERTIES\s*\((?P<properties>.*?)\))?(?:\s*STORED\s+AS\s+TEXTFILE)?\s*LOCATION\s+'(?P<location>[^']+)'\s*;?\s*$",
    re.IGNORECASE | re.DOTALL,
)
_DROP = re.compile(rf"^\s*DROP\s+TABLE\s+(?P<lenient>IF\s+EXISTS\s+)?{_NAME}\s*;?\s*$", re.IGNORECASE)
_COLUMN = re.compile(r'^\s*[`"]?(?P<name>[A-Za-z0-9_\- ]+?)[`"]?\s+(?P<type>[A-Za-z]+(?:\([0-9, ]+\))?)\s*$')
_PROPERTY = re.compile(r"""(["'])(?P<key>[^"']+)\1\s*=\s*(["'])(?P<value>.*?)\3\s*(?:,|$)""", re.DOTALL)
_CSV = "org.apache.hadoop.hive.serde2.OpenCSVSerde"


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table that a query may name. `form` is parquet or csv; `columns` are (name, Hive's type); `options` are the separator, quote and
    escape characters of CSV."""

    database: str
    name: str
    form: str
    location: Location
    columns: tuple[tuple[str, str], ...]
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CreateTable:
    table: SourceTable


@dataclass(frozen=True, slots=True)
class DropTable:
    """`lenient`: a table that is not there is no error."""

    database: str
    name: str
    lenient: bool


Statement = CreateTable | DropTable | None


def statement_of(sql: str, database: str) -> Statement:
    """A statement about tables; None for one that reads. Invalid for a CREATE that is not understood."""
    drop = _DROP.match(sql)
    if drop is not None:
        return DropTable((drop["db"] or database).lower(), drop["name"].lower(), bool(drop["lenient"]))
    create = _CREATE.match(sql)
    if create is None:
        if re.match(r"\s*(CREATE|DROP)\b", sql, re.IGNORECASE):
            raise Invalid(
                "NOT_SUPPORTED: of CREATE and DROP only CREATE EXTERNAL TABLE with OpenCSVSerde and a LOCATION, and DROP TABLE "
                "are understood."
            )
        return None
    if create["serde"] != _CSV:
        raise Invalid(f"NOT_SUPPORTED: an external table needs the SERDE {_CSV}; it names {create['serde']}.")
    given = {
        each["key"]: each["value"].replace("\\\\", "\\") for each in _PROPERTY.finditer(create["properties"] or "")
    }
    options = {
        "separator": given.get("separatorChar", ","),
        "quote": given.get("quoteChar", '"'),
        "escape": given.get("escapeChar", "\\"),
    }
    table = SourceTable(
        (create["db"] or database).lower(),
        create["name"].lower(),
        "csv",
        parse_uri(create["location"]),
        tuple(_column(each) for each in create["columns"].split(",")),
        options,
    )
    return CreateTable(table)


def _column(text: str) -> tuple[str, str]:
    found = _COLUMN.match(text)
    if found is None:
        raise Invalid(f"NOT_SUPPORTED: a column is a name and a simple type; found {text.strip()[:100]}.")
    return found["name"].lower(), found["type"].lower()


def table_of_group(record: Record) -> SourceTable | None:
    """The table of a group's offline store; None without one."""
    group, told = group_of(record), record.document.get("offline")
    if group.offline is None or not told:
        return None
    catalog = told["catalog"]
    columns = tuple((each["Name"].lower(), each["Type"]) for each in offline.glue_columns(group))
    return SourceTable(catalog["Database"].lower(), catalog["TableName"].lower(), "parquet", group.offline, columns, {})


def table_of_record(record: Record) -> SourceTable:
    """One that CREATE EXTERNAL TABLE has made."""
    told = record.document
    columns = tuple((name, kind) for name, kind in told["columns"])
    return SourceTable(told["database"], told["table"], "csv", parse_uri(told["location"]), columns, told["options"])


TABLES: Mapping[str, Callable[[Record], SourceTable | None]] = {KIND: table_of_group, TABLE: table_of_record}
"""Kind of records that are tables -> the table of one, if it has one."""


def table_document(table: SourceTable) -> dict[str, Any]:
    """What is kept of an external table."""
    return {
        "database": table.database,
        "table": table.name,
        "location": str(table.location),
        "columns": [list(each) for each in table.columns],
        "options": dict(table.options),
    }


def record_name(database: str, name: str) -> str:
    return f"{database}.{name}"


def named_in(sql: str, tables: Sequence[SourceTable]) -> list[SourceTable]:
    """The tables whose name stands in the query: only their files are laid out."""
    words = {word.lower() for word in re.findall(r"[A-Za-z0-9_]+", sql)}
    return [table for table in tables if table.name in words]


def output_of(request: Mapping[str, Any], name: str) -> Location:
    """Where the answer goes: `<OutputLocation>/<id>.csv`. Invalid without an OutputLocation."""
    where = (request.get("ResultConfiguration") or {}).get("OutputLocation")
    if not where:
        raise Invalid(
            "No output location provided. An output location is required either through the Workgroup result configuration setting or as "
            "an API input."
        )
    return parse_uri(where).below(f"{name}.csv")


def database_of(request: Mapping[str, Any]) -> str:
    return str((request.get("QueryExecutionContext") or {}).get("Database") or DATABASE)


def catalog_of(request: Mapping[str, Any]) -> str:
    return str((request.get("QueryExecutionContext") or {}).get("Catalog") or CATALOG)


# -- life ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answered:
    """How the work ended: `columns` of the answer (name, type), or why it failed. None of both: it goes on."""

    columns: tuple[tuple[str, str], ...] | None = None
    failure: str = ""
    scanned: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """Begin the work, if it is not under way."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget the work, whose end is recorded."""


QueryCommand = Ask | Forget


def decide(record: Record, seen: Answered | None, now: float) -> Decision[QueryCommand]:
    """`seen` is None while nothing is under way."""
    if seen is None:
        begun = replace(
            record, status=RUNNING, document={**record.document, "began": record.document.get("began", now)}
        )
        return Decision(begun, (Ask(),))
    if seen.columns is None and not seen.failure:
        return Decision(record)
    status = FAILED if seen.failure else SUCCEEDED
    document = {**record.document, "ended": now, "failure": seen.failure, "scanned": seen.scanned}
    if seen.columns is not None:
        document["columns"] = [list(each) for each in seen.columns]
    return Decision(replace(record, status=status, modified=now, document=document), (Forget(),))
