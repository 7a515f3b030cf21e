"""All rows of some tables from one database into another of any kind that SQLAlchemy knows: for backups and for moving to a server.

Owns: that it is one moment of the source, and all or nothing in the target; that numbers that were given are not given again there.
Does not know: what the rows mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Engine, Integer, MetaData, Table, func, inspect, select, text

from clary.domain.errors import ClaryError

AT_ONCE = 1000  # rows


class TargetInUse(ClaryError):
    """The target has rows already; nothing was changed."""


def transfer(sources: Sequence[tuple[Engine, MetaData]], target: Engine) -> Mapping[str, int]:
    """Copy every row of these tables, as far as their sources have them; answers rows by table. The tables are made in the target, which
    must hold no rows in them (TargetInUse). One transaction there: who is killed in it has changed nothing."""
    copied: dict[str, int] = {}
    with target.begin() as writing:
        if writing.dialect.name == "sqlite":
            writing.exec_driver_sql("BEGIN IMMEDIATE")
        for source, metadata in sources:
            metadata.create_all(writing)
            _check_empty(writing, metadata)
            with source.connect() as reading:
                there = _begin_reading(reading, metadata.sorted_tables)
                copied |= {table.name: _copy(reading, writing, table) for table in there}
                reading.rollback()
    return copied


def counted(sources: Sequence[tuple[Engine, MetaData]], target: Engine) -> Mapping[str, int] | None:
    """Rows by table where the target holds as many as the sources in each, and gave the same numbers last: a transfer that was done before
    and not told. None otherwise."""
    found: dict[str, int] = {}
    with target.connect() as there:
        for source, metadata in sources:
            with source.connect() as reading:
                for table in _begin_reading(reading, metadata.sorted_tables):
                    look = select(func.count(), *[func.max(column) for column in table.primary_key])
                    row = reading.execute(look).one()
                    if tuple(row) != tuple(there.execute(look).one()):
                        return None
                    found[table.name] = row[0]
                reading.rollback()
    return found


def _check_empty(writing: Connection, metadata: MetaData) -> None:
    for table in metadata.sorted_tables:
        if writing.execute(select(func.count()).select_from(table)).scalar_one():
            where = writing.engine.url.render_as_string(hide_password=True)
            raise TargetInUse(f"The database {where} is in use: its table {table.name} has rows. Name an empty one.")


def _begin_reading(reading: Connection, tables: Sequence[Table]) -> list[Table]:
    """See one moment of the source from here on; those tables that it has."""
    lite = reading.dialect.name == "sqlite"
    reading.exec_driver_sql("BEGIN" if lite else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    names = set(inspect(reading).get_table_names())
    return [table for table in tables if table.name in names]


def _copy(reading: Connection, writing: Connection, table: Table) -> int:
    count = 0
    rows = reading.execution_options(stream_results=True, yield_per=AT_ONCE).execute(select(table))
    for part in rows.mappings().partitions(AT_ONCE):
        writing.execute(table.insert(), [dict(row) for row in part])
        count += len(part)
    rows.close()
    _go_on_counting(reading, writing, table)
    return count


def _go_on_counting(reading: Connection, writing: Connection, table: Table) -> None:
    """The next number of the target is the source's: rows with the highest ones may be gone, and theirs are not given again."""
    column = table.autoincrement_column
    if column is None or not isinstance(column.type, Integer):
        return
    last = _last(reading, table, column.name)
    if not last:
        return
    if writing.dialect.name == "sqlite":
        if table.dialect_options["sqlite"]["autoincrement"]:
            writing.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
            writing.execute(
                text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"),
                {"name": table.name, "last": last},
            )
        return
    writing.execute(
        text("SELECT setval(pg_get_serial_sequence(:name, :column), :last)"),
        {"name": table.name, "column": column.name, "last": last},
    )


def _last(reading: Connection, table: Table, column: str) -> int:
    """The highest number that the source gave; 0 for none."""
    highest = int(reading.execute(select(func.max(table.c[column]))).scalar_one() or 0)
    if reading.dialect.name != "sqlite":
        sequence = reading.execute(
            text("SELECT pg_get_serial_sequence(:name, :column)"), {"name": table.name, "column": column}
        ).scalar_one()
        if sequence is None:
            return highest
        row = reading.exec_driver_sql(f"SELECT last_value, is_called FROM {sequence}").one()
        return max(highest, int(row[0]) if row[1] else 0)
    if not table.dialect_options["sqlite"]["autoincrement"]:
        return highest
    given = reading.execute(
        text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table.name}
    ).scalar_one_or_none()
    return max(highest, int(given or 0))
