"""`python -m clary.toolkit.query SPEC`: answer one SQL query over Parquet and CSV files, inside a sandbox of its own.

SPEC is a JSON file: `{"sql", "database": the one for tables without one, "tables": [{"database", "name", "form": "parquet" | "csv",
"files": [path, ...], "columns": [[name, type of Hive], ...], "quote", "escape", "separator"}], "output": path of the answer, "form": ""
(Athena's CSV), or as UNLOAD has it "PARQUET" | "JSON" | "TEXTFILE", "compression": "GZIP" | "SNAPPY" for these, "report": path,
"folders": [folders that may be read], "memory": bytes, "spill": folder}`. The report is `{"columns": [[name, type], ...]}`, or
`{"error": words}` for what is wrong with the query; the exit code is 0 in both cases.

SQL is Athena's (Trino's), put into DuckDB's words by sqlglot. One SELECT statement; DuckDB may read the folders named and write the
output, no more.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Dict, List, Tuple

TYPES = {
    "bigint": "BIGINT", "int": "INTEGER", "integer": "INTEGER", "smallint": "SMALLINT", "tinyint": "TINYINT", "double": "DOUBLE",
    "float": "FLOAT", "string": "VARCHAR", "varchar": "VARCHAR", "char": "VARCHAR", "boolean": "BOOLEAN", "timestamp": "TIMESTAMP",
    "date": "DATE", "decimal": "DECIMAL(38, 10)",
}  # fmt: skip
SHOWN = {
    "BIGINT": "bigint", "INTEGER": "integer", "SMALLINT": "smallint", "TINYINT": "tinyint", "HUGEINT": "bigint", "DOUBLE": "double",
    "FLOAT": "float", "BOOLEAN": "boolean", "DATE": "date", "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
}  # fmt: skip
FORMATS = (
    ("yyyy", "%Y"),
    ("hh24", "%H"),
    ("mm", "%m"),
    ("dd", "%d"),
    ("mi", "%M"),
    ("ss", "%S"),
)  # of Trino's to_timestamp
WRITTEN = {
    "": "FORMAT csv, HEADER, FORCE_QUOTE *",
    "PARQUET": "FORMAT parquet, COMPRESSION {}",
    "JSON": "FORMAT json, COMPRESSION {}",
    "TEXTFILE": "FORMAT csv, HEADER false, DELIMITER '\x01', QUOTE '', ESCAPE '', NULLSTR '\\N', COMPRESSION {}",
}  # how an answer is written, by its form; text as Hive reads it
PARTITIONS = ("year", "month", "day", "hour")


class Wrong(Exception):
    """Something that the user wrote; its text is for them."""


def main(argv: List[str]) -> int:
    with open(argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    try:
        report: Dict[str, Any] = {"columns": answer(spec)}
    except Wrong as error:
        report = {"error": str(error)}
    with open(spec["report"], "w", encoding="utf-8") as file:
        json.dump(report, file)
    return 0


def answer(spec: Dict[str, Any]) -> List[Tuple[str, str]]:
    """Write the answer; answers its columns with Athena's names of their types."""
    import duckdb

    sql = translated(spec)
    database = duckdb.connect(
        ":memory:", config={"memory_limit": f"{spec['memory'] >> 20}MiB", "threads": spec.get("threads", 2)}
    )
    database.execute("SET TimeZone = 'UTC'")
    database.execute(f"SET temp_directory = {text(spec['spill'])}")
    for table in spec["tables"]:
        database.execute(f"CREATE SCHEMA IF NOT EXISTS {name(table['database'])}")
        try:
            database.execute(view(table))
        except duckdb.Error as error:  # its files are opened for their columns: what is no Parquet is found here
            raise Wrong(f"HIVE_BAD_DATA: {words(error)}") from None
    allowed = ", ".join(text(folder) for folder in spec["folders"])
    database.execute(f"SET allowed_directories = [{allowed}]")
    for setting in ("enable_external_access = false", "lock_configuration = true"):
        database.execute(f"SET {setting}")
    try:
        found = [(row[0], row[1]) for row in database.execute(f"DESCRIBE {sql}").fetchall()]
        given = ", ".join(f"c{number}" for number in range(len(found)))
        form = spec.get("form", "")
        heads = ", ".join(
            f"{f'c{number}' if form else column(number, kind)} AS {name(title)}"
            for number, (title, kind) in enumerate(unique(found))
        )
        how = WRITTEN[form].format(str(spec.get("compression", "")).lower())
        database.execute(f"COPY (SELECT {heads} FROM ({sql}) AS answer({given})) TO {text(spec['output'])} ({how})")
    except duckdb.Error as error:
        raise Wrong(f"{type(error).__name__}: {words(error)}") from None
    return [(title, SHOWN.get(kind, "array" if kind.endswith("[]") else "varchar")) for title, kind in found]


def words(error: Exception) -> str:
    """What DuckDB says, without the picture of the statement."""
    return str(error).splitlines()[0]


def unique(found: List[Tuple[str, str]]) -> List[Tuple[str, str]]:
    """A column's name may come twice, which a subquery's may not: Athena numbers none, so they are told apart by a blank alone."""
    seen: Dict[str, int] = {}
    named = []
    for title, kind in found:
        count = seen[title.lower()] = seen.get(title.lower(), -1) + 1
        named.append((title if not count else f"{title}_{count}", kind))
    return named


