"""GetTable: the tables of feature groups' offline stores, and those that CREATE EXTERNAL TABLE made. Source: Glue's API reference."""

from __future__ import annotations

from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.errors import NotFound
from clary.domain.features import queries
from clary.domain.resources import Query, Record

_MANY = 100_000
_PARTITIONS = ("year", "month", "day", "hour")
_PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
}
_TEXT = {
    "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.serde2.OpenCSVSerde"},
}


async def tables(call: Call) -> list[tuple[Record, queries.SourceTable]]:
    """Every table of the caller's account and region."""
    found = []
    for kind, table_of in queries.TABLES.items():
        for record in await call.store.page(Query(kind, call.scope, limit=_MANY)):
            table = table_of(record)
            if table is not None:
                found.append((record, table))
    return found


@operation("glue", "GetTable")
async def get_table(call: Call, params: Params) -> Params:
    wanted = params["DatabaseName"].lower(), params["Name"].lower()
    for record, table in await tables(call):
        if (table.database, table.name) == wanted and params.get("CatalogId", call.scope.account) == call.scope.account:
            return {"Table": _shown(call, record, table)}
    raise NotFound(f"Entity Not Found: there is no table {params['Name']} in database {params['DatabaseName']}.")


def _shown(call: Call, record: Record, table: queries.SourceTable) -> Params:
    partitioned = table.form == "parquet"
    return {
        "Name": table.name,
        "DatabaseName": table.database,
        "Owner": "owner",
        "CreateTime": record.created,
        "UpdateTime": record.modified,
        "Retention": 0,
        "StorageDescriptor": {
            "Columns": [{"Name": name, "Type": kind} for name, kind in table.columns],
            "Location": str(table.location),
            "Compressed": False,
            **(_PARQUET if partitioned else _TEXT),
        },
        "PartitionKeys": [{"Name": name, "Type": "string"} for name in _PARTITIONS] if partitioned else [],
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "classification": table.form},
        "CatalogId": call.scope.account,
    }