def column(number: int, kind: str) -> str:
    """A column of the answer as Athena writes it: times to the millisecond."""
    if kind == "TIMESTAMP":
        return f"strftime(c{number}, '%Y-%m-%d %H:%M:%S.%g')"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"strftime(c{number}, '%Y-%m-%d %H:%M:%S.%g UTC')"
    return f"c{number}"


def translated(spec: Dict[str, Any]) -> str:
    """The statement in DuckDB's words, its tables by database and name."""
    import sqlglot
    from sqlglot import exp

    try:
        statements = [each for each in sqlglot.parse(spec["sql"], read="athena") if each is not None]
    except sqlglot.errors.SqlglotError as error:
        raise Wrong(f"SYNTAX_ERROR: {str(error).splitlines()[0]}") from None
    if len(statements) != 1:
        raise Wrong("SYNTAX_ERROR: a query is one statement")
    tree = statements[0]
    if not isinstance(tree, exp.Query):
        raise Wrong(
            "NOT_SUPPORTED: only SELECT can be run here; CREATE EXTERNAL TABLE and DROP TABLE are understood, too"
        )
    known = {(table["database"].lower(), table["name"].lower()) for table in spec["tables"]}
    for scope in tree.find_all(exp.Table):
        resolve(scope, spec["database"], known, {each.alias_or_name.lower() for each in tree.find_all(exp.CTE)})
    if not any(each.is_star for each in tree.selects):
        for number, each in enumerate(tree.selects):
            if not isinstance(each, (exp.Alias, exp.Column)):
                each.replace(exp.alias_(each.copy(), f"_col{number}"))
    for call in list(tree.find_all(exp.Anonymous)):
        if call.name.lower() == "to_timestamp" and len(call.expressions) == 2:
            moment, form = call.expressions
            call.replace(exp.Anonymous(this="strptime", expressions=[moment, exp.Literal.string(strptime(form.name))]))
    return str(tree.sql(dialect="duckdb"))


def strptime(form: str) -> str:
    form = form.lower()
    for theirs, ours in FORMATS:
        form = form.replace(theirs, ours)
    return form


def resolve(table: Any, database: str, known: Any, inner: Any) -> None:
    """Give a table its database, unless it is one that the query makes itself."""
    from sqlglot import exp

    if not isinstance(table.this, exp.Identifier):
        raise Wrong(f"FUNCTION_NOT_FOUND: {table.sql(dialect='athena')} cannot be read from; name a table")
    title, where = table.name.lower(), (table.db or "").lower()
    if not where and title in inner:
        return
    where = where or database.lower()
    if (where, title) not in known:
        raise Wrong(f"TABLE_NOT_FOUND: Table 'awsdatacatalog.{where}.{title}' does not exist")
    table.set("catalog", None)
    table.set("db", exp.to_identifier(where, quoted=True))
    table.set("this", exp.to_identifier(title, quoted=True))


def view(table: Dict[str, Any]) -> str:
    """The statement that makes a table readable."""
    where = f"{name(table['database'].lower())}.{name(table['name'].lower())}"
    columns = [(title, kind_of(kind)) for title, kind in table["columns"]]
    if not table["files"]:
        partitions = [(each, "VARCHAR") for each in PARTITIONS] if table["form"] == "parquet" else []
        made = ", ".join(f"{name(title)} {kind}" for title, kind in [*columns, *partitions])
        return f"CREATE TABLE {where} ({made})"
    files = ", ".join(text(path) for path in table["files"])
    if table["form"] == "csv":
        wanted = ", ".join(f"{text(title)}: 'VARCHAR'" for title, _ in columns)
        cast = ", ".join(
            f"TRY_CAST(nullif({name(t)}, '') AS {k}) AS {name(t)}" if k != "VARCHAR" else name(t) for t, k in columns
        )
        options = f"header = false, delim = {text(table['separator'])}, quote = {text(table['quote'])}, escape = {text(table['escape'])}"
        options += f", columns = {{{wanted}}}, auto_detect = false, null_padding = true"
        return f"CREATE VIEW {where} AS SELECT {cast} FROM read_csv([{files}], {options})"
    kinds = ", ".join(f"{text(each)}: 'VARCHAR'" for each in PARTITIONS)
    own = ", ".join(name(each) for each in PARTITIONS)
    cast = ", ".join(f"CAST({name(t)} AS {k}) AS {name(t)}" for t, k in columns)
    options = f"union_by_name = true, hive_partitioning = true, hive_types = {{{kinds}}}"
    nothing = ", ".join(f"CAST(NULL AS {k}) AS {name(t)}" for t, k in columns)
    blank = f"SELECT {nothing} WHERE false"
    return f"CREATE VIEW {where} AS SELECT {cast}, {own} FROM (SELECT * FROM read_parquet([{files}], {options}) UNION ALL BY NAME {blank})"


def kind_of(kind: str) -> str:
    """A type of Hive's in DuckDB's words."""
    kind = kind.strip().lower()
    if kind.startswith("array<") and kind.endswith(">"):
        return f"{kind_of(kind[6:-1])}[]"
    return TYPES.get(kind.partition("(")[0], "VARCHAR")


def name(title: str) -> str:
    return '"' + title.replace('"', '""') + '"'


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


if __name__ == "__main__":
    sys.exit(main(sys.argv))
